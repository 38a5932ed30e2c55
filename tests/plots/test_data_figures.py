"""Figures of the images: what they show is what the arrays hold."""

import numpy as np

from hw2lib.data import ImageSet
from hw2lib.data.overview import splits_table
from hw2lib.plots import data as figures


def digits(domain="usps", split="train", labels=None):
    """Images of one grey level each, ten times their label."""
    labels = np.repeat(np.arange(10), 4) if labels is None else np.asarray(labels)
    images = np.broadcast_to((labels * 10).astype(np.uint8)[:, None, None, None], (len(labels), 1, 28, 28))
    return ImageSet(images, labels, domain, split, "stand-in")


def shown(figure):
    return figure.axes[0].images[0].get_array()


def test_each_column_of_the_samples_is_one_digit():
    grid = shown(figures.digit_samples([digits(), digits("svhn")], rows=2, seed=0))
    for row in range(4):
        assert [grid[row * 30 + 14, column * 30 + 14, 0] for column in range(10)] == list(range(0, 100, 10))


def test_the_seed_chooses_the_samples():
    labels = np.repeat(np.arange(10), 20)
    noise = np.random.default_rng(0).integers(0, 256, (200, 1, 28, 28), np.uint8)
    several = [ImageSet(noise, labels, "usps", "train", "stand-in")]
    first, again, other = (shown(figures.digit_samples(several, rows=2, seed=seed)) for seed in (0, 0, 1))
    assert (first == again).all()
    assert (first != other).any()


def test_bars_are_the_share_of_each_class():
    figure = figures.class_balance([digits(labels=[0] * 30 + [7] * 10), digits(split="test")])
    train, test = figure.axes[0].containers
    assert [bar.get_height() for bar in train] == [75, 0, 0, 0, 0, 0, 0, 25, 0, 0]
    assert [bar.get_height() for bar in test] == [10] * 10


def test_brightness_is_between_black_and_white():
    figure = figures.brightness_and_contrast([digits(labels=[5] * 100)], seed=0)
    outline = figure.axes[0].patches[0].get_xy()
    filled = outline[outline[:, 1] > 0, 0]
    assert filled.min() <= 50 / 255 <= filled.max()
    assert filled.max() - filled.min() < 0.05


class Source:
    """Uneven digits, faces without labels, and nothing else."""

    def domains(self):
        return ("usps", "face")

    def splits(self, domain):
        return ("train",)

    def load(self, domain, split):
        if domain == "usps":
            return digits(labels=[0] * 30 + [7] * 10)
        return ImageSet(np.zeros((5, 3, 64, 64), np.uint8), None, domain, split, "stand-in")


def test_the_table_counts_and_says_what_is_missing():
    table = splits_table(Source(), ["usps", "face", "svhn"])
    assert table.to_numpy().tolist() == [
        ["USPS", "train", "40", "28 × 28", "grey", "0.0", "75.0"],
        ["Faces", "train", "5", "64 × 64", "RGB", None, None],
        ["SVHN", None, None, None, None, None, None],
    ]
