"""Scores of generators: sets of images drawn from them, beside real ones, and what their trainings' cards say.

Names of numbers for the report's text begin with the network's, such as ``gan_plain_brightness``.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from hw2lib import data
from hw2lib.classifier.reference import DigitReference
from hw2lib.classifier.scores import Grader, digit_scores, grader
from hw2lib.data import FACES
from hw2lib.gan.networks import GAN
from hw2lib.gan.sample import draw, sample
from hw2lib.kept import kept
from hw2lib.metrics import fidelity
from hw2lib.metrics.images import stored_images
from hw2lib.metrics.reference import Reference, face_scores, reference
from hw2lib.training.cards import value_name
from hw2lib.training.run_folder import RunFolder

Scores = dict[str, float]
Sets = dict[str, Callable[[], Tensor]]  # name to what draws the images, uint8 (N, 3, 64, 64), where they are needed

FLOOR = "real, train against val"
OF_FACES = ("sliced_wasserstein", "one_face", "lattice", "brightness", "contrast", "diversity")


def mark_scores(gan: GAN, images, domain: str, count: int) -> Scores:
    """Scores at one mark of a training, rounded: of the first `count` images of seed 0.

    Faces are scored against the val split of `images`, digits by the classifier that ships, beside real digits.
    """
    drawn, labels = sample(gan, gan.generator, seed=0, count=count)
    if domain == FACES:
        scores, names = face_scores(drawn, reference(images, FACES, "val")), OF_FACES
    else:
        scores, names = digit_scores(drawn, labels, grader()), ("accuracy", "frechet")
    return {name: round(scores[name], 4) for name in names if name in scores}


@kept
def face_set_scores(
    folder: RunFolder, seed: int, count: int, real: Reference, draw: Callable[..., Tensor] = draw, **options: Any
) -> Scores:
    """The scores of the first `count` faces of a seed; `draw` takes run, seed, count and the options."""
    return face_scores(draw(folder, seed, count, **options), real)


def scores_by_network(
    folders: Sequence[RunFolder],
    networks: Sequence[str],
    seeds: Sequence[int],
    count: int,
    real: Reference,
    draw: Callable[..., Tensor] = draw,
    **options: Any,
) -> dict[str, list[Scores]]:
    """For each network the `face_set_scores` for each seed of the noise; none where no run is finished.

    Where weights were not kept, there is one set, that of the end of training, as the card has it.
    """
    scores: dict[str, list[Scores]] = {network: [] for network in networks}
    for folder in folders:
        sets = folder.card["curve"][-1:]
        if folder.weights.exists():
            sets = [face_set_scores(folder, seed, count, real, draw, **options) for seed in seeds]
        scores[folder.settings["network"]] += sets
    return scores


@kept
def noise_scores(count: int, real: Reference) -> Scores:
    """The scores of images whose pixels are uniform noise: how bad it can get."""
    rng = np.random.default_rng(0)
    return face_scores(torch.tensor(rng.integers(0, 256, (count, 3, real.size, real.size), np.uint8)), real)


def headline(scores: dict[str, list[Scores]], real: Reference, noise: Scores) -> Scores:
    """Means over the sets of each network, and the numbers of real faces and of noise."""
    values = {
        value_name(network, name): float(np.mean([one[name] for one in sets]))
        for network, sets in scores.items() if sets
        for name in OF_FACES if name in sets[0]
    }  # fmt: skip
    values |= {f"real_{name}": getattr(real, name) for name in OF_FACES[1:]}
    distances = {"noise": noise["sliced_wasserstein"], "real": real.floor["sliced_wasserstein"]}
    return values | {f"{name}_sliced_wasserstein": distance for name, distance in distances.items()}


@kept
def digit_set_scores(
    folder: RunFolder, seed: int, count: int, grader: Grader, real: DigitReference | None, device: torch.device | str
) -> Scores:
    """The scores of the first `count` digits of a seed (`hw2lib.classifier.scores.digit_scores`)."""
    return digit_scores(draw(folder, seed, count, device), torch.arange(count) % 10, grader, real)


def distance_tables(
    sets: Sets, count: int, preset: str, data_dir: str, device: torch.device | str
) -> tuple[dict[str, pd.DataFrame], str]:
    """Tables of sets of `count` faces against real val faces, and a sentence for each that cannot be had, or "".

    ``fidelity`` has FID, IS and KID, ``descriptors`` the Fréchet distance of `fidelity.face_descriptors`, from `count`
    val faces. The last row of each is the floor, `count` train faces.
    """
    tables, missing = {}, []
    for name, title, measure in (
        ("fidelity", "FID, IS and KID", partial(_inception_table, device=device)),
        ("descriptors", "face descriptor distances", _descriptor_table),
    ):
        try:
            if preset != "paper" and not data_dir:
                raise fidelity.Unavailable("they need the real faces themselves; set data_dir, or preset to paper")
            tables[name] = measure(sets, count, data.source(preset, data_dir))
        except fidelity.Unavailable as error:
            missing.append(f"No {title}: {error}.")
    return tables, " ".join(missing)


def _inception_table(sets: Sets, count: int, images: data.ImageSource, device: torch.device | str) -> pd.DataFrame:
    extractor = fidelity.inception(device=device)
    real = fidelity.stored_features(images, FACES, "val", extractor)
    features = {name: fidelity.extract(draw(), extractor) for name, draw in sets.items()}
    features[FLOOR] = fidelity.stored_features(images, FACES, "train", extractor, count)
    rows = []
    for name, seen in features.items():
        scores = fidelity.scores(seen, real)
        inception = f"{scores['is']:.3f} ± {scores['is_deviation']:.3f}"
        rows.append([name, f"{scores['fid']:.2f}", inception, f"{1000 * scores['kid']:.2f}"])
    return pd.DataFrame(rows, columns=["images", "FID", "IS", "KID x 1000"])


def _descriptor_table(sets: Sets, count: int, images: data.ImageSource) -> pd.DataFrame:
    real = fidelity.face_descriptors(stored_images(images, FACES, "val", count))
    sets = sets | {FLOOR: partial(stored_images, images, FACES, "train", count)}
    seen = {name: fidelity.face_descriptors(draw()) for name, draw in sets.items()}
    rows = [[name, f"{100 * fidelity.frechet_distance(found, real):.2f}"] for name, found in seen.items()]
    return pd.DataFrame(rows, columns=["images", "face descriptor distance x 100"])


def loss_against_quality(card: dict) -> Scores:
    """What the losses of a training say of its images.

    ``generator_loss_first`` and ``_last`` are means over the time before the first and before the last evaluation,
    ``sliced_wasserstein_first`` and ``_last`` the distances there. ``loss_correlation`` is Spearman's rank correlation
    of the generator's loss with the distance over all evaluations, left out where fewer than three of them differ.
    """
    losses, marks = np.array(card["losses"]), [mark["step"] for mark in card["curve"]]
    before = [losses[(losses[:, 0] > low) & (losses[:, 0] <= high), 2].mean() for low, high in pairwise([0, *marks])]
    distances = [mark["sliced_wasserstein"] for mark in card["curve"]]
    values = {f"generator_loss_{name}": float(before[i]) for name, i in (("first", 0), ("last", -1))}
    values |= {f"sliced_wasserstein_{name}": distances[i] for name, i in (("first", 0), ("last", -1))}
    if len(set(before)) > 2 and len(set(distances)) > 2:
        values["loss_correlation"] = float(pd.Series(before).corr(pd.Series(distances), method="spearman"))
    return {value_name(card["settings"]["network"], name): value for name, value in values.items()}


def closest(card: dict) -> Scores:
    """``closest``, the smallest sliced Wasserstein distance of a training's evaluations, and its ``closest_step``."""
    mark = min(card["curve"], key=lambda mark: mark["sliced_wasserstein"])
    values = {"closest": mark["sliced_wasserstein"], "closest_step": float(mark["step"])}
    return {value_name(card["settings"]["network"], name): value for name, value in values.items()}


def study_headline(frame: pd.DataFrame) -> Scores:
    """Means over the seeds of each variant of a study (`hw2lib.gan.tables.study_frame`) at its last step.

    Names are such as ``gan_plain_study_colour_contrast``, of network, recipe and score.
    """
    names = ["sliced_wasserstein", "brightness", "contrast", "roughness"]
    variants = frame.groupby(["network", "recipe"])[names].mean() if len(frame) else frame
    return {value_name(*key, name): float(row[name]) for key, row in variants.iterrows() for name in names}
