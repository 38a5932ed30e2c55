"""Tables of the diffusion part: what the presets show, how denoisers are trained, and what their images score."""

from collections.abc import Mapping, Sequence
from statistics import mean

import pandas as pd
import torch

from hw2lib.diffusion.recipe import GUIDED, Recipe, recipe_of
from hw2lib.diffusion.sample import Denoiser
from hw2lib.diffusion.samplers import SamplerSettings
from hw2lib.diffusion.scores import seconds_an_image
from hw2lib.grader.reference import DigitReference, real_row
from hw2lib.grader.scores import Grader
from hw2lib.layers import count_parameters
from hw2lib.networks import build
from hw2lib.training import cards
from hw2lib.training.cards import UNKNOWN, spread
from hw2lib.training.recipe import Trainings
from hw2lib.training.run_folder import RunFolder

# What a notebook takes in each preset if it is not told otherwise.
DENOISERS = {
    "smoke": ["unet-two-level"],
    "quick": ["context-unet-64"],  # whose weights ship
    "paper": ["context-unet-64", "unet-two-level", "unet-three-level", "unet-wide-bottleneck", "context-unet"],
}
COUNTS = {"smoke": 20, "quick": 100, "paper": 1000}  # digits of a set that is scored
GUIDANCE = {"smoke": 20, "quick": 100, "paper": 400}  # of a set for each guidance weight
COMPARED = {"smoke": 20, "quick": 30, "paper": 50}  # of a set for each sampler and number of steps
GRIDS = {"smoke": [2, 4], "quick": [5, 10, 20], "paper": [5, 10, 20, 50, 100]}  # numbers of steps of all samplers
ANCESTRAL = {"smoke": [8], "quick": [], "paper": [400, 1000]}  # further ones of DDPM: those of two reports, and all

MILLISECONDS = "milliseconds an image"

# Network and recipe of each short training in which one thing is changed, and what that is.
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

TRAININGS = Trainings(DENOISERS)
FIRST = Trainings({preset: names[:1] for preset, names in DENOISERS.items()}, with_weights=True)
STUDIED = [Trainings([network], [recipe], [0, 1]) for network, recipe in STUDIES]
REPORT = {
    "31_diffusion_samples": [TRAININGS],
    "32_diffusion_reverse": [FIRST],
    "33_diffusion_guidance": [FIRST],
    "34_diffusion_scores": [TRAININGS],
    "35_diffusion_training": STUDIED,
}

_STUDIED = ("accuracy", "frechet")


def recipe_table(networks: Sequence[str], own: Sequence[str] = (), preset: str = "paper") -> pd.DataFrame:
    """The trainings of networks of the reports and of our own, long as in a preset (`cards.recipe_table`)."""
    return cards.recipe_table(networks, lambda network, name: _in_words(Recipe.choose(network, name, 0, preset)), own)


def _in_words(recipe: Recipe) -> dict[str, str]:
    """Settings in the order in which a reader asks for them."""
    small, whole = (f"{side}x{side}" for side in (recipe.size_at(0), recipe.size))
    return {
        "recipe": recipe.recipe,
        "image size": f"{small} for {recipe.early:.0%} of the steps, then {whole}" if recipe.early else whole,
        "schedule": recipe.schedule,
        "steps of noise T": f"{recipe.diffusion_steps:,}",
        "alpha-bar at T": _power(float(recipe.schedule_table().alpha_bar[-1]), 1),
        "loss": {"mse": "squared error", "smooth-l1": "smooth L1"}[recipe.loss],
        "weight of a step": f"min(SNR, {recipe.min_snr:g}) / SNR" if recipe.min_snr else "1",
        "label dropout": f"{recipe.label_dropout:.0%}" if recipe.label_dropout else "none",
        "optimiser": {"adam": "Adam", "adamw": "AdamW"}[recipe.optimiser],
        "learning rate": f"{_power(recipe.learning_rate)}, {recipe.rates}",
        "batch": f"{recipe.batch}",
        "steps of training": f"{recipe.steps:,}",
        "EMA": f"{recipe.ema_decay:g}" if recipe.ema_decay else "none",
    }


