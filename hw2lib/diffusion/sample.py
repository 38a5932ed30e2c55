"""Trained denoisers: how they are loaded, and how images are drawn with them."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hw2lib import weights
from hw2lib.data import FACES
from hw2lib.data.prepare import to_uint8
from hw2lib.diffusion.networks import face_unet
from hw2lib.diffusion.networks.unet import DIGITS
from hw2lib.diffusion.recipe import OF_FACES, Recipe, recipe_of
from hw2lib.diffusion.samplers import SAMPLERS, WHOLE, Model, SamplerSettings, guided
from hw2lib.diffusion.schedule import Schedule, grid, linear, noise_of
from hw2lib.errors import UserError
from hw2lib.kept import kept
from hw2lib.networks import build
from hw2lib.noise import ImageNoise
from hw2lib.training.devices import bf16_is_fast
from hw2lib.training.run_folder import RunFolder

BATCH = 50  # images drawn at a time
HOMEWORK = SamplerSettings("ddim", 50, spacing="leading", clip=False)  # as the homework has faces drawn
# For digits: of the ways of at most 16 calls of context-unet-64 that were tried, and of which at least 99.5 % of 500
# digits of seed 100 were read, the one with the least Fréchet distance from the val digits.
DEFAULT = SamplerSettings("ddim", 8, guidance_weight=1.75, eta=1.0, guidance_interval=(0.2, 0.95))


def default_settings(network: str, **given: Any) -> SamplerSettings:
    """How a network draws unless it is told otherwise; `given` replaces single settings.

    A sampler other than the network's own adds no noise by default, and one that takes all steps takes them. Without
    guidance there is no interval of it.
    """
    usual = HOMEWORK if network in OF_FACES else DEFAULT
    sampler = given.get("sampler", usual.sampler)
    others = {} if sampler == usual.sampler else {"eta": 0.0}
    if given.get("guidance_weight") == 0:
        others["guidance_interval"] = WHOLE
    if sampler in SAMPLERS and SAMPLERS[sampler].all_steps:
        others["steps"] = None
    return replace(usual, **others | given)


@dataclass(frozen=True)
class Denoiser:
    """A network as in `hw2lib.diffusion.networks.unet`, and what must be known of its training to draw with it."""

    network: nn.Module
    schedule: Schedule
    size: int = 28  # height and width of its images, in pixels
    guidable: bool = True  # whether it learned images without their labels too
    classes: int = DIGITS  # how many labels it knows; 0: none
    prediction: str = "noise"  # or "velocity" (`hw2lib.diffusion.schedule.velocity`)

    @classmethod
    def from_recipe(cls, recipe: Recipe, network: nn.Module) -> "Denoiser":
        """A network that is trained by a recipe."""
        classes = 0 if recipe.domain == FACES else DIGITS
        return cls(network, recipe.schedule_table(), recipe.size, recipe.label_dropout > 0, classes, recipe.prediction)

    @property
    def device(self) -> torch.device:
        """Where the network is, and images are drawn."""
        return next(self.network.parameters()).device

    def model(self, mixed: bool = False) -> Model:
        """What samplers take: it predicts the noise, in float32. For `mixed` see `draw_images`."""
        network, device = self.network.eval(), self.device
        mixed = mixed and bf16_is_fast(device)

        def model(x: Tensor, time: Tensor, labels: Tensor) -> Tensor:
            with torch.autocast(device.type, torch.bfloat16, enabled=mixed):
                answer = network(x, time, labels).float()
            if self.prediction == "noise":
                return answer
            return noise_of(answer, x, (self.schedule.steps * time).round().long(), self.schedule)

        return model

    def grid(self, settings: SamplerSettings) -> list[int]:
        """The steps that are visited; `UserError` if there are fewer, or the network cannot be guided."""
        if settings.guidance_weight and not self.guidable:
            weight = f"guidance weight {settings.guidance_weight:g}"
            raise UserError(f"{weight}: the network learned no image without its label; give 0")
        return grid(self.schedule.steps, settings.steps or self.schedule.steps, settings.spacing)


def load(folder: RunFolder, device: torch.device | str = "cpu") -> Denoiser:
    """The denoiser of a finished run, from its settings and weights."""
    return load_file(folder.weights, recipe_of(folder.settings, folder.path), device)


def load_file(file: Path, recipe: Recipe, device: torch.device | str = "cpu") -> Denoiser:
    """The denoiser whose weights are in a file, trained by a recipe (`hw2lib.weights.load`)."""
    network = build(recipe.network)
    weights.load(network, file)
    return Denoiser.from_recipe(recipe, network.eval().to(device))


def load_course(file: Path, device: torch.device | str = "cpu") -> Denoiser:
    """The homework's denoiser, for 256x256, from its ``UNet.pt`` (`hw2lib.weights.load`)."""
    network = face_unet.course()
    weights.load(network, file)
    return Denoiser(network.eval().to(device), linear(1000), network.inputs.size, guidable=False, classes=0)


