"""Sliced Wasserstein distance: closed forms, an independent implementation of each step, and what it tells apart."""

import math

import numpy as np
import pytest
import scipy.ndimage
import scipy.stats
import torch

from hw2lib.errors import UserError
from hw2lib.metrics import sliced_wasserstein as sw


def random_images(n: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, (n, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def smooth_images(n: int, seed: int = 0) -> torch.Tensor:
    rough = torch.rand(n, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    return (torch.nn.functional.interpolate(rough, size=64, mode="bicubic").clamp(0, 1) * 255).to(torch.uint8)


def random_points(n: int, seed: int = 0, dimensions: int = 147) -> torch.Tensor:
    return torch.randn(n, dimensions, generator=torch.Generator().manual_seed(seed))


def test_shifted_points_are_as_far_as_the_shift_seen_along_each_direction():
    points, directions = random_points(5000), sw.directions(147)
    shift = torch.linspace(-1, 2, 147)
    found = sw.wasserstein(sw.quantiles(points, directions), sw.quantiles(points + shift, directions))
    assert found == pytest.approx((directions @ shift).abs().mean().item(), rel=1e-5)
    everywhere = shift.norm().item() * math.gamma(147 / 2) / (math.sqrt(math.pi) * math.gamma(148 / 2))
    assert found == pytest.approx(everywhere, rel=0.1)  # the mean over all directions


def test_scaled_points_are_as_far_as_their_mean_size():
    points, directions = random_points(5000), sw.directions(147)
    found = sw.wasserstein(sw.quantiles(points, directions), sw.quantiles(3 * points, directions))
    assert found == pytest.approx(2 * math.sqrt(2 / math.pi), rel=0.02)  # E |3z - z|


def test_a_projection_agrees_with_scipy():
    a, b = random_points(3000), 1.5 * random_points(2000, 1) + 0.1
    directions = sw.directions(147)[:4]
    expected = [
        scipy.stats.wasserstein_distance((a @ direction).numpy(), (b @ direction).numpy()) for direction in directions
    ]
    found = sw.wasserstein(sw.quantiles(a, directions), sw.quantiles(b, directions))
    assert found == pytest.approx(np.mean(expected), rel=0.02)


def test_quantiles_are_numpys():
    points, directions = random_points(1000), sw.directions(147)[:3]
    places = (np.arange(sw.QUANTILES) + 0.5) / sw.QUANTILES
    expected = np.quantile((points @ directions.T).numpy(), places, axis=0, method="hazen").T
    np.testing.assert_allclose(sw.quantiles(points, directions).numpy(), expected, atol=1e-5)


def test_directions_are_unit_vectors_and_always_the_same():
    torch.testing.assert_close(sw.directions(147).norm(dim=1), torch.ones(sw.DIRECTIONS))
    torch.manual_seed(1)
    assert torch.equal(sw.directions(147), sw.directions(147))


def test_the_pyramid_agrees_with_scipys_filter():
    image = random_images(1).float()
    kernel = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256
    expected, rest = [], image[0, 0].numpy()
    for _ in range(2):
        smaller = scipy.ndimage.convolve(rest, kernel, mode="mirror")[::2, ::2]
        spread = np.zeros_like(rest)
        spread[::2, ::2] = smaller
        expected.append(rest - scipy.ndimage.convolve(spread, 4 * kernel, mode="mirror"))
        rest = smaller
    bands = sw.laplacian_pyramid(image)
    assert [band.shape[-1] for band in bands] == list(sw.LEVELS)
    for band, wanted in zip(bands, [*expected, rest], strict=True):
        np.testing.assert_allclose(band[0, 0].numpy(), wanted, atol=1e-3)


def test_patches_are_cut_out_of_their_image_everywhere():
    rows = torch.arange(16.0).view(1, 1, 16, 1).expand(4, 3, 16, 16)
    numbered = torch.cat([rows[:, :1], rows[:, :1].mT, torch.arange(4.0).view(4, 1, 1, 1).expand(4, 1, 16, 16)], dim=1)
    patches = sw.patches(numbered, torch.Generator().manual_seed(0))
    assert patches.shape == (4 * sw.PATCHES, 3, 7, 7)
    top, left, image = patches[:, :, 0, 0].T
    assert torch.equal(patches[:, 0], (top[:, None, None] + torch.arange(7.0).view(1, 7, 1)).expand(-1, 7, 7))
    assert torch.equal(patches[:, 1], (left[:, None, None] + torch.arange(7.0).view(1, 1, 7)).expand(-1, 7, 7))
    assert torch.equal(image, torch.arange(4.0).repeat_interleave(sw.PATCHES))
    assert set(top.int().tolist()) == set(left.int().tolist()) == set(range(10))


def test_each_channel_is_normalised_over_the_whole_set():
    patches = torch.randn(500, 3, 7, 7) * torch.tensor([1.0, 5, 0]).view(1, 3, 1, 1) + torch.tensor([0.0, 9, 4]).view(
        1, 3, 1, 1
    )
    found = sw.normalise(patches)
    torch.testing.assert_close(found.mean((0, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(found.std((0, 2, 3), correction=0), torch.tensor([1.0, 1, 0]), atol=1e-4, rtol=0)


def test_it_is_0_on_itself_symmetric_and_the_same_each_time():
    a, b = sw.statistics(smooth_images(30)), sw.statistics(random_images(40))
    assert set(sw.distance(a, b)) == {"64", "32", "16", "mean"}
    assert sw.distance(a, a) == dict.fromkeys(("64", "32", "16", "mean"), 0)
    assert sw.distance(a, b) == sw.distance(b, a)
    assert all(value > 0 for value in sw.distance(a, b).values())
    torch.manual_seed(5)
    again = sw.statistics(smooth_images(30))
    assert all(torch.equal(again[level], a[level]) for level in sw.LEVELS)


def test_the_same_kind_of_images_is_nearer_than_another_kind():
    smooth = sw.statistics(smooth_images(200))
    same, other = sw.statistics(smooth_images(200, 1)), sw.statistics(random_images(200))
    assert 4 * sw.distance(same, smooth)["mean"] < sw.distance(other, smooth)["mean"]


def test_a_change_of_detail_is_seen_at_the_level_of_detail():
    images = smooth_images(100).float()
    pattern = 8 * (-1.0) ** (torch.arange(64) + torch.arange(64).view(64, 1))
    found = sw.distance(sw.statistics(images.to(torch.uint8)), sw.statistics((images + pattern).clamp(0, 255).byte()))
    assert found["64"] > 20 * found["16"]


def test_brightness_and_contrast_of_the_whole_set_do_not_count():
    images = smooth_images(50).float()
    a, b = sw.statistics((images / 2).round().byte()), sw.statistics((images / 2 + 100).round().byte())
    assert sw.distance(a, b)["16"] < 1


def test_a_generator_that_makes_one_image_has_a_finite_distance():
    black = sw.statistics(torch.zeros(5, 3, 64, 64, dtype=torch.uint8))
    assert 100 < sw.distance(black, sw.statistics(smooth_images(20)))["mean"] < 2000


def test_statistics_are_small():
    assert sum(part.nbytes for part in sw.statistics(random_images(3)).values()) < 1_000_000


@pytest.mark.parametrize(
    ("images", "reason"),
    [
        (torch.zeros(5, 3, 28, 28, dtype=torch.uint8), "28x28 pixels cannot be scored; give 64x64"),
        (torch.zeros(1, 3, 64, 64, dtype=torch.uint8), "at least two"),
        (torch.zeros(5, 3, 64, 64), "give uint8"),
    ],
)
def test_what_cannot_be_scored_is_refused(images, reason):
    with pytest.raises(UserError, match=reason):
        sw.statistics(images)
