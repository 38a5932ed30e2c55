"""GAN beside diffusion: the same measures for both, and seconds an image on one clock."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import mean, median
from typing import NamedTuple

import matplotlib.pyplot as plt
import pandas as pd
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator
from torch import Tensor

from hw2lib import data
from hw2lib.classifier.reference import DOMAIN, DigitReference
from hw2lib.classifier.scores import Grader
from hw2lib.diffusion import faces
from hw2lib.diffusion import sample as diffusion
from hw2lib.diffusion.sample import Denoiser
from hw2lib.diffusion.samplers import WHOLE, SamplerSettings
from hw2lib.diffusion.scores import sweep
from hw2lib.gan import sample as gan
from hw2lib.gan.networks import GAN
from hw2lib.gan.scores import digit_set_scores, scores_by_network
from hw2lib.gan.tables import DIGITS
from hw2lib.layers import count_parameters
from hw2lib.metrics.images import diversity_within
from hw2lib.metrics.reference import Reference
from hw2lib.networks import DENOISERS
from hw2lib.plots import PALETTE, WIDTH
from hw2lib.plots.grids import MARKERS, dashed
from hw2lib.training.cards import UNKNOWN, spread, value_name
from hw2lib.training.recipe import Trainings, by_preset
from hw2lib.training.run_folder import RunFolder

GANS = Trainings(by_preset(["gan-plain", "dcgan"], ["gan-plain", "dcgan", "sagan"]), with_weights=True)
DENOISER = Trainings(["context-unet-64"], with_weights=True)  # of digits
REPORT = {"60_comparison": [DIGITS, DENOISER, GANS, faces.TRAININGS]}

COUNTS = {"smoke": 20, "quick": 0, "paper": 1000}  # images of a set that is scored; 0: as in the committed report
TIMED = {"smoke": 2, "quick": 10, "paper": 20}  # images of a set that is timed

Scores = Mapping[str, float]
# Scores of each kind of images: the titles of their columns, and how many decimals they show.
MEASURES = {
    "digits": {"accuracy": ("accuracy, %", 1), "frechet": ("Fréchet distance", 1), "diversity": ("diversity", 3)},
    "faces": {
        "sliced_wasserstein": ("sliced Wasserstein x 1000", 1),
        "one_face": ("one face, %", 1),
        "diversity": ("diversity", 3),
    },
}
PLOTTED = {"digits": ("frechet", "accuracy"), "faces": ("sliced_wasserstein", "one_face")}  # the second in words


class Limit(NamedTuple):
    """How long the homework lets a submission draw."""

    images: int
    minutes: int


LIMITS = {"GAN": Limit(1000, 10), "diffusion": Limit(1000, 15), "DDIM": Limit(10, 5)}


@dataclass(frozen=True)
class Generator:
    """A finished run that draws images, a denoiser in one of its ways."""

    folder: RunFolder
    network: GAN | Denoiser
    way: SamplerSettings | None = None  # None: a GAN

    @property
    def family(self) -> str:
        """``GAN`` or ``diffusion``."""
        return "diffusion" if self.way else "GAN"

    @property
    def limit(self) -> Limit:
        """A denoiser of faces has that of DDIM."""
        return LIMITS["diffusion" if self.way and self.network.classes else "DDIM" if self.way else "GAN"]

    @property
    def parameters(self) -> int:
        """Of the network that draws."""
        return count_parameters(self.network.network if self.way else self.network.generator)

    @property
    def calls(self) -> int:
        """Of the network for an image."""
        return self.way.calls(self.network.schedule.steps) if self.way else 1

    def draw(self, count: int) -> Tensor:
        """The first images of seed 0, uint8 (count, C, H, W) on the CPU."""
        if self.way:
            return diffusion.sample(self.network, self.way, 0, count, mixed=True)[0]
        return gan.sample(self.network, self.network.generator, 0, count)[0].cpu()


Generators = Mapping[str, Generator]


def generators(
    folders: Sequence[RunFolder],
    weights: Sequence[float],
    grid: Sequence[int],
    face_way: SamplerSettings,
    device: torch.device,
) -> dict[str, dict[str, Generator]]:
    """Those of digits and those of faces, by their names.

    A denoiser of digits draws by its default, which has the name of the network, and with one thing changed: guidance
    weights (``w = 0``) and numbers of steps (``20 steps``).
    """
    found: dict[str, dict[str, Generator]] = {kind: {} for kind in MEASURES}
    for folder in folders:
        name = folder.settings["network"]
        network = diffusion.load(folder, device) if name in DENOISERS else gan.load(name, folder.weights, device)
        ways: dict[str, SamplerSettings | None] = {name: None}
        if name in DENOISERS:
            usual = diffusion.default_settings(name)
            ways = {name: usual if network.classes else face_way}
            if network.classes:
                ways |= {f"w = {weight:g}": _guided(usual, weight) for weight in weights}
                ways |= {f"{steps} steps": replace(usual, steps=steps) for steps in grid}
        kind = "digits" if network.classes else "faces"
        found[kind] |= {title: Generator(folder, network, way) for title, way in ways.items()}
    return found


def _guided(way: SamplerSettings, weight: float) -> SamplerSettings:
    return replace(way, guidance_weight=weight, guidance_interval=way.guidance_interval if weight else WHOLE)


def seconds_an_image(generators: Generators, count: int, rounds: int = 3) -> dict[str, float]:
    """How long each takes for an image of a set of `count`: the median of the rounds, in which all take turns.

    From noise to pixels on the CPU; weights are loaded before, and each has drawn an image before the first round.
    """
    for generator in generators.values():
        generator.draw(1)
    took: dict[str, list[float]] = {name: [] for name in generators}
    for _ in range(rounds):
        for name, generator in generators.items():
            start = time.perf_counter()
            generator.draw(count)
            took[name].append((time.perf_counter() - start) / count)
    return {name: median(times) for name, times in took.items()}


def digit_scores(
    generator: Generator, seeds: Sequence[int], count: int, grader: Grader, real: DigitReference | None
) -> list[Scores]:
    """The scores of a set of `count` digits for each seed, among them ``diversity`` within a digit."""
    if generator.way:
        return sweep(generator.network, [generator.way], seeds, count, grader, real).to_dict("records")
    device, labels = next(generator.network.parameters()).device, torch.arange(count) % generator.network.classes
    return [
        digit_set_scores(generator.folder, seed, count, grader, real, device)
        | {"diversity": diversity_within(gan.draw(generator.folder, seed, count, device), labels)}
        for seed in seeds
    ]


def face_scores(
    generator: Generator, seeds: Sequence[int], count: int, real: Reference, device: torch.device
) -> list[Scores]:
    """The scores of a set of `count` faces for each seed (`hw2lib.gan.scores.face_set_scores`)."""
    name = generator.folder.settings["network"]
    way = {"draw": faces.draw_set, "settings": generator.way} if generator.way else {}
    return scores_by_network([generator.folder], [name], seeds, count, real, device=device, **way)[name]


def real_digits(real: DigitReference | None, preset: str, data_dir: str = "") -> Scores:
    """The scores of real test digits, as far as they are known; their diversity, where they are at hand."""
    known = {"accuracy": real.accuracy, "frechet": real.floor} if real else {}
    if preset == "paper" or data_dir:
        digits = data.source(preset, data_dir).load(DOMAIN, "test")
        if digits.labels is not None:
            known["diversity"] = diversity_within(torch.from_numpy(digits.images), torch.from_numpy(digits.labels))
    return known


def real_faces(real: Reference) -> Scores:
    """The scores of real faces; the distance is that of faces of the train split."""
    return {**real.floor, "one_face": real.one_face, "diversity": real.diversity}


def comparison_table(
    kind: str, generators: Generators, sets: Mapping[str, Sequence[Scores]], seconds: Scores, real: Scores
) -> pd.DataFrame:
    """A row for each generator: size, scores, time, and whether it keeps the homework's limit; last, real images.

    `kind` is ``digits`` or ``faces``, `sets` has the scores of each set of images of each generator, and `real` those
    of real images that are known.
    """
    columns, rows = MEASURES[kind].items(), []
    for name, generator in generators.items():
        row = {kind: name, "parameters": f"{generator.parameters:,}", "calls": f"{generator.calls:,}"}
        row |= {title: spread([one.get(key) for one in sets[name]], digits) for key, (title, digits) in columns}
        rows.append(row | _times(generator, seconds[name]))
    known = {title: f"{real[key]:.{digits}f}" for key, (title, digits) in columns if key in real}
    return pd.DataFrame([*rows, {kind: "real"} | known]).fillna(UNKNOWN)


def clock_table(generators: Generators, seconds: Scores) -> pd.DataFrame:
    """The time of each generator, and whether it keeps the homework's limit."""
    return pd.DataFrame({"images": name} | _times(one, seconds[name]) for name, one in generators.items())


