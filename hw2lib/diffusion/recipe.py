"""What defines the training of a denoiser."""

import math
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field, ValidationInfo, field_validator

from hw2lib import recipes
from hw2lib.data import DIGIT_DOMAINS, FACES
from hw2lib.diffusion import quality
from hw2lib.diffusion.networks.unet import DIGITS
from hw2lib.diffusion.sampling import Denoiser
from hw2lib.diffusion.schedule import SCHEDULES, Schedule
from hw2lib.networks import names
from hw2lib.training.recipe import NetworkRecipe

OF_FACES = ("face-unet",)
OF_DIGITS = tuple(name for name in names("diffusion") if name not in OF_FACES)
WARMUP = 0.3  # of a one-cycle training
EARLY_SIZE = 16  # pixels; a third of the work of 28


class Recipe(NetworkRecipe):
    """One run on one domain."""

    task = "diffusion"

    network: Literal[names("diffusion")]
    domain: Literal[*DIGIT_DOMAINS, FACES]
    size: int = Field(ge=8, le=256, description="height and width that images are scaled to, in pixels")
    early: float = Field(
        default=0, ge=0, lt=1, description=f"share of the steps, the first, with images of {EARLY_SIZE}x{EARLY_SIZE}"
    )
    schedule: Literal[tuple(SCHEDULES)]
    diffusion_steps: int = Field(ge=quality.SETTINGS.steps, description="T")
    prediction: Literal["noise", "velocity"] = Field(default="noise", description="what the network predicts")
    loss: Literal["mse", "smooth-l1"] = Field(description="between that and the prediction")
    min_snr: float = Field(default=0, ge=0, description="cap of `min_snr_weights`; 0: all steps weigh the same")
    label_dropout: float = Field(ge=0, lt=1, description="share of images that are learned without their label")
    flip: bool = Field(default=False, description="mirror half of the images")
    optimiser: Literal["adam", "adamw"]
    learning_rate: float = Field(gt=0, description="the highest")
    rates: Literal["constant", "falling", "one-cycle"] = Field(
        description="falling: linearly to 0; one-cycle: up for the first 0.3, then down, along half cosines"
    )
    gradient_clip: float = Field(default=0, ge=0, description="largest norm of a step's gradient; 0: any")
    guided: bool = Field(default=False, description="score guided images, and those of the last step alone")
    scored: int = Field(default=200, gt=1, description="images that are scored for each evaluation")

    @field_validator("size")
    @classmethod
    def _can_be_halved(cls, size: int, info: ValidationInfo) -> int:
        factor = 16 if info.data.get("network") in OF_FACES else 4
        if size % factor:
            raise ValueError(f"give a multiple of {factor}")
        return size

    @field_validator("domain")
    @classmethod
    def _of_the_network(cls, domain: str, info: ValidationInfo) -> str:
        if (domain == FACES) != (info.data.get("network") in OF_FACES):
            raise ValueError(f"{', '.join(OF_FACES)} and no other denoiser learns from {FACES}")
        return domain

    @field_validator("label_dropout")
    @classmethod
    def _faces_have_no_labels(cls, share: float, info: ValidationInfo) -> float:
        if share and info.data.get("domain") == FACES:
            raise ValueError(f"{FACES} has no labels; give 0")
        return share

    @field_validator("min_snr")
    @classmethod
    def _weights_the_noise(cls, cap: float, info: ValidationInfo) -> float:
        if cap and info.data.get("prediction") == "velocity":
            raise ValueError("weights are of the loss of the noise; give 0 with the velocity, or predict noise")
        return cap

    @field_validator("scored")
    @classmethod
    def _two_of_each_digit(cls, count: int, info: ValidationInfo) -> int:
        if info.data.get("guided") and count < 2 * DIGITS:
            raise ValueError(f"guided digits are scored by their diversity too; give at least {2 * DIGITS}")
        return count

    @field_validator("guided")
    @classmethod
    def _can_be_guided(cls, guided: bool, info: ValidationInfo) -> bool:
        if guided and not info.data.get("label_dropout"):
            raise ValueError("label_dropout is 0, and so the network cannot be guided")
        if guided and info.data.get("diffusion_steps", 0) < quality.GUIDED.steps:
            raise ValueError(f"scored images take {quality.GUIDED.steps} steps, more than diffusion_steps")
        return guided

    @property
    def domains(self) -> tuple[str, ...]:
        return (self.domain,)

    def size_at(self, step: int) -> int:
        """Height and width of the images of a step, in pixels.

        What a digit looks like can be learned from small images, at a third of the cost; whole ones add the detail.
        """
        return EARLY_SIZE if step < self.early * self.steps else self.size

    def learning_rate_at(self, step: int) -> float:
        """The learning rate of a step."""
        done = step / self.steps
        if self.rates == "constant":
            share = 1.0
        elif self.rates == "falling":
            share = 1 - done
        elif done < WARMUP:
            share = 0.04 + 0.96 * (1 - math.cos(math.pi * done / WARMUP)) / 2
        else:
            share = (1 + math.cos(math.pi * (done - WARMUP) / (1 - WARMUP))) / 2
        return self.learning_rate * share

    def schedule_table(self) -> Schedule:
        """The noise schedule."""
        return SCHEDULES[self.schedule](self.diffusion_steps)

    def denoiser(self, network: torch.nn.Module) -> Denoiser:
        """A network that was trained by this recipe, to draw with."""
        classes = 0 if self.domain == FACES else DIGITS
        guidable = self.label_dropout > 0
        return Denoiser(network, self.schedule_table(), self.size, guidable, classes, self.prediction)


def recipe_of(settings: dict[str, Any], where: Path) -> Recipe:
    """The recipe in a run's settings, which have more keys (`hw2lib.runs.settings_of`).

    Raises:
        UserError: they are of no denoiser's run; it names `where` they were found.
    """
    keys = {key: value for key, value in settings.items() if key not in ("data", "code")}
    return recipes.validate(Recipe, keys, f"{where}: the settings of its run")