def _is_course(file: Path, network: str) -> bool:
    """Whether a file is rather of the homework's denoiser than of this network of faces."""
    with torch.device("meta"):  # to compare names takes no memory
        course = face_unet.course()
        return weights.nearest(file, [build(network), course]) is course


def draw_images(
    denoiser: Denoiser,
    settings: SamplerSettings,
    seed: int,
    numbers: Sequence[int],  # which image of the seed's set each one is
    labels: Tensor,  # (N,) integers 0 to 9, -1 for none
    mixed: bool = False,  # draw in mixed bfloat16 where the hardware has it
    start: Tensor | None = None,  # noise (N, 3, size, size) to begin with; what is added on the way stays the seed's
    **options,  # return_intermediates and progress, as of `Sampler`
) -> Tensor | list[Tensor]:
    """The numbered images of a seed, (N, 3, H, W) float32 in about [-1, 1].

    An image depends on the seed, its number, its label and the settings alone, but for the rounding of sums in batches
    of another size. In mixed precision, several times as fast, it differs more, above all where the sampler amplifies
    this. Two images of one number have the same noise, at the start and at each step.

    `UserError` for other labels, noise of another shape, and settings that the denoiser cannot follow.
    """
    if labels.shape != (len(numbers),) or labels.is_floating_point():
        raise UserError(f"labels of {len(numbers)} images have to be as many integers")
    if wrong := [label for label in labels.tolist() if not -1 <= label < DIGITS]:
        raise UserError(f"label {wrong[0]}: give 0 to {DIGITS - 1}, or -1 for none")
    size, device = denoiser.size, denoiser.device
    weight, interval, together = settings.guidance_weight, settings.guidance_interval, device.type == "cuda"
    model = guided(denoiser.model(mixed), weight, interval, together)
    steps = denoiser.grid(settings)
    noise = ImageNoise(seed, numbers)
    x = noise.draw(3, size, size)  # also where it is replaced: what is added on the way must not be the same again
    if start is not None and start.shape != x.shape:
        raise UserError(f"noise of shape {tuple(start.shape)}: give {tuple(x.shape)}")
    x = (x if start is None else start).to(device, memory_format=torch.channels_last)
    options |= {"eta": settings.eta, "draw": noise.draw, "clip": settings.clip}
    return SAMPLERS[settings.sampler](model, x, labels.to(device), denoiser.schedule, steps, **options)


def sample(
    denoiser: Denoiser, settings: SamplerSettings, seed: int, count: int, mixed: bool = False
) -> tuple[Tensor, Tensor]:
    """The first `count` images of a seed, uint8 (count, 3, H, W), and their labels, which take turns, 0 to 9.

    Each noise serves all ten digits. Faces have the label -1. Images are drawn at the size of the training and
    scaled to that of the network. For `mixed` see `draw_images`.
    """
    each = torch.arange(count)
    labels, numbers = torch.full_like(each, -1), each
    if denoiser.classes:
        labels, numbers = each % denoiser.classes, each // denoiser.classes
    parts = []
    for part in each.split(BATCH):
        batch = draw_images(denoiser, settings, seed, numbers[part].tolist(), labels[part], mixed)
        parts.append(scaled(batch, denoiser.network.inputs.size).cpu())
    return to_uint8(torch.cat(parts)), labels


kept_sample = kept(sample)  # what notebooks draw with; the scores of a training's marks are not worth keeping


