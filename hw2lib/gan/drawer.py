"""A trained generator as `hw2lib.image_files` draws with it."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hw2lib.gan.sampling import BATCH, generate
from hw2lib.networks import build
from hw2lib.noise import ImageNoise
from hw2lib.weights import load as load_weights


class GeneratorDrawer:
    """See `hw2lib.image_files.Drawer`.

    Args:
        network: a GAN's name.
        weights: its generator's safetensors file.
        device: where images are drawn.

    Raises:
        UserError: a file that is not whole, or of another network.
    """

    batch = BATCH

    def __init__(self, network: str, weights: Path, device: torch.device) -> None:
        gan = build(network)
        load_weights(gan.generator, weights)
        self._gan = gan.to(device)
        self.digits = gan.classes
        self.settings: dict[str, Any] = {}

    def draw(self, seed: int, digit: int | None, first: int) -> Tensor:
        """(batch, C, H, W) uint8."""
        labels = None if digit is None else torch.full((self.batch,), digit)
        noise = ImageNoise(seed, range(first, first + self.batch)).draw(self._gan.latent)
        return generate(self._gan.generator, noise, labels)
