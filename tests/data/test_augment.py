"""Augmentation: against torchvision and closed forms, and what must never change."""

import math

import pytest
import torch
from pydantic import ValidationError
from torch.testing import assert_close
from torchvision.transforms.functional import InterpolationMode
from torchvision.transforms.functional import affine as torchvision_affine

from hw2lib.data.augment import (
    CONTRAST,
    PATCH,
    Affine,
    Augmentation,
    add_neighbours,
    affine,
    blur,
    cut_out,
    jitter,
    painted,
    shuffle_channels,
)

EVERYTHING = Augmentation(
    affine=Affine(rotate=30, scale=(0.5, 2), aspect=0.5, shear=0.3, shift=5),
    neighbours=0.7, grey=0.5, invert=0.5, invert_channels=0.5, shuffle_channels=0.5, jitter=0.8, blur=0.5, noise=0.5,
    cutout=0.5,
)  # fmt: skip


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def noise(n: int = 64, channels: int = 3) -> torch.Tensor:
    return torch.rand(n, channels, 28, 28)


def smooth(n: int = 1) -> torch.Tensor:
    """Images that interpolation hardly changes: a blob off the centre on black, different in each channel."""
    y, x = torch.meshgrid(torch.arange(28.0), torch.arange(28.0), indexing="ij")
    blobs = [torch.exp(-((x - 15 - c) ** 2 + (y - 10 - c) ** 2) / 18) for c in range(3)]
    return torch.stack(blobs).expand(n, 3, 28, 28).contiguous()


# Whatever is chosen


@pytest.mark.parametrize("channels", [1, 3])
def test_shape_and_range_are_kept(channels):
    for extreme in (noise(channels=channels), torch.ones(64, channels, 28, 28), torch.zeros(64, channels, 28, 28)):
        changed = EVERYTHING(extreme)
        assert changed.shape == extreme.shape
        assert changed.min() >= -1e-6
        assert changed.max() <= 1 + 1e-6


def test_nothing_is_the_default():
    images = noise()
    assert torch.equal(Augmentation()(images), images)


def test_the_images_given_are_not_written_to():
    images = noise()
    before = images.clone()
    EVERYTHING(images)
    assert torch.equal(images, before)


def test_the_seed_decides():
    images = noise()
    torch.manual_seed(1)
    first = EVERYTHING(images)
    second = EVERYTHING(images)
    torch.manual_seed(1)
    assert torch.equal(EVERYTHING(images), first)
    assert not torch.equal(first, second)


def test_each_image_is_drawn_for_itself():
    same = smooth().expand(16, 3, 28, 28)
    changed = affine(same, Affine(rotate=20))
    assert len({round(image.sum(0)[5].sum().item(), 4) for image in changed}) == 16


# Affine maps


def test_no_affine_is_the_identity():
    images = noise()
    assert_close(affine(images, Affine()), images, atol=1e-5, rtol=0)


def choose(monkeypatch, limit=max) -> None:
    """Have every draw give its upper limit, or its lower one."""
    monkeypatch.setattr(
        "hw2lib.data.augment._uniform",
        lambda images, *limits: torch.full((len(images), 1, 1, 1), float(limit(limits))),
    )


@pytest.mark.parametrize("degrees", [-30, 12, 90])
def test_rotation_against_torchvision(monkeypatch, degrees):
    choose(monkeypatch, max if degrees > 0 else min)
    ours = affine(smooth(), Affine(rotate=abs(degrees)))
    theirs = torchvision_affine(smooth(), -degrees, [0, 0], 1, [0, 0], InterpolationMode.BILINEAR)
    assert_close(ours[..., 6:22, 6:22], theirs[..., 6:22, 6:22], atol=1e-4, rtol=0)


def test_a_quarter_turn_is_a_rotation_of_the_array(monkeypatch):
    choose(monkeypatch)
    images = noise()
    assert_close(affine(images, Affine(rotate=90)), torch.rot90(images, 1, (2, 3)), atol=1e-3, rtol=0)


