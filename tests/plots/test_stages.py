"""Stages: what is one box, and who reads whom, through functions between the layers."""

import torch
from torch import nn

from hw2lib.networks import build
from hw2lib.plots.stages import stages


def drawn(module, *inputs):
    """(texts, shape, sources) of each stage."""
    found = stages(module, inputs)
    return [(" ".join(text for text, _ in stage.operations), stage.shape, stage.sources) for stage in found]


def part(name, title):
    module, inputs = build(name).parts[title]
    return drawn(module, *inputs)


def test_a_chain_with_self_attention():
    assert part("sagan", "generator") == [
        ("noise", (128,), []),
        ("ConvT 4/1/0 spectral norm BatchNorm ReLU", (512, 4, 4), [0]),
        ("ConvT 4/2/1 spectral norm BatchNorm ReLU", (256, 8, 8), [1]),
        ("ConvT 4/2/1 spectral norm BatchNorm ReLU", (128, 16, 16), [2]),
        ("self-attention", (128, 16, 16), [3]),
        ("ConvT 4/2/1 spectral norm BatchNorm ReLU", (64, 32, 32), [4]),
        ("self-attention", (64, 32, 32), [5]),
        ("ConvT 4/2/1 Tanh", (3, 64, 64), [6]),
    ]


def test_two_inputs_meet_in_a_product():
    assert part("acgan", "generator")[:4] == [
        ("noise", (100,), []),
        ("labels", (), []),
        ("Embedding", (100,), [1]),
        ("Linear reshape BatchNorm ReLU", (128, 8, 8), [0, 2]),
    ]


def test_two_heads_read_the_same_features():
    assert part("acgan", "discriminator")[-3:] == [
        ("Conv 3/1/0 flatten", (256, 2, 2), [3]),
        ("Linear Sigmoid", (1,), [4]),
        ("Linear", (10,), [4]),
    ]


def test_output_padding_is_the_fourth_number():
    assert part("dcgan-wide", "generator")[2] == ("ConvT 5/2/2/1 BatchNorm ReLU", (512, 8, 8), [1])


class UNet(nn.Module):
    """A skip past the lower level, concatenated, and a time that is added; one activation serves everywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.lower, self.leave = nn.Conv2d(3, 8, 3, 1, 1), nn.Conv2d(8, 16, 3, 1, 1), nn.Conv2d(24, 3, 1)
        self.shrink, self.grow = nn.MaxPool2d(2), nn.Upsample(scale_factor=2)
        self.time, self.activation = nn.Linear(4, 16), nn.GELU()

    def forward(self, x, t):
        wide = self.activation(self.enter(x))
        narrow = self.activation(self.lower(self.shrink(wide)) + self.time(t)[:, :, None, None])
        return self.leave(torch.cat([self.grow(narrow), wide], 1))


def test_skips_through_concatenation_and_sum():
    network = UNet()
    found = drawn(network, torch.zeros(2, 3, 8, 8), torch.zeros(2, 4))
    assert found == [
        ("x", (3, 8, 8), []),
        ("t", (4,), []),
        ("Conv 3/1/1 GELU MaxPool 2", (8, 4, 4), [0]),
        ("Conv 3/1/1", (16, 4, 4), [2]),
        ("Linear", (16,), [1]),
        ("GELU Upsample", (16, 8, 8), [3, 4]),
        ("Conv 1/1/0", (3, 8, 8), [2, 5]),
    ]
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def test_the_network_is_left_as_it_was():
    network = build("sagan").train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    for module, inputs in network.parts.values():
        stages(module, inputs)
    assert all(module.training for module in network.modules())
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
