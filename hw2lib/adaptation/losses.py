"""Losses of training between domains."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def domain_loss(output: Tensor, is_target: Tensor, is_probability: bool = False) -> Tensor:
    """Cross-entropy of the domain classifier (Ganin et al. 2016, equation 9), in nats; `is_target` is (N,) bool.

    `output` is (N, 2) logits of source and target, (N, 1) logit of target, or, if `is_probability`, its probability.
    """
    # Three digits of a bf16 logit are enough to predict, but not to sum a loss.
    with torch.autocast(output.device.type, enabled=False):
        output = output.float()
        if output.shape[1] == 2:
            return F.cross_entropy(output, is_target.long())
        loss = F.binary_cross_entropy if is_probability else F.binary_cross_entropy_with_logits
        return loss(output.squeeze(1), is_target.float())


def pseudo_label_loss(logits: Tensor, given: Tensor, minimum: float | Tensor) -> tuple[Tensor, float]:
    """Cross-entropy with a teacher's labels where it is confident (Sohn et al. 2020, equation 4), and how often it is.

    Logits (N, C) are of strongly changed images, probabilities `given` (N, C) of the teacher for weakly changed ones.
    Rows count whose largest is `minimum`, of each class by itself if (C,). The loss is their sum divided by N, in nats.
    """
    probability, label = given.max(1)
    counts = probability >= (minimum[label] if isinstance(minimum, Tensor) else minimum)
    losses = F.cross_entropy(logits.float(), label, reduction="none") * counts
    return losses.mean(), counts.float().mean().item()


class ClassThresholds(nn.Module):
    """A minimum of confidence for each class, lower where few images pass it (Zhang et al. 2021, sections 3.1 and 3.3).

    With b the share of confident images among those that are given a class, by the largest such share, the minimum is
    confidence * b / (2 - b). The paper counts the confident images themselves, over the whole set, and has a warm-up
    (section 3.2); here a rare class is not taken for a hard one, and counts are moving averages over batches.
    """

    def __init__(self, classes: int = 10, decay: float = 0.99) -> None:
        super().__init__()
        self.decay = decay
        self.register_buffer("given", torch.ones(classes))  # images a batch that are given each class,
        self.register_buffer("passed", torch.ones(classes))  # and those of them that are confident

    @torch.no_grad()
    def update(self, given: Tensor, confidence: float) -> Tensor:
        """Count a batch of probabilities (N, C), and return the minimum of each class, (C,), at most `confidence`."""
        probability, label = given.max(1)
        for share, chosen in ((self.given, label), (self.passed, label[probability >= confidence])):
            share.lerp_(torch.bincount(chosen, minlength=len(share)).to(share), 1 - self.decay)
        share = self.passed / self.given.clamp(min=1e-6)
        beta = share / share.max().clamp(min=1e-6)
        return confidence * beta / (2 - beta)


class EqualShares(nn.Module):
    """A teacher's probabilities, changed so that it gives each class as often (Berthelot et al. 2020, section 3.1).

    Those of each class are divided by their moving average over batches, and every row is scaled back to a sum of 1.
    The paper aims at the frequencies of the labelled images, this at equal ones.
    """

    def __init__(self, classes: int = 10, decay: float = 0.99) -> None:
        super().__init__()
        self.decay = decay
        self.register_buffer("mean", torch.full((classes,), 1 / classes))

    @torch.no_grad()
    def update(self, given: Tensor) -> Tensor:
        """Count a batch of probabilities (N, C), and return them changed, rows of sum 1."""
        self.mean.lerp_(given.mean(0), 1 - self.decay)
        return F.normalize(given / self.mean.clamp(min=1e-6), p=1, dim=1)