def _power(number: float, digits: int = 0) -> str:
    return f"{number:.{digits}e}".replace("e-0", "e-")


def training_table(folders: Sequence[RunFolder]) -> pd.DataFrame:
    """`hw2lib.training.cards.training_table` with the noise schedule."""
    text = "{schedule}, T = {diffusion_steps:,}"
    return cards.training_table(folders, lambda settings: {"schedule": text.format(**settings)})


def score_table(
    networks: Sequence[str], frames: Mapping[str, pd.DataFrame], real: DigitReference | None
) -> pd.DataFrame:
    """Scores of each denoiser, mean and spread over the sets, beside those of real digits.

    `frames` has the `hw2lib.diffusion.scores.sweep` or the `last_step` of each that is trained; others are missing.
    """
    rows = []
    for name in networks:
        frame = frames.get(name, pd.DataFrame())
        row = {"digits": name, "parameters": f"{count_parameters(build(name)):,}", **_scores(frame)}
        images = list(frame.get("images", []))
        rows.append(row | {"images": f"{len(images)} x {images[0]:,}" if images else UNKNOWN})
    return pd.DataFrame([*rows, real_row(real)]).fillna(UNKNOWN)


def last_step(
    folder: RunFolder, way: SamplerSettings, judge: Grader, device: torch.device | str = "cpu"
) -> pd.DataFrame:
    """The scores of a run's last step, from its card: a row in the columns of `hw2lib.diffusion.scores.sweep`.

    It stands for weights that were not kept. There is none if the table's images are not drawn as `GUIDED` says or
    have another grader than the project's own, or if the recipe is not ``guided``. The time is of an untrained network.
    """
    recipe = recipe_of(folder.settings, folder.path)
    if not recipe.guided or way != GUIDED or judge.accuracy is None:
        return pd.DataFrame()
    denoiser = Denoiser.from_recipe(recipe, build(recipe.network).to(device))
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
        values = sets.groupby("way")[score].apply(lambda values: spread(list(values), digits))
        row = {"steps": f"{steps:,}"} | values.reindex(frame["way"].unique(), fill_value=UNKNOWN).to_dict()
        row[MILLISECONDS] = spread(list(1000 * sets["seconds"]))
        rows.append(row | {"images a set": f"{sets['images'].iloc[0]}"})
    return pd.DataFrame(rows)


def study_table(folders: Sequence[RunFolder], seeds: int) -> pd.DataFrame:
    """The last step of each short training of `STUDIES`, mean and spread over that many seeds of training."""
    rows = []
    for variant, title in STUDIES.items():
        accuracy, distance = ([scores[name] for scores in _last_scores(folders, variant)] for name in _STUDIED)
        row = {"accuracy, %": spread(accuracy, expected=seeds), "Fréchet distance": spread(distance, 0, seeds)}
        rows.append({"changed": title} | row)
    return pd.DataFrame(rows)


def study_headline(folders: Sequence[RunFolder]) -> dict[str, float]:
    """Means over the seeds for the text, such as ``context_unet_32_study_linear_accuracy``; nothing without runs."""
    return {
        cards.value_name(*variant, name): mean(scores[name] for scores in last)
        for variant in STUDIES
        if (last := _last_scores(folders, variant))
        for name in _STUDIED
    }


def _last_scores(folders: Sequence[RunFolder], variant: tuple[str, str]) -> list[dict[str, float]]:
    """Of each run of a network and a recipe."""
    runs = [run for run in folders if (run.settings["network"], run.settings["recipe"]) == variant]
    return [run.card["curve"][-1] for run in runs]


def _scores(frame: pd.DataFrame) -> dict[str, str]:
    columns = {"accuracy, %": ("accuracy", 1), "Fréchet distance": ("frechet", 2), "diversity": ("diversity", 3)}
    scores = {title: spread(list(frame.get(name, [])), digits) for title, (name, digits) in columns.items()}
    return scores | {MILLISECONDS: spread([1000 * seconds for seconds in frame.get("seconds", [])])}
