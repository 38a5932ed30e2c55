"""What trainings between two digit domains have in common: the recipe's keys, the images, and how a run is judged."""

from collections.abc import Callable
from itertools import product
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from hw2lib.adaptation import criteria
from hw2lib.adaptation.recipe import PairRecipe
from hw2lib.data.augment import Augmentation
from hw2lib.data.prepare import Form, prepare
from hw2lib.errors import UserError
from hw2lib.metrics.accuracy import accuracy, outputs
from hw2lib.training.batches import Labelled, draw, load_split

if TYPE_CHECKING:
    from lightning_fabric import Fabric

CLASSES = 10
UNLABELLED = 2000  # images of the target's train split, about, that label-free criteria look at


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
