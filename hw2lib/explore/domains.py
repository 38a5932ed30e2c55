"""An explorer of what networks read in an image of the target, and where it lies among their features."""

import functools
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from torch import Tensor

from hw2lib import data
from hw2lib.adaptation.networks import load
from hw2lib.adaptation.tables import PAIRS, method_title, pair_title
from hw2lib.explore import Explorer, check_any, choice, int_slider, stoppable
from hw2lib.metrics.accuracy import outputs
from hw2lib.plots import PALETTE, WIDTH
from hw2lib.training.run_folder import RunFolder, shipped_run

COUNT = 200  # images of each domain
SHIPPED = ("dann-compact/ours/{}/source-only", "dann-compact/ours/{}/dann", "uda-cnn/ours/{}/improved")


def adaptation(
    folders: Sequence[RunFolder] | None = None, images: data.ImageSource | None = None, count: int = COUNT
) -> Explorer:
    """What each method reads in an image of the target's test split, and where the image lies among its features.

    Args:
        folders: finished runs between domains, one of each pair and method; by default those that ship.
        images: see `hw2lib.data.source`; by default the embedded stand-ins.
        count: images of each domain, the first of its test split.
    """
    if folders is None:
        titles = [f"{title.format(pair)}/seed-0" for pair in PAIRS for title in SHIPPED]
        folders = [run for title in titles if (run := shipped_run(title, None, with_weights=True))]
    images, pairs = images or data.source("quick"), {}
    for folder in folders:
        if folder.weights.exists():
            pairs.setdefault("{source}-{target}".format(**folder.settings), []).append(folder)
    first = functools.cache(lambda domain: _first(images, domain, count))

    @functools.cache
    def read(folder: RunFolder) -> tuple[np.ndarray, np.ndarray]:
        return _read(folder, *(first(folder.settings[role])[0] for role in ("source", "target")))

    def draw(pair, image) -> tuple[Figure, str]:
        check_any(pairs)
        source, target = pair.split("-")
        pixels, labels = first(target)
        number = min(image, len(pixels) - 1)
        truth = "unknown" if labels[number] < 0 else str(labels[number])
        found = {method_title(folder.settings["method"]): read(folder) for folder in pairs[pair]}
        figure, panels = plt.subplots(2, 1 + len(found), figsize=(1.35 * WIDTH, 4.2), layout="constrained")
        panels[0, 0].imshow(pixels[number].permute(1, 2, 0).expand(-1, -1, 3).numpy())
        panels[0, 0].set(
            title=f"{data.TITLES.get(target, target)}, image {number}\ntruth: {truth}", xticks=[], yticks=[]
        )
        for (title, (shares, points)), (above, below) in zip(found.items(), panels.T[1:], strict=True):
            _bars(above, title, shares[number], labels[number])
            _plane(below, points, first(source)[1], number)
        panels[0, 1].set(ylabel="probability, %")
        panels[1, 0].axis("off")
        handles, names = panels[1, 1].get_legend_handles_labels()
        marks = dict(zip(names, handles, strict=True)) | {"truth": Patch(color=PALETTE[1])}  # one of each name
        panels[1, 0].legend(marks.values(), marks, loc="center", title="features, PCA")
        readings = ", ".join(f"{title} reads {_reading(shares[number])}" for title, (shares, _) in found.items())
        return figure, f"{pair_title(pair)}, {images.origin} image {number}, truth {truth}: {readings}."

    controls = {
        "pair": choice("pair", [(pair_title(pair), pair) for pair in pairs]),
        "image": int_slider("target image", 0, 0, count - 1),
    }
    return Explorer(draw, controls)


def _first(images: data.ImageSource, domain: str, count: int) -> tuple[Tensor, np.ndarray]:
    """The first images of a test split, uint8 (N, C, H, W), and their labels, -1 where they are not known."""
    split = images.load(domain, "test")
    labels = np.full(len(split), -1) if split.labels is None else split.labels
    return torch.from_numpy(split.images[:count].copy()), labels[:count]


@torch.inference_mode()
def _read(folder: RunFolder, source: Tensor, target: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """The probabilities of the digits in images of the target (N, 10), and the features of both domains in the plane
    of their two principal components, those of the source first (M + N, 2).
    """
    network, form = load(folder)
    stoppable(network.features)
    parts = [outputs(network.features, images, *form) for images in (source, target)]
    features = torch.cat(parts).double()
    features -= features.mean(0)
    axes = torch.linalg.svd(features, full_matrices=False)[2][:2]
    return network.label(parts[1]).softmax(1).numpy(), (features @ axes.T).numpy()


def _bars(axes: Axes, title: str, shares: np.ndarray, truth: int) -> None:
    """Probabilities of the ten digits (10,), that of the truth in another colour."""
    colours = [PALETTE[1] if digit == truth else PALETTE[0] for digit in range(10)]
    axes.bar(range(10), 100 * shares, color=colours)
    axes.set(title=f"{title}\nreads {_reading(shares)}", ylim=(0, 100), xticks=range(10), xlabel="digit")


def _plane(axes: Axes, points: np.ndarray, labels: np.ndarray, number: int) -> None:
    """Points of both domains, those of the source as the digits that they are, with a ring around one of the target."""
    source, target = points[: len(labels)], points[len(labels) :]
    axes.scatter(*target.T, c="#aaaaaa", s=7, lw=0, label="target")
    for digit in np.unique(labels):
        marker = "x" if digit < 0 else f"${digit}$"
        axes.scatter(*source[labels == digit].T, color=PALETTE[0], s=16, lw=0.3, marker=marker, label="source")
    axes.plot(*target[number], "o", ms=13, mfc="none", mec=PALETTE[3], mew=2.5, label="this image")
    axes.set(xticks=[], yticks=[])
    axes.grid(False)


def _reading(shares: np.ndarray) -> str:
    """Such as ``3 (98 %)``."""
    return f"{shares.argmax()} ({100 * shares.max():.0f} %)"
