"""Scores of finished generators: sets of images drawn from them, beside real ones."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
import torch
from scipy.stats import spearmanr
from torch import Tensor

from hw2lib import data
from hw2lib.data import FACES
from hw2lib.gan.sampling import sample
from hw2lib.gan.tables import draw, load
from hw2lib.grader.reference import DigitReference
from hw2lib.grader.scores import Grader, digit_scores
from hw2lib.metrics import fidelity
from hw2lib.metrics.reference import Reference, face_scores, reference, shipped
from hw2lib.training.cards import value_name
from hw2lib.training.run_folder import RunFolder

Scores = dict[str, float]


def real_faces(preset: str, data_dir: str = "") -> Reference:
    """The faces that generated ones are compared with: those at hand; in ``quick`` else the numbers that ship."""
    return reference(data.source(preset, data_dir), FACES) if data_dir or preset != "quick" else shipped(FACES)


def of_faces(
    folders: Sequence[RunFolder],
    networks: Sequence[str],
    seeds: Sequence[int],
    count: int,
    real: Reference,
    draw: Callable[[RunFolder, int, int], Tensor],
) -> dict[str, list[Scores]]:
    """The scores of a set of `count` faces for each seed of the noise, by network; none where no run is finished.

    Where weights were not kept, there is one set, that of the end of training, as the card has it.

    `draw` takes a run, a seed and a count, and returns the images.
    """
    found: dict[str, list[Scores]] = {network: [] for network in networks}
    for folder in folders:
        if folder.weights.exists():
            sets = [face_scores(draw(folder, seed, count), real) for seed in seeds]
        else:
            sets = [_last_step(folder.card, real)]
        found[folder.settings["network"]] += sets
    return found


def _last_step(card: dict, real: Reference) -> Scores:
    last = card["curve"][-1]
    return last | {"relative_face_rate": 100 * last["face_rate"] / real.face_rate}


def headline(scores: dict[str, list[Scores]], real: Reference, noise: Scores) -> Scores:
    """Means over the sets for the text of the report, such as ``gan_plain_brightness``, and those of real and noise."""
    names = ("sliced_wasserstein", "face_rate", "relative_face_rate", "brightness", "contrast", "diversity")
    values = {
        value_name(network, name): float(np.mean([found[name] for found in sets]))
        for network, sets in scores.items() if sets
        for name in names if name in sets[0]
    }  # fmt: skip
    real_ones = {f"real_{name}": getattr(real, name) for name in ("face_rate", "brightness", "contrast", "diversity")}
    values |= {"noise_sliced_wasserstein": noise["sliced_wasserstein"]}
    return values | real_ones | {"real_sliced_wasserstein": real.floor["sliced_wasserstein"]}


def of_noise(count: int, real: Reference) -> Scores:
    """The scores of images whose pixels are uniform noise: how bad it can get."""
    rng = np.random.default_rng(0)
    return face_scores(torch.tensor(rng.integers(0, 256, (count, 3, real.size, real.size), np.uint8)), real)


def of_digits(
    folders: Sequence[RunFolder],
    seeds: Sequence[int],
    count: int,
    grader: Grader,
    real: DigitReference | None,
    device: torch.device | str,
) -> list[Scores]:
    """The scores of a set of `count` digits for each seed of the noise."""
    found = []
    for folder in folders:
        gan = load(folder, device)
        for seed in seeds:
            images, labels = sample(gan, gan.generator, seed, count)
            found.append(digit_scores(images.cpu(), labels, grader, real))
    return found


def inception_table(
    folders: Sequence[RunFolder], seed: int, count: int, preset: str, data_dir: str, device: torch.device | str
) -> pd.DataFrame | str:
    """FID, IS and KID of `count` faces of each run against the real val faces; or, in a line, why there are none."""
    if preset != "paper" and not data_dir:
        return "No FID, IS and KID: they need the real faces themselves; set data_dir, or preset to paper."
    try:
        extractor = fidelity.inception(device=device)
    except fidelity.Unavailable as error:
        return f"No FID, IS and KID: {error}."
    images = data.source(preset, data_dir)
    real = fidelity.stored_features(images, FACES, "val", extractor)
    rows = {
        folder.settings["network"]: fidelity.extract(draw(folder, seed, count, device), extractor) for folder in folders
    }
    rows["real, train against val"] = fidelity.stored_features(images, FACES, "train", extractor, count)
    scores = {name: fidelity.scores(features, real) for name, features in rows.items()}
    return pd.DataFrame(
        [
            {
                "images": name,
                "FID": f"{found['fid']:.2f}",
                "IS": f"{found['is']:.3f} ± {found['is_deviation']:.3f}",
                "KID x 1000": f"{1000 * found['kid']:.2f}",
            }
            for name, found in scores.items()
        ]
    )


def loss_against_quality(card: dict) -> Scores:
    """What the losses say of the images, in numbers.

    Returns:
        Each behind the network's name, such as ``gan_plain_loss_correlation``: ``generator_loss_first`` and ``_last``,
        means over the time before the first and before the last evaluation; ``sliced_wasserstein_first`` and ``_last``
        there; and ``loss_correlation``, Spearman's rank correlation of the generator's loss with the sliced Wasserstein
        distance over all evaluations: 1 if a lower loss always came with better images. It is left out where fewer than
        three evaluations differ.
    """
    losses, marks = np.array(card["losses"]), [mark["step"] for mark in card["curve"]]
    before = [losses[(losses[:, 0] > low) & (losses[:, 0] <= high), 2].mean() for low, high in pairwise([0, *marks])]
    quality = [mark["sliced_wasserstein"] for mark in card["curve"]]
    found = {
        "generator_loss_first": float(before[0]),
        "generator_loss_last": float(before[-1]),
        "sliced_wasserstein_first": quality[0],
        "sliced_wasserstein_last": quality[-1],
    }
    if len(set(before)) > 2 and len(set(quality)) > 2:
        found["loss_correlation"] = float(spearmanr(before, quality).statistic)
    return {value_name(card["settings"]["network"], name): value for name, value in found.items()}


def at_the_same_step(cards: Sequence[dict]) -> Scores:
    """The quality of trainings of unequal length at the last step that all of them were evaluated at.

    Returns:
        ``same_step``, and for each network its scores there, such as ``gan_plain_sliced_wasserstein_then``; nothing
        where there is no such step.
    """
    curves = {card["settings"]["network"]: {mark["step"]: mark for mark in card["curve"]} for card in cards}
    common = set.intersection(*(set(curve) for curve in curves.values())) if curves else set()
    if not common:
        return {}
    found = {"same_step": float(max(common))}
    for network, curve in curves.items():
        scores = {name: value for name, value in curve[max(common)].items() if name != "step"}
        found |= {value_name(network, name, "then"): value for name, value in scores.items()}
    return found


def closest(card: dict) -> Scores:
    """Where in a training the images were closest to real ones, which the rule of the last step does not take.

    Returns:
        Behind the network's name, such as ``sagan_closest``: the smallest sliced Wasserstein distance of all
        evaluations, and its step, ``closest_step``.
    """
    mark = min(card["curve"], key=lambda mark: mark["sliced_wasserstein"])
    found = {"closest": mark["sliced_wasserstein"], "closest_step": float(mark["step"])}
    return {value_name(card["settings"]["network"], name): value for name, value in found.items()}


def study_headline(frame: pd.DataFrame) -> Scores:
    """Means over the seeds of each variant of a study (`hw2lib.gan.tables.study_frame`) at its last step.

    Returns:
        Behind the names of network and recipe, such as ``gan_plain_study_colour_contrast``; nothing without runs.
    """
    names = ["sliced_wasserstein", "face_rate", "brightness", "contrast", "roughness"]
    variants = frame.groupby(["network", "recipe"])[names].mean() if len(frame) else frame
    return {value_name(*key, name): float(row[name]) for key, row in variants.iterrows() for name in names}
