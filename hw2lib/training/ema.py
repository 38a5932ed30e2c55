"""Exponential moving average of a network's weights and of its BatchNorm statistics."""

from itertools import chain

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel


class MovingAverage(AveragedModel):
    """An average in evaluation mode, `module`, that follows a network at every ``update_parameters(network)``.

    Early on the decay is ``(1 + n) / (10 + n)`` after n updates, so that the random start is soon forgotten. The number
    of updates stays on the CPU, where no step has to wait for the GPU to read it.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        super().__init__(network, use_buffers=True)
        self.decay = decay
        self.eval()

    def _apply(self, function, recurse=True):
        updates = self.n_averaged
        super()._apply(function, recurse)
        self.n_averaged = updates
        return self

    @torch.no_grad()
    def update_parameters(self, network: nn.Module) -> None:
        """Move the average towards the weights and statistics of `network`; counters of batches are copied."""
        n = int(self.n_averaged)
        averages, values = (list(chain(one.parameters(), one.buffers())) for one in (self.module, network))
        pairs = list(zip(averages, values, strict=True))
        copied = [pair for pair in pairs if not n or not pair[0].is_floating_point()]
        averaged = [pair for pair in pairs if n and pair[0].is_floating_point()]
        if copied:
            torch._foreach_copy_(*map(list, zip(*copied, strict=True)))
        if averaged:
            weight = 1 - min(self.decay, (1 + n) / (10 + n))
            torch._foreach_lerp_(*map(list, zip(*averaged, strict=True)), weight)
        self.n_averaged += 1
