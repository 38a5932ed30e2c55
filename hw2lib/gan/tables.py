"""Tables of finished generators: how they were trained, and how good their images are."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch

from hw2lib.classifier.reference import DigitReference, real_row
from hw2lib.metrics.images import count_faces
from hw2lib.metrics.reference import Reference
from hw2lib.training import cards
from hw2lib.training.cards import MISSING, UNKNOWN, images_seen, spread
from hw2lib.training.recipe import SEEDS, Trainings, by_preset
from hw2lib.training.run_folder import RunFolder

# Which faces a notebook shows if it is not told otherwise: methods A and B, and what else is at hand.
FACE_NETWORKS = by_preset(["gan-plain", "dcgan"], ["gan-plain", "dcgan", "dcgan-wide", "wgan-gp-sn", "sagan"])
# Network and recipe of each short training in which one thing is changed, and what that is.
STUDIES = {
    ("dcgan", "study"): "B: dcgan",
    ("dcgan", "study-sgd"): "B, SGD for D",
    ("gan-plain", "study"): "A: gan-plain",
    ("gan-plain", "study-colour"): "A, changes of colour",
}
RATES = {
    ("dcgan", "study-rate-low"): "B, a quarter of the rate for D",
    ("dcgan", "study-rate-high"): "B, four times the rate for D",
}
# A and B by one recipe, and A by its own, which up to that step differs in the changes of colour alone.
ALIKE = {
    ("gan-plain", "alike"): "A: gan-plain",
    ("dcgan", "alike"): "B: dcgan",
    ("gan-plain", "ours"): "A, changes of colour",
}

FACES, DIGITS = Trainings(FACE_NETWORKS), Trainings(["acgan"], with_weights=True)
SEEDED = Trainings(["acgan"], seeds=SEEDS)
A_AND_B = Trainings(["gan-plain", "dcgan"], with_weights=True)
STUDIED = [Trainings([network], [recipe], [0, 1, 2]) for network, recipe in STUDIES]
RATES_STUDIED = [Trainings([network], [recipe], [0, 1]) for network, recipe in RATES]
ALIKE_TRAININGS = Trainings(["gan-plain", "dcgan"], ["alike"], SEEDS)
CONVOLUTIONAL = Trainings(["acgan-convolutional"], seeds=SEEDS)
REPORT = {
    "11_gan_samples": [FACES],
    "12_gan_scores": [FACES],
    "13_gan_training": [A_AND_B, FACES, ALIKE_TRAININGS, *STUDIED, *RATES_STUDIED],
    "21_acgan_samples": [DIGITS, SEEDED, CONVOLUTIONAL],
}

Scores = dict[str, float]
# Scores to the titles of columns and how many decimals they show.
COLUMNS = {
    "sliced_wasserstein": ("sliced Wasserstein x 1000", 1),
    "one_face": ("one face, %", 1),
    "lattice": ("lattice", 2),
    "brightness": ("brightness", 3),
    "contrast": ("contrast", 3),
    "diversity": ("diversity", 3),
    "roughness": ("roughness of the loss", 3),
}


def _spreads(rows: Sequence[Scores], *left_out: str) -> dict[str, str]:
    """The columns of a table's row: mean and standard deviation of each score over `rows`."""
    shown = {key: column for key, column in COLUMNS.items() if key not in left_out}
    return {title: spread([row.get(key) for row in rows], digits) for key, (title, digits) in shown.items()}


def training_table(folders: Sequence[RunFolder]) -> pd.DataFrame:
    """`hw2lib.training.cards.training_table` with the loss, the rates, the optimiser and the augmentation."""

    def columns(settings: dict) -> dict[str, str]:
        loss = settings["loss"] + (" + penalty" if settings["gradient_penalty"] else "")
        rates = " / ".join(f"{settings[f'{part}_rate']:g}" for part in ("generator", "discriminator"))
        adam = "Adam ({:g}, {:g})".format(*settings["betas"])
        other = "" if settings["discriminator_optimiser"] == "adam" else ", D: SGD"
        augmentation = ", ".join(settings["augment"]) or "none"
        return {"loss": loss, "rates G / D": rates, "optimiser": adam + other, "augmentation": augmentation}

    return cards.training_table(folders, columns)


