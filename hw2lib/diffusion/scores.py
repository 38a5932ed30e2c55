"""Scores of what a denoiser draws, over samplers, steps and guidance."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import product

import pandas as pd
from tqdm.auto import tqdm

from hw2lib.classifier.reference import DigitReference
from hw2lib.classifier.scores import Grader, digit_scores, grader
from hw2lib.data import FACES
from hw2lib.diffusion.networks.unet import DIGITS
from hw2lib.diffusion.sample import Denoiser, sample
from hw2lib.diffusion.samplers import SAMPLERS, SamplerSettings
from hw2lib.errors import UserError
from hw2lib.kept import kept
from hw2lib.metrics.images import diversity_within
from hw2lib.metrics.reference import face_scores, reference
from hw2lib.training.cards import value_name

OF_FACES = ("sliced_wasserstein", "one_face", "lattice", "contrast")  # in the curve over a training


def quality(denoiser: Denoiser, images, domain: str, count: int, settings: SamplerSettings) -> dict[str, float]:
    """Scores in the curve over a training: of the first images of seed 0.

    Faces are scored against the val split, digits by the classifier that ships, against the real digits that it knows.
    Guided digits get their diversity too, since their weights may not be kept.
    """
    drawn, labels = sample(denoiser, settings, seed=0, count=count, mixed=True)
    if domain == FACES:
        scores, kept = face_scores(drawn, reference(images, FACES, "val")), OF_FACES
    else:
        scores, kept = digit_scores(drawn, labels, grader()), ("accuracy", "frechet")
        if settings.guidance_weight:
            scores["diversity"], kept = diversity_within(drawn, labels), (*kept, "diversity")
    return {name: round(scores[name], 4) for name in kept if name in scores}


@kept
def set_row(
    denoiser: Denoiser, settings: SamplerSettings, seed: int, count: int, grader: Grader, real: DigitReference | None
) -> dict[str, float]:
    """The `digit_scores` of a set that is drawn in mixed precision, and ``diversity`` within a digit."""
    images, labels = sample(denoiser, settings, seed, count, mixed=True)
    return digit_scores(images, labels, grader, real) | {"diversity": diversity_within(images, labels)}


def sweep(
    denoiser: Denoiser,
    ways: Iterable[SamplerSettings],
    seeds: Sequence[int],
    count: int,
    grader: Grader,
    real: DigitReference | None = None,
) -> pd.DataFrame:
    """A set of digits for each way to sample and each seed of the noise: a row each, the settings beside the scores.

    Columns: those of `SamplerSettings`, ``way``, ``guided``, ``calls``, ``seed``, ``images``, and those of `set_row`.
    `UserError` for fewer than two images of each digit.
    """
    if count < 2 * DIGITS:
        raise UserError(f"{count} images a set: give at least {2 * DIGITS}, two of each digit")
    rows = []
    for way, seed in tqdm(list(product(ways, seeds)), desc="sets of digits", unit="set"):
        steps, calls = way.steps or denoiser.schedule.steps, way.calls(denoiser.schedule.steps)
        settings = vars(way) | {"way": way.name, "guided": way.guided, "steps": steps, "calls": calls}
        row = set_row(denoiser, way, seed, count, grader, real)
        rows.append(settings | {"seed": seed, "images": count} | row)
    return pd.DataFrame(rows)


def compare_samplers(
    denoiser: Denoiser,
    settings: SamplerSettings,
    grid: Sequence[int],
    seeds: Sequence[int],
    count: int,
    grader: Grader,
    real: DigitReference | None = None,
) -> pd.DataFrame:
    """`sweep` over all samplers at the numbers of steps of `grid`, with the guidance of `settings`.

    A sampler that has an eta is compared at 0 and at 1.
    """
    etas = [(name, eta) for name, sampler in SAMPLERS.items() for eta in ((0.0, 1.0) if sampler.has_eta else (0.0,))]
    ways = [replace(settings, sampler=name, eta=eta, steps=steps) for name, eta in etas for steps in grid]
    return sweep(denoiser, ways, seeds, count, grader, real)


def headline(frames: Mapping[str, pd.DataFrame]) -> dict[str, float]:
    """Means over the sets for the text of the report, such as ``context_unet_accuracy``."""
    return {
        value_name(title, name): float(frame[name].mean())
        for title, frame in frames.items()
        for name in ("accuracy", "frechet", "diversity", "calls")
        if name in frame and frame[name].notna().any()
    }
