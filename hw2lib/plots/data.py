"""Figures of the images themselves: samples, how often each class occurs, how bright they are."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from hw2lib.data import TITLES, ImageSet
from hw2lib.plots import WIDTH
from hw2lib.plots.grids import image_grid


def digit_samples(sets: Sequence[ImageSet], rows: int, seed: int) -> Figure:
    """``rows`` rows of each domain whose labels are known, one column for each digit, drawn at random."""
    rng = np.random.default_rng(seed)
    images, titles = [], []
    for digits in _labelled(sets):
        members = [np.flatnonzero(digits.labels == label) for label in range(10)]
        picks = np.stack([rng.choice(member, rows, replace=False) for member in members], axis=1)
        images += list(digits.images[picks])
        titles += [_title(digits.domain) if row == (rows - 1) // 2 else "" for row in range(rows)]
    return image_grid(images, titles, list("0123456789"))


def face_samples(faces: ImageSet, rows: int, columns: int, seed: int) -> Figure:
    """``rows`` times ``columns`` faces, drawn at random."""
    picks = np.random.default_rng(seed).choice(len(faces), rows * columns, replace=False)
    return image_grid(np.split(faces.images[picks], rows))


def class_balance(sets: Sequence[ImageSet]) -> Figure:
    """How often each digit occurs: a panel for each domain, a bar for each split whose labels are known."""
    sets = _labelled(sets)
    domains = list(dict.fromkeys(digits.domain for digits in sets))
    figure = plt.figure(figsize=(WIDTH, 1.9), layout="constrained")
    panels = figure.subplots(1, len(domains), sharey=True, squeeze=False)[0]
    for axes, domain in zip(panels, domains, strict=True):
        splits = [digits for digits in sets if digits.domain == domain]
        width = 0.8 / len(splits)
        for i, digits in enumerate(splits):
            share = np.bincount(digits.labels, minlength=10) / len(digits) * 100
            axes.bar(np.arange(10) + (i + 0.5) * width - 0.4, share, width, label=digits.split)
        axes.axhline(10, color="black", linewidth=0.6, linestyle="--")
        axes.set(title=_title(domain), xlabel="digit", xticks=range(10))
        axes.grid(axis="x", visible=False)
    panels[0].set_ylabel("images, %")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(panels[0].containers))
    return figure


def brightness_and_contrast(sets: Sequence[ImageSet], seed: int, sample: int = 2000) -> Figure:
    """Histograms over the images of each domain: the mean grey level within an image (0 to 1), and its deviation."""
    rng = np.random.default_rng(seed)
    figure, panels = plt.subplots(1, 2, figsize=(WIDTH, 2.2), layout="constrained")
    for images in sets:
        picks = np.sort(rng.choice(len(images), min(sample, len(images)), replace=False))
        grey = images.images[picks].mean(axis=1) / 255
        for axes, values, end in zip(panels, (grey.mean((1, 2)), grey.std((1, 2))), (1.0, 0.5), strict=True):
            axes.hist(values, np.linspace(0, end, 41), density=True, histtype="step", label=_title(images.domain))
    panels[0].set(xlabel="brightness (mean grey level)", ylabel="density")
    panels[1].set(xlabel="contrast (standard deviation)")
    for axes in panels:
        axes.grid(axis="x", visible=False)
    panels[1].legend()
    return figure


def _title(domain: str) -> str:
    return TITLES.get(domain, domain)


def _labelled(sets: Sequence[ImageSet]) -> list[ImageSet]:
    return [digits for digits in sets if digits.labels is not None]