def face_table(
    folders: Sequence[RunFolder], scores: dict[str, list[Scores]], reference: Reference, noise: Scores
) -> pd.DataFrame:
    """Scores of generated faces beside those of real faces and of noise (`hw2lib.metrics.reference.face_scores`).

    `scores` has those of each set of images by network; without a set they are missing.
    """
    real = {**vars(reference), **reference.floor}
    seen = {folder.settings["network"]: images_seen(folder.settings) for folder in folders}
    rows = {**scores, f"{reference.origin} faces": [real], "uniform noise": [noise]}
    return pd.DataFrame(
        {"images": name, "images seen in training": seen.get(name, UNKNOWN)} | _spreads(sets, "roughness")
        for name, sets in rows.items()
    )


def digit_table(rows: dict[str, Sequence[Scores]], real: DigitReference | None) -> pd.DataFrame:
    """Accuracy and Fréchet distance over sets of digits (`hw2lib.classifier.scores.digit_scores`), beside real ones."""
    shown = [
        {
            "digits": name,
            "accuracy, %": spread([scores["accuracy"] for scores in sets]),
            "Fréchet distance": spread([scores.get("frechet") for scores in sets], 2),
        }
        for name, sets in rows.items()
    ]
    return pd.DataFrame([*shown, real_row(real)])


def course_table(trainings: Mapping[str, Sequence[RunFolder]]) -> pd.DataFrame:
    """Accuracy and Fréchet distance of the digits of each network's runs, mean and spread, at each step (rows)."""
    steps = sorted({mark["step"] for folders in trainings.values() for run in folders for mark in run.card["curve"]})
    columns = {"accuracy, %": ("accuracy", 1), "Fréchet distance": ("frechet", 1)}
    return pd.DataFrame(
        {"step": f"{step:,}"}
        | {
            f"{name}: {title}": spread([scores[key] for scores in at_step(folders, step)], digits)
            for title, (key, digits) in columns.items()
            for name, folders in trainings.items()
        }
        for step in steps
    )


def first_faces(network: str, strip: Mapping[int, np.ndarray]) -> dict[str, int]:
    """When faces appear: those found in a training's first and last row of `hw2lib.gan.sample.read_strip`.

    ``dcgan_first_step`` and ``dcgan_first_faces``, the images with exactly one face (`count_faces`); the same of the
    ``last``; ``dcgan_noises``, how many images a row has.
    """
    values = {"noises": len(next(iter(strip.values())))}
    for name, step in (("first", min(strip)), ("last", max(strip))):
        found = int((count_faces(torch.tensor(strip[step])) == 1).sum())
        values |= {f"{name}_step": int(step), f"{name}_faces": found}
    return {cards.value_name(network, name): value for name, value in values.items()}


def at_step(folders: Sequence[RunFolder], step: int) -> list[Scores]:
    """The scores of each run at a step, of those that were scored there."""
    return [mark for folder in folders for mark in folder.card["curve"] if mark["step"] == step]


def study_frame(folders: Sequence[RunFolder], step: int | None = None) -> pd.DataFrame:
    """One row a run of a study: what was varied, its quality, and how rough the discriminator's loss was.

    Its quality is that of the last step, or of `step`, without the runs that were not scored there. ``roughness`` is
    the mean absolute change of the discriminator's loss from one logged step to the next, as a share of its mean, in
    the second half of training, up to `step`.
    """
    varied, rows = ["network", "recipe", "seed"], []
    for folder in folders:
        logged, curve = folder.card["losses"], folder.card["curve"]
        losses = np.array([row[1] for row in logged if not step or row[0] <= step])
        losses = losses[len(losses) // 2 :]
        roughness = float(np.abs(np.diff(losses)).mean() / np.abs(losses).mean()) if len(losses) > 1 else 0.0
        row = {key: folder.settings[key] for key in varied} | {"curve": curve, "roughness": roughness}
        rows += [row | scores for scores in (at_step([folder], step) if step else curve[-1:])]
    return pd.DataFrame(rows, columns=None if rows else [*varied, "curve", "roughness"])


def study_table(frame: pd.DataFrame, titles: dict[tuple[str, str], str], *left_out: str) -> pd.DataFrame:
    """Mean and spread over seeds of each variant, without some scores; `titles` names pairs of network and recipe."""
    rows = []
    for (network, recipe), title in titles.items():
        runs = frame[(frame["network"] == network) & (frame["recipe"] == recipe)].to_dict("records")
        seeds = ", ".join(str(run["seed"]) for run in runs) or MISSING
        rows.append({"variant": title, "seeds": seeds} | _spreads(runs, *left_out))
    return pd.DataFrame(rows)
