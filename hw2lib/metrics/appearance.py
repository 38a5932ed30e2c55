"""How bright, how contrasted and how diverse images are: what a look at a grid tells, as three numbers in [0, 1]."""

import torch
from torch import Tensor

from hw2lib.metrics.images import check_images

PAIRS = 10_000


def brightness(images: Tensor) -> float:
    """Mean value of the uint8 images (N, 3, H, W)."""
    check_images(images)
    return images.double().mean().item() / 255


def contrast(images: Tensor) -> float:
    """Standard deviation of grey values (the mean of the channels) within an image, mean over uint8 (N, 3, H, W)."""
    check_images(images)
    return images.float().mean(1).flatten(1).std(1, correction=0).mean().item() / 255


def diversity(images: Tensor, seed: int = 0) -> float:
    """Root mean square difference of pixels between two different images, mean over random pairs of uint8 (N, 3, H, W).

    It is 0 where a generator always makes the same image.
    """
    check_images(images)
    generator = torch.Generator().manual_seed(seed)
    first = torch.randint(len(images), (PAIRS,), generator=generator)
    second = (first + torch.randint(1, len(images), (PAIRS,), generator=generator)) % len(images)  # never the same one
    pixels = images.flatten(1)
    distances = [
        (pixels[a].float() - pixels[b].float()).square().mean(1).sqrt()
        for a, b in zip(first.split(500), second.split(500), strict=True)
    ]
    return torch.cat(distances).mean().item() / 255


def diversity_within(images: Tensor, labels: Tensor) -> float:
    """How much the images of one digit differ (`diversity`), mean over the digits.

    Args:
        images: uint8 (N, 3, H, W), at least two of each digit.
        labels: (N,).
    """
    return torch.tensor([diversity(images[labels == digit]) for digit in labels.unique()]).mean().item()
