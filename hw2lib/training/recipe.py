"""What the recipes of all families have in common."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple, Self, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field

from hw2lib import recipes, used
from hw2lib.errors import UserError
from hw2lib.noise import LARGEST_SEED
from hw2lib.paths import PRESETS, check_preset

Choice = TypeVar("Choice")


def by_preset(smoke: Choice, report: Choice) -> dict[str, Choice]:
    """A choice for each preset: ``smoke`` trains as little as it can, ``quick`` and ``paper`` show the same runs."""
    return {"smoke": smoke, "quick": report, "paper": report}


SEEDS = by_preset([0], [0, 1, 2])


class Trainings(NamedTuple):
    """The trainings that a notebook shows: each combination, as `hw2lib.runs.recipes_for` takes it.

    What differs between presets is a dict of `by_preset`. A family's ``REPORT`` has those of each of its notebooks.
    """

    networks: Sequence[str] | dict[str, Sequence[str]]
    recipes: Sequence[str] | dict[str, Sequence[str]] = ("ours",)
    seeds: Sequence[int] | dict[str, Sequence[int]] = (0,)
    pairs: Sequence[str] = ()
    methods: Sequence[str] = ()
    with_weights: bool = False  # a run that ships as a card alone does not do


class BaseRecipe(BaseModel, ABC):
    """Everything that defines a run but its images. Lengths are in optimiser steps; rates are per step."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    task: ClassVar[str]  # the file of recipes

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

    @property
    def needs_target_labels(self) -> bool:
        """Whether the run learns the labels of a target domain."""
        return False


class NetworkRecipe(BaseRecipe):
    """A recipe that is chosen by its network alone."""

    @classmethod
    def choose(cls, network: str, recipe: str, seed: int, preset: str, override: dict[str, Any] | None = None) -> Self:
        """The checked recipe of one run; `override` replaces single keys of the file."""
        return resolve(cls, recipe, preset, override, network=network, seed=seed)


def resolve(
    model: type[BaseRecipe], recipe: str, preset: str, override: dict[str, Any] | None, **choice: Any
) -> BaseRecipe:
    """The checked recipe of one run, from the file of `model.task`, and a note that it was used (`hw2lib.used`).

    `override` replaces keys of the file; `choice` is network, seed, and of a pair ``pair``, ``source``, ``target`` and
    ``method``. A `UserError` names a bad key and what is allowed.
    """
    override = override or {}
    check_preset(preset)
    for key in override.keys() & {"recipe", *choice}:
        raise UserError(f"'{key}' is not a key of the recipe's file: choose it by its own option")
    fields = model.model_fields
    names = {key: get_args(fields[key].annotation) for key in ("network", "method") if key in fields}
    names["preset"] = PRESETS
    resolved = recipes.resolve(model, model.task, recipe, override, names, preset=preset, **choice)
    name = json.dumps({"recipe": recipe, "preset": preset, "override": override, **choice}, sort_keys=True)
    used.note("recipe", name, digest_of(resolved))
    return resolved


def digest_of(recipe: BaseRecipe) -> str:
    """A hash of all values of a recipe."""
    return hashlib.sha256(recipe.model_dump_json().encode()).hexdigest()
