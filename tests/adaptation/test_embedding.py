"""The proxy A-distance: 0 where domains are one, 2 where they can be told apart, between where they overlap."""

from statistics import NormalDist

import numpy as np
import pytest

from hw2lib.adaptation.embedding import proxy_a_distance


def gaussian(n: int, shift: float = 0.0, seed: int = 0) -> np.ndarray:
    features = np.random.default_rng(seed).normal(size=(n, 8))
    features[:, 0] += shift
    return features


def test_one_distribution():
    assert proxy_a_distance(gaussian(1000), gaussian(1000, seed=1)) == pytest.approx(0, abs=0.12)


def test_the_same_features_give_no_less_than_0():
    assert proxy_a_distance(gaussian(100), gaussian(100)) == 0


def test_separable_domains():
    assert proxy_a_distance(gaussian(200), gaussian(200, shift=20, seed=1)) == 2


@pytest.mark.parametrize("shift", [1.0, 2.0])
def test_two_gaussians_have_the_error_of_the_best_linear_rule(shift):
    error = NormalDist().cdf(-shift / 2)
    found = proxy_a_distance(gaussian(2000), gaussian(2000, shift=shift, seed=1))
    assert found == pytest.approx(2 * (1 - 2 * error), abs=0.1)


def test_a_domain_of_few_images_counts_as_much_as_one_of_many():
    error = NormalDist().cdf(-1)
    found = proxy_a_distance(gaussian(3000), gaussian(300, shift=2, seed=1))
    assert found == pytest.approx(2 * (1 - 2 * error), abs=0.15)


def test_the_scale_of_a_feature_does_not_count():
    scale = np.array([1, 1e3, 1e-3, 1, 1, 1, 1, 1])
    source, target = gaussian(500), gaussian(500, shift=1, seed=1)
    assert proxy_a_distance(source * scale, target * scale) == pytest.approx(proxy_a_distance(source, target), abs=1e-6)
