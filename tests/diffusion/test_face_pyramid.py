"""The denoiser of faces at several sizes: what it begins with, and which levels see what."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hw2lib.diffusion.networks.face_pyramid import FacePyramid
from hw2lib.errors import UserError
from hw2lib.layers import count_parameters
from hw2lib.networks import build


@pytest.fixture
def network():
    """A small one whose weights are all drawn, also those that training begins with as zeros."""
    torch.manual_seed(0)
    network = FacePyramid((8, 16, 32), size=32)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.1)
    return network.eval()


@torch.no_grad()
def test_a_new_one_answers_nothing_at_every_size():
    new = build("face-pyramid")
    assert count_parameters(new) < 7e6
    for size in (64, 32, 16):
        x = torch.randn(2, 3, size, size)
        assert torch.equal(new(x, torch.rand(2)), torch.zeros_like(x))


@torch.no_grad()
def test_what_small_images_teach_holds_for_whole_ones(network):
    """With a first level that adds nothing, the answer is that to the means of 2x2 pixels."""
    for module in (network.top.shrink, network.top.head, network.top.share):
        nn.init.zeros_(module.weight)
        nn.init.zeros_(module.bias)
    x, time = torch.randn(2, 3, 32, 32), torch.rand(2)
    small = network(F.avg_pool2d(x, 2), time)
    assert torch.allclose(network(x, time), F.interpolate(small, scale_factor=2), atol=1e-5)


def test_small_images_train_the_levels_of_their_size_alone(network):
    network(torch.randn(1, 3, 16, 16), torch.rand(1)).sum().backward()
    first = {name for name, _ in network.top.named_parameters() if not name.startswith("below.")}
    assert {name for name, p in network.top.named_parameters() if p.grad is None} == first


@torch.no_grad()
def test_every_pixel_of_full_size_is_seen(network):
    """Two pixels of one 2x2 square that change places change the answer, though the levels below see their mean."""
    x, time = torch.randn(1, 3, 32, 32), torch.rand(1)
    other = x.clone()
    other[..., 8, 8:10] = x[..., 8, 8:10].flip(-1)
    assert not torch.allclose(network(x, time), network(other, time), atol=1e-4)


def test_a_size_that_cannot_be_halved_to_the_last_level_is_refused(network):
    with pytest.raises(UserError, match=r"images of 18x18.*multiples of 4"):
        network(torch.randn(1, 3, 18, 18), torch.rand(1))
