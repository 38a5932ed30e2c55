"""From stored images to a network's input, one function for training, evaluation and figures, and back."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

Normalisation = Literal["range", "instance"]


class Form(NamedTuple):
    """What a network reads: the arguments of `prepare`."""

    channels: int
    size: int
    normalisation: Normalisation


def prepare(
    images: Tensor,
    channels: int,
    size: int,
    normalisation: Normalisation,
    augmentation: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Return (N, channels, size, size) float32, channels last, of uint8 images (N, 1 or 3, H, W).

    Grey is repeated to three channels, colour is averaged to one. `augmentation` sees images in [0, 1]. Then
    ``range`` scales to [-1, 1], and ``instance`` gives each image and channel mean 0 and about deviation 1:
    (x - mean) / (deviation + 0.05), which takes brightness, contrast and tint away.
    """
    x = images.float() / 255
    if channels == 1 and x.shape[1] == 3:
        x = x.mean(1, keepdim=True)
    elif channels == 3 and x.shape[1] == 1:
        x = x.expand(-1, 3, -1, -1)
    if augmentation is not None:
        x = augmentation(x)
    if x.shape[-1] != size:
        x = F.interpolate(x, size=(size, size), mode="bilinear", align_corners=False, antialias=True)
    if normalisation == "range":
        x = 2 * x - 1
    else:
        x = x - x.mean((2, 3), keepdim=True)
        x = x / (x.square().mean((2, 3), keepdim=True).sqrt() + 0.05)  # std_mean is ten times slower on a CPU
    return x.contiguous(memory_format=torch.channels_last)


def to_uint8(images: Tensor) -> Tensor:
    """[-1, 1] to 0 to 255, rounded."""
    return ((images.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
