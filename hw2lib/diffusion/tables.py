"""Trained denoisers: loaded with what they were trained with, and drawn from."""

from collections.abc import Mapping, Sequence
from statistics import mean

import pandas as pd
import torch
from torch import Tensor

from hw2lib.diffusion import quality
from hw2lib.diffusion.recipe import recipe_of
from hw2lib.diffusion.sampling import Denoiser, SamplerSettings, draw_images, scaled
from hw2lib.diffusion.scores import seconds_an_image
from hw2lib.errors import UserError
from hw2lib.grader.reference import DigitReference, real_row
from hw2lib.grader.scores import Grader
from hw2lib.layers import count_parameters
from hw2lib.networks import build
from hw2lib.training import cards
from hw2lib.training.cards import UNKNOWN, spread
from hw2lib.training.run_folder import RunFolder
from hw2lib.weights import load as load_weights

# Which denoisers a notebook shows if it is not told otherwise.
DENOISERS = {
    "smoke": ["unet-two-level"],
    "quick": ["context-unet-64"],  # whose weights ship
    "paper": ["context-unet-64", "unet-two-level", "unet-three-level", "unet-wide-bottleneck", "context-unet"],
}

COUNTS = {"smoke": 20, "quick": 100, "paper": 1000}  # digits of a set that is scored
GUIDANCE = {"smoke": 20, "quick": 100, "paper": 400}  # the same for each guidance weight
COMPARED = {"smoke": 20, "quick": 30, "paper": 50}  # the same where many ways to draw are compared
GRIDS = {"smoke": [2, 4], "quick": [5, 10, 20], "paper": [5, 10, 20, 50, 100]}  # steps that samplers are compared at
ANCESTRAL = {"smoke": [8], "quick": [], "paper": [400, 1000]}  # further steps of DDPM: those of two reports, and all

MILLISECONDS = "milliseconds an image"

# Network and recipe of each short training in which one thing is changed, and its title.
STUDIES = {
    ("context-unet-32", "study"): "nothing (context-unet-32)",
    ("context-unet-32", "study-100"): "T = 100",
    ("context-unet-32", "study-400"): "T = 400",
    ("context-unet-32", "study-linear"): "linear schedule",
    ("context-unet-32", "study-unweighted"): "all steps weigh the same",
    ("context-unet-32", "study-raw"): "no average of the weights",
    ("unet-two-level", "study"): "nothing (unet-two-level)",
    ("unet-two-level-plain", "study"): "no attention (unet-two-level)",
}


def load(folder: RunFolder, device: torch.device | str = "cpu") -> Denoiser:
    """The denoiser of a finished run."""
    recipe = recipe_of(folder.settings, folder.path)
    network = build(recipe.network)
    load_weights(network, folder.weights)
    return recipe.denoiser(network.eval().to(device))


def states_of(
    denoiser: Denoiser, settings: SamplerSettings, seed: int, digit: int, frames: int = 6
) -> dict[int, Tensor]:
    """The first image of a digit on its way from noise: step t to (3, 28, 28), at `frames` steps evenly from T to 0.

    The states shown are those nearest to these steps that the sampler visits.
    """
    if not 0 <= digit < denoiser.classes:
        raise UserError(f"digit {digit}: give 0 to {denoiser.classes - 1}")
    states = draw_images(denoiser, settings, seed, [0], torch.tensor([digit]), return_intermediates=True)
    visited = torch.tensor(denoiser.grid(settings))
    wanted = [round(denoiser.schedule.steps * (frames - 1 - i) / (frames - 1)) for i in range(frames)]
    return {t: scaled(states[(visited - t).abs().argmin()], 28)[0].cpu() for t in wanted}


def training_table(folders: Sequence[RunFolder]) -> pd.DataFrame:
    """`hw2lib.training.cards.training_table` with the noise schedule."""
    return cards.training_table(
        folders, lambda settings: {"schedule": "{schedule}, T = {diffusion_steps:,}".format(**settings)}
    )


def score_table(
    networks: Sequence[str], frames: Mapping[str, pd.DataFrame], real: DigitReference | None
) -> pd.DataFrame:
    """Scores of each denoiser, mean and spread over the sets, beside those of real digits.

    Args:
        networks: their names.
        frames: `hw2lib.diffusion.scores.sweep` of each that is trained, or `last_step`; the others are missing.
        real: real test digits as the grader sees them, if that is known.
    """
    rows = []
    for name in networks:
        frame = frames.get(name, pd.DataFrame())
        size = f"{count_parameters(build(name)):,}"
        rows.append({"digits": name, "parameters": size, **_scores(frame), "images": _images(frame)})
    return pd.DataFrame([*rows, real_row(real)]).fillna(UNKNOWN)


