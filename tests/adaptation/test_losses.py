"""The domain loss in its three forms, and the loss on labels of a teacher."""

import math

import pytest
import torch

from hw2lib.adaptation.dann import domain_loss
from hw2lib.adaptation.uda import ClassThresholds, EqualShares, pseudo_label_loss

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


# Labels of a teacher

GIVEN = torch.tensor([[0.9, 0.1, 0.0], [0.2, 0.7, 0.1], [0.1, 0.3, 0.6], [0.5, 0.4, 0.1]])
LOGITS = torch.tensor([[2.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 1.0, 0.0], [3.0, 1.0, 2.0]])


def cross_entropy(logits: torch.Tensor, label: int) -> float:
    return math.log(sum(math.exp(z) for z in logits.tolist())) - float(logits[label])


def test_rows_count_from_the_minimum_on():
    loss, kept = pseudo_label_loss(LOGITS, GIVEN, 0.7)
    expected = (cross_entropy(LOGITS[0], 0) + cross_entropy(LOGITS[1], 1)) / 4  # the sum is divided by all rows
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    assert kept == 0.5


def test_each_class_has_a_minimum_of_its_own():
    loss, kept = pseudo_label_loss(LOGITS, GIVEN, torch.tensor([0.95, 0.95, 0.5]))
    assert loss.item() == pytest.approx(cross_entropy(LOGITS[2], 2) / 4, rel=1e-6)
    assert kept == 0.25


def test_rows_that_do_not_count_have_no_gradient():
    logits = LOGITS.clone().requires_grad_()
    pseudo_label_loss(logits, GIVEN, 0.85)[0].backward()
    assert logits.grad[0].abs().min() > 0
    assert logits.grad[1:].abs().max() == 0
    assert pseudo_label_loss(LOGITS, GIVEN, 0.99) == (0, 0)


def test_classes_of_which_equal_shares_are_confident_have_equal_minima_however_rare():
    thresholds = ClassThresholds(classes=2, decay=0.0)
    many, few = torch.tensor([[0.95, 0.05]] * 8 + [[0.6, 0.4]] * 8), torch.tensor([[0.05, 0.95], [0.4, 0.6]])
    assert thresholds.update(torch.cat([many, few]), 0.9).tolist() == pytest.approx([0.9, 0.9])


def test_the_minimum_follows_the_share_of_confident_images():
    thresholds = ClassThresholds(classes=2, decay=0.0)
    given = torch.tensor([[0.95, 0.05]] * 4 + [[0.05, 0.95], [0.2, 0.8], [0.2, 0.8], [0.2, 0.8]])
    assert thresholds.update(given, 0.9).tolist() == pytest.approx([0.9, 0.9 * 0.25 / (2 - 0.25)])


def test_minima_stay_numbers_when_classes_are_never_given_or_nothing_is_confident():
    thresholds = ClassThresholds(classes=2, decay=0.0)
    for given in (torch.tensor([[0.95, 0.05]]), torch.tensor([[0.6, 0.4]])):
        minima = thresholds.update(given, 0.9)
        assert minima.isfinite().all()
        assert (minima <= 0.9).all()


def test_counts_are_a_moving_average_and_part_of_the_state():
    thresholds = ClassThresholds(classes=2, decay=0.75)
    thresholds.update(torch.tensor([[0.95, 0.05]] * 5), 0.9)
    assert thresholds.given.tolist() == thresholds.passed.tolist() == [0.75 + 0.25 * 5, 0.75]
    other = ClassThresholds(classes=2)
    other.load_state_dict(thresholds.state_dict())
    assert torch.equal(other.passed, thresholds.passed)


def test_a_class_that_is_given_too_often_is_given_less():
    shares = EqualShares(classes=2, decay=0.0)
    changed = shares.update(torch.tensor([[0.9, 0.1], [0.6, 0.4]]))  # on average 0.75 and 0.25
    assert changed.flatten().tolist() == pytest.approx([0.75, 0.25, 1 / 3, 2 / 3])


def test_classes_that_are_given_as_often_stay_as_they_are():
    given = torch.tensor([[0.9, 0.1], [0.1, 0.9]])
    torch.testing.assert_close(EqualShares(classes=2).update(given), given)


def test_probabilities_stay_numbers_where_a_class_is_never_given():
    changed = EqualShares(classes=2, decay=0.0).update(torch.tensor([[1.0, 0.0]]))
    assert changed.tolist() == [[1.0, 0.0]]


def test_shares_are_a_moving_average_and_part_of_the_state():
    shares = EqualShares(classes=2, decay=0.75)
    shares.update(torch.tensor([[0.9, 0.1]]))
    assert shares.mean.tolist() == pytest.approx([0.75 * 0.5 + 0.25 * 0.9, 0.75 * 0.5 + 0.25 * 0.1])
    other = EqualShares(classes=2)
    other.load_state_dict(shares.state_dict())
    assert torch.equal(other.mean, shares.mean)
