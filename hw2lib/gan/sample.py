"""Images from a generator: each depends on the weights, the seed and its number, and not on what is drawn beside it."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from hw2lib import files, weights
from hw2lib.data.prepare import to_uint8
from hw2lib.gan.networks import GAN
from hw2lib.networks import build
from hw2lib.noise import ImageNoise
from hw2lib.training.run_folder import RunFolder

BATCH = 50  # images drawn at a time
STRIP = 10  # images of the same noise that are kept at each mark of a training


@torch.inference_mode()
def generate(generator: nn.Module, noise: Tensor, labels: Tensor | None = None) -> Tensor:
    """Images (N, C, H, W) uint8 of noise (N, latent), and of labels (N,) if the generator takes them.

    In float32 whatever the device, so that an image does not depend on the batch it is drawn in.
    """
    device = next(generator.eval().parameters()).device
    inputs = [noise] if labels is None else [noise, labels]
    batches = zip(*(tensor.to(device).split(BATCH) for tensor in inputs), strict=True)
    return torch.cat([to_uint8(generator(*batch)) for batch in batches])


def sample(gan: GAN, generator: nn.Module, seed: int, count: int) -> tuple[Tensor, Tensor | None]:
    """The first `count` images of a seed by the generator of `gan` or an average of it, and their labels.

    With classes these take turns, 0 to 9, and each noise serves all of them.
    """
    if not gan.classes:
        return generate(generator, ImageNoise(seed, range(count)).draw(gan.latent)), None
    labels = torch.arange(count) % gan.classes
    noise = ImageNoise(seed, range(-(-count // gan.classes))).draw(gan.latent)
    return generate(generator, noise.repeat_interleave(gan.classes, 0)[:count], labels), labels


def load(network: str, file: Path, device: torch.device | str) -> GAN:
    """A GAN whose generator has the weights of a file; the discriminator's are not kept."""
    gan = build(network)
    weights.load(gan.generator, file)
    return gan.to(device)


def draw(folder: RunFolder, seed: int, count: int, device: torch.device | str = "cpu") -> Tensor:
    """The images of `sample` from a finished run, uint8 (count, C, H, W) on the CPU."""
    gan = load(folder.settings["network"], folder.weights, device)
    return sample(gan, gan.generator, seed, count)[0].cpu()


class GeneratorDrawer:
    """A generator with the weights of a file (`hw2lib.weights.load`), as a `hw2lib.image_files.Drawer`."""

    batch = BATCH

    def __init__(self, network: str, file: Path, device: torch.device) -> None:
        self._gan = load(network, file, device)
        self.digits = self._gan.classes
        self.settings: dict[str, Any] = {}

    def draw(self, seed: int, digit: int | None, first: int) -> Tensor:
        """(batch, C, H, W) uint8."""
        labels = None if digit is None else torch.full((self.batch,), digit)
        noise = ImageNoise(seed, range(first, first + self.batch)).draw(self._gan.latent)
        return generate(self._gan.generator, noise, labels)


def write_strip(folder: RunFolder, step: int, images: Tensor) -> None:
    """Keep what the same noise becomes at a step of a training, (N, C, H, W) uint8, as ``strip/000500.png``."""
    row = np.concatenate(list(images.cpu().numpy()), axis=2)  # side by side
    file = folder.path / "strip" / f"{step:06d}.png"
    file.parent.mkdir(exist_ok=True)
    with files.whole(file) as temporary:
        Image.fromarray(row.transpose(1, 2, 0)).save(temporary, "PNG")


def read_strip(folder: RunFolder) -> dict[int, np.ndarray]:
    """What `write_strip` kept: step to images uint8 (columns, 3, H, W)."""
    rows = {}
    for file in sorted((folder.path / "strip").glob("[0-9]*.png")):
        with Image.open(file) as image:
            row = np.asarray(image).transpose(2, 0, 1)
        rows[int(file.stem)] = np.stack(np.split(row, row.shape[2] // row.shape[1], axis=2))
    return rows


def random_inputs(gan: GAN, batch: int, device: torch.device) -> list[Tensor]:
    """Noise (batch, latent), and with classes labels (batch,), from torch's global generator."""
    noise = torch.randn(batch, gan.latent, device=device)
    return [noise, torch.randint(gan.classes, (batch,), device=device)] if gan.classes else [noise]


@torch.no_grad()
def with_standing_statistics(gan: GAN, generator: nn.Module, batch: int, batches: int = 16) -> nn.Module:
    """A copy of an averaged generator whose BatchNorm statistics are its own (Brock et al. 2019, section 3).

    An average of the weights' statistics does not fit averaged weights, nor do their vectors of spectral normalisation.
    The statistics are those of `batches` batches of random inputs, of the size `batch` that the generator learned with.
    """
    generator = copy.deepcopy(generator).train()
    norms = [layer for layer in generator.modules() if isinstance(layer, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over all batches
    for _ in range(batches):
        generator(*random_inputs(gan, batch, next(generator.parameters()).device))
    for norm in norms:
        norm.momentum = 0.1
    return generator.eval()
