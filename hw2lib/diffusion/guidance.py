"""Classifier-free guidance (Ho and Salimans 2022): away from what the network predicts without a label."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from hw2lib.errors import UserError

Model = Callable[[Tensor, Tensor, Tensor], Tensor]  # images, times t/T, labels (-1: none) to the noise

# c is the prediction with the label, u that without.
CONVENTIONS = {
    "weight": "(1 + w) c - w u",  # Ho and Salimans 2022, equation 6: 0 is no guidance
    "scale": "u + w (c - u)",  # most public code: 1 is no guidance, 0 no label
}


def guided(model: Model, w: float, convention: str = "weight", together: bool = False) -> Model:
    """The model with guidance; where the label alone or no label counts, it is called once and not twice.

    Args:
        model: any denoiser.
        w: how strongly, at least 0.
        convention: what `w` is, a key of `CONVENTIONS`.
        together: both predictions in one doubled batch, which is faster on a GPU; else one after the other.

    Raises:
        UserError: a negative weight or an unknown convention.
    """
    if convention not in CONVENTIONS:
        raise UserError(f"unknown guidance '{convention}': choose one of {', '.join(CONVENTIONS)}")
    if not 0 <= w < math.inf:
        raise UserError(f"guidance {convention} {w}: give 0 or more")
    scale = w + 1 if convention == "weight" else w
    if scale == 1:
        return model

    def with_guidance(x: Tensor, time: Tensor, labels: Tensor) -> Tensor:
        none = torch.full_like(labels, -1)
        if scale == 0:
            return model(x, time, none)
        if together:
            conditional, free = model(*(torch.cat(pair) for pair in ((x, x), (time, time), (labels, none)))).chunk(2)
        else:
            conditional, free = model(x, time, labels), model(x, time, none)
        return free + scale * (conditional - free)

    return with_guidance
