"""What a trained denoiser's digits are worth, and what they cost, over samplers, steps and guidance."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import pandas as pd
import torch
from torch import Tensor
from tqdm.auto import tqdm

from hw2lib.diffusion.sampling import BATCH, Denoiser, SamplerSettings, sample
from hw2lib.metrics.appearance import diversity
from hw2lib.metrics.digit_reference import DigitReference
from hw2lib.metrics.digits import Grader, digit_scores
from hw2lib.training.cards import value_name


def grade(
    denoiser: Denoiser,
    settings: SamplerSettings,
    seed: int,
    count: int,
    grader: Grader,
    real: DigitReference | None = None,
) -> dict[str, float]:
    """Draw digits and score them.

    Returns:
        What `hw2lib.metrics.digits.digit_scores` finds; ``diversity``, that of the images of one digit, mean over the
        digits; and ``seconds`` of drawing, an image.
    """
    start = time.perf_counter()
    images, labels = sample(denoiser, settings, seed, count, mixed=True)
    seconds = (time.perf_counter() - start) / count
    scores = digit_scores(images, labels, grader, real)
    return scores | {"diversity": diversity_within(images, labels), "seconds": seconds}


def diversity_within(images: Tensor, labels: Tensor) -> float:
    """How much the images of one digit differ (`hw2lib.metrics.appearance.diversity`), mean over the digits.

    Args:
        images: uint8 (N, 3, H, W), at least two of each digit.
        labels: (N,).
    """
    return torch.tensor([diversity(images[labels == digit]) for digit in labels.unique()]).mean().item()


def sweep(
    denoiser: Denoiser,
    ways: Iterable[SamplerSettings],
    seeds: Sequence[int],
    count: int,
    grader: Grader,
    real: DigitReference | None = None,
) -> pd.DataFrame:
    """`grade` for each way to sample and each seed of the noise: a row each, with the settings beside the scores."""
    combinations = [(way, seed) for way in ways for seed in seeds]
    for way, _ in combinations[:1]:  # the first call of a network takes longer, and is not measured
        sample(denoiser, replace(way, steps=1), 0, min(count, BATCH), mixed=True)
    return pd.DataFrame(
        [
            vars(way)
            | {"steps": way.steps or denoiser.schedule.steps, "seed": seed}
            | grade(denoiser, way, seed, count, grader, real)
            for way, seed in tqdm(combinations, desc="sets of digits", unit="set")
        ]
    )


def headline(frames: Mapping[str, pd.DataFrame]) -> dict[str, float]:
    """Means over the sets for the text of the report, such as ``context_unet_accuracy``."""
    return {
        value_name(title, name): float(frame[name].mean())
        for title, frame in frames.items()
        for name in ("accuracy", "frechet", "diversity", "seconds")
        if name in frame
    }
