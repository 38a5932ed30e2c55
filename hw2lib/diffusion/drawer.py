"""A trained denoiser as `hw2lib.image_files` draws with it."""

import hashlib
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hw2lib.diffusion.faces import NORMALISATIONS, course
from hw2lib.diffusion.quality import GUIDED
from hw2lib.diffusion.recipe import OF_FACES, Recipe, recipe_of
from hw2lib.diffusion.sampling import Denoiser, SamplerSettings, draw_images, scaled
from hw2lib.errors import UserError
from hw2lib.networks import build
from hw2lib.weights import load as load_weights

# Unless it is told otherwise. That of faces is the homework's, which keeps nothing within [-1, 1] on the way.
DIGITS = GUIDED
FACES = SamplerSettings("ddim", 50, spacing="leading", clip=False)


def default(network: str) -> SamplerSettings:
    """How a network draws unless it is told otherwise."""
    return FACES if network in OF_FACES else DIGITS


class DenoiserDrawer:
    """See `hw2lib.image_files.Drawer`.

    Args:
        network: a denoiser's name.
        weights: its safetensors file; or, of a network of faces, the homework's ``UNet.pt``, another network.
        device: where images are drawn.
        sampler: the way from noise to images.
        training: the settings of the run that made the weights, which say the schedule, T and the size of images;
            None: the recipe ``ours`` is taken for it.
        noise: takes the height and width of images and returns the noise of the first batch, which then is the only
            one; None: that of a seed.
        normalise: one of `NORMALISATIONS`.

    Raises:
        UserError: a file that is not whole or of another network, settings of no denoiser's run, more steps
            than T, guidance for a network that learned no image without its label, or an unknown normalisation.
    """

    # Small, so that the bar keeps moving, and a set of one image is at most this many times too much work.
    batch = 10

    def __init__(
        self,
        network: str,
        weights: Path,
        device: torch.device,
        sampler: SamplerSettings,
        training: dict[str, Any] | None = None,
        noise: Callable[[int], Tensor] | None = None,
        normalise: str = "range",
    ) -> None:
        if normalise not in NORMALISATIONS:
            raise UserError(f"unknown normalisation '{normalise}': choose one of {', '.join(NORMALISATIONS)}")
        self._denoiser, learned = _load(network, weights, training)
        self._sampler, self._normalise = sampler, normalise
        self._denoiser.grid(sampler)  # fails before any drawing
        self._noise = noise(self._denoiser.size) if noise else None
        self._denoiser.network.to(device)
        self.digits = self._denoiser.classes
        self.settings = asdict(sampler) | learned | {"normalise": normalise}
        if noise:
            self.settings["noise"] = hashlib.sha256(self._noise.numpy().tobytes()).hexdigest()

    def draw(self, seed: int, digit: int | None, first: int) -> Tensor:
        """(batch, 3, H, W) uint8."""
        numbers = range(first, first + self.batch)
        labels = torch.full((self.batch,), -1 if digit is None else digit)
        # Batches are full and always the same, so mixed precision does no harm.
        images = draw_images(self._denoiser, self._sampler, seed, numbers, labels, mixed=True, start=self._noise)
        return NORMALISATIONS[self._normalise](scaled(images, self._denoiser.shown))


def _load(network: str, weights: Path, training: dict[str, Any] | None) -> tuple[Denoiser, dict[str, Any]]:
    """The denoiser, and the settings of its training that its images depend on."""
    if network in OF_FACES and weights.suffix in (".pt", ".pth"):
        denoiser = course(weights)
        learned = {"schedule": "linear", "diffusion_steps": denoiser.schedule.steps, "prediction": denoiser.prediction}
        return denoiser, learned | {"size": denoiser.size}
    recipe = recipe_of(training, weights) if training else Recipe.of(network, "ours", seed=0, preset="paper")
    denoiser = recipe.denoiser(build(network))
    load_weights(denoiser.network, weights)
    return denoiser, recipe.model_dump(include={"schedule", "diffusion_steps", "size", "prediction"})
