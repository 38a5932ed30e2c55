"""Lines and arcs between noises, by closed forms."""

import itertools
import math

import pytest
import torch

from hw2lib.diffusion.interpolation import lerp, slerp
from hw2lib.errors import UserError

ALPHAS = [i / 10 for i in range(11)]


def pair(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.randn(shape), torch.randn(shape)


@pytest.mark.parametrize("way", [lerp, slerp])
def test_both_ends_are_the_noises_themselves(way):
    a, b = pair(3, 64, 64)
    assert torch.equal(way(a, b, 0.0), a)
    assert torch.equal(way(a, b, 1.0), b)


def test_an_arc_of_a_right_angle():
    a, b = torch.tensor([2.0, 0.0]), torch.tensor([0.0, 2.0])
    for alpha in ALPHAS:
        angle = alpha * math.pi / 2
        assert slerp(a, b, alpha).tolist() == pytest.approx([2 * math.cos(angle), 2 * math.sin(angle)], abs=1e-6)
        assert lerp(a, b, alpha).tolist() == pytest.approx([2 * (1 - alpha), 2 * alpha], abs=1e-6)


def test_equal_steps_of_alpha_are_equal_angles():
    a, b = torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.6, 0.8, 0.0])
    points = [slerp(a, b, alpha) for alpha in ALPHAS]
    angles = [math.acos(min(1.0, float(p @ q))) for p, q in itertools.pairwise(points)]
    assert angles == pytest.approx([math.acos(0.6) / 10] * 10, rel=1e-3)


def test_the_arc_stays_on_the_shell_and_the_line_leaves_it():
    a, b = pair(3, 64, 64)
    shell = math.sqrt(a.numel())
    assert float(slerp(a, b, 0.5).norm()) == pytest.approx(shell, rel=0.02)
    assert float(lerp(a, b, 0.5).norm()) == pytest.approx(shell / math.sqrt(2), rel=0.02)


def test_parallel_opposite_and_zero_noises_take_the_line():
    a, _ = pair(3, 8, 8)
    for b in (a, 3 * a, -a, torch.zeros_like(a)):
        for alpha in ALPHAS:
            found = slerp(a, b, alpha)
            assert found.isfinite().all()
            assert torch.allclose(found, lerp(a, b, alpha))
    assert not slerp(torch.zeros_like(a), torch.zeros_like(a), 0.3).any()


@pytest.mark.parametrize("way", [lerp, slerp])
@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan")])
def test_beyond_the_ends(way, alpha):
    with pytest.raises(UserError, match=f"alpha {alpha}: give 0 to 1"):
        way(*pair(2), alpha)