@pytest.mark.parametrize("factor", [0.8, 1.5])
def test_magnification_against_torchvision(monkeypatch, factor):
    choose(monkeypatch)
    ours = affine(smooth(), Affine(scale=(factor, factor)))
    theirs = torchvision_affine(smooth(), 0, [0, 0], factor, [0, 0], InterpolationMode.BILINEAR)
    assert_close(ours[..., 6:22, 6:22], theirs[..., 6:22, 6:22], atol=1e-4, rtol=0)


def extent(image: torch.Tensor) -> tuple[float, float]:
    """Standard deviations of the light along x and y, in pixels."""
    light = image.sum(0)
    y, x = torch.meshgrid(torch.arange(28.0), torch.arange(28.0), indexing="ij")
    return tuple(
        (light * (axis - (light * axis).sum() / light.sum()) ** 2).sum().div(light.sum()).sqrt().item()
        for axis in (x, y)
    )


def test_aspect_is_width_over_height_and_keeps_the_area(monkeypatch):
    choose(monkeypatch)
    y, x = torch.meshgrid(torch.arange(28.0), torch.arange(28.0), indexing="ij")
    blob = torch.exp(-((x - 13.5) ** 2 + (y - 13.5) ** 2) / 8)[None, None]
    before, (width, height) = extent(blob[0]), extent(affine(blob, Affine(aspect=0.4))[0])
    assert width / height == pytest.approx(math.exp(0.4), rel=0.01)
    assert width * height == pytest.approx(before[0] * before[1], rel=0.05)


def test_middles_move_what_is_drawn_about_them(monkeypatch):
    choose(monkeypatch)
    images = smooth()
    moved = affine(images, Affine(aspect=0.3, aspect_middle=-0.2, shear=0.2, shear_middle=0.1))
    assert_close(moved, affine(images, Affine(aspect=0.1, shear=0.3)))
    torch.manual_seed(0)
    y, x = torch.meshgrid(torch.arange(28.0), torch.arange(28.0), indexing="ij")
    blob = torch.exp(-((x - 13.5) ** 2 + (y - 13.5) ** 2) / 8).expand(1000, 1, 28, 28)
    monkeypatch.undo()
    ratios = torch.tensor(
        [width / height for width, height in map(extent, affine(blob, Affine(aspect=0.3, aspect_middle=0.5)))]
    )
    assert ratios.log().min() == pytest.approx(0.2, abs=0.02)
    assert ratios.log().max() == pytest.approx(0.8, abs=0.02)


def test_shear_moves_rows_sideways_by_their_height(monkeypatch):
    choose(monkeypatch)
    lines = torch.zeros(1, 1, 28, 28)
    lines[..., 13:15] = 1  # upright
    columns = torch.arange(28.0)
    rows = affine(lines, Affine(shear=0.25))[0, 0]
    centres = (rows * columns).sum(1) / rows.sum(1)
    steps = (centres[1:] - centres[:-1])[8:20]
    assert_close(steps, torch.full((12,), -0.25), atol=0.02, rtol=0)


def test_a_shift_by_whole_pixels_moves_the_image(monkeypatch):
    choose(monkeypatch)
    images = noise()
    moved = affine(images, Affine(shift=3))
    assert_close(moved[..., :-3, :-3], images[..., 3:, 3:], atol=1e-4, rtol=0)


def test_what_is_uncovered_is_filled_by_reflection(monkeypatch):
    choose(monkeypatch)
    images = noise()
    moved = affine(images, Affine(shift=3))
    assert_close(moved[..., :-3, -3:], images[..., 3:, -3:].flip(3), atol=1e-4, rtol=0)


def test_draws_fill_their_limits():
    dot = torch.zeros(2000, 1, 28, 28)
    dot[..., 13:15, 13:15] = 1
    moved = affine(dot, Affine(shift=4)).sum((1, 2))
    centres = (moved * torch.arange(28.0)).sum(1) / moved.sum(1) - 13.5
    assert centres.abs().max() <= 4.001
    assert centres.min() < -3.9
    assert centres.max() > 3.9
    assert centres.mean().abs() < 0.2


