"""Tables of the diffusion part: what the presets show, how denoisers are trained, and what their images score."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import mean

import pandas as pd

from hw2lib.classifier.reference import DigitReference, real_row
from hw2lib.classifier.scores import Grader
from hw2lib.diffusion.recipe import OF_DIGITS, Recipe, recipe_of
from hw2lib.layers import count_parameters
from hw2lib.networks import build
from hw2lib.training import cards
from hw2lib.training.cards import UNKNOWN, spread
from hw2lib.training.recipe import Trainings, by_preset
from hw2lib.training.run_folder import RunFolder

# What a notebook takes in each preset if it is not told otherwise.
DENOISERS = by_preset(
    ["unet-two-level"],
    ["context-unet-64", "unet-two-level", "unet-three-level", "unet-wide-bottleneck", "context-unet"],
)
COUNTS = {"smoke": 20, "quick": 0, "paper": 1000}  # digits of a set that is scored; 0: as in the committed report
GRIDS = by_preset([2, 4], [5, 10, 20])  # numbers of steps of all samplers


# Network and recipe of each short training in which one thing is changed, and what that is.
STUDIES = {
    ("context-unet-32", "study"): "nothing (context-unet-32)",
    ("context-unet-32", "study-100"): "T = 100",
    ("context-unet-32", "study-400"): "T = 400",
    ("context-unet-32", "study-100-all-steps"): "T = 100, drawn in all 100 steps",
    ("context-unet-32", "study-400-all-steps"): "T = 400, drawn in all 400 steps",
    ("context-unet-32", "study-all-steps"): "drawn in all 1,000 steps",
    ("context-unet-32", "study-linear"): "linear schedule",
    ("context-unet-32", "study-unweighted"): "all steps weigh the same",
    ("context-unet-32", "study-raw"): "no average of the weights",
    ("context-unet-32", "study-batch-128"): "batches of 128 in place of 32, as many images",
    ("context-unet-32", "study-rate-low"): "a tenth of the learning rate",
    ("context-unet-32", "study-rate-high"): "five times the learning rate",
    ("unet-two-level", "study"): "nothing (unet-two-level)",
    ("unet-two-level-plain", "study"): "no attention (unet-two-level)",
}

TRAININGS = Trainings(DENOISERS)
FIRST = Trainings(by_preset(DENOISERS["smoke"][:1], DENOISERS["paper"][:1]), with_weights=True)
STUDIED = [Trainings([network], [recipe], [0, 1]) for network, recipe in STUDIES]
REPORT = {
    "31_diffusion_samples": [TRAININGS],
    "32_diffusion_reverse": [FIRST],
    "33_diffusion_guidance": [FIRST],
    "34_diffusion_scores": [TRAININGS],
    "35_diffusion_training": STUDIED,
}

# How a denoiser is told time and label, by the beginning of its name.
CONDITIONING = {
    "unet": {"time": "256 sines and cosines", "label": "a learned vector", "both enter": "added at every level"},
    "context": {"time": "the number t / T", "label": "ten numbers, one of them 1",
                "both enter": "label scales, time shifts, twice on the way up"},
}  # fmt: skip

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
        **CONDITIONING[recipe.network.partition("-")[0]],
    }


def _power(number: float, digits: int = 0) -> str:
    return f"{number:.{digits}e}".replace("e-0", "e-")


def training_table(folders: Sequence[RunFolder]) -> pd.DataFrame:
    """`hw2lib.training.cards.training_table` with the noise schedule."""
    text = "{schedule}, T = {diffusion_steps:,}"
    return cards.training_table(folders, lambda settings: {"schedule": text.format(**settings)})


def score_table(
    networks: Sequence[str], frames: Mapping[str, pd.DataFrame], real: DigitReference | None, calls: bool = False
) -> pd.DataFrame:
    """Scores of networks that draw digits, mean and spread over the sets, beside those of real digits.

    `frames` has the `hw2lib.diffusion.scores.sweep` or the `at_the_end` of each that is trained; others are missing.
    With `calls` there is a column of how often each network is called for an image.
    """
    rows = []
    for name in networks:
        frame, network = frames.get(name, pd.DataFrame()), build(name)
        parameters = count_parameters(getattr(network, "generator", network))
        row = {"digits": name, "parameters": f"{parameters:,}"} | ({"calls": _calls(frame)} if calls else {})
        row |= _scores(frame)
        images = list(frame.get("images", []))
        rows.append(row | {"images": f"{len(images)} x {images[0]:,}" if images else UNKNOWN})
    return pd.DataFrame([*rows, real_row(real)]).fillna(UNKNOWN)


def at_the_end(folder: RunFolder, judge: Grader) -> pd.DataFrame:
    """The scores of a run's last step, from its card: a row in the columns of `hw2lib.diffusion.scores.sweep`.

    It stands for the weights of a denoiser that were not kept; there is none if its recipe is not ``guided``. Digits
    of denoisers were drawn as `Recipe.scored_as` says. There is none either for another grader than the project's own.
    """
    row = folder.card["curve"][-1] | {"images": folder.settings["scored"], "calls": 1}
    if folder.settings["network"] in OF_DIGITS:
        recipe = recipe_of(folder.settings, folder.path)
        if not recipe.guided or judge.accuracy is None:
            return pd.DataFrame()
        row["calls"] = recipe.scored_as.calls(recipe.diffusion_steps)
    return pd.DataFrame([row] if judge.accuracy is not None else [])


def guidance_table(frames: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Scores for each guidance, a row a `hw2lib.diffusion.scores.sweep`, mean and spread over its sets."""
    ways = [(frame.iloc[0], frame) for frame in frames]
    return pd.DataFrame(
        {"w": f"{way['guidance_weight']:g}", "guided t/T": way["guided"], "calls": _calls(frame), **_scores(frame)}
        for way, frame in ways
    )


def sampler_table(frame: pd.DataFrame, score: str = "accuracy") -> pd.DataFrame:
    """A score for each number of steps (rows) and sampler (`hw2lib.diffusion.scores.compare_samplers`)."""
    digits = {"accuracy": 1, "frechet": 0}[score]
    rows = []
    for steps, sets in frame.groupby("steps"):
        values = sets.dropna(subset=score).groupby("way")[score].apply(lambda values: spread(list(values), digits))
        row = {"steps": f"{steps:,}", "calls": _calls(sets)}
        row |= values.reindex(frame["way"].unique(), fill_value=UNKNOWN).to_dict()
        rows.append(row)
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


def _calls(frame: pd.DataFrame) -> str:
    """Of the network for an image."""
    return f"{frame['calls'].iloc[0]:,}" if "calls" in frame else UNKNOWN


def _scores(frame: pd.DataFrame) -> dict[str, str]:
    """Missing without any set; unknown where the sets do not have a score."""
    columns = {"accuracy, %": ("accuracy", 1), "Fréchet distance": ("frechet", 2), "diversity": ("diversity", 3)}
    return {
        title: UNKNOWN if len(frame) and name not in frame else spread(list(frame.get(name, [])), digits)
        for title, (name, digits) in columns.items()
    }
