"""Losses in closed form, and augmentation, which changes each image on its own and lets the gradient through."""

import math

import pytest
import torch
from torch import nn

from hw2lib.gan.train import augment, discriminator_loss, generator_loss, gradient_penalty

CHANGES = ("colour", "translation", "cutout")
REAL, FAKE = torch.tensor([0.9, 0.6]), torch.tensor([0.2, 0.5])


def test_bce():
    expected = -(math.log(0.9) + math.log(0.6)) / 2 - (math.log(0.8) + math.log(0.5)) / 2
    assert discriminator_loss("bce", REAL, FAKE).item() == pytest.approx(expected, rel=1e-6)
    assert generator_loss("bce", FAKE).item() == pytest.approx(-(math.log(0.2) + math.log(0.5)) / 2, rel=1e-6)


def test_label_smoothing_is_least_at_the_smoothed_label():
    outputs = torch.tensor(0.9).repeat(2).requires_grad_()
    discriminator_loss("bce", outputs, FAKE, label_smoothing=0.1).backward()
    assert outputs.grad.abs().max() < 1e-5
    real = -(0.9 * math.log(0.6) + 0.1 * math.log(0.4))
    assert discriminator_loss(
        "bce", torch.tensor([0.6]), torch.tensor([0.5]), label_smoothing=0.1
    ).item() == pytest.approx(real + math.log(2), rel=1e-6)


def test_a_sure_discriminator_still_teaches_the_generator():
    """The non-saturating loss: its gradient does not vanish where the images are seen through."""
    logit = torch.tensor([-20.0], requires_grad=True)
    generator_loss("bce", torch.sigmoid(logit)).backward()
    assert logit.grad.item() == pytest.approx(-1, rel=1e-4)


def test_hinge():
    real, fake = torch.tensor([2.0, 0.5]), torch.tensor([-3.0, 0.5])
    assert discriminator_loss("hinge", real, fake).item() == pytest.approx((0 + 0.5) / 2 + (0 + 1.5) / 2)
    assert generator_loss("hinge", fake).item() == pytest.approx(1.25)


def test_wasserstein():
    real, fake = torch.tensor([2.0, 0.5]), torch.tensor([-3.0, 0.5])
    assert discriminator_loss("wasserstein", real, fake).item() == pytest.approx(-1.25 - 1.25)
    assert generator_loss("wasserstein", fake).item() == pytest.approx(1.25)


@pytest.mark.parametrize("norm", [1.0, 0.0, 3.0])
def test_the_penalty_of_a_linear_critic_is_the_squared_distance_of_its_norm_from_one(norm):
    weight = torch.randn(3 * 8 * 8)
    weight *= norm / weight.norm()

    def critic(images):
        return images.flatten(1) @ weight

    real, fake = torch.randn(5, 3, 8, 8), torch.randn(5, 3, 8, 8)
    assert gradient_penalty(critic, real, fake).item() == pytest.approx((norm - 1) ** 2, abs=1e-5)


def test_the_penalty_is_taken_between_the_pairs():
    seen = []

    def critic(images):
        seen.append(images.detach())
        return images.flatten(1).square().sum(1)

    real, fake = torch.ones(200, 1, 1, 1), torch.zeros(200, 1, 1, 1)
    penalty = gradient_penalty(critic, real, fake)
    (points,) = seen
    assert 0 <= points.min() < 0.1
    assert 0.9 < points.max() <= 1
    assert penalty.item() == pytest.approx(((2 * points - 1) ** 2).mean().item(), rel=1e-5)


def test_the_penalty_teaches_the_critic_and_not_the_generator():
    critic = nn.Linear(12, 1)
    fake = torch.randn(4, 3, 2, 2, requires_grad=True)
    gradient_penalty(lambda images: critic(images.flatten(1)).flatten(), torch.randn(4, 3, 2, 2), fake).backward()
    assert critic.weight.grad.abs().sum() > 0
    assert fake.grad is None


@pytest.mark.parametrize("kind", ["bce", "hinge", "wasserstein"])
def test_losses_of_half_precision_are_taken_in_single(kind):
    outputs = torch.full((3,), 0.5, dtype=torch.bfloat16)
    assert discriminator_loss(kind, outputs, outputs).dtype == torch.float32
    assert generator_loss(kind, outputs).dtype == torch.float32


# Augmentation


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
