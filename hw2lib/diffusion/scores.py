"""What a trained denoiser's digits are worth, and what they cost, over samplers, steps and guidance."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import pandas as pd
from tqdm.auto import tqdm

from hw2lib.diffusion.networks.unet import DIGITS
from hw2lib.diffusion.sampling import BATCH, SAMPLERS, Denoiser, SamplerSettings, sample
from hw2lib.errors import UserError
from hw2lib.grader.reference import DigitReference
from hw2lib.grader.scores import Grader, digit_scores
from hw2lib.metrics.images import diversity_within
from hw2lib.training.cards import value_name

# What is compared: samplers, and their eta.
WAYS = (("ddpm", 0.0), ("ddim", 0.0), ("ddim", 1.0), ("dpm-solver", 0.0), ("dpm-solver", 1.0))
MOST_STEPS = 5_000  # there, over all images of a set


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
        What `hw2lib.grader.scores.digit_scores` finds; ``diversity``, that of the images of one digit, mean over the
        digits; and ``seconds`` of drawing, an image.

    Raises:
        UserError: fewer than two images of each digit.
    """
    if count < 2 * DIGITS:
        raise UserError(f"{count} images a set: give at least {2 * DIGITS}, two of each digit")
    start = time.perf_counter()
    images, labels = sample(denoiser, settings, seed, count, mixed=True)
    seconds = (time.perf_counter() - start) / count
    scores = digit_scores(images, labels, grader, real)
    return scores | {"diversity": diversity_within(images, labels), "seconds": seconds}


def seconds_an_image(denoiser: Denoiser, settings: SamplerSettings) -> float:
    """How long drawing takes, in full batches."""
    sample(denoiser, replace(settings, steps=1), 0, BATCH, mixed=True)  # the first call of a network takes longer
    start = time.perf_counter()
    sample(denoiser, settings, 0, BATCH, mixed=True)
    return (time.perf_counter() - start) / BATCH


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
            | {"way": way.name, "steps": way.steps or denoiser.schedule.steps, "seed": seed, "images": count}
            | grade(denoiser, way, seed, count, grader, real)
            for way, seed in tqdm(combinations, desc="sets of digits", unit="set")
        ]
    )


def compare_samplers(
    denoiser: Denoiser,
    settings: SamplerSettings,
    grid: Sequence[int],
    ancestral: Sequence[int],
    seeds: Sequence[int],
    count: int,
    grader: Grader,
    real: DigitReference | None = None,
) -> pd.DataFrame:
    """`sweep` over `WAYS` at the numbers of steps of `grid`, and over DDPM alone at those of `ancestral`.

    Guidance is that of `settings`. A set of `count` digits that would take more than `MOST_STEPS` in all has fewer: as
    the column ``images`` says.
    """
    ways = [replace(settings, sampler=sampler, eta=eta, steps=steps) for sampler, eta in WAYS for steps in grid]
    ways += [replace(settings, sampler="ddpm", eta=0.0, steps=steps) for steps in ancestral]
    frames = []
    for way in ways:
        images = max(2 * DIGITS, min(count, MOST_STEPS // way.steps // DIGITS * DIGITS))
        frames.append(sweep(denoiser, [way], seeds, images, grader, real))
    return pd.concat(frames, ignore_index=True)


def speedups(frame: pd.DataFrame, settings: SamplerSettings) -> dict[str, float]:
    """How many times as long as with `settings` an image takes in more steps of DDPM: ``ddpm_400_times``."""
    seconds = frame.groupby(["way", "steps"])["seconds"].mean()
    ours = (settings.name, settings.steps)
    if ours not in seconds:
        return {}
    longer = [steps for way, steps in seconds.index if way == SAMPLERS["ddpm"] and steps > settings.steps]
    return {f"ddpm_{steps}_times": seconds[SAMPLERS["ddpm"], steps] / seconds[ours] for steps in longer}


def headline(frames: Mapping[str, pd.DataFrame]) -> dict[str, float]:
    """Means over the sets for the text of the report, such as ``context_unet_accuracy``."""
    return {
        value_name(title, name): float(frame[name].mean())
        for title, frame in frames.items()
        for name in ("accuracy", "frechet", "diversity", "seconds")
        if name in frame
    }
