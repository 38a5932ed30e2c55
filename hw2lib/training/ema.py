"""Exponential moving average of a network's weights and of its BatchNorm statistics."""

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


def moving_average(network: nn.Module, decay: float) -> AveragedModel:
    """An average that follows `network` at every ``update_parameters(network)``.

    Early on the decay is ``(1 + n) / (10 + n)`` after n updates, so that the random start is soon forgotten.
    """

    def update(average: list[Tensor], current: list[Tensor], updates: Tensor) -> None:
        n = int(updates)
        if average[0].is_floating_point():
            torch._foreach_lerp_(average, current, 1 - min(decay, (1 + n) / (10 + n)))
        else:  # BatchNorm's counter of batches
            torch._foreach_copy_(average, current)

    return AveragedModel(network, multi_avg_fn=update, use_buffers=True).eval()
