"""Losses in closed form."""

import math

import pytest
import torch
from torch import nn

from hw2lib.gan.losses import discriminator_loss, generator_loss, gradient_penalty

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
