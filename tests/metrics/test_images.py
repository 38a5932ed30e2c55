"""Brightness, contrast, diversity and lattices: closed forms."""

import math

import pytest
import torch

from hw2lib.errors import UserError
from hw2lib.metrics.images import brightness, contrast, diversity, diversity_within, lattice


def flat(*values: int) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 8, 8)


def stripes(low: int, high: int) -> torch.Tensor:
    return torch.tensor([low, high], dtype=torch.uint8).repeat(4).expand(2, 3, 8, 8)


def test_brightness_is_the_mean_value():
    assert brightness(flat(0, 0)) == 0
    assert brightness(flat(255, 255)) == 1
    assert brightness(flat(0, 51, 255)) == pytest.approx((0 + 0.2 + 1) / 3)


def test_contrast_is_the_deviation_within_an_image():
    assert contrast(flat(0, 255)) == 0
    assert contrast(stripes(0, 255)) == pytest.approx(0.5)
    assert contrast(torch.cat([stripes(0, 255), stripes(102, 153)])) == pytest.approx((0.5 + 0.1) / 2)


def test_contrast_is_that_of_grey_values():
    red_or_blue = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    red_or_blue[:, 0, :4] = 255
    red_or_blue[:, 2, 4:] = 255
    assert contrast(red_or_blue) == pytest.approx(0, abs=1e-7)


def test_diversity_is_0_for_one_image_made_again_and_again():
    assert diversity(torch.randint(0, 256, (1, 3, 8, 8), dtype=torch.uint8).expand(50, -1, -1, -1)) == 0


def test_an_image_is_never_compared_with_itself():
    assert diversity(flat(0, 51)) == pytest.approx(0.2)


def test_diversity_is_the_mean_over_pairs():
    assert diversity(flat(0, 0, 0, 255)) == pytest.approx(6 / 12, abs=0.02)  # 6 of the 12 ordered pairs differ, by 1


def test_diversity_of_noise_is_known():
    noise = torch.randint(0, 256, (100, 3, 32, 32), dtype=torch.uint8)
    assert diversity(noise) == pytest.approx(math.sqrt((256**2 - 1) / 6) / 255, rel=0.01)
    assert diversity(noise) == diversity(noise)
    assert diversity(noise) != diversity(noise, seed=1)


@pytest.mark.parametrize("measure", [brightness, contrast, diversity, lattice])
def test_fewer_than_two_images_are_refused(measure):
    with pytest.raises(UserError, match="at least two"):
        measure(flat(3))


def waves(nyquist: float, near: float, far: float = 0.0) -> torch.Tensor:
    """Two images of 64x64: mid-grey with waves of these amplitudes at the frequencies 32, 29 and 20, left to right."""
    x = torch.arange(64) * 2 * math.pi / 64
    wave = nyquist * (32 * x).cos() + near * (29 * x).cos() + far * (20 * x).cos()
    return (128 + wave).round().byte().expand(2, 3, 64, 64)


def noise(n: int = 100) -> torch.Tensor:
    return torch.randint(0, 256, (n, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("nyquist", "near"), [(10, 40), (30, 40), (40, 10)])
def test_the_lattice_is_a_ratio_of_energies(nyquist, near):
    expected = nyquist**2 / ((near / 2) ** 2 / 2)  # a cosine's amplitude has two halves, and 29 is one of two lines
    assert lattice(waves(nyquist, near)) == pytest.approx(expected, rel=0.03)
    assert lattice(waves(nyquist, near).mT) == pytest.approx(expected, rel=0.03)
    assert lattice(waves(nyquist, near, far=40)) == pytest.approx(expected, rel=0.03)


def test_patterns_of_period_two_are_lattices():
    checkerboard = 255 * (torch.arange(64)[:, None] + torch.arange(64)).remainder(2).byte().expand(2, 3, 64, 64)
    assert min(map(lattice, (checkerboard, waves(100, 0), waves(100, 0).mT))) > 10_000


def test_noise_has_no_lattice_and_a_blurred_image_less_than_none():
    assert lattice(noise()) == pytest.approx(1, abs=0.05)
    blurred = sum(noise().float().roll((i, j), (2, 3)) for i in range(2) for j in range(2)) / 4
    assert lattice(blurred.byte()) < 0.1


def test_a_faint_lattice_on_noise_is_seen_and_a_blank_image_has_none():
    faint = torch.tensor([0, 16], dtype=torch.uint8).repeat(32)
    assert lattice(noise() // 2 + faint) > 2
    assert lattice(flat(0, 255)) == lattice(flat(7, 7)) == pytest.approx(1)


def test_diversity_is_within_a_digit():
    black, white = torch.zeros(4, 3, 28, 28, dtype=torch.uint8), torch.full((4, 3, 28, 28), 255, dtype=torch.uint8)
    labels = torch.tensor([0] * 4 + [1] * 4)
    assert diversity_within(torch.cat([black, white]), labels) == 0
    assert diversity_within(torch.cat([black, white]), labels.flip(0) * 0) > 0.3
