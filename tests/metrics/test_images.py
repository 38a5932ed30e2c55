"""Brightness, contrast and diversity: closed forms."""

import math

import pytest
import torch

from hw2lib.errors import UserError
from hw2lib.metrics.images import brightness, contrast, diversity, diversity_within


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


@pytest.mark.parametrize("measure", [brightness, contrast, diversity])
def test_fewer_than_two_images_are_refused(measure):
    with pytest.raises(UserError, match="at least two"):
        measure(flat(3))


def test_diversity_is_within_a_digit():
    black, white = torch.zeros(4, 3, 28, 28, dtype=torch.uint8), torch.full((4, 3, 28, 28), 255, dtype=torch.uint8)
    labels = torch.tensor([0] * 4 + [1] * 4)
    assert diversity_within(torch.cat([black, white]), labels) == 0
    assert diversity_within(torch.cat([black, white]), labels.flip(0) * 0) > 0.3
