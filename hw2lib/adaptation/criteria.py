"""How good a network is on a target without labels, guessed from its outputs there.

They serve to choose between runs. None of them sees a label of the target.
"""

import torch
from torch import Tensor

TEMPERATURE = 0.05  # of soft neighbourhood density, as in the paper


def entropy(probabilities: Tensor) -> float:
    """Mean entropy in nats of rows (N, classes) of probabilities: low where a network is sure of each image."""
    return torch.special.entr(probabilities.double()).sum(1).mean().item()


def diversity(probabilities: Tensor) -> float:
    """Entropy in nats of the mean row of (N, classes): high where all classes are given, log(classes) at most."""
    return torch.special.entr(probabilities.double().mean(0)).sum().item()


def information(probabilities: Tensor) -> float:
    """Mutual information in nats between image and class, of rows (N, classes) of probabilities (Bridle et al. 1991).

    High where a network is sure of each image and gives all classes, log(classes) at most.
    """
    return diversity(probabilities) - entropy(probabilities)


def neighbourhood_density(probabilities: Tensor, temperature: float = TEMPERATURE) -> float:
    """Soft neighbourhood density of rows (N, classes): high where images lie in large clusters (Saito et al. 2021).

    Each image has similarities to all others, cosines of the outputs; their softmax with a temperature (equation 2) is
    a distribution over neighbours, and the density is its entropy in nats, averaged (equation 3), log(N - 1) at most.
    """
    rows = torch.nn.functional.normalize(probabilities.double(), dim=1)
    similarity = (rows @ rows.T / temperature).fill_diagonal_(-torch.inf)
    return torch.special.entr(similarity.softmax(1)).sum(1).mean().item()


def of(probabilities: Tensor) -> dict[str, float]:
    """All of them, of rows (N, classes); the names are those of a card."""
    return {
        "entropy": entropy(probabilities),
        "information": information(probabilities),
        "density": neighbourhood_density(probabilities),
    }
