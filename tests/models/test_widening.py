"""A network that begins as a narrower one: what it computes, and that its copies of a channel part."""

import pytest
import torch
from torch import nn

from hw2lib.errors import UserError
from hw2lib.models.classifier import DigitClassifier
from hw2lib.models.context_unet import ContextUNet
from hw2lib.models.widening import widen


def used(width: int) -> ContextUNet:
    """With statistics of batches as training leaves them."""
    network = ContextUNet(width)
    for _ in range(3):
        network(torch.randn(8, 3, 28, 28), torch.rand(8), torch.randint(-1, 10, (8,)))
    return network.eval()


def predicted(network: nn.Module) -> torch.Tensor:
    torch.manual_seed(7)
    with torch.no_grad():
        return network(torch.randn(4, 3, 28, 28), torch.rand(4), torch.tensor([-1, 0, 5, 9]))


@pytest.mark.parametrize("width", [16, 32, 48])
def test_a_widened_network_computes_the_same(width):
    torch.manual_seed(0)
    narrow, wide = used(16), ContextUNet(width).eval()
    assert not torch.allclose(predicted(wide), predicted(narrow), atol=1e-2)
    widen(narrow, wide)
    torch.testing.assert_close(predicted(wide), predicted(narrow), atol=1e-4, rtol=1e-4)


def test_where_channels_are_not_repeated_evenly_it_is_nearly_the_same():
    torch.manual_seed(0)
    narrow, wide = used(16), ContextUNet(40).eval()
    widen(narrow, wide)
    wanted = predicted(narrow)
    assert (predicted(wide) - wanted).square().mean() < 0.05 * wanted.var()


def test_copies_of_a_channel_learn_different_things():
    torch.manual_seed(0)
    narrow, wide = (
        nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)),
        nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2)),
    )
    widen(narrow, wide)
    assert torch.equal(wide[0].weight[0::2], wide[0].weight[1::2])
    wide(torch.randn(50, 3)).square().sum().backward()
    gradient = wide[0].weight.grad
    alive = gradient[0::2].norm(dim=1) > 0
    assert alive.any()
    assert ((gradient[0::2] - gradient[1::2]).norm(dim=1)[alive] > 0.01 * gradient[0::2].norm(dim=1)[alive]).all()


def test_the_shares_of_a_weight_add_up_to_it():
    narrow, wide = nn.ConvTranspose2d(4, 6, 2), nn.ConvTranspose2d(12, 9, 2)
    widen(narrow, wide)
    sums = wide.weight.view(4, 3, 9, 2, 2).sum(1)
    torch.testing.assert_close(sums, narrow.weight[:, torch.arange(9) * 6 // 9])
    torch.testing.assert_close(wide.bias, narrow.bias[torch.arange(9) * 6 // 9])


@pytest.mark.parametrize(
    ("narrow", "wide", "message"),
    [
        (ContextUNet(32), ContextUNet(16), "which is wider"),
        (DigitClassifier(), ContextUNet(16), "in more than width"),
        (nn.Linear(2, 3, bias=False), nn.Linear(2, 3), "in more than width"),
        (nn.Conv2d(2, 3, 3), nn.Conv2d(4, 6, 5), "their kernels differ"),
    ],
)
def test_others_are_refused_and_left_as_they_are(narrow, wide, message):
    before = {name: tensor.clone() for name, tensor in wide.state_dict().items()}
    with pytest.raises(UserError, match=message):
        widen(narrow, wide)
    for name, tensor in wide.state_dict().items():
        assert torch.equal(tensor, before[name])