@kept
def reverse_states(
    denoiser: Denoiser, settings: SamplerSettings, seed: int, digit: int, frames: int = 6
) -> dict[int, Tensor]:
    """The first image of a digit on its way from noise: step t to (3, 28, 28), at `frames` steps evenly from T to 0.

    The states are the nearest that the sampler visits.
    """
    if not 0 <= digit < denoiser.classes:
        raise UserError(f"digit {digit}: give 0 to {denoiser.classes - 1}")
    states = draw_images(denoiser, settings, seed, [0], torch.tensor([digit]), return_intermediates=True)
    visited = torch.tensor(denoiser.grid(settings))
    shown = [round(denoiser.schedule.steps * (frames - 1 - i) / (frames - 1)) for i in range(frames)]
    return {t: scaled(states[(visited - t).abs().argmin()], 28)[0].cpu() for t in shown}


def scaled(images: Tensor, size: int) -> Tensor:
    """Images (N, C, H, W) at another size."""
    if images.shape[-1] == size:
        return images
    return F.interpolate(images, size=(size, size), mode="bilinear", antialias=True)


def min_max(images: Tensor) -> Tensor:
    """Images (N, C, H, W) to 0 to 255, each from its own lowest value to its highest, as the homework saves faces.

    Flat ones become 0. The contrast of an image that lacks any is stretched.
    """
    low, high = images.amin((1, 2, 3), keepdim=True), images.amax((1, 2, 3), keepdim=True)
    return (255 * (images - low) / (high - low).clamp(min=1e-12)).round().to(torch.uint8)


NORMALISATIONS = {"min-max": min_max, "range": to_uint8}  # range: -1 to 1 for all images alike


class DenoiserDrawer:
    """Draws images for files; see `hw2lib.image_files.Drawer`.

    `UserError` for a damaged or unfitting file, settings that it cannot follow, and an unknown normalisation.
    """

    batch = 10  # small, so that a set of one image is not much more work than it needs

    def __init__(
        self,
        network: str,
        file: Path,  # of this network, or in place of a network of faces the homework's ``UNet.pt``
        device: torch.device,
        settings: SamplerSettings,
        training: dict[str, Any] | None = None,  # settings of the run that made the weights; None: the recipe ``ours``
        noise: Callable[[int], Tensor] | None = None,  # from the size of images to that of a batch; None: a seed's
        normalise: str = "range",  # one of `NORMALISATIONS`
    ) -> None:
        if normalise not in NORMALISATIONS:
            raise UserError(f"unknown normalisation '{normalise}': choose one of {', '.join(NORMALISATIONS)}")
        if network in OF_FACES and not training and _is_course(file, network):
            self._denoiser = load_course(file, device)
            learned = {"schedule": "linear", "diffusion_steps": 1000, "prediction": "noise"}
            learned["size"] = self._denoiser.size
        else:
            recipe = recipe_of(training, file) if training else Recipe.choose(network, "ours", seed=0, preset="paper")
            self._denoiser = load_file(file, recipe, device)
            learned = recipe.model_dump(include={"schedule", "diffusion_steps", "size", "prediction"})
        self._denoiser.grid(settings)  # fails before any drawing
        self._settings, self._normalise, self.digits = settings, normalise, self._denoiser.classes
        self._noise = noise(self._denoiser.size) if noise else None
        self.settings = asdict(settings) | {"guidance_interval": list(settings.guidance_interval)}  # as JSON has it
        self.settings |= learned | {"normalise": normalise}
        if noise:
            self.settings["noise"] = hashlib.sha256(self._noise.numpy().tobytes()).hexdigest()

    def draw(self, seed: int, digit: int | None, first: int) -> Tensor:
        """(batch, 3, H, W) uint8."""
        numbers = range(first, first + self.batch)
        labels = torch.full((self.batch,), -1 if digit is None else digit)
        # Batches are full and always the same, so mixed precision does no harm.
        images = draw_images(self._denoiser, self._settings, seed, numbers, labels, mixed=True, start=self._noise)
        return NORMALISATIONS[self._normalise](scaled(images, self._denoiser.network.inputs.size))
