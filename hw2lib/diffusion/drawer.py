"""A trained denoiser as `hw2lib.image_files` draws with it."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hw2lib.data.prepare import to_uint8
from hw2lib.diffusion.sampling import SamplerSettings, draw_images, scaled
from hw2lib.models import build
from hw2lib.models.unet import DIGITS
from hw2lib.training.diffusion import recipe_for, recipe_of
from hw2lib.training.run_folder import load_weights

DEFAULT = SamplerSettings("ddim", 20, guidance_weight=2.0, eta=1.0)  # unless it is told otherwise


class DenoiserDrawer:
    """See `hw2lib.image_files.Drawer`.

    Args:
        network: a denoiser's name.
        weights: its safetensors file.
        device: where images are drawn.
        sampler: the way from noise to images.
        training: the settings of the run that made the weights, which say the schedule, T and the size of images;
            None: the recipe ``ours`` is taken for it.

    Raises:
        UserError: a file that is not whole or of another network, settings of no denoiser's run, more steps
            than T, or guidance for a network that learned no image without its label.
    """

    # Small, so that the bar keeps moving, and a set of one image is at most this many times too much work.
    batch = 10
    digits = DIGITS

    def __init__(
        self,
        network: str,
        weights: Path,
        device: torch.device,
        sampler: SamplerSettings,
        training: dict[str, Any] | None = None,
    ) -> None:
        recipe = recipe_of(training, weights) if training else recipe_for(network, "ours", seed=0, preset="paper")
        self._denoiser, self._sampler = recipe.denoiser(build(network)), sampler
        self._denoiser.grid(sampler)  # fails before any drawing
        load_weights(self._denoiser.network, weights)
        self._denoiser.network.to(device)
        self.settings = asdict(sampler) | recipe.model_dump(include={"schedule", "diffusion_steps", "size"})

    def draw(self, seed: int, digit: int | None, first: int) -> Tensor:
        """(batch, 3, 28, 28) uint8."""
        numbers, labels = range(first, first + self.batch), torch.full((self.batch,), digit)
        # Batches are full and always the same, so mixed precision does no harm.
        images = draw_images(self._denoiser, self._sampler, seed, numbers, labels, mixed=True)
        return to_uint8(scaled(images, self._denoiser.network.inputs.size))
