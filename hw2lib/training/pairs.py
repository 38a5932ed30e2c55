"""What trainings between two digit domains have in common: the recipe's keys, the images, and how a run is judged."""

import math
from collections.abc import Callable
from itertools import product
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, get_args

import torch
from pydantic import Field
from torch import Tensor, nn

from hw2lib.adaptation import criteria
from hw2lib.data import FACES
from hw2lib.data.augment import Augmentation
from hw2lib.data.prepare import Form, Normalisation, prepare
from hw2lib.errors import UserError
from hw2lib.metrics.accuracy import accuracy, outputs
from hw2lib.training.batches import Labelled, draw, load_split
from hw2lib.training.recipe import BaseRecipe, resolve

if TYPE_CHECKING:
    from lightning_fabric import Fabric

CLASSES = 10
UNLABELLED = 2000  # images of the target's train split, about, that label-free criteria look at


class PairRecipe(BaseRecipe):
    """One run between two domains. Rates are per step."""

    task: ClassVar[str]  # the file of recipes

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

    @classmethod
    def of(
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
        names = {key: get_args(cls.model_fields[key].annotation) for key in ("network", "method")}
        return resolve(cls, cls.task, recipe, preset, override, names, pair=f"{source}-{target}", **choice)

    @property
    def title(self) -> str:
        """Such as ``dann-compact/ours/mnistm-svhn/dann/seed-0``; also the place of its run folder."""
        return f"{self.network}/{self.recipe}/{self.source}-{self.target}/{self.method}/seed-{self.seed}"

    @property
    def domains(self) -> tuple[str, ...]:
        return tuple(sorted({self.source, self.target}))

    @property
    def needs_target_labels(self) -> bool:
        """Whether a target without labels cannot be learned from."""
        return False

    def learning_rate_at(self, step: int) -> float:
        """Linear warm-up, then constant or a half cosine that ends at 0."""
        warm = min(1.0, (step + 1) / self.warmup_steps) if self.warmup_steps else 1.0
        fall = (1 + math.cos(math.pi * step / self.steps)) / 2 if self.schedule == "cosine" else 1.0
        return self.learning_rate * warm * fall

    def optimiser_of(self, network: nn.Module) -> torch.optim.Optimizer:
        """A new optimiser of the network's weights."""
        kind = torch.optim.AdamW if self.optimiser == "adamw" else torch.optim.Adam
        return kind(network.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay, fused=True)


def labelled(images, domain: str, device: torch.device, batch: int) -> Labelled:
    """The train split of a domain whose labels are to be learned.

    Raises:
        UserError: it has no labels, a digit is missing, or it cannot be read (`load_split`).
    """
    data = load_split(images, domain, "train", device, batch)
    _require_all_classes(domain, data[1], "all ten digits are to be learned")
    return data


def unlabelled(images, domain: str, device: torch.device, batch: int) -> Tensor:
    """The images (N, C, H, W) uint8 of the train split of a domain to adapt to. Its labels, if any, are not learned.

    Raises:
        UserError: a digit is missing, or it cannot be read (`load_split`).
    """
    stored, labels = load_split(images, domain, "train", device, batch, labels_needed=False)
    if labels is not None:
        _require_all_classes(domain, labels, "domains with different digits cannot be aligned as wholes")
    return stored


def _require_all_classes(domain: str, labels: Tensor, why: str) -> None:
    if missing := sorted(set(range(CLASSES)) - set(labels.unique().tolist())):
        raise UserError(f"{domain} train: no image of {', '.join(map(str, missing))}; {why}")


def batch_of(data: Labelled, size: int, form: Form, augmentation: Augmentation, others: Tensor | None) -> Labelled:
    """A batch as the network reads it, and its labels; onto patches of `others`, stored images, it may be painted."""
    images, labels = draw(data, size)
    if others is None or not augmentation.backgrounds:
        return prepare(images, *form, augmentation), labels
    behind = others[torch.randint(len(others), (size,), device=others.device)].float() / 255
    behind = behind.mean(1, keepdim=True) if form.channels == 1 else behind.expand(-1, 3, -1, -1)
    return prepare(images, *form, lambda x: augmentation(x, behind)), labels


def accuracy_of(
    network: Callable[[Tensor], Tensor], data: Labelled | None, form: Form, fabric: "Fabric"
) -> float | None:
    """Percent of a split; None where there is no such split, or it has no labels."""
    if data is None or data[1] is None:
        return None
    with fabric.autocast():
        return accuracy(outputs(network.eval(), data[0], *form), data[1])


def judged(
    network: nn.Module, recipe: PairRecipe, images, history: list[dict[str, Any]], form: Form, fabric: "Fabric"
) -> dict[str, Any]:
    """The part of a card that says how good the last step is, whatever it was before.

    ``accuracy`` has percentages (``{"target test": 72.4, ...}``), ``curve`` the target's test accuracy over the steps,
    ``oracle`` its maximum, and ``criteria`` what can be known without a label of the target
    (`hw2lib.adaptation.criteria`).
    """
    accuracies = {}
    for role, split in product(("source", "target"), ("val", "test")):
        part = load_split(images, getattr(recipe, role), split, fabric.device, labels_needed=False)
        found = accuracy_of(network, part, form, fabric)
        accuracies[f"{role} {split}"] = None if found is None else round(found, 3)
    curve = [(line["step"], line["target test"]) for line in history if "target test" in line]
    stored, _ = load_split(images, recipe.target, "train", fabric.device, labels_needed=False)
    seen = stored[:: max(1, len(stored) // UNLABELLED)]  # evenly, since a folder may be sorted by digit
    with fabric.autocast():
        probabilities = outputs(network.eval(), seen, *form).softmax(1)
    return {
        "accuracy": accuracies,
        "oracle": max((accuracy for _, accuracy in curve), default=None),
        "curve": curve,
        "criteria": {name: round(value, 4) for name, value in criteria.of(probabilities).items()},
    }


def result_of(card: dict[str, Any]) -> str:
    """Such as ``71.0 % of target test``."""
    accuracy = card["accuracy"]["target test"]
    return "no target test split with labels" if accuracy is None else f"{accuracy} % of target test"
