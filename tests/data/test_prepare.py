"""What every network sees: colour, size, range."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from hw2lib.data.prepare import prepare


def images(channels: int, size: int = 28, n: int = 16) -> torch.Tensor:
    generator = torch.Generator().manual_seed(channels)
    return torch.randint(0, 256, (n, channels, size, size), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("stored", [1, 3])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [28, 32])
@pytest.mark.parametrize("normalisation", ["range", "instance"])
def test_shape_type_and_layout(stored, channels, size, normalisation):
    x = prepare(images(stored), channels, size, normalisation)
    assert x.shape == (16, channels, size, size)
    assert x.dtype == torch.float32
    assert x.is_contiguous(memory_format=torch.channels_last)


def test_range_maps_0_to_minus_1_and_255_to_1():
    x = torch.tensor([0, 51, 255], dtype=torch.uint8)[:, None, None, None].expand(3, 3, 28, 28)
    assert_close(prepare(x, 3, 28, "range")[:, 0, 0, 0], torch.tensor([-1.0, -0.6, 1.0]))


def test_grey_is_repeated_and_colour_is_averaged():
    grey = images(1)
    repeated = prepare(grey, 3, 28, "range")
    for channel in range(3):
        assert torch.equal(repeated[:, channel], prepare(grey, 1, 28, "range")[:, 0])
    colour = images(3)
    assert_close(prepare(colour, 1, 28, "range")[:, 0], colour.float().mean(1) / 127.5 - 1)


def test_instance_gives_each_image_and_channel_mean_0_and_nearly_deviation_1():
    colour = images(3)
    x = prepare(colour, 3, 28, "instance")
    assert_close(x.mean((2, 3)), torch.zeros(16, 3), atol=1e-6, rtol=0)
    deviation = (colour.float() / 255).std((2, 3), correction=0)
    assert_close(x.std((2, 3), correction=0), deviation / (deviation + 0.05), rtol=1e-4, atol=0)


def test_instance_takes_brightness_contrast_and_tint_away():
    pattern = images(1, n=1).float() / 255
    one = (pattern * 200).round().to(torch.uint8).expand(1, 3, 28, 28)
    scale, offset = torch.tensor([1.0, 0.8, 0.9]), torch.tensor([0.0, 50.0, 20.0])
    other = (one * scale[:, None, None] + offset[:, None, None]).round().to(torch.uint8)
    assert_close(prepare(one, 3, 28, "instance"), prepare(other, 3, 28, "instance"), atol=0.08, rtol=0)


def test_an_even_image_is_zero_and_not_a_number():
    assert torch.equal(
        prepare(torch.full((2, 3, 28, 28), 77, dtype=torch.uint8), 3, 28, "instance"), torch.zeros(2, 3, 28, 28)
    )


@pytest.mark.parametrize("size", [20, 32])
def test_resizing_against_pillow(size):
    grey = images(1, n=4)
    ours = (prepare(grey, 1, size, "range") + 1) * 127.5
    for image, resized in zip(grey, ours, strict=True):
        theirs = Image.fromarray(image[0].numpy()).resize((size, size), Image.Resampling.BILINEAR)
        assert np.abs(resized[0].numpy() - np.asarray(theirs, dtype=float)).max() <= 1.01


def test_augmentation_sees_images_in_0_to_1_before_they_are_normalised():
    seen = []

    def negative(x: torch.Tensor) -> torch.Tensor:
        seen.append((x.min().item(), x.max().item()))
        return 1 - x

    x = prepare(images(3), 3, 28, "range", negative)
    assert seen == [(0.0, 1.0)]
    assert_close(x, -prepare(images(3), 3, 28, "range"), atol=1e-6, rtol=0)


def test_the_stored_images_are_not_written_to():
    stored = images(3)
    before = stored.clone()
    prepare(stored, 3, 28, "instance", lambda x: x.zero_())
    assert torch.equal(stored, before)
