"""What a denoiser does to its image: every step in its order, skip connections, and where conditions enter."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hw2lib.networks import build
from hw2lib.plots.stages import trace

NETWORKS = ["unet-two-level", "unet-three-level", "unet-wide-bottleneck", "context-unet", "context-unet-128"]


def traced(name):
    return trace(*build(name).parts["denoiser"])


def told(operations):
    return [(step.unit, len(step.shapes), step.text, step.shape, step.skip) for step in operations]


def test_a_denoiser_that_adds_time_and_label_at_each_level():
    assert told(traced("unet-two-level")) == [
        ("stem", 2, "Conv 3/1/1", (64, 28, 28), None),
        ("down 1", 1, "MaxPool 2", (64, 14, 14), None),
        ("down 1", 4, "Conv 3/1/1", (128, 14, 14), None),
        ("down 1", 1, "+ time and label", (128, 14, 14), None),
        ("down 1", 1, "self-attention", (128, 14, 14), None),
        ("down 2", 1, "MaxPool 2", (128, 7, 7), None),
        ("down 2", 4, "Conv 3/1/1", (128, 7, 7), None),
        ("down 2", 1, "+ time and label", (128, 7, 7), None),
        ("down 2", 1, "self-attention", (128, 7, 7), None),
        ("bottom", 6, "Conv 3/1/1", (128, 7, 7), None),
        ("up 1", 1, "ConvT 4/2/1", (128, 14, 14), None),
        ("up 1", 1, "concatenate", (256, 14, 14), 4),
        ("up 1", 4, "Conv 3/1/1", (64, 14, 14), None),
        ("up 1", 1, "+ time and label", (64, 14, 14), None),
        ("up 1", 1, "self-attention", (64, 14, 14), None),
        ("up 2", 1, "ConvT 4/2/1", (64, 28, 28), None),
        ("up 2", 1, "concatenate", (128, 28, 28), 0),
        ("up 2", 4, "Conv 3/1/1", (64, 28, 28), None),
        ("up 2", 1, "+ time and label", (64, 28, 28), None),
        ("up 2", 1, "self-attention", (64, 28, 28), None),
        ("last", 1, "Conv 1/1/0", (3, 28, 28), None),
    ]


def test_a_denoiser_with_a_scale_for_the_label_and_a_shift_for_the_time():
    assert told(traced("context-unet-128")) == [
        ("stem", 2, "Conv 3/1/1", (128, 28, 28), None),
        ("down 1", 2, "Conv 3/1/1", (128, 28, 28), None),
        ("down 1", 1, "MaxPool 2", (128, 14, 14), None),
        ("down 2", 2, "Conv 3/1/1", (256, 14, 14), None),
        ("down 2", 1, "MaxPool 2", (256, 7, 7), None),
        ("to vector", 1, "AdaptiveAvgPool 1", (256, 1, 1), None),
        ("from vector", 1, "ConvT 7/7/0", (256, 7, 7), None),
        ("up 1", 1, "× label", (256, 7, 7), None),
        ("up 1", 1, "+ time", (256, 7, 7), None),
        ("up 1", 1, "concatenate", (512, 7, 7), 4),
        ("up 1", 1, "ConvT 2/2/0", (128, 14, 14), None),
        ("up 1", 4, "Conv 3/1/1", (128, 14, 14), None),
        ("up 2", 1, "× label", (128, 14, 14), None),
        ("up 2", 1, "+ time", (128, 14, 14), None),
        ("up 2", 1, "concatenate", (256, 14, 14), 2),
        ("up 2", 1, "ConvT 2/2/0", (128, 28, 28), None),
        ("up 2", 4, "Conv 3/1/1", (128, 28, 28), None),
        ("last", 1, "concatenate", (256, 28, 28), 0),
        ("last", 2, "Conv 3/1/1", (3, 28, 28), None),
    ]


def test_interpolation_and_the_widths_on_the_way():
    operations = traced("unet-wide-bottleneck")
    bottom = next(step for step in operations if step.unit == "bottom")
    assert [shape[0] for shape in bottom.shapes] == [512, 512, 512, 512, 256, 256]
    first = next(step for step in operations if step.unit == "up 1")
    assert (first.text, first.family, first.shape) == ("bilinear interpolation", "interpolation", (256, 7, 7))


@pytest.mark.parametrize("name", NETWORKS)
def test_skip_connections_join_maps_of_one_size(name):
    operations = traced(name)
    joins = [step for step in operations if step.skip is not None]
    assert len(joins) == (2 if name == "unet-two-level" else 3)
    for step in joins:
        assert operations[step.skip].shape[1:] == step.shape[1:]


class Small(nn.Module):
    """Conditions meet the map in functions that have no sign; what is done to conditions alone is no step."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, 2, 1), nn.Sequential(nn.Conv2d(4, 4, 1), nn.GELU())
        self.words = nn.Linear(4, 4)

    def forward(self, x, time, words):
        told = self.words(words)[:, :, None, None]
        x = torch.maximum(self.first(x), told)
        torch.cat([told, told])
        x = F.interpolate(x + self.first.bias[:, None, None], scale_factor=2, mode="nearest")
        return self.second(x - time[:, None, None, None])


def test_what_is_done_between_two_parts_belongs_to_the_next():
    network = Small().train()
    found = trace(network, (torch.zeros(1, 3, 8, 8), torch.zeros(1), torch.zeros(1, 4)))
    assert told(found) == [
        ("second", 1, "Conv 3/2/1", (4, 4, 4), None),
        ("second", 1, "maximum word", (4, 4, 4), None),
        ("second", 1, "nearest interpolation", (4, 8, 8), None),
        ("second", 1, "sub time", (4, 8, 8), None),
        ("second", 1, "Conv 1/1/0", (4, 8, 8), None),
    ]
    assert all(module.training for module in network.modules())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())
