"""What a trained denoiser's digits are worth, and what they cost, over samplers, steps and guidance."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import pandas as pd
import torch
from torch import Tensor
from tqdm.auto import tqdm

from hw2lib.diffusion.sampling import BATCH, SAMPLERS, Denoiser, SamplerSettings, sample
from hw2lib.metrics.appearance import diversity
from hw2lib.metrics.digit_reference import DigitReference
from hw2lib.metrics.digits import Grader, digit_scores
from hw2lib.models.unet import DIGITS
from hw2lib.training.cards import value_name

MOST_STEPS = 10_000  # over all images of a set, where samplers are compared


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


def compare_samplers(
    denoiser: Denoiser,
    grid: Sequence[int],
    ancestral: Sequence[int],
    guidance_weight: float,
    seeds: Sequence[int],
    count: int,
    grader: Grader,
    real: DigitReference | None = None,
) -> pd.DataFrame:
    """`sweep` over every sampler at the numbers of steps of `grid`, and over DDPM alone at those of `ancestral`.

    A set of `count` digits that would take more than `MOST_STEPS` in all has fewer: as the column ``images`` says.
    """
    ways = [SamplerSettings(sampler, steps, guidance_weight) for sampler in SAMPLERS for steps in grid]
    ways += [SamplerSettings("ddpm", steps, guidance_weight) for steps in ancestral]
    frames = []
    for way in ways:
        images = max(2 * DIGITS, min(count, MOST_STEPS // way.steps // DIGITS * DIGITS))
        frames.append(sweep(denoiser, [way], seeds, images, grader, real).assign(images=images))
    return pd.concat(frames, ignore_index=True)


def speedups(frame: pd.DataFrame, steps: int) -> dict[str, float]:
    """How many times as long as in `steps` of DPM-Solver++ an image takes in more steps of DDPM: ``ddpm_400_times``."""
    seconds = frame.groupby(["sampler", "steps"])["seconds"].mean()
    if ("dpm-solver", steps) not in seconds:
        return {}
    longer = [calls for sampler, calls in seconds.index if sampler == "ddpm" and calls > steps]
    return {f"ddpm_{calls}_times": seconds["ddpm", calls] / seconds["dpm-solver", steps] for calls in longer}


def headline(frames: Mapping[str, pd.DataFrame]) -> dict[str, float]:
    """Means over the sets for the text of the report, such as ``context_unet_accuracy``."""
    return {
        value_name(title, name): float(frame[name].mean())
        for title, frame in frames.items()
        for name in ("accuracy", "frechet", "diversity", "seconds")
        if name in frame
    }
