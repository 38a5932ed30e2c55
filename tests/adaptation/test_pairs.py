"""Criteria without labels: closed forms, and a plain loop."""

import math

import pytest
import torch

from hw2lib.adaptation import pairs

UNIFORM = torch.full((6, 10), 0.1)
ONE_HOT = torch.eye(10)[[0, 1, 2, 3]]


def rows(n: int = 20) -> torch.Tensor:
    return torch.rand(n, 10, generator=torch.Generator().manual_seed(0)).softmax(1)


def test_entropy_is_nothing_where_a_network_is_sure_and_log_ten_where_it_knows_nothing():
    assert pairs.entropy(ONE_HOT) == 0
    assert pairs.entropy(UNIFORM) == pytest.approx(math.log(10))
    assert pairs.entropy(torch.tensor([[0.5, 0.5, 0], [1, 0, 0]])) == pytest.approx(math.log(2) / 2)


def test_information_counts_the_classes_that_are_given_for_sure():
    assert pairs.information(ONE_HOT) == pytest.approx(math.log(4))
    assert pairs.information(torch.eye(10)[[3, 3, 3]]) == 0
    assert pairs.information(UNIFORM) == pytest.approx(0)


def test_a_collapsed_network_is_sure_and_yet_has_no_information():
    collapsed, all_ten = torch.eye(10)[[7] * 10], torch.eye(10)
    assert pairs.criteria(collapsed)["entropy"] == pairs.criteria(all_ten)["entropy"] == 0
    assert pairs.criteria(collapsed)["information"] == 0
    assert pairs.criteria(all_ten)["information"] == pytest.approx(math.log(10))


def test_density_is_that_of_a_plain_loop():
    p = rows().double()
    unit = [row / row.norm() for row in p]
    total = 0.0
    for i, one in enumerate(unit):
        weights = [math.exp(float(one @ other) / 0.05) for j, other in enumerate(unit) if j != i]
        shares = [weight / sum(weights) for weight in weights]
        total -= sum(share * math.log(share) for share in shares)
    assert pairs.neighbourhood_density(p) == pytest.approx(total / len(p))


def test_density_is_the_logarithm_of_the_neighbours_in_a_cluster():
    assert pairs.neighbourhood_density(UNIFORM) == pytest.approx(math.log(5))
    clusters = torch.eye(10).repeat_interleave(8, 0)  # at right angles: exp(-20) of the weight is elsewhere
    assert pairs.neighbourhood_density(clusters) == pytest.approx(math.log(7), abs=1e-4)


def test_the_order_of_images_does_not_count():
    p, order = rows(), torch.randperm(20, generator=torch.Generator().manual_seed(1))
    assert pairs.criteria(p) == pytest.approx(pairs.criteria(p[order]))
