"""Scores of generated digits under a classifier, the grader: are they what was asked for, and are they like real ones?

The grader is the project's own, trained on real MNIST-M, or a file of the user's. Beside an accuracy belongs the
grader's own on real digits, and beside a Fréchet distance its floor. The distance is between features of the grader: it
compares with no FID, and with no distance under another grader.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from hw2lib import weights
from hw2lib.classifier.network import DigitClassifier
from hw2lib.classifier.reference import DigitReference, shipped
from hw2lib.data.prepare import prepare
from hw2lib.errors import UserError
from hw2lib.metrics.accuracy import accuracy
from hw2lib.metrics.fidelity import Extractor, extract, gaussian, gaussian_distance
from hw2lib.metrics.images import check_images
from hw2lib.networks import build
from hw2lib.training.run_folder import shipped_weights

NETWORK = "digit-classifier"
BATCH = 1000


@dataclass(frozen=True)
class Grader(Extractor):
    """A digit classifier that sees uint8 images (N, 3, 28, 28): 64 features and 10 logits each."""

    title: str = ""  # for captions
    accuracy: float | None = None  # percentage of real MNIST-M test digits; None for a file of the user's

    def kept_key(self) -> str:
        """What results that are kept (`hw2lib.kept`) depend on: the weights, which the name tells."""
        return self.name


def grader(path: str = "", seed: int = 0) -> Grader:
    """The classifier that ships, of a seed of its training, or that of a file of `DigitClassifier`'s names and shapes.

    For the file, and what of it is refused, see `hw2lib.weights.load`.
    """
    network = build(NETWORK)
    run = None if path else shipped_weights(NETWORK, seed=seed)
    file = Path(path).expanduser() if path else run.weights
    weights.load(network, file)
    digest = hashlib.sha256()
    for tensor in network.state_dict().values():
        digest.update(tensor.numpy().tobytes())
    name, see = f"{NETWORK}-{digest.hexdigest()[:16]}", partial(_see, network.eval())
    if path:
        return Grader(see, name, title=file.name)
    return Grader(see, name, title=f"the project's {NETWORK}", accuracy=run.card["accuracy"]["test"])


def _see(network: DigitClassifier, images: Tensor) -> tuple[Tensor, Tensor]:
    features = network.features(prepare(images, network.inputs.channels, network.inputs.size, "range"))
    return features, network.fc3(features)


def graders_table(sets: Mapping[str, Tensor], seeds: Sequence[int]) -> pd.DataFrame:
    """The accuracy on sets of digits, in turn 0 to 9, uint8 (N, 3, 28, 28), of the project's classifier of each seed.

    The last row is that on the real MNIST-M test digits.
    """
    rows = {}
    for judge, seed in ((grader(seed=seed), seed) for seed in seeds):
        read = {name: digit_scores(x, torch.arange(len(x)) % 10, judge)["accuracy"] for name, x in sets.items()}
        rows[f"classifier of seed {seed}, %"] = read | {"real MNIST-M": judge.accuracy}
    return pd.DataFrame(rows).map("{:.1f}".format).rename_axis("digits").reset_index()


def digit_scores(
    images: Tensor, labels: Tensor, grader: Grader, reference: DigitReference | None = None
) -> dict[str, float]:
    """All scores of generated digits.

    ``accuracy`` is the percentage of images that are read as the digit asked for, ``accuracy_0`` and so on that of
    each digit. ``frechet`` is the distance of the features from those of real digits, left out without a reference.

    Args:
        images: uint8 (N, 3, 28, 28), N of at least 2; the floor of the Fréchet distance is that of 1,000.
        labels: (N,) which digit, 0 to 9, each was to be.
        reference: the real digits as the same grader sees them; None: that which ships, if it is of this grader.

    Raises UserError for other images or labels, or the reference of another grader.
    """
    check_images(images, DigitClassifier.inputs.size)
    labels = labels.cpu()
    if labels.shape != (len(images),) or labels.is_floating_point() or not ((labels >= 0) & (labels < 10)).all():
        raise UserError(f"labels of {len(images)} digits have to be as many integers from 0 to 9")
    if reference is None:
        standing = shipped()
        reference = standing if standing.grader == grader.name else None
    elif reference.grader != grader.name:
        raise UserError(f"the reference is of {reference.grader}, not of {grader.name}; measure it anew")
    seen = extract(images, grader, BATCH)
    scores = {"accuracy": accuracy(seen.logits, labels)}
    for digit in labels.unique().tolist():
        scores[f"accuracy_{digit}"] = accuracy(seen.logits[labels == digit], labels[labels == digit])
    if reference:
        scores["frechet"] = gaussian_distance(gaussian(seen.features), reference.features)
    return scores
