"""The moving average in closed form, of weights and of BatchNorm's statistics."""

import pytest
import torch
from torch import nn

from hw2lib.training.steps import MovingAverage


def set_to(network: nn.Module, value: float) -> None:
    with torch.no_grad():
        for tensor in network.state_dict().values():
            tensor.fill_(value)


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))


@pytest.mark.parametrize("decay", [0.5, 0.998])
def test_closed_form_with_the_early_decay(decay):
    current = network()
    average = MovingAverage(current, decay)
    expected = None
    for n, value in enumerate([5.0, 3.0, -2.0, 7.0, 1.0, 0.5, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0]):
        set_to(current, value)
        average.update_parameters(current)
        kept = min(decay, (1 + n) / (10 + n))
        expected = value if n == 0 else kept * expected + (1 - kept) * value
        for name in ("0.weight", "0.bias", "1.weight", "1.running_mean", "1.running_var"):
            tensor = average.module.state_dict()[name]
            torch.testing.assert_close(tensor, torch.full_like(tensor, expected), rtol=1e-5, atol=1e-6)


def test_the_start_is_forgotten():
    current = network()
    average = MovingAverage(current, 0.998)
    for value in [1000.0] + [1.0] * 100:
        set_to(current, value)
        average.update_parameters(current)
    # A constant decay of 0.998 would still keep 0.998^100 = 82 % of it.
    assert average.module[0].weight.max() < 1.01


def test_the_counter_of_batches_is_copied():
    current = network()
    average = MovingAverage(current, 0.9)
    for batches in (3, 8):
        set_to(current, batches)
        average.update_parameters(current)
        counter = average.module[1].num_batches_tracked
        assert counter.dtype == torch.int64
        assert counter.item() == batches


def test_it_stays_in_evaluation_and_apart_from_the_network():
    current = network()
    average = MovingAverage(current, 0.9)
    current.train()
    average.update_parameters(current)
    assert not average.module.training
    before = average.module[0].weight.clone()
    set_to(current, 9)
    assert torch.equal(average.module[0].weight, before)


def test_the_number_of_updates_stays_on_the_cpu():
    average = MovingAverage(network(), 0.9).to("meta")
    assert average.n_averaged.device.type == "cpu"
    assert average.module[0].weight.device.type == "meta"


def test_its_state_comes_back():
    current = network()
    average, other = MovingAverage(current, 0.9), MovingAverage(network(), 0.9)
    for _ in range(3):
        average.update_parameters(current)
    other.load_state_dict(average.state_dict())
    for one in (average, other):
        one.update_parameters(network().apply(lambda layer: set_to(layer, 2.0)))
    assert all(
        torch.equal(a, b) for a, b in zip(average.state_dict().values(), other.state_dict().values(), strict=True)
    )
