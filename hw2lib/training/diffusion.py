"""Training of a denoiser: a conditional one on digits, or one on faces."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, ValidationInfo, field_validator

from hw2lib import recipes
from hw2lib.data import DIGIT_DOMAINS, FACES
from hw2lib.data.prepare import prepare
from hw2lib.diffusion import quality
from hw2lib.diffusion.process import dropped, min_snr_weights, noised, velocity
from hw2lib.diffusion.sampling import Denoiser
from hw2lib.diffusion.schedule import SCHEDULES, Schedule
from hw2lib.models import build
from hw2lib.models.unet import DIGITS
from hw2lib.training.batches import draw, load_split, mirrored, require_val
from hw2lib.training.cards import last_scores
from hw2lib.training.devices import fabric_for
from hw2lib.training.ema import moving_average
from hw2lib.training.recipe import NetworkRecipe
from hw2lib.training.run_folder import RunFolder
from hw2lib.training.steps import Steps, circumstances, to_the_end

OF_DIGITS = (
    "unet-two-level",
    "unet-two-level-plain",
    "unet-three-level",
    "unet-wide-bottleneck",
    "context-unet",
    "context-unet-128",
    "context-unet-64",
    "context-unet-32",
)
OF_FACES = ("face-unet",)
NETWORKS = (*OF_DIGITS, *OF_FACES)
WARMUP = 0.3  # of a one-cycle training
EARLY_SIZE = 16  # pixels; a third of the work of 28
LOSSES = {"mse": F.mse_loss, "smooth-l1": F.smooth_l1_loss}


class Recipe(NetworkRecipe):
    """One run on one domain."""

    task = "diffusion"

    network: Literal[NETWORKS]
    domain: Literal[*DIGIT_DOMAINS, FACES]
    size: int = Field(ge=8, le=256, description="height and width that images are scaled to, in pixels")
    early: float = Field(
        default=0, ge=0, lt=1, description=f"share of the steps, the first, with images of {EARLY_SIZE}x{EARLY_SIZE}"
    )
    schedule: Literal[tuple(SCHEDULES)]
    diffusion_steps: int = Field(ge=quality.SETTINGS.steps, description="T")
    prediction: Literal["noise", "velocity"] = Field(default="noise", description="what the network predicts")
    loss: Literal[tuple(LOSSES)] = Field(description="between that and the prediction")
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


recipe_for = Recipe.of


def recipe_of(settings: dict[str, Any], where: Path) -> Recipe:
    """The recipe in a run's settings, which have more keys (`hw2lib.training.runs.settings_of`).

    Raises:
        UserError: they are of no denoiser's run; it names `where` they were found.
    """
    keys = {key: value for key, value in settings.items() if key not in ("data", "code")}
    return recipes.validate(Recipe, keys, f"{where}: the settings of its run")


@to_the_end
def train(
    recipe: Recipe, images, folder: RunFolder, device: str, on_step: Callable[[int], None] | None
) -> dict[str, Any]:
    """Train a denoiser to predict the noise in noised images (Ho et al. 2020, algorithm 1), or the velocity.

    A digit's label is dropped on its own with a probability, so that the network can be guided (Ho and Salimans 2022,
    algorithm 1). The card has the loss over the steps, and the quality of images at each mark.
    """
    # Device, network, optimiser, images.
    fabric = fabric_for(device)
    torch.manual_seed(recipe.seed)
    network = build(recipe.network).to(fabric.device, memory_format=torch.channels_last)
    average = moving_average(network, recipe.ema_decay) if recipe.ema_decay else None
    result = average.module if average else network
    kind = torch.optim.Adam if recipe.optimiser == "adam" else torch.optim.AdamW
    _, optimiser = fabric.setup(network, kind(network.parameters(), lr=recipe.learning_rate, fused=True))
    data = load_split(images, recipe.domain, "train", fabric.device, recipe.batch)
    require_val(images, recipe.domain)
    schedule = recipe.schedule_table()

    parts = {"network": network, "optimiser": optimiser} | ({"average": average} if average else {})
    steps = Steps(recipe, folder, parts, on_step)
    for step in steps:
        network.train()
        for group in optimiser.param_groups:
            group["lr"] = recipe.learning_rate_at(step)
        x, labels = draw(data, recipe.batch)
        x = prepare(x, network.inputs.channels, recipe.size_at(step), "range", mirrored if recipe.flip else None)
        t = torch.randint(1, schedule.steps + 1, (recipe.batch,), device=x.device)
        noise = torch.randn_like(x)
        with fabric.autocast():  # and not the wrapped network, which would round the time to bfloat16 too
            known = t * 0 - 1 if labels is None else dropped(labels, recipe.label_dropout)
            predicted = network(noised(x, noise, t, schedule), t / schedule.steps, known)
        wanted = noise if recipe.prediction == "noise" else velocity(x, noise, t, schedule)
        losses = LOSSES[recipe.loss](predicted.float(), wanted, reduction="none").mean((1, 2, 3))
        if recipe.min_snr:
            losses = losses * min_snr_weights(t, schedule, recipe.min_snr)
        loss = losses.mean()
        fabric.backward(loss)
        if recipe.gradient_clip:
            torch.nn.utils.clip_grad_norm_(network.parameters(), recipe.gradient_clip)
        optimiser.step()
        optimiser.zero_grad()
        if average:
            average.update_parameters(network)

        # Log and evaluate. Scores take no part in training.
        steps.require_finite(loss, step, network)
        entry = {"loss": loss.item()} if steps.at_log(step) else {}
        if steps.at_mark(step) and (not recipe.guided or step + 1 == recipe.steps):
            entry |= quality.of(recipe.denoiser(result), images, recipe.domain, recipe.scored, recipe.guided)
        if entry:
            steps.log(step, **entry)

    # The result is that of the last step, whatever its quality.
    log = folder.history()
    marks = [{key: value for key, value in line.items() if key != "loss"} for line in log]
    card = {
        "losses": [(line["step"], line["loss"]) for line in log if "loss" in line],
        "curve": [mark for mark in marks if len(mark) > 1],
        **circumstances(images, recipe.domains, fabric.device, steps.seconds),
    }
    return folder.finish(result.state_dict(), card)


result_of = last_scores
