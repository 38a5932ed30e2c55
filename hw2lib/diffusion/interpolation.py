"""Ways from one noise to another of the same shape, whatever it is."""

import torch
from torch import Tensor

from hw2lib.errors import UserError


def lerp(a: Tensor, b: Tensor, alpha: float) -> Tensor:
    """The straight line, (1 - alpha) a + alpha b. Halfway between two normal noises its norm is 1/sqrt(2) of theirs.

    Raises:
        UserError: alpha outside of [0, 1].
    """
    _check(alpha)
    return (1 - alpha) * a + alpha * b


def slerp(a: Tensor, b: Tensor, alpha: float) -> Tensor:
    """The arc: sin((1 - alpha) theta) / sin(theta) a + sin(alpha theta) / sin(theta) b (Shoemake 1985).

    theta is the angle between the two as vectors. Where it is not defined, since one is zero, or the arc is none, since
    both point the same or opposite ways, the line is taken.

    Raises:
        UserError: alpha outside of [0, 1].
    """
    _check(alpha)
    x, y = a.double().flatten(), b.double().flatten()
    cosine = torch.dot(x, y) / (x.norm() * y.norm())
    if not cosine.abs() < 1 - 1e-12:  # neither for NaN
        return lerp(a, b, alpha)
    theta = cosine.arccos()
    weights = ((1 - alpha) * theta).sin() / theta.sin(), (alpha * theta).sin() / theta.sin()
    return float(weights[0]) * a + float(weights[1]) * b


def _check(alpha: float) -> None:
    if not 0 <= alpha <= 1:
        raise UserError(f"alpha {alpha}: give 0 to 1")