# Parts of other digits


def test_neighbours_leave_the_middle_untouched_and_change_both_edges():
    images = noise(200)
    changed = add_neighbours(images, 1.0)
    assert torch.equal(changed[..., 8:20], images[..., 8:20])
    touched = (changed != images).any(1).any(1)  # (N, columns)
    assert touched[:, 0].float().mean() > 0.9  # but for an image that met itself
    assert touched[:, -1].float().mean() > 0.9


def test_neighbours_are_2_to_8_columns_of_one_other_image():
    """Each image has a brightness of its own, so that every pixel tells where it is from."""
    images = (torch.arange(200.0) / 200)[:, None, None, None].expand(200, 3, 28, 28)
    changed = add_neighbours(images, 1.0)
    foreign = changed != images
    assert torch.equal(foreign, foreign[:, :1, :1].expand_as(foreign))  # whole columns
    met = foreign.any(3)[:, 0, 0]
    left = foreign[met, 0, 0, :14].sum(1)
    right = foreign[met, 0, 0, 14:].sum(1)
    assert set(left.tolist()) == set(right.tolist()) == set(range(2, 9))
    for image, original in zip(changed[met], images[met], strict=True):
        assert len(set(image.unique().tolist()) - {original[0, 0, 0].item()}) == 1


def test_neighbours_show_the_side_of_the_digit_that_faces_this_one():
    columns = torch.arange(28.0).expand(50, 3, 28, 28) / 28
    marked = columns.clone()
    marked[::2] = marked[::2] + 0.001  # halves that can be told apart, in which a column says where it is from
    changed = add_neighbours(marked, 1.0)
    edge_left, edge_right = (changed[:, 0, 0, side] * 28 for side in (0, -1))
    assert (edge_left > 14).all()  # from the right part of another
    assert (edge_right < 13).all()


def test_no_neighbours_with_probability_zero():
    images = noise()
    assert torch.equal(add_neighbours(images, 0.0), images)


# Colour, contrast, sharpness


def share(changed: torch.Tensor) -> float:
    return changed.float().mean().item()


def test_the_negative_of_exactly_those_images_that_are_chosen():
    images = noise(1000)
    inverted = Augmentation(invert=0.3)(images)
    is_negative = (inverted == 1 - images).flatten(1).all(1)
    is_same = (inverted == images).flatten(1).all(1)
    assert torch.equal(is_negative, ~is_same)
    assert share(is_negative) == pytest.approx(0.3, abs=0.05)
    assert torch.equal(Augmentation(invert=1.0)(images), 1 - images)


def test_grey_takes_the_colour_and_keeps_the_mean():
    images = noise(1000)
    grey = Augmentation(grey=0.5)(images)
    is_grey = (grey == grey[:, :1]).flatten(1).all(1)
    assert share(is_grey) == pytest.approx(0.5, abs=0.06)
    assert torch.equal(grey[~is_grey], images[~is_grey])
    assert_close(grey[is_grey].mean(1), images[is_grey].mean(1))


def test_jitter_changes_contrast_and_brightness_within_its_limits():
    images = 0.4 + 0.2 * noise(1000)  # no clamping
    changed = jitter(images, 0.4)
    gain = changed.flatten(1).std(1) / images.flatten(1).std(1)
    offset = changed.mean((1, 2, 3)) - images.mean((1, 2, 3))
    assert 0.6 <= gain.min() < 0.62
    assert 1.38 < gain.max() <= 1.4001
    assert offset.abs().max() <= 0.2001
    assert offset.min() < -0.19
    assert offset.max() > 0.19


