"""Gradient reversal: nothing forward, minus the strength backward, and its schedule."""

import pytest
import torch

from hw2lib.adaptation.reversal import reversal_strength, reverse_gradient
from hw2lib.networks import build


def test_forward_is_the_identity():
    x = torch.randn(5, 7)
    assert torch.equal(reverse_gradient(x, 0.3), x)


@pytest.mark.parametrize("strength", [0.0, 0.25, 1.0, 3.0])
def test_backward_is_minus_the_strength(strength):
    x = torch.randn(5, 7, dtype=torch.float64, requires_grad=True)
    reverse_gradient(x, strength).square().sum().backward()
    torch.testing.assert_close(x.grad, -strength * 2 * x.detach())


@pytest.mark.parametrize("name", ["dann-compact", "dann-grey"])
def test_only_what_lies_before_it_is_reversed(name):
    """The features' gradient is -strength times that without reversal; the domain classifier's is not touched."""
    network = build(name).double().eval()
    if name == "dann-grey":
        network.domain = network.domain[:-1]  # its sigmoid computes in float32
    inputs = network.inputs
    x = torch.randn(6, inputs.channels, inputs.size, inputs.size, dtype=torch.float64)

    network(x, reversal=0.4)[1].square().sum().backward()
    reversed_ = {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}
    network.zero_grad()
    network.domain(network.features(x)).square().sum().backward()
    plain = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}

    assert reversed_.keys() == plain.keys()
    for name, gradient in plain.items():
        assert gradient.abs().max() > 0, name
        factor = -0.4 if name.startswith("features") else 1
        torch.testing.assert_close(reversed_[name], factor * gradient, rtol=1e-9, atol=1e-12)


def test_the_schedule():
    assert reversal_strength(0) == 0
    assert reversal_strength(1) == pytest.approx(0.99990920, abs=5e-9)
    assert reversal_strength(0.1) == pytest.approx(0.46211716, abs=5e-9)  # tanh(1/2)
    assert reversal_strength(1, maximum=0.3) == pytest.approx(0.3 * 0.99990920, abs=5e-9)