def _times(generator: Generator, seconds: float) -> dict[str, str]:
    images, minutes = generator.limit
    limit = f"{minutes} min" if images == 1000 else f"{minutes} min for {images}"
    kept = "kept" if images * seconds <= 60 * minutes else "exceeded"
    return {
        "ms an image = s for 1,000": f"{1000 * seconds:.{1 if seconds > 0.01 else 2}f}",
        "limit": f"{limit}, {kept}",
    }


def headline(generators: Generators, sets: Mapping[str, Sequence[Scores]], seconds: Scores) -> dict[str, float | bool]:
    """For the text: scores, ``seconds`` and ``calls`` of each generator, such as ``acgan_seconds``.

    ``w_0_slower`` is its time over that of the fastest GAN, ``w_0_limit_kept`` whether it keeps the homework's limit.
    """
    values: dict[str, float | bool] = {}
    fastest = min((seconds[name] for name, one in generators.items() if one.family == "GAN"), default=None)
    for name, generator in generators.items():
        keys = dict.fromkeys(key for columns in MEASURES.values() for key in columns)
        found = {key: value for key in keys if (value := _mean(sets[name], key)) is not None}
        found |= {"seconds": seconds[name], "calls": float(generator.calls)}
        found |= {"slower": seconds[name] / fastest} if fastest and generator.way else {}
        found["limit_kept"] = generator.limit.images * seconds[name] <= 60 * generator.limit.minutes
        values |= {value_name(name, key): value for key, value in found.items()}
    return values


