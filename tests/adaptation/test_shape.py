"""The shape of the target: what is done to an image, and that the choice is the shape that the network knows."""

import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from hw2lib.adaptation import choice, tables
from hw2lib.adaptation.choice import AS_IT_IS, SHAPES, Shape
from hw2lib.adaptation.recipe import DANNRecipe
from hw2lib.data import ImageSet
from hw2lib.data.prepare import Form

PIXEL = torch.arange(28.0) - 13.5


def bars(width: float, height: float, n: int = 60) -> torch.Tensor:
    """(n, 3, 28, 28) uint8: Gaussian blobs of these deviations in pixels, half of them negatives."""
    light = torch.exp(-(PIXEL**2) / (2 * width**2)) * torch.exp(-(PIXEL[:, None] ** 2) / (2 * height**2))
    images = (255 * light).round().to(torch.uint8).expand(n, 3, 28, 28).clone()
    images[::2] = 255 - images[::2]
    return images


def deviations(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Of light, or, in a negative, of dark, along x and y, (N,) pixels."""
    light = (images - images[:, :, :1, :1]).abs().mean(1)
    light = light / light.sum((1, 2), keepdim=True)
    return tuple((light.sum(axis) * PIXEL**2).sum(1).sqrt() for axis in (1, 2))


def knows(width: float, height: float):
    """A network that tells lights from negatives, and is the surer, the nearer a blob is to these deviations."""

    def network(x: torch.Tensor) -> torch.Tensor:
        across, down = deviations(x)
        sure = (6 - 20 * ((across / width).log().abs() + (down / height).log().abs())).clamp(min=0)
        logits = torch.full((len(x), 10), -20.0)
        is_light = x[:, 0, 13:15, 13:15].mean((1, 2)) > x[:, 0, 0, 0]
        logits[:, 0] = torch.where(is_light, sure, -sure)
        logits[:, 1] = -logits[:, 0]
        return logits

    return network


@pytest.fixture
def tried(monkeypatch):
    """What a network makes of images in all shapes."""

    def tried(network, images, labels=None, count=60):
        monkeypatch.setattr(choice, "load", lambda folder: (network, Form(3, 28, "range")))
        data = ImageSet(images.numpy(), labels, "usps", "train", "stand-in")
        folder = SimpleNamespace(settings={"target": "usps"})
        images = SimpleNamespace(load=lambda domain, split: data)
        return pd.DataFrame(choice.shape_scores.__wrapped__(folder, images, count))  # nothing of it is kept

    return tried


def test_shapes_are_all_within_the_ratio_and_one_is_the_image_as_it_is():
    assert AS_IT_IS in SHAPES
    assert len(set(SHAPES)) == len(SHAPES) == 3 * (49 - 6)
    assert max(max(a.width / a.height, a.height / a.width) for a in SHAPES) == pytest.approx(2)


@pytest.mark.parametrize(("width", "height"), [(0.75, 1.2), (1.4, 1.0), (1.0, 0.75)])
def test_a_shape_multiplies_width_and_height(width, height):
    images = bars(2.5, 3).float() / 255
    across, down = deviations(images)
    changed = deviations(Shape(width, height, 0)(images))
    assert torch.allclose(changed[0] / across, torch.tensor(width), rtol=0.04)
    assert torch.allclose(changed[1] / down, torch.tensor(height), rtol=0.04)
    assert torch.allclose(AS_IT_IS(images), images, atol=1e-5)


def test_slanted_lines_are_made_upright_by_the_opposite_slant():
    images = Shape(1, 1, 0.2)(bars(1.5, 6).float() / 255)
    assert slope(images[1]) == pytest.approx(-0.2, abs=0.02), "the top is at the right"
    assert slope(Shape(1, 1, -0.2)(images)[1]) == pytest.approx(0, abs=0.02)


def slope(image: torch.Tensor) -> float:
    """How far the light moves to the right with each row down."""
    rows = image.mean(0)[8:20]
    centres = (rows * PIXEL).sum(1) / rows.sum(1)
    return float(np.polyfit(np.arange(12), centres.numpy(), 1)[0])


# What notebook 55 finds on the real images, with 2,000 of them.
FOUND = {("svhn", "mnistm"): Shape(0.71, 1.19, -0.2), ("mnistm", "svhn"): Shape(1.41, 1.0, 0)}


@pytest.mark.parametrize("pair", FOUND)
def test_the_source_is_moved_two_thirds_of_the_way_against_what_is_found(pair):
    before, after = (
        DANNRecipe.choose("dann-compact", name, *pair, "dann", 0, "paper").augment_source.affine
        for name in ("ours", "shaped")
    )
    width, height, slant = FOUND[pair]
    assert after.aspect_middle == pytest.approx(-2 / 3 * math.log(width / height), abs=0.01)
    for old, new in zip(before.scale, after.scale, strict=True):
        assert math.log(new / old) == pytest.approx(-2 / 3 * math.log(width * height) / 2, abs=0.02)
    assert after.shear_middle == pytest.approx(-2 / 3 * slant, abs=0.01)
    assert (after.aspect, after.shear, after.rotate) == (before.aspect, before.shear, before.rotate)


def test_the_choice_is_the_shape_that_the_network_knows(tried):
    labels = np.arange(60) % 2 == 0
    rows = tried(knows(2.0, 2.0), bars(2 / 0.707, 2 / 1.189), labels.astype(int))
    best = choice.chosen(rows, "information")
    assert (best["width"], best["height"], best["slant"]) == pytest.approx((0.707, 1.189, 0), abs=0.01)
    assert best["information"] == pytest.approx(math.log(2), abs=0.01), "two digits, both as often"
    assert best["accuracy"] == 100
    assert choice.as_it_is(rows)["information"] < best["information"] - 0.1
    assert choice.rank_correlation(rows, "information", "accuracy") > 0.5


def test_no_label_is_needed_and_accuracy_is_then_missing(tried):
    rows = tried(knows(2.0, 2.0), bars(2 / 0.707, 2.0))
    assert choice.chosen(rows, "information")["width"] == pytest.approx(0.707, abs=0.01)
    table = choice.shape_table({"mnistm-usps": rows}).iloc[0]
    assert table[["pair", "width", "height", "slant"]].tolist() == ["MNIST-M to USPS", "× 0.71", "× 1.00", "0"]
    assert set(table[["as it is", "in that shape", "best, oracle"]]) == {"missing"}
    assert table["rank correlation"] == "–"
    assert set(choice.shape_headline({"mnistm-usps": rows})) == {"mnistm_usps_shape_width", "mnistm_usps_shape_height"}


def test_as_many_images_as_asked_for_and_from_the_whole_split(tried):
    seen = []
    network = knows(2.0, 2.0)
    images = bars(3, 3)
    images[-1] = 77
    tried(lambda x: seen.append((len(x), float(x[-1].std()) < 1e-3)) or network(x), images, count=7)
    assert set(seen) == {(7, True)}, "the last image is among them"
    seen.clear()
    tried(lambda x: seen.append(len(x)) or network(x), images, count=900)
    assert set(seen) == {60}


def test_gains_have_a_row_for_each_pair_and_recipe():
    runs = [("shaped", "dann", 0, 68.0), ("shaped", "dann", 1, 70.0), ("ours", "dann", 0, 60.0)]
    frame = pd.DataFrame(
        [
            {"pair": "svhn-mnistm", "recipe": recipe, "method": method, "seed": seed, "test": test}
            for recipe, method, seed, test in runs
        ]
    )
    table = tables.gain_table(frame, "test", ["svhn-mnistm"], 2).set_index("recipe")
    assert table["DANN"].to_dict() == {"ours": "60.0 (1 of 2 seeds)", "shaped": "69.0 ± 1.4", "fitted": "missing"}
    assert set(table["source-only"]) == {"missing"}
