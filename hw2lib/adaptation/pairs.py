"""What trainings between two digit domains share: their images, their batches, and how a run is evaluated."""

from itertools import product
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from hw2lib.adaptation.recipe import PairRecipe
from hw2lib.data.augment import Augmentation
from hw2lib.data.prepare import Form, prepare
from hw2lib.errors import UserError
from hw2lib.metrics.accuracy import accuracy, outputs
from hw2lib.training.steps import Labelled, draw, load_split

if TYPE_CHECKING:
    from lightning_fabric import Fabric

CLASSES = 10
UNLABELLED = 2000  # images of the target's train split, about, that label-free criteria look at
TEMPERATURE = 0.05  # of soft neighbourhood density, as in the paper


def train_split(images, domain: str, device: torch.device, batch: int, learn_labels: bool = True) -> Labelled:
    """The train split of a domain, with labels if they are learned; `UserError` if they or a digit are missing."""
    stored, labels = load_split(images, domain, "train", device, batch, labels_needed=learn_labels)
    if labels is not None and (missing := sorted(set(range(CLASSES)) - set(labels.unique().tolist()))):
        aligned = "domains with different digits cannot be aligned as wholes"
        why = "all ten digits are to be learned" if learn_labels else aligned
        raise UserError(f"{domain} train: no image of {', '.join(map(str, missing))}; {why}")
    return stored, labels if learn_labels else None


def batch_of(data: Labelled, size: int, form: Form, augmentation: Augmentation, others: Tensor | None) -> Labelled:
    """A batch as the network reads it, and its labels; onto patches of `others`, stored images, it may be painted."""
    images, labels = draw(data, size)
    if others is None or not augmentation.backgrounds:
        return prepare(images, *form, augmentation), labels
    behind = others[torch.randint(len(others), (size,), device=others.device)].float() / 255
    behind = behind.mean(1, keepdim=True) if form.channels == 1 else behind.expand(-1, 3, -1, -1)
    return prepare(images, *form, lambda x: augmentation(x, behind)), labels


def evaluation_split(recipe: PairRecipe, images, domain: str, split: str, device: torch.device) -> Labelled | None:
    """A split, or as many of its images as the recipe asks for, evenly; None for a val or test split without images."""
    data = load_split(images, domain, split, device, labels_needed=False)
    return data and evenly(data, recipe.evaluated)


def evenly(data: Labelled, count: int) -> Labelled:
    """As many of the images, evenly over all, since a folder may be sorted by digit; all for 0."""
    images, labels = data
    if not 0 < count < len(images):
        return data
    chosen = torch.linspace(0, len(images) - 1, count, device=images.device).long()
    return images[chosen], None if labels is None else labels[chosen]


def accuracy_of(network: nn.Module, data: Labelled | None, form: Form, fabric: "Fabric") -> float | None:
    """Percent of a split; None where there is no such split, or it has no labels."""
    if data is None or data[1] is None:
        return None
    with fabric.autocast():
        return accuracy(outputs(network.eval(), data[0], *form), data[1])


def evaluation(
    network: nn.Module, recipe: PairRecipe, images, history: list[dict[str, Any]], form: Form, fabric: "Fabric"
) -> dict[str, Any]:
    """The part of a card that says how good the last step is, whatever it was before.

    ``accuracy`` has percentages (``{"target test": 72.4, ...}``), ``curve`` the target's test accuracy over the steps,
    ``oracle`` its maximum, and ``criteria`` what can be known without a label of the target.
    """
    accuracies = {}
    for role, split in product(("source", "target"), ("val", "test")):
        data = evaluation_split(recipe, images, getattr(recipe, role), split, fabric.device)
        percent = accuracy_of(network, data, form, fabric)
        accuracies[f"{role} {split}"] = None if percent is None else round(percent, 3)
    curve = [(line["step"], line["target test"]) for line in history if "target test" in line]
    stored, _ = evaluation_split(recipe, images, recipe.target, "train", fabric.device)
    seen = stored[:: max(1, len(stored) // UNLABELLED)]  # evenly, since a folder may be sorted by digit
    with fabric.autocast():
        probabilities = outputs(network.eval(), seen, *form).softmax(1)
    return {
        "accuracy": accuracies,
        "oracle": max((accuracy for _, accuracy in curve), default=None),
        "curve": curve,
        "criteria": {name: round(value, 4) for name, value in criteria(probabilities).items()},
    }


def criteria(probabilities: Tensor) -> dict[str, float]:
    """How good a network is on a target, guessed from its outputs (N, classes) there; no label is seen."""
    measures = {"entropy": entropy, "information": information, "density": neighbourhood_density}
    return {name: measure(probabilities) for name, measure in measures.items()}


def entropy(probabilities: Tensor) -> float:
    """Mean entropy in nats of rows (N, classes) of probabilities: low where a network is sure of each image."""
    return torch.special.entr(probabilities.double()).sum(1).mean().item()


def information(probabilities: Tensor) -> float:
    """Mutual information in nats of image and class (Bridle et al. 1991), rows (N, classes); at most log(classes)."""
    return entropy(probabilities.double().mean(0, keepdim=True)) - entropy(probabilities)


def neighbourhood_density(probabilities: Tensor, temperature: float = TEMPERATURE) -> float:
    """Soft neighbourhood density of rows (N, classes): high where images lie in large clusters (Saito et al. 2021).

    The entropy in nats of a softmax of an image's cosines with all others (equation 2), averaged (equation 3).
    """
    rows = torch.nn.functional.normalize(probabilities.double(), dim=1)
    similarity = (rows @ rows.T / temperature).fill_diagonal_(-torch.inf)
    return entropy(similarity.softmax(1))
