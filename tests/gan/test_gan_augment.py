"""Differentiable augmentation changes each image on its own, and lets the gradient through."""

import pytest
import torch

from hw2lib.gan.augment import augment

CHANGES = ("colour", "translation", "cutout")


@pytest.fixture
def images():
    torch.manual_seed(0)
    return torch.rand(40, 3, 16, 16) * 2 - 1


def test_nothing_asked_nothing_done(images):
    assert augment(images, ()) is images


@pytest.mark.parametrize("change", CHANGES)
def test_images_of_a_batch_are_changed_differently(images, change):
    same = images[:1].expand(20, -1, -1, -1)
    changed = augment(same, (change,))
    assert changed.shape == same.shape
    assert len(torch.unique(changed.flatten(1), dim=0)) > 10


@pytest.mark.parametrize("change", CHANGES)
def test_the_gradient_comes_through(images, change):
    images.requires_grad_()
    augment(images, (change,)).square().sum().backward()
    reached = (images.grad != 0).float().mean()
    assert reached > (0.6 if change == "cutout" else 0.8)


def test_translation_moves_and_fills_with_grey(images):
    moved = augment(images, ("translation",))
    for before, after in zip(images, moved, strict=True):
        hits = [
            (dy, dx)
            for dy in range(-2, 3)
            for dx in range(-2, 3)
            if torch.equal(_shifted(before, dy, dx), after)
        ]  # fmt: skip
        assert len(hits) == 1


def _shifted(image, dy, dx):
    out = torch.zeros_like(image)
    height, width = image.shape[1:]
    out[:, max(dy, 0) : height + min(dy, 0), max(dx, 0) : width + min(dx, 0)] = image[
        :, max(-dy, 0) : height + min(-dy, 0), max(-dx, 0) : width + min(-dx, 0)
    ]
    return out


def test_cutout_greys_one_square_at_most_half_as_wide(images):
    holes = (augment(images, ("cutout",)) == 0).all(1)
    for hole in holes:
        rows, columns = hole.any(1).sum(), hole.any(0).sum()
        assert 4 <= rows <= 8
        assert 4 <= columns <= 8
        assert hole.sum() == rows * columns


def test_colour_keeps_the_pattern_of_grey_images(images):
    """Brightness and contrast are the same affine map for all pixels; saturation does nothing to grey."""
    grey = images.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    changed = augment(grey, ("colour",))
    for before, after in zip(grey.flatten(1), changed.flatten(1), strict=True):
        assert torch.corrcoef(torch.stack([before, after]))[0, 1] > 0.9999
        assert 0.49 < after.std() / before.std() < 1.51
        assert (after.mean() - before.mean()).abs() < 0.51


def test_colour_stretches_all_chroma_of_an_image_by_one_factor(images):
    changed = augment(images, ("colour",))
    found = []
    for before, after in zip(images, changed, strict=True):
        chroma, grey = before - before.mean(0), before.mean(0)
        stretch = (after - after.mean(0)).norm() / chroma.norm()
        assert torch.allclose(after - after.mean(0), stretch * chroma, atol=1e-5)
        contrast = after.mean(0).std() / grey.std()
        found.append(float(stretch / contrast))  # contrast stretches grey and chroma alike
    assert min(found) < 0.4
    assert max(found) > 1.6
    assert max(found) < 2.001
