"""What networks of several families share."""

from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class Inputs:
    """Images that a network reads or draws: (N, channels, size, size)."""

    channels: int
    size: int


class Sigmoid(nn.Sigmoid):
    """In float32 whatever the precision: bfloat16 rounds to exactly 1, without a gradient, from a logit of 6 on."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.float())