def last_step(
    folder: RunFolder, way: SamplerSettings, judge: Grader, device: torch.device | str = "cpu"
) -> pd.DataFrame:
    """What the card of a run knows of its last step, one row, in the columns of `hw2lib.diffusion.scores.sweep`.

    So a table can be made where the weights were not kept. The time is that of the same network, untrained: it does not
    depend on the weights.

    Args:
        folder: of a finished run.
        way: how the images of the table are drawn; nothing is known of any way but `quality.GUIDED`, nor if the recipe
            does not say ``guided``.
        judge: the grader of the table; nothing is known of any but the project's own.
        device: where drawing is timed.
    """
    recipe = recipe_of(folder.settings, folder.path)
    if not recipe.guided or way != quality.GUIDED or judge.accuracy is None:
        return pd.DataFrame()
    denoiser = recipe.denoiser(build(recipe.network).to(device))
    row = {"images": recipe.scored, "seconds": seconds_an_image(denoiser, way)}
    return pd.DataFrame([folder.card["curve"][-1] | row])


def guidance_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Scores for each guidance weight, mean and spread over the sets of a `hw2lib.diffusion.scores.sweep`."""
    return pd.DataFrame([{"w": f"{w:g}", **_scores(rows)} for w, rows in frame.groupby("guidance_weight")])


def sampler_table(frame: pd.DataFrame, score: str = "accuracy") -> pd.DataFrame:
    """A score for each number of steps (rows) and sampler, and the time of an image (`compare_samplers`)."""
    digits = {"accuracy": 1, "frechet": 0}[score]
    rows = []
    for steps, sets in frame.groupby("steps"):
        row = {"steps": f"{steps:,}"}
        for way in frame["way"].unique():
            there = list(sets.loc[sets["way"] == way, score])
            row[way] = spread(there, digits) if there else UNKNOWN
        times = {MILLISECONDS: spread(list(1000 * sets["seconds"]))}
        rows.append(row | times | {"images a set": f"{sets['images'].iloc[0]}"})
    return pd.DataFrame(rows)


def study_table(folders: Sequence[RunFolder], seeds: int) -> pd.DataFrame:
    """The last step of each short training of `STUDIES`, mean and spread over that many seeds of training."""
    rows = []
    for variant, title in STUDIES.items():
        last = _last_scores(folders, variant)
        rows.append(
            {
                "changed": title,
                "accuracy, %": spread([scores["accuracy"] for scores in last], expected=seeds),
                "Fréchet distance": spread([scores["frechet"] for scores in last], 0, seeds),
            }
        )
    return pd.DataFrame(rows)


def study_headline(folders: Sequence[RunFolder]) -> dict[str, float]:
    """Means over the seeds for the text, such as ``context_unet_32_study_linear_accuracy``; nothing without runs."""
    return {
        cards.value_name(*variant, name): mean(scores[name] for scores in last)
        for variant in STUDIES
        if (last := _last_scores(folders, variant))
        for name in ("accuracy", "frechet")
    }


def _last_scores(folders: Sequence[RunFolder], variant: tuple[str, str]) -> list[dict[str, float]]:
    """Of each run of a network and a recipe."""
    return [
        folder.card["curve"][-1]
        for folder in folders
        if (folder.settings["network"], folder.settings["recipe"]) == variant
    ]


def _images(frame: pd.DataFrame) -> str:
    """``2 x 1,000``: sets and images a set."""
    counts = list(frame.get("images", []))
    return f"{len(counts)} x {counts[0]:,}" if counts else UNKNOWN


def _scores(frame: pd.DataFrame) -> dict[str, str]:
    sets = {name: list(frame.get(name, [])) for name in ("accuracy", "frechet", "diversity", "seconds")}
    return {
        "accuracy, %": spread(sets["accuracy"]),
        "Fréchet distance": spread(sets["frechet"], 2),
        "diversity": spread(sets["diversity"], 3),
        MILLISECONDS: spread([1000 * seconds for seconds in sets["seconds"]]),
    }