def test_blur_is_the_binomial_filter():
    dot = torch.zeros(1, 1, 28, 28)
    dot[..., 10, 10] = 1
    expected = torch.tensor([1.0, 2, 1]).outer(torch.tensor([1.0, 2, 1])) / 16
    assert_close(blur(dot)[0, 0, 9:12, 9:12], expected)
    assert_close(blur(dot).sum(), torch.tensor(1.0))
    assert_close(blur(torch.full((1, 3, 28, 28), 0.3)), torch.full((1, 3, 28, 28), 0.3))


def test_noise_has_a_deviation_of_up_to_a_tenth():
    grey = torch.full((1000, 3, 28, 28), 0.5)
    deviation = (Augmentation(noise=0.5)(grey) - 0.5).flatten(1).std(1)
    assert share(deviation == 0) == pytest.approx(0.5, abs=0.06)
    assert 0.09 < deviation.max() < 0.105
    assert deviation[deviation > 0].mean().item() == pytest.approx(0.05, abs=0.005)


# Settings


@pytest.mark.parametrize(
    "settings",
    [
        {"invert": 1.5}, {"noise": -0.1}, {"sharpen": 1}, {"jitter": float("nan")},
        {"affine": {"rotate": -1}}, {"affine": {"shift": float("inf")}}, {"affine": {"scale": [1.2, 0.8]}},
        {"affine": {"scale": [0.0, 1.0]}}, {"affine": {"scale": [1.0]}},
    ],
)  # fmt: skip
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ValidationError):
        Augmentation(**settings)


# Ink on patches


def test_where_there_is_no_ink_there_is_the_patch_and_where_there_is_only_ink_it_stands_out():
    others = noise()
    torch.manual_seed(1)
    patch = affine(others, PATCH)
    torch.manual_seed(1)
    assert_close(painted(torch.zeros(64, 3, 28, 28), others), patch)
    torch.manual_seed(1)
    ink = painted(torch.ones(64, 3, 28, 28), others)
    assert ink.std((2, 3)).max() < 1e-6, "one colour"
    distance = (ink.mean((1, 2, 3)) - patch.mean((1, 2, 3))).abs()
    assert distance.min() > CONTRAST[0] - 0.15 - 0.05  # the tint, and what is cut off at black and white
    assert (ink >= 0).all()
    assert (ink <= 1).all()


def test_half_of_the_ink_lets_half_of_the_patch_through():
    others, halves = noise(), torch.full((64, 3, 28, 28), 0.5)
    results = []
    for images in (torch.zeros_like(halves), halves, torch.ones_like(halves)):
        torch.manual_seed(2)
        results.append(painted(images, others))
    assert_close(results[1], (results[0] + results[2]) / 2)


def test_backgrounds_come_from_the_other_images():
    black = torch.zeros(64, 3, 28, 28)
    changed = Augmentation(backgrounds=1.0)(black, torch.full_like(black, 0.3))
    assert_close(changed, torch.full_like(black, 0.3))


# Channels and holes


def test_channels_change_places_and_nothing_else():
    images = noise()
    changed = shuffle_channels(images)
    assert_close(changed.flatten(2).sum(1), images.flatten(2).sum(1))
    places = {
        tuple(int((image[c] == other).all((1, 2)).nonzero()) for c in range(3))
        for image, other in zip(changed, images, strict=True)
    }
    assert len(places) == 6, "every order occurs in 64 images"


def test_a_channel_is_inverted_by_itself():
    images = noise()
    changed = Augmentation(invert_channels=0.5)(images)
    same = (changed == images).all(3).all(2)
    inverted = (changed == 1 - images).all(3).all(2)
    assert (same ^ inverted).all()
    assert 0.3 < same.float().mean() < 0.7


def test_a_hole_is_a_square_of_at_most_thirteen_pixels_in_the_mean_of_the_image():
    images = noise()
    changed = cut_out(images)
    hole = (changed != images).any(1)
    assert hole.flatten(1).any(1).all()
    assert hole.any(1).sum(1).max() <= 13
    assert hole.any(2).sum(1).max() <= 13
    filled = torch.where(hole[:, None], images.mean((1, 2, 3), keepdim=True), images)
    assert_close(changed, filled)
