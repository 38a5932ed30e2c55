"""Noise schedules: golden values, and what is refused."""

from itertools import pairwise

import pytest
import torch

from hw2lib.diffusion.schedule import SCHEDULES, SPACINGS, Schedule, cosine, grid, karras, linear
from hw2lib.errors import UserError


def test_golden_values_of_the_linear_schedule():
    """As published for 1,000 steps, which are counted from 0 there."""
    table = linear(1000).alpha_bar
    golden = {
        0: 0.9999,
        1: 0.99978009,
        20: 0.99373543,
        499: 0.07858724,
        980: 5.90375e-5,
        981: 5.78779e-5,
        999: 4.03583e-5,
    }
    for step, value in golden.items():
        assert table[step + 1].item() == pytest.approx(value, rel=1e-5)
    beta = linear(1000).beta
    assert (beta[0].item(), beta[-1].item()) == (pytest.approx(1e-4), pytest.approx(2e-2))
    assert linear(400).alpha_bar[-1].item() == pytest.approx(0.0175, abs=1e-4)


def test_golden_values_of_the_cosine_schedule():
    found = cosine(1000)
    for step, value in {1: 0.99995876, 500: 0.494622, 1000: 2.4239e-6}.items():
        assert found.alpha_bar[step].item() == pytest.approx(value, rel=1e-4)
    assert found.beta[0].item() == pytest.approx(4.124e-5, rel=1e-3)
    assert found.beta[-1].item() == pytest.approx(0.749999, rel=1e-5)


def test_golden_values_of_the_schedule_of_karras():
    """The ratio of noise to signal: the lowest, the highest, and halfway in its fifth root."""
    alpha_bar = karras(1001).alpha_bar[[1, 501, 1001]]
    halfway = ((0.02**0.2 + 50**0.2) / 2) ** 5
    assert (1 / alpha_bar - 1).sqrt().tolist() == pytest.approx([0.02, halfway, 50])


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("steps", [1, 2, 100, 1000])
def test_alpha_bar_falls_from_one(name, steps):
    found = SCHEDULES[name](steps)
    assert found.steps == steps
    assert found.alpha_bar.dtype == torch.float64
    assert found.alpha_bar[0] == 1
    assert torch.allclose((1 - found.beta).cumprod(0), found.alpha_bar[1:], rtol=1e-12)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.0, 0.9, 0.95, 0.1], "from 0.9 to 0.95 at step 2: it has to fall"),
        ([1.0, 0.5, 0.5], "at step 2: it has to fall"),
        ([1.0, 0.5, float("nan")], "at step 2"),
        ([1.0, 0.5, 0.0], "is 0 at step 2: it has to stay above 0"),
        ([0.9, 0.5], "1 at step 0"),
    ],
)
def test_what_is_no_schedule(values, message):
    with pytest.raises(UserError, match=message):
        Schedule(torch.tensor(values, dtype=torch.float64))


def test_negative_betas_and_no_steps():
    with pytest.raises(UserError, match="it has to fall"):
        linear(10, first=-1e-3)
    with pytest.raises(UserError, match="above 0"):
        linear(10, last=1.0)
    for schedule in SCHEDULES.values():
        with pytest.raises(UserError, match="0 steps"):
            schedule(0)


def test_grids():
    assert grid(1000, 50) == [*range(1000, 0, -20), 0]
    assert grid(1000, 50, "leading") == [*range(981, 0, -20), 0]
    assert grid(1000, 50, "leading-offset") == [*range(982, 1, -20), 1]
    assert grid(400, 3) == [400, 267, 133, 0]
    for spacing in SPACINGS[:2]:
        assert grid(7, 7, spacing) == [7, 6, 5, 4, 3, 2, 1, 0], "all steps, and none twice"
    for total in (5, 17, 400, 1000):
        for count in range(1, total):
            for spacing in SPACINGS if count <= total // 2 else SPACINGS[:1]:
                steps = grid(total, count, spacing)
                assert len(steps) == count + 1
                assert all(a > b for a, b in pairwise(steps))


@pytest.mark.parametrize("count", [0, -1, 1001])
def test_too_few_or_too_many_steps(count):
    with pytest.raises(UserError, match="give 1 to 1000"):
        grid(1000, count)


def test_other_bad_grids():
    with pytest.raises(UserError, match="unknown spacing 'even'"):
        grid(10, 5, "even")
    with pytest.raises(UserError, match="the spacing leading-offset takes 5 at most"):
        grid(10, 10, "leading-offset")
    with pytest.raises(UserError, match="the spacing leading takes 500 at most, or all 1000"):
        grid(1000, 501, "leading")  # whole strides would begin at step 501
