"""What defines a training between two digit domains."""

import math
from typing import Any, Literal, Self

import torch
from pydantic import Field, field_validator
from torch import nn

from hw2lib.data import FACES
from hw2lib.data.augment import Augmentation
from hw2lib.data.prepare import Normalisation
from hw2lib.errors import UserError
from hw2lib.networks import names
from hw2lib.training.recipe import BaseRecipe, resolve

FALL = (0.4, 0.9)  # the confidence that is asked for changes between these fractions of training


class PairRecipe(BaseRecipe):
    """One run between two domains. Rates are per step."""

    method: str
    source: str = Field(description="domain whose labels are used, but for target-only")
    target: str = Field(description="domain that is to be classified")

    learning_rate: float = Field(gt=0)
    optimiser: Literal["adam", "adamw"]
    weight_decay: float = Field(ge=0)
    warmup_steps: int = Field(ge=0, description="steps over which the learning rate rises from 0")
    schedule: Literal["constant", "cosine"]
    normalisation: Normalisation
    augment_source: Augmentation = Augmentation()
    augment_target: Augmentation = Augmentation()
    domain_weight: float = Field(ge=0)
    reversal_max: float = Field(ge=0)
    source_images: int = Field(0, ge=0, exclude_if=lambda count: not count, description="learned from; 0: all")
    evaluated: int = Field(0, ge=0, exclude_if=lambda count: not count, description="images a split, at most; 0: all")

    @classmethod
    def choose(
        cls,
        network: str,
        recipe: str,
        source: str,
        target: str,
        method: str,
        seed: int,
        preset: str,
        override: dict[str, Any] | None = None,
    ) -> Self:
        """The checked recipe of one run; `override` replaces single keys of the file."""
        if FACES in (source, target):
            raise UserError(f"'{FACES}' has no digits: choose two domains of digits")
        if source == target:
            raise UserError(f"source and target are both '{source}': choose two domains")
        choice = {"network": network, "source": source, "target": target, "method": method, "seed": seed}
        return resolve(cls, recipe, preset, override, pair=f"{source}-{target}", **choice)

    @property
    def title(self) -> str:
        """Such as ``dann-compact/ours/mnistm-svhn/dann/seed-0``; also the place of its run folder."""
        return f"{self.network}/{self.recipe}/{self.pair}/{self.method}/seed-{self.seed}"

    @property
    def pair(self) -> str:
        """Such as ``mnistm-svhn``."""
        return f"{self.source}-{self.target}"

    @property
    def domains(self) -> tuple[str, ...]:
        return tuple(sorted({self.source, self.target}))

    def learning_rate_at(self, step: int) -> float:
        """Linear warm-up, then constant or a half cosine that ends at 0."""
        warm = min(1.0, (step + 1) / self.warmup_steps) if self.warmup_steps else 1.0
        fall = (1 + math.cos(math.pi * step / self.steps)) / 2 if self.schedule == "cosine" else 1.0
        return self.learning_rate * warm * fall

    def optimiser_of(self, network: nn.Module) -> torch.optim.Optimizer:
        """A new optimiser of the network's weights."""
        kind = torch.optim.AdamW if self.optimiser == "adamw" else torch.optim.Adam
        return kind(network.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay, fused=True)


class DANNRecipe(PairRecipe):
    """One run between two domains."""

    task = "dann"

    network: Literal[names("dann")]
    method: Literal["source-only", "dann", "target-only"]

    @property
    def needs_target_labels(self) -> bool:
        return self.method == "target-only"


class ImprovedRecipe(PairRecipe):
    """One run of the improved model. `augment_target` is the weak view, which the teacher labels."""

    task = "uda"

    network: Literal[names("uda")]
    method: Literal["improved"]

    ema_decay: float = Field(gt=0, lt=1, description="of the teacher, which is also the result")
    target_batch: int = Field(gt=1, description="images of the target a step")
    augment_strong: Augmentation = Field(description="the view of a target image that is learned from")
    pseudo_weight: float = Field(ge=0, description="of the loss on the teacher's labels")
    ramp: tuple[int, int] = Field(strict=False, description="steps between which that weight rises from 0")
    confidence: float = Field(gt=0, lt=1, description="probability from which on a label of the teacher counts")
    confidence_last: float = Field(gt=0, lt=1, description="the same at the end")
    class_thresholds: bool = Field(description="ask for less in classes of which few are confident")
    equal_shares: bool = Field(False, description="change the teacher's labels so that all classes are as frequent")
    target_labels: bool = Field(False, description="the target's own labels in place of the teacher's: an upper bound")
    gradient_clip: float = Field(gt=0, description="largest norm of a step's gradient")

    @property
    def needs_target_labels(self) -> bool:
        return self.target_labels

    @field_validator("ramp")
    @classmethod
    def _ordered(cls, ramp: tuple[int, int]) -> tuple[int, int]:
        if not 0 <= ramp[0] < ramp[1]:
            raise ValueError("choose two steps, the earlier first")
        return ramp

    def pseudo_weight_at(self, step: int) -> float:
        """0 before the ramp, then linearly up."""
        first, last = self.ramp
        return self.pseudo_weight * min(1.0, max(0.0, (step - first) / (last - first)))

    def confidence_at(self, step: int) -> float:
        """From `confidence` linearly to `confidence_last` between the fractions `FALL` of training."""
        progress = (step / self.steps - FALL[0]) / (FALL[1] - FALL[0])
        return self.confidence + (self.confidence_last - self.confidence) * min(1.0, max(0.0, progress))
