"""Exponential moving average of a network's weights and of its BatchNorm statistics."""

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
        averages, values = ([*one.parameters(), *one.buffers()] for one in (self.module, network))
        averaged = [i for i, average in enumerate(averages) if n and average.is_floating_point()]
        copied = [i for i in range(len(averages)) if i not in averaged]
        weight = 1 - min(self.decay, (1 + n) / (10 + n))
        if averaged:
            torch._foreach_lerp_([averages[i] for i in averaged], [values[i] for i in averaged], weight)
        if copied:
            torch._foreach_copy_([averages[i] for i in copied], [values[i] for i in copied])
        self.n_averaged += 1
