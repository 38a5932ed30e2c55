"""Images from a trained denoiser: which sampler, how many steps, how much guidance; seeded image by image."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from hw2lib.diffusion.guidance import guided
from hw2lib.diffusion.process import ImageNoise
from hw2lib.diffusion.samplers import ddim, ddpm, dpm_solver
from hw2lib.diffusion.schedule import Schedule, grid
from hw2lib.errors import UserError
from hw2lib.gan.sampling import to_uint8

BATCH = 50  # images drawn at a time
SAMPLERS = ("ddpm", "ddim", "dpm-solver")


@dataclass(frozen=True)
class Way:
    """A way from noise to images.

    Attributes:
        sampler: ``ddpm``, ``ddim`` or ``dpm-solver``.
        steps: how often the network is asked for a prediction, twice each time with guidance; 0: all steps.
        guidance_weight: w of Ho and Salimans 2022, 0: none.
        eta: of ddim.
        spacing: see `hw2lib.diffusion.schedule.grid`.
        clip: keep predicted images within [-1, 1] on the way.
    """

    sampler: str = "dpm-solver"
    steps: int = 20
    guidance_weight: float = 0.0
    eta: float = 0.0
    spacing: str = "trailing"
    clip: bool = True

    def __post_init__(self) -> None:
        if self.sampler not in SAMPLERS:
            raise UserError(f"unknown sampler '{self.sampler}': choose one of {', '.join(SAMPLERS)}")
        if self.eta and self.sampler != "ddim":
            raise UserError(f"eta {self.eta}: {self.sampler} has none; choose ddim")


def draw(
    network: torch.nn.Module,
    schedule: Schedule,
    way: Way,
    seed: int,
    numbers: list[int],
    labels: Tensor,
    size: int,
    **options,
) -> Tensor | list[Tensor]:
    """The numbered images of a seed, (N, 3, size, size) float32 in about [-1, 1].

    An image depends on the seed, its number, its label and the way alone, but for the rounding of sums in batches of
    another size; two images of one number begin with the same noise.

    Args:
        network: a denoiser, of which the device is used.
        schedule: that it was trained with.
        way: which sampler, and how.
        seed: of the set.
        numbers: which image of the set each one is.
        labels: (N,), -1 for none.
        size: height and width that it was trained at.
        options: `return_intermediates` for the states from noise to image, `progress`; see `hw2lib.diffusion.samplers`.
    """
    device = next(network.parameters()).device
    network.eval()
    model = guided(network, way.guidance_weight, together=device.type == "cuda")
    steps = grid(schedule.steps, way.steps or schedule.steps, way.spacing)
    noise = ImageNoise(seed, numbers)
    x = noise.draw(3, size, size).to(device, memory_format=torch.channels_last)
    common = (model, x, labels.to(device), schedule, steps)
    options["clip"] = way.clip
    if way.sampler == "ddpm":
        return ddpm(*common, noise.draw, **options)
    if way.sampler == "ddim":
        return ddim(*common, way.eta, noise.draw, **options)
    return dpm_solver(*common, **options)


def sample(
    network: torch.nn.Module, schedule: Schedule, way: Way, seed: int, count: int, size: int = 28, shown: int = 28
) -> tuple[Tensor, Tensor]:
    """The first `count` digits of a seed, uint8 (count, 3, shown, shown), and their labels, which take turns, 0 to 9.

    Each noise serves all ten digits. Images of another size are scaled.
    """
    labels = torch.arange(count) % 10
    parts = []
    for first in range(0, count, BATCH):
        chosen = range(first, min(first + BATCH, count))
        numbers = [i // 10 for i in chosen]
        parts.append(draw(network, schedule, way, seed, numbers, labels[first : first + BATCH], size).cpu())
    return to_uint8(scaled(torch.cat(parts), shown)), labels


def scaled(images: Tensor, size: int) -> Tensor:
    """Images (N, C, H, W) at another size."""
    if images.shape[-1] == size:
        return images
    return F.interpolate(images, size=(size, size), mode="bilinear", antialias=True)
