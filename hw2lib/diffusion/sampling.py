"""Images from a trained denoiser: which sampler, how many steps, how much guidance; seeded image by image."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hw2lib.data.prepare import to_uint8
from hw2lib.diffusion.guidance import Model, guided
from hw2lib.diffusion.networks.unet import DIGITS
from hw2lib.diffusion.process import noise_of
from hw2lib.diffusion.samplers import ddim, ddpm, dpm_solver
from hw2lib.diffusion.schedule import SPACINGS, Schedule, grid
from hw2lib.errors import UserError
from hw2lib.noise import ImageNoise
from hw2lib.training.devices import bf16_is_fast

BATCH = 50  # images drawn at a time
SAMPLERS = {"ddpm": "DDPM", "ddim": "DDIM", "dpm-solver": "DPM-Solver++"}  # and their titles


@dataclass(frozen=True)
class SamplerSettings:
    """A way from noise to images.

    Attributes:
        sampler: ``ddpm``, ``ddim`` or ``dpm-solver``.
        steps: how often the network predicts, twice each time with guidance; None: all steps.
        guidance_weight: w of Ho and Salimans 2022, 0: none; the scale of other code is w + 1.
        eta: of ddim and dpm-solver, in [0, 1]: how much noise is added on the way.
        spacing: see `hw2lib.diffusion.schedule.grid`.
        clip: keep predicted images within [-1, 1] on the way.

    Raises:
        UserError: a value that is none of these.
    """

    sampler: str = "dpm-solver"
    steps: int | None = 20
    guidance_weight: float = 0.0
    eta: float = 0.0
    spacing: str = "trailing"
    clip: bool = True

    def __post_init__(self) -> None:
        if self.sampler not in SAMPLERS:
            raise UserError(f"unknown sampler '{self.sampler}': choose one of {', '.join(SAMPLERS)}")
        if self.steps is not None and self.steps < 1:
            raise UserError(f"{self.steps} steps: give at least 1")
        if not 0 <= self.guidance_weight < math.inf:
            raise UserError(f"guidance weight {self.guidance_weight}: give 0 or more")
        if not 0 <= self.eta <= 1:
            raise UserError(f"eta {self.eta}: give 0 to 1")
        if self.eta and self.sampler == "ddpm":
            raise UserError(f"eta {self.eta}: ddpm has none; choose ddim or dpm-solver")
        if self.spacing not in SPACINGS:
            raise UserError(f"unknown spacing '{self.spacing}': choose one of {', '.join(SPACINGS)}")

    @property
    def name(self) -> str:
        """The sampler with its noise: ``DDIM, η = 1`` or ``SDE-DPM-Solver++``."""
        if self.sampler == "dpm-solver" and self.eta == 1:
            return "SDE-DPM-Solver++"
        return SAMPLERS[self.sampler] + (f", η = {self.eta:g}" if self.eta else "")

    @property
    def title(self) -> str:
        """For a caption: ``20 steps of DPM-Solver++, w = 0.5``."""
        steps = "all steps" if self.steps is None else f"{self.steps} steps"
        return f"{steps} of {self.name}, w = {self.guidance_weight:g}"


@dataclass(frozen=True)
class Denoiser:
    """A network with what it was trained with.

    Attributes:
        network: takes and returns what those of `hw2lib.diffusion.networks.unet` do.
        schedule: its noise schedule.
        size: height and width of its images, in pixels.
        guidable: whether it learned images without their labels too.
        classes: how many labels it knows; 0: none.
        prediction: of the network, ``noise`` or ``velocity`` (`hw2lib.diffusion.process.velocity`).
    """

    network: nn.Module
    schedule: Schedule
    size: int = 28
    guidable: bool = True
    classes: int = DIGITS
    prediction: str = "noise"

    def model(self, mixed: bool = False) -> Model:
        """What samplers take: it predicts the noise. For `mixed` see `draw_images`."""
        network = self.network.eval()
        device = next(network.parameters()).device
        network = _in_bfloat16(network, device) if mixed else network
        return _predicting_noise(network, self.schedule) if self.prediction == "velocity" else network

    @property
    def shown(self) -> int:
        """Height and width at which images are shown, whatever it was trained at."""
        return self.network.inputs.size

    def grid(self, settings: SamplerSettings) -> list[int]:
        """The steps that are visited (`hw2lib.diffusion.schedule.grid`).

        Raises:
            UserError: there are fewer, or the network cannot be guided.
        """
        if settings.guidance_weight and not self.guidable:
            raise UserError(
                f"guidance weight {settings.guidance_weight:g}: the network learned no image without its label; give 0"
            )
        return grid(self.schedule.steps, settings.steps or self.schedule.steps, settings.spacing)


def draw_images(
    denoiser: Denoiser,
    settings: SamplerSettings,
    seed: int,
    numbers: Sequence[int],
    labels: Tensor,
    mixed: bool = False,
    start: Tensor | None = None,
    **options,
) -> Tensor | list[Tensor]:
    """The numbered images of a seed, (N, 3, H, W) float32 in about [-1, 1].

    An image depends on the seed, its number, its label and the settings alone, but for the rounding of sums in batches
    of another size. Two images of one number have the same noise, at the start and at each step.

    Args:
        denoiser: on its device the images are drawn.
        settings: which sampler, and how.
        seed: of the set.
        numbers: which image of the set each one is.
        labels: (N,) integers 0 to 9, -1 for none.
        mixed: in mixed bfloat16 where the hardware has it. It is several times as fast, but what is rounded in it
            differs from batch to batch, and with it, a little or where the sampler amplifies it more, an image.
        start: the noise (N, 3, size, size) that the images begin with, in place of the seed's; the noise that is added
            on the way stays the seed's.
        options: `return_intermediates` for the states from noise to image, `progress`; see `hw2lib.diffusion.samplers`.

    Raises:
        UserError: other labels, noise of another shape, more steps than the schedule has, or guidance for a network
            that knows none.
    """
    if labels.shape != (len(numbers),) or labels.is_floating_point():
        raise UserError(f"labels of {len(numbers)} images have to be as many integers")
    if wrong := [label for label in labels.tolist() if not -1 <= label < DIGITS]:
        raise UserError(f"label {wrong[0]}: give 0 to {DIGITS - 1}, or -1 for none")
    size, device = denoiser.size, next(denoiser.network.parameters()).device
    model = guided(denoiser.model(mixed), settings.guidance_weight, together=device.type == "cuda")
    steps = denoiser.grid(settings)
    noise = ImageNoise(seed, numbers)
    x = noise.draw(3, size, size)  # also where it is replaced: what is added on the way must not be the same again
    if start is not None and start.shape != x.shape:
        raise UserError(f"noise of shape {tuple(start.shape)}: give {tuple(x.shape)}")
    x = (x if start is None else start).to(device, memory_format=torch.channels_last)
    common = (model, x, labels.to(device), denoiser.schedule, steps)
    options["clip"] = settings.clip
    if settings.sampler == "ddpm":
        return ddpm(*common, noise.draw, **options)
    if settings.sampler == "ddim":
        return ddim(*common, settings.eta, noise.draw, **options)
    return dpm_solver(*common, settings.eta, noise.draw, **options)


def _in_bfloat16(network: nn.Module, device: torch.device) -> Model:
    """The network in mixed bfloat16 where that is fast, as in training; samplers compute in float32."""
    if not bf16_is_fast(device):
        return network

    def model(x: Tensor, time: Tensor, labels: Tensor) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16):
            return network(x, time, labels).float()

    return model


def _predicting_noise(network: Model, schedule: Schedule) -> Model:
    """A network that predicts the velocity, as one that predicts the noise."""

    def model(x: Tensor, time: Tensor, labels: Tensor) -> Tensor:
        t = (schedule.steps * time).round().long()
        return noise_of(network(x, time, labels), x, t, schedule)

    return model


def sample(
    denoiser: Denoiser, settings: SamplerSettings, seed: int, count: int, mixed: bool = False
) -> tuple[Tensor, Tensor]:
    """The first `count` images of a seed, uint8 (count, 3, H, W), and their labels, which take turns, 0 to 9.

    Each noise serves all ten digits. Faces have the label -1. Images are drawn at the denoiser's size and scaled to
    the one `shown`. For `mixed` see `draw_images`.
    """
    each = torch.arange(count)
    labels, numbers = (each % denoiser.classes, each // denoiser.classes) if denoiser.classes else (each * 0 - 1, each)
    parts = []
    for first in range(0, count, BATCH):
        part = slice(first, first + BATCH)
        batch = draw_images(denoiser, settings, seed, numbers[part].tolist(), labels[part], mixed)
        parts.append(scaled(batch, denoiser.shown).cpu())
    return to_uint8(torch.cat(parts)), labels


def scaled(images: Tensor, size: int) -> Tensor:
    """Images (N, C, H, W) at another size."""
    if images.shape[-1] == size:
        return images
    return F.interpolate(images, size=(size, size), mode="bilinear", antialias=True)
