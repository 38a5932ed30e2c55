"""What defines the training of a denoiser."""

import math
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from hw2lib import recipes
from hw2lib.data import DIGIT_DOMAINS, FACES
from hw2lib.diffusion.networks.unet import DIGITS
from hw2lib.diffusion.samplers import SamplerSettings
from hw2lib.diffusion.schedule import SCHEDULES, Schedule
from hw2lib.networks import names
from hw2lib.training.recipe import NetworkRecipe

OF_FACES = ("face-pyramid",)
OF_DIGITS = tuple(name for name in names("diffusion") if name not in OF_FACES)
WARMUP = 0.3  # of a one-cycle training
EARLY_SIZE = 16  # pixels; a third of the work of 28

# How images are drawn that are scored in training. A few unguided steps show how much of a digit was learned. Guided
# digits are drawn as in the end; without guidance, networks that learned for minutes all draw none.
UNGUIDED = SamplerSettings("dpm-solver", 10)
GUIDED = SamplerSettings("ddim", 20, guidance_weight=2.0, eta=1.0)


class Recipe(NetworkRecipe):
    """One run on one domain."""

    task = "diffusion"

    network: Literal[names("diffusion")]
    domain: Literal[*DIGIT_DOMAINS, FACES]
    size: int = Field(ge=8, le=256, description="height and width that images are scaled to, in pixels")
    early: float = Field(
        default=0, ge=0, lt=1, description=f"share of the steps, the first, with images of {EARLY_SIZE}x{EARLY_SIZE}"
    )
    coarse: tuple[float, ...] = Field(
        default=(),
        strict=False,
        description="shares of the steps, the first, that see means of 4x4 and of 2x2 noisy pixels; for face-pyramid",
    )
    schedule: Literal[tuple(SCHEDULES)]
    diffusion_steps: int = Field(ge=UNGUIDED.steps, description="T")
    times: Literal["even", "cosine"] = Field(default="even", description="how t is drawn: evenly, or `cosine_steps`")
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
    beta2: float = Field(default=0.999, ge=0, lt=1, description="of the optimiser")
    gradient_clip: float = Field(default=0, ge=0, description="largest norm of a step's gradient; 0: any")
    guided: bool = Field(default=False, description="score guided images, and those of the last step alone")
    scored: int = Field(default=200, gt=1, description="images that are scored for each evaluation")
    drawn_steps: int = Field(  # left out where it is the default, so that runs from before it keep their names
        default=GUIDED.steps,
        gt=0,
        validate_default=True,
        exclude_if=lambda steps: steps == GUIDED.steps,
        description="steps in which guided images are drawn to be scored",
    )

    @field_validator("size", "domain", "label_dropout", "min_snr", "scored", "guided", "drawn_steps")
    @classmethod
    def _fits_the_fields_before(cls, value: Any, info: ValidationInfo) -> Any:
        before, of_faces = info.data, info.data.get("network") in OF_FACES
        factor = 16 if of_faces else 4
        match info.field_name:
            case "domain" if (value == FACES) != of_faces:
                raise ValueError(f"{', '.join(OF_FACES)} and no other denoiser learns from {FACES}")
            case "size" if value % factor:
                raise ValueError(f"give a multiple of {factor}")
            case "label_dropout" if value and before.get("domain") == FACES:
                raise ValueError(f"{FACES} has no labels; give 0")
            case "min_snr" if value and before.get("prediction") == "velocity":
                raise ValueError("weights are of the loss of the noise; give 0 with the velocity, or predict noise")
            case "guided" if value and not before.get("label_dropout"):
                raise ValueError("label_dropout is 0, and so the network cannot be guided")
            case "drawn_steps" if value != GUIDED.steps and not before.get("guided"):
                raise ValueError("only guided images are drawn in other steps; give guided = true")
            case "drawn_steps" if before.get("guided") and value > before.get("diffusion_steps", value):
                raise ValueError(f"scored images take {value} steps, more than diffusion_steps")
            case "scored" if before.get("guided") and value < 2 * DIGITS:
                raise ValueError(f"guided digits are scored by their diversity too; give at least {2 * DIGITS}")
        return value

    @property
    def domains(self) -> tuple[str, ...]:
        return (self.domain,)

    @property
    def scored_as(self) -> SamplerSettings:
        """How images are drawn that are scored in training."""
        return replace(GUIDED, steps=self.drawn_steps) if self.guided else UNGUIDED

    def size_at(self, step: int) -> int:
        """Height and width of the images of a step, in pixels. Small ones teach the shape of a digit at less cost."""
        return EARLY_SIZE if step < self.early * self.steps else self.size

    def pooling_at(self, step: int) -> int:
        """How many pixels a side of the noisy images of a step are averaged to one."""
        return 2 ** sum(step < share * self.steps for share in accumulate(self.coarse))

    def learning_rate_at(self, step: int) -> float:
        """The learning rate of a step."""
        done = step / self.steps
        if self.rates == "constant":
            return self.learning_rate
        if self.rates == "falling":
            return self.learning_rate * (1 - done)
        if done < WARMUP:
            return self.learning_rate * (0.04 + 0.96 * (1 - math.cos(math.pi * done / WARMUP)) / 2)
        return self.learning_rate * ((1 + math.cos(math.pi * (done - WARMUP) / (1 - WARMUP))) / 2)

    def schedule_table(self) -> Schedule:
        """The noise schedule."""
        return SCHEDULES[self.schedule](self.diffusion_steps)


def recipe_of(settings: dict[str, Any], where: Path) -> Recipe:
    """The recipe in a run's settings, which have more keys; `UserError`, naming `where`, for any other settings."""
    keys = {key: value for key, value in settings.items() if key not in ("data", "code")}
    return recipes.validate(Recipe, keys, f"{where}: the settings of its run")
