"""What the recipes of all families have in common."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self, get_args

from pydantic import BaseModel, ConfigDict, Field

from hw2lib import recipes
from hw2lib.errors import UserError
from hw2lib.noise import LARGEST_SEED
from hw2lib.paths import PRESETS, check_preset


class BaseRecipe(BaseModel, ABC):
    """Everything that defines a run but its images. Lengths are in optimiser steps; rates are per step."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    recipe: str
    network: str
    seed: int = Field(ge=0, le=LARGEST_SEED)

    steps: int = Field(gt=0)
    batch: int = Field(gt=1, description="images (of each domain) a step")
    ema_decay: float = Field(ge=0, lt=1, description="0: no moving average")
    evaluations: int = Field(gt=0, description="how often in training the network is evaluated and the state saved")

    @property
    def title(self) -> str:
        """Such as ``dcgan/ours/seed-0``; also the place of its run folder."""
        return f"{self.network}/{self.recipe}/seed-{self.seed}"

    @property
    @abstractmethod
    def domains(self) -> tuple[str, ...]:
        """The domains of images that the run reads."""


class NetworkRecipe(BaseRecipe):
    """A recipe that is chosen by its network alone."""

    task: ClassVar[str]  # the file of recipes

    @classmethod
    def of(cls, network: str, recipe: str, seed: int, preset: str, override: dict[str, Any] | None = None) -> Self:
        """The checked recipe of one run; `override` replaces single keys of the file."""
        names = {"network": get_args(cls.model_fields["network"].annotation)}
        return resolve(cls, cls.task, recipe, preset, override, names, network=network, seed=seed)


def resolve(
    model: type[BaseRecipe],
    task: str,
    recipe: str,
    preset: str,
    override: dict[str, Any] | None,
    names: dict[str, tuple[str, ...]],
    **choice: Any,
) -> BaseRecipe:
    """The checked recipe of one run from the file of its task; `override` replaces single keys of the file."""
    override = override or {}
    check_preset(preset)
    for key in override.keys() & {"recipe", *choice}:
        raise UserError(f"'{key}' is not a key of the recipe's file: choose it by its own option")
    return recipes.resolve(model, task, recipe, override, names | {"preset": PRESETS}, preset=preset, **choice)
