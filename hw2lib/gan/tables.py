"""Tables of finished generators: how they were trained, and how good their images are."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor

from hw2lib.gan.networks import GAN
from hw2lib.gan.sampling import sample
from hw2lib.grader.reference import DigitReference, real_row
from hw2lib.metrics.reference import Reference
from hw2lib.networks import build
from hw2lib.training import cards
from hw2lib.training.cards import MISSING, UNKNOWN, images_seen, spread
from hw2lib.training.run_folder import RunFolder
from hw2lib.weights import load as load_weights

# Which faces a notebook shows if it is not told otherwise: methods A and B, and what else is at hand.
FACE_NETWORKS = {
    "smoke": ["gan-plain", "dcgan"],
    "quick": ["gan-plain", "dcgan", "sagan"],
    "paper": ["gan-plain", "dcgan", "dcgan-wide", "wgan-gp-sn", "sagan"],
}


def load(folder: RunFolder, device: torch.device | str = "cpu") -> GAN:
    """The networks of a finished run; only the generator has learned weights, the discriminator's are not kept."""
    gan = build(folder.settings["network"])
    load_weights(gan.generator, folder.weights)
    return gan.eval().to(device)


def draw(folder: RunFolder, seed: int, count: int, device: torch.device | str = "cpu") -> Tensor:
    """The first images of a seed from a finished run, uint8 (count, C, H, W) on the CPU."""
    gan = load(folder, device)
    return sample(gan, gan.generator, seed, count)[0].cpu()


def strip(folder: RunFolder) -> dict[int, np.ndarray]:
    """Images of the same noise at each mark of a training: step to uint8 (columns, 3, H, W)."""
    rows = {}
    for file in sorted(Path(folder.path / "strip").glob("*.png")):
        with Image.open(file) as image:
            row = np.asarray(image).transpose(2, 0, 1)
        rows[int(file.stem)] = np.stack(np.split(row, row.shape[2] // row.shape[1], axis=2))
    return rows


def training_table(folders: Sequence[RunFolder]) -> pd.DataFrame:
    """`hw2lib.training.cards.training_table` with the loss and the augmentation."""
    return cards.training_table(
        folders,
        lambda settings: {
            "loss": settings["loss"] + (" + penalty" if settings["gradient_penalty"] else ""),
            "augmentation": ", ".join(settings["augment"]) or "none",
        },
    )


def face_table(
    folders: Sequence[RunFolder],
    scores: dict[str, list[dict[str, float]]],
    reference: Reference,
    noise: dict[str, float],
) -> pd.DataFrame:
    """Scores of generated faces beside those of real faces and of noise.

    Args:
        folders: the finished runs.
        scores: network to the scores of each set of images (`hw2lib.metrics.reference.face_scores`); none: missing.
        reference: the real faces.
        noise: the scores of uniform noise.
    """
    real = {**vars(reference), **reference.floor, "relative_face_rate": 100.0}
    seen = {folder.settings["network"]: images_seen(folder.settings) for folder in folders}
    rows = {**scores, f"{reference.origin} faces": [real], "uniform noise": [noise]}
    columns = {
        "sliced Wasserstein x 1000": ("sliced_wasserstein", 1),
        "face rate, %": ("face_rate", 1),
        "of real, %": ("relative_face_rate", 1),
        "brightness": ("brightness", 3),
        "contrast": ("contrast", 3),
        "diversity": ("diversity", 3),
    }
    return pd.DataFrame(
        [
            {"images": name, "images seen in training": seen.get(name, UNKNOWN)}
            | {title: spread([found.get(key) for found in sets], digits) for title, (key, digits) in columns.items()}
            for name, sets in rows.items()
        ]
    )


def digit_table(sets: Sequence[dict[str, float]], real: DigitReference | None) -> pd.DataFrame:
    """Accuracy and Fréchet distance of sets of generated digits, beside those of real ones.

    Args:
        sets: `hw2lib.grader.scores.digit_scores` of each; none: missing.
        real: real test digits as the grader sees them, if that is known.
    """
    acgan = {
        "digits": "acgan",
        "accuracy, %": spread([found["accuracy"] for found in sets]),
        "Fréchet distance": spread([found["frechet"] for found in sets if "frechet" in found], 2),
    }
    return pd.DataFrame([acgan, real_row(real)])


def study_frame(folders: Sequence[RunFolder]) -> pd.DataFrame:
    """One row a run of a study: what was varied, the last step's quality, and how rough the discriminator's loss was.

    ``roughness`` is the mean absolute change of the discriminator's loss from one logged step to the next, as a share
    of its mean, in the second half of training.
    """
    rows = []
    for folder in folders:
        losses = np.array([row[1] for row in folder.card["losses"]])
        losses = losses[len(losses) // 2 :]
        rows.append(
            {
                "network": folder.settings["network"],
                "recipe": folder.settings["recipe"],
                "seed": folder.settings["seed"],
                "curve": folder.card["curve"],
                "roughness": float(np.abs(np.diff(losses)).mean() / np.abs(losses).mean()) if len(losses) > 1 else 0.0,
                **folder.card["curve"][-1],
            }
        )
    return pd.DataFrame(rows)


def study_table(frame: pd.DataFrame, titles: dict[tuple[str, str], str]) -> pd.DataFrame:
    """Mean and spread over seeds of each variant; `titles` names the pairs of network and recipe."""
    rows = []
    for (network, recipe), title in titles.items():
        runs = frame[(frame["network"] == network) & (frame["recipe"] == recipe)] if len(frame) else frame
        rows.append(
            {
                "variant": title,
                "seeds": ", ".join(str(seed) for seed in runs.get("seed", [])) or MISSING,
                "sliced Wasserstein x 1000": spread(list(runs.get("sliced_wasserstein", []))),
                "face rate, %": spread(list(runs.get("face_rate", []))),
                "brightness": spread(list(runs.get("brightness", [])), 3),
                "contrast": spread(list(runs.get("contrast", [])), 3),
                "roughness of the loss": spread(list(runs.get("roughness", [])), 3),
            }
        )
    return pd.DataFrame(rows)
