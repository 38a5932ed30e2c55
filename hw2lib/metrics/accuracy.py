"""Classification accuracy of a network on a set of stored images."""

from collections.abc import Callable

import torch
from torch import Tensor

from hw2lib.data.prepare import Normalisation, prepare


@torch.inference_mode()
def outputs(
    network: Callable[[Tensor], Tensor],
    images: Tensor,
    channels: int,
    size: int,
    normalisation: Normalisation,
    change: Callable[[Tensor], Tensor] | None = None,
    batch: int = 1000,
) -> Tensor:
    """Float32 outputs (N, ...) of `network` on uint8 images (N, C, H, W); `change` sees them in [0, 1] first."""
    parts = images.split(batch)
    return torch.cat([network(prepare(part, channels, size, normalisation, change)).float() for part in parts])


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """Percentage of rows of (N, classes) whose largest entry is at the label (N,)."""
    return 100 * (logits.argmax(1) == labels.to(logits.device)).float().mean().item()