def trade_off(
    generators: Mapping[str, Generators],
    sets: Mapping[str, Sequence[Scores]],
    seconds: Scores,
    real: Mapping[str, Scores],
) -> Figure:
    """Distances from real images over the time an image takes; dashed: real images.

    `generators` and `real` are by kind, ``digits`` and ``faces``. Beside each name stands the accuracy, or how many
    images show exactly one face, in percent.
    """
    figure, panels = plt.subplots(1, len(PLOTTED), figsize=(WIDTH, 3.5), layout="constrained")
    looks = {"GAN": (MARKERS[0], PALETTE[0]), "diffusion": (MARKERS[1], PALETTE[3])}
    for axes, (kind, (distance, share)) in zip(panels, PLOTTED.items(), strict=True):
        scores = {name: score for name in generators[kind] if (score := _mean(sets[name], distance)) is not None}
        near = 0.08 * max(scores.values(), default=0)
        for name, score in scores.items():
            one = generators[kind][name]
            (marker, colour), at = looks[one.family], (1000 * seconds[name], score)
            axes.plot(*at, marker, color=colour, ms=5, label=one.family)
            percent = _mean(sets[name], share)
            text = name if percent is None else f"{name}, {percent:.1f} %"
            # A GAN is far to the left of a denoiser, and both have their words in between.
            side = {"xytext": (-5, 0), "ha": "right"} if one.way else {"xytext": (5, 0), "ha": "left"}
            if any(0 < score - other < near for other in scores.values()):  # above the words of its neighbour
                side["xytext"] = (side["xytext"][0], 5)
            axes.annotate(text, at, textcoords="offset points", va="center", fontsize="small", color=colour, **side)
        dashed(axes, real[kind].get(distance))
        axes.set(xscale="log", xlabel="milliseconds an image", title=f"{kind}: {MEASURES[kind][distance][0]}")
        axes.margins(0.12)
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        axes.minorticks_off()
    marks = {label: mark for axes in panels for mark, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(marks.values(), marks.keys(), loc="outside upper center", ncols=2)
    return figure


def _mean(sets: Sequence[Scores], key: str) -> float | None:
    """None where no set has the score."""
    values = [one[key] for one in sets if key in one]
    return mean(values) if values else None
