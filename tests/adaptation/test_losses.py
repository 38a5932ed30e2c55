"""The domain loss, in its three forms."""

import math

import pytest
import torch

from hw2lib.adaptation.losses import domain_loss

IS_TARGET = torch.tensor([False, False, True, True, True])
LOGIT = torch.tensor([-2.0, 0.5, -1.0, 3.0, 0.0])


def closed_form() -> float:
    """Mean of log(1 + exp(∓logit)), by hand."""
    signs = [1, 1, -1, -1, -1]
    return sum(math.log1p(math.exp(s * z)) for s, z in zip(signs, LOGIT.tolist(), strict=True)) / 5


def test_one_logit_of_target():
    assert domain_loss(LOGIT[:, None], IS_TARGET).item() == pytest.approx(closed_form(), rel=1e-6)


def test_two_logits_of_source_and_target():
    two = torch.stack([torch.full((5,), 0.7), 0.7 + LOGIT], dim=1)  # only their difference counts
    assert domain_loss(two, IS_TARGET).item() == pytest.approx(closed_form(), rel=1e-6)


def test_probability_of_target():
    assert domain_loss(LOGIT.sigmoid()[:, None], IS_TARGET, True).item() == pytest.approx(closed_form(), rel=1e-6)


def test_knowing_nothing_costs_log_two():
    for output, is_probability in (
        (torch.zeros(5, 2), False),
        (torch.zeros(5, 1), False),
        (torch.full((5, 1), 0.5), True),
    ):
        assert domain_loss(output, IS_TARGET, is_probability).item() == pytest.approx(math.log(2), rel=1e-6)


@pytest.mark.parametrize("columns", [1, 2])
def test_logits_in_bfloat16_under_autocast_are_summed_in_float32(columns):
    generator = torch.Generator().manual_seed(0)
    output = (4 * torch.randn(256, columns, generator=generator)).bfloat16()
    is_target = torch.arange(256) >= 128
    with torch.autocast("cpu", torch.bfloat16):
        loss = domain_loss(output, is_target)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(domain_loss(output.double(), is_target).item(), rel=1e-6)


def test_a_probability_in_bfloat16_under_autocast():
    """Torch refuses the cross-entropy of probabilities under autocast; and exactly 0 or 1 must stay finite."""
    output = torch.tensor([[1.0], [0.0], [0.0], [1.0], [0.5]], dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        loss = domain_loss(output, IS_TARGET, is_probability=True)
    assert loss.dtype == torch.float32
    assert loss.isfinite()
