"""What networks of several families share."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

# Title of each part of a network to the part and an example of its inputs, a batch of one.
Parts = Mapping[str, tuple[nn.Module, tuple[Tensor, ...]]]


@dataclass(frozen=True)
class Inputs:
    """Images that a network reads or draws: (N, channels, size, size)."""

    channels: int
    size: int


class Sigmoid(nn.Sigmoid):
    """In float32 whatever the precision: bfloat16 rounds to exactly 1, without a gradient, from a logit of 6 on."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.float())


class GroupNorm(nn.GroupNorm):
    """The same, by a detour on a CPU: its backward pass is up to thirty times as slow on maps with channels last."""

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu" or x.is_contiguous():
            return super().forward(x)
        return super().forward(x.contiguous()).contiguous(memory_format=torch.channels_last)


def count_parameters(module: nn.Module) -> int:
    """Number of trainable elements."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)
