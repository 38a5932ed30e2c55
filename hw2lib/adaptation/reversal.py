"""Gradient reversal (Ganin et al. 2016, equations 16 and 17) and its schedule (section 5.2.2 there)."""

import math
from typing import Any

import torch
from torch import Tensor


class _GradientReversal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, strength: float) -> Tensor:
        ctx.strength = strength
        return features.view_as(features)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return -ctx.strength * gradient, None


def reverse_gradient(features: Tensor, strength: float) -> Tensor:
    """The identity; the gradient that flows back through it is multiplied by ``-strength``."""
    return _GradientReversal.apply(features, strength)


def reversal_strength(progress: float, maximum: float = 1.0) -> float:
    """Strength of the reversal after the fraction `progress` in [0, 1] of training.

    ``maximum * (2 / (1 + exp(-10 progress)) - 1)``: nothing at the start, when the domain classifier knows nothing, and
    0.99990920 of `maximum` at the end.
    """
    return maximum * (2 / (1 + math.exp(-10 * progress)) - 1)
