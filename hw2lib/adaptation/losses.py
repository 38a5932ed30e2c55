"""Losses of domain-adversarial training."""

import torch
import torch.nn.functional as F
from torch import Tensor


def domain_loss(output: Tensor, is_target: Tensor, is_probability: bool = False) -> Tensor:
    """Cross-entropy of the domain classifier (Ganin et al. 2016, equation 9), a scalar in nats.

    Args:
        output: (N, 2) logits of source and target, or (N, 1) logit of target, or, with `is_probability`, (N, 1)
            probability of target.
        is_target: (N,) bool.
        is_probability: whether the network ends in a sigmoid.
    """
    # Three digits of a bf16 logit are enough to predict, but not to sum a loss.
    with torch.autocast(output.device.type, enabled=False):
        output = output.float()
        if output.shape[1] == 2:
            return F.cross_entropy(output, is_target.long())
        if is_probability:
            return F.binary_cross_entropy(output.squeeze(1), is_target.float())
        return F.binary_cross_entropy_with_logits(output.squeeze(1), is_target.float())
