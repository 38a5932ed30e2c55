"""The grade of a submission: its scores beside the baselines, what its digits are read as, and all of it in words.

In a share, an accuracy or that of faces, an image or row that is missing or cannot be read counts as one that failed.
Other scores are of the images that can be read. What is missing is a fault in any case, and fails the submission.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from hw2lib import used
from hw2lib.adaptation.tables import pair_title
from hw2lib.classifier import scores as digits
from hw2lib.data import FACES
from hw2lib.data.folders import RealImages, images_dir
from hw2lib.data.png import read_png
from hw2lib.diffusion.face_experiments import mean_squared_error
from hw2lib.errors import UserError
from hw2lib.grading import MEASURES, Problem
from hw2lib.grading.submission import Fault, csv_files, read_csv, read_images
from hw2lib.metrics import fidelity
from hw2lib.metrics.images import count_faces
from hw2lib.plots.grids import image_grid
from hw2lib.training.devices import check_device

MOST = 10  # rows and columns of the sheet of the worst images, and misreadings that are told

Reading = tuple[np.ndarray, np.ndarray]  # the digits that images (N,) are of, and those that they are read as


@dataclass(frozen=True)
class Score:
    """One number of a submission beside the baselines."""

    name: str
    value: float | None  # None: it cannot be measured here
    baselines: tuple[float, ...] = ()  # simple, strong
    less: bool = False  # whether less is better
    exceed: bool = False  # whether to equal a baseline is too little
    own: bool = False  # measured by what is ours in place of the course's
    note: str = ""

    @property
    def reached(self) -> int | None:
        """How many of the baselines it reaches; None where there is nothing to compare."""
        if self.value is None or not self.baselines:
            return None
        gains = [(baseline - self.value) if self.less else (self.value - baseline) for baseline in self.baselines]
        return sum(gain > 0 or (gain == 0 and not self.exceed) for gain in gains)

    @property
    def verdict(self) -> str:
        """In a word or two, ``below``, ``passed``, or where there are two baselines ``simple`` or ``strong``."""
        if self.reached is None:
            return "not measured" if self.value is None else "not compared"
        words = ("below", "passed") if len(self.baselines) == 1 else ("below", "simple", "strong")
        return words[self.reached] + ", not the course's own" * self.own

    @property
    def cells(self) -> dict[str, str]:
        """The columns of a table; the score has as many decimals as tell it from a baseline, two at least."""
        decimals = 2
        while self.value is not None and any(
            self.value != one and round(self.value, decimals) == one for one in self.baselines
        ):
            decimals += 1
        simple, strong = (*(f"{one:.2f}" for one in self.baselines), "–", "–")[:2]
        score = "–" if self.value is None else f"{self.value:.{decimals}f}"
        return {"score": score, "simple": simple, "strong": strong, "result": self.verdict}


@dataclass(frozen=True)
class Grade:
    """What was asked, what is there, what is wrong with it, and what it scores."""

    problem: Problem
    submission: Path
    there: str
    faults: list[Fault]
    scores: list[Score]
    readings: dict[str, Reading] = field(default_factory=dict)  # of digits, or of the images of a csv, by title
    worst: dict[str, np.ndarray] = field(default_factory=dict)  # title to images (n, 3, H, W) uint8, the worst first

    @property
    def failed(self) -> bool:
        """Whether a file is wrong or a score below its baseline, whoever measured it."""
        return bool(self.faults) or any(score.reached == 0 for score in self.scores)

    @property
    def passed(self) -> bool | None:
        """Whether it passes as the course grades; None where that cannot be said here."""
        if self.faults or any(score.reached == 0 and not score.own for score in self.scores):
            return False
        return None if any(score.own or score.reached is None for score in self.scores) else True

    @property
    def verdict(self) -> str:
        """Whether it passes, in a line."""
        below = [score for score in self.scores if score.reached == 0 and not score.own]
        strong = all(score.reached and score.reached == len(score.baselines) == 2 for score in self.scores)
        level = ", the strong baseline too" if strong else ""
        if self.passed is not None:
            why = ["the files are wrong"] * bool(self.faults) + ["a score is below its baseline"] * bool(below)
            return f"passed{level}" if self.passed else f"not passed: {' and '.join(why)}"
        if left := [score.name for score in self.scores if score.reached is None]:
            return f"not decided: {'; '.join(left)} could not be measured or compared"
        return f"{'not passed' if self.failed else f'passed{level}'}, by the project's measure and not the course's own"

    def misread(self) -> dict[str, list[tuple[int, int, int]]]:
        """Title to what is taken for what most often: the digit, what it is read as, and how many times."""
        pairs = {title: zip(*map(np.ndarray.tolist, reading), strict=True) for title, reading in self.readings.items()}
        counts = {title: Counter((a, b) for a, b in both if a != b) for title, both in pairs.items()}
        return {title: [(a, b, n) for (a, b), n in count.most_common(MOST)] for title, count in counts.items()}

    def summary(self) -> pd.DataFrame:
        """What was asked, what is there and each thing that is wrong, as the rows of a table."""
        rows = [("asked", self.problem.asked), ("there", self.there)]
        rows += [("wrong", str(fault)) for fault in self.faults] or [("wrong", "nothing")]
        return pd.DataFrame([*rows, ("result", self.verdict)], columns=["", self.problem.full_title])

    def table(self) -> pd.DataFrame:
        """The scores, a row each."""
        return pd.DataFrame([{"measure": score.name} | score.cells for score in self.scores])

    def __str__(self) -> str:
        rows = [list(self.table()), *self.table().to_numpy().tolist()]
        width = max(len(row[0]) for row in rows)
        lines = [f"{self.problem.full_title}: {self.submission}", ""]
        lines += [f"{name:8}{text}" for name, text in self.summary().itertuples(index=False, name=None)][:-1]
        lines += ["", *(f"{row[0]:{width}}{row[1]:>9}{row[2]:>9}{row[3]:>9}  {row[4]}".rstrip() for row in rows)]
        lines += [f"{score.name}: {score.note}" for score in self.scores if score.note]
        for title, pairs in self.misread().items():
            most = ", ".join(f"{a} as {b} ({n})" for a, b, n in pairs)
            lines.append(f"{title or 'digits'}, most often misread: {most or 'none'}")
        return "\n".join([*lines, "", self.verdict])

    def as_json(self) -> dict[str, Any]:
        """All of it as JSON data; in a confusion a row is a digit, and a column what it is read as."""
        scores = [
            {"name": one.name, "value": one.value, "baselines": list(one.baselines), "less_is_better": one.less}
            | {"reached": one.reached, "result": one.verdict, "own_measure": one.own, "note": one.note}
            for one in self.scores
        ]
        confusion = {
            title: np.histogram2d(*reading, bins=10, range=[[0, 10], [0, 10]])[0].astype(int).tolist()
            for title, reading in self.readings.items()
        }
        return {
            "edition": self.problem.edition,
            "problem": self.problem.number,
            "title": self.problem.title,
            "submission": str(self.submission),
            "asked": self.problem.asked,
            "there": self.there,
            "faults": [{"what": fault.what, "items": list(fault.items)} for fault in self.faults],
            "scores": scores,
            "confusion": confusion,
            "passed": self.passed,
            "result": self.verdict,
        }


def grade(
    submission: Path, problem: Problem, data_dir: str = "", noted: bool = True, **options: Path | str | None
) -> Grade:
    """Grade a folder of images, a csv, or a folder of csv files.

    Args:
        data_dir: the folder of real images, as of `hw2lib.data.source`.
        noted: whether a record of the grade is out of date once the files change (`hw2lib.used`).
        options: those of `TAKES`. ``classifier`` is the course's Classifier.pth, in place of the project's own;
            ``truth`` the csv or the folder that is right, in place of the real images'; ``pair`` the domains of a csv
            whose name does not tell them; ``beside`` what is handed in for the problem that has to be exceeded.

    Raises:
        UserError: a submission or an option that cannot be read, or an option of another problem.
    """
    given = {name: value for name, value in options.items() if value}
    takes = [name for name in TAKES[problem.kind][1] if name != "beside" or problem.above]
    if others := sorted(given.keys() - takes):
        raise UserError(f"--{others[0]}: not for problem {problem.number} of {problem.edition}; leave it out")
    places = [submission, *(place for place in given.values() if isinstance(place, Path))] if noted else []
    for file in sorted(file for place in places for file in (place, *place.glob("**/*")) if file.is_file()):
        used.note_file(file)
    return TAKES[problem.kind][0](submission, problem, data_dir, **given)


def sheet(grade: Grade) -> Figure | None:
    """The worst images, a row for each thing that is wrong with them; None where there are none."""
    if not grade.worst:
        return None
    first, *rows = grade.worst.values()
    white = np.full((MOST - len(first), *first.shape[1:]), 255, np.uint8)  # so that images are always of one size
    return image_grid([np.concatenate([first, white]), *rows], list(grade.worst))


def _faces(folder: Path, problem: Problem, data_dir: str) -> Grade:
    images = read_images(folder, problem.size, [], problem.count)
    scores, worst, enough = {}, {}, len(images.names) > 1
    if problem.baselines.keys() & {"fid", "inception_score"}:
        scores = _by_inception(images.pixels, problem, data_dir) if enough else {}
    if "one_face" in problem.baselines and enough:
        counts = count_faces(images.pixels)
        share = 100 * (counts == 1).sum().item() / max(problem.count, images.there)
        scores["one_face"] = Score(MEASURES["one_face"].title, share)
        for count, n in Counter(counts[counts != 1].tolist()).most_common(MOST):
            title = f"{count or 'no'} face{'s' * (count > 1)} ({n})"
            worst[title] = images.pixels[counts == count][:MOST].numpy()
    few = {name: Score(MEASURES[name].title, None, note="two images at least are needed") for name in problem.baselines}
    scores = [_compared(score, problem, name) for name, score in (few | scores).items() if name in problem.baselines]
    return Grade(problem, folder, f"{images.there:,} PNG images", images.faults, scores, worst=worst)


def _by_inception(images: Tensor, problem: Problem, data_dir: str) -> dict[str, Score]:
    """FID and Inception score, or why they cannot be measured here."""
    title, split = f"{MEASURES['fid'].title} against the {problem.split} faces", problem.split
    fid = Score(title, None)
    try:
        source = RealImages(data_dir)
        if split not in source.splits(FACES):
            split = "val"  # only the homework's folder of 2021 has test faces
        source.rows(FACES, split)
    except UserError as error:
        if data_dir:
            raise
        fid, source = replace(fid, note=f"real faces are needed: {error}"), None
    if not (source or "inception_score" in problem.baselines):  # Inception need not be downloaded
        return {"fid": fid}
    try:
        extractor = fidelity.inception(device=check_device("auto"))
    except fidelity.Unavailable as error:
        return {
            "fid": replace(fid, note=fid.note or str(error)),
            "inception_score": Score(MEASURES["inception_score"].title, None, note=str(error)),
        }
    seen = fidelity.extract(images, extractor)
    real = fidelity.stored_features(source, FACES, split, extractor) if source else None
    if real:
        distance = fidelity.frechet_distance(seen.features, real.features)
        note = "" if split == problem.split else f"by the {split} faces, since there are no {problem.split} faces"
        fid = Score(title, distance, own=bool(note), note=note)
    varied = fidelity.inception_score(seen)["is"]
    return {"fid": fid, "inception_score": Score(MEASURES["inception_score"].title, varied)}


def _digits(folder: Path, problem: Problem, data_dir: str, classifier: Path | None = None) -> Grade:
    grader = digits.grader(str(classifier or ""))
    images = read_images(folder, problem.size, problem.names, 0)
    known = [i for i, name in enumerate(images.names) if re.match("[0-9](?![0-9])", name)]  # by any name of a digit
    asked = torch.tensor([int(images.names[i][0]) for i in known], dtype=torch.int64)
    pixels = images.pixels[known]
    with torch.inference_mode():
        logits = [grader.network(part)[1] for part in pixels.split(digits.BATCH)] if known else [torch.empty(0, 10)]
    sure, read = torch.cat(logits).softmax(1).max(1)
    share = 100 * (read == asked).sum().item() / max(len(problem.names), len(known))
    note = "" if classifier else "the course's own classifier is Classifier.pth; give --classifier"
    score = Score(f"accuracy by {grader.title}, %", share, own=not classifier, note=note)
    reading, worst = (asked.numpy(), read.numpy()), {}
    for (a, b), n in Counter(zip(asked.tolist(), read.tolist(), strict=True)).most_common():
        if a != b and len(worst) < MOST:
            these = ((asked == a) & (read == b)).nonzero()[:, 0]
            these = these[sure[these].argsort(descending=True, stable=True)][:MOST]
            worst[f"{a} as {b} ({n})"] = pixels[these].numpy()
    scores = [_compared(score, problem, "accuracy")]
    return Grade(problem, folder, f"{images.there:,} PNG images", images.faults, scores, {"": reading}, worst)


def _truth(folder: Path, problem: Problem, data_dir: str, truth: Path | None = None) -> Grade:
    images = read_images(folder, problem.size, problem.names, 0)
    given = truth or images_dir(data_dir) / FACES / "GT"
    name, there = MEASURES["mse"].title, f"{images.there:,} PNG images"
    at = [i for i, one in enumerate(images.names) if one in problem.names]
    if data_dir and not (truth or given.is_dir()):
        raise UserError(f"{given}: no such folder; name the homework's folder with face/GT, or give --truth")
    if not at or not (truth or given.is_dir()):
        why = f"{given} is not there; give --truth, the homework's folder GT" if at else "no image can be compared"
        return Grade(problem, folder, there, images.faults, [_compared(Score(name, None, note=why), problem, "mse")])
    right = [read_png(given / images.names[i], problem.size) for i in at]
    right = torch.from_numpy(np.stack([np.broadcast_to(image, (3, *image.shape[1:])) for image in right]))
    errors = mean_squared_error(images.pixels[at], right)
    order = errors.argsort(descending=True)
    note = f"most in {images.names[at[order[0]]]}, {errors.max():.2f}"
    score = _compared(Score(name, errors.mean().item(), note=note), problem, "mse")
    worst = {"this": images.pixels[at][order][:MOST].numpy(), "truth": right[order][:MOST].numpy()}
    return Grade(problem, folder, there, images.faults, [score], worst=worst)


def _labels(
    place: Path, problem: Problem, data_dir: str, truth: Path | None = None, pair: str = "", beside: Path | None = None
) -> Grade:
    files, faults = csv_files(place, list(problem.baselines), pair)
    asked = [name for name in problem.baselines if name in files or not (pair or place.is_file())]
    faults += [Fault(f"no csv for {name}") for name in asked if name not in files]
    truths, others = (_other_files(other, problem, asked) if other else {} for other in (truth, beside))
    scores, readings, home = [], {}, place if place.is_dir() else place.parent
    for name in asked:
        title, value, baselines = pair_title(name), None, tuple(problem.baselines[name])
        right, note = _right_labels(name, problem, data_dir, truths.get(name))
        if name in files:
            found = read_csv(files[name], list(right))
            faults += [Fault(f"{files[name].relative_to(home)}: {fault.what}", fault.items) for fault in found.faults]
        if right and name in files:
            value, readings[title] = _share(right, found.labels), _reading(right, found.labels)
            if problem.above:
                note = f"has to exceed problem {problem.above}; give its csv, --beside"
            if name in others:
                baselines = (_share(right, _read_faultless(others[name], list(right))),)
                note = f"has to exceed {others[name].name}"
        scores.append(Score(f"{title}, accuracy, %", value, baselines, exceed=bool(problem.above), note=note))
    there = ", ".join(f"{file.relative_to(home)} for {name}" for name, file in files.items())
    return Grade(problem, place, there, faults, scores, readings)


def _other_files(place: Path, problem: Problem, asked: Sequence[str]) -> dict[str, Path]:
    """The csv files beside those of a submission: a single one is of the pair that it is of."""
    pair = asked[0] if len(asked) == 1 and place.is_file() else ""
    files, faults = csv_files(place, list(problem.baselines), pair)
    if faults:
        raise UserError(f"{place}: {faults[0]}; name one csv, or a folder with one for each pair")
    return files


def _right_labels(pair: str, problem: Problem, data_dir: str, truth: Path | None) -> tuple[dict[str, int], str]:
    """The labels of the target's images, in their order, and why there are none."""
    if truth:
        return _read_faultless(truth), ""
    target = pair.partition("-")[2]
    try:
        rows = RealImages(data_dir).rows(target, problem.split)
    except UserError as error:
        if data_dir:
            raise
        return {}, f"the right labels are needed, give --truth: {error}"
    if rows.labels is None:
        return {}, f"{target} {problem.split} has no labels; give --truth"
    return dict(zip(rows.names, rows.labels.tolist(), strict=True)), ""


def _read_faultless(file: Path, images: Sequence[str] = ()) -> dict[str, int]:
    """The labels of a csv that a submission is compared with; see `read_csv`."""
    found = read_csv(file, images)
    if found.faults or not found.labels:
        what = found.faults[0] if found.faults else "it has no rows"
        raise UserError(f"{file}: nothing can be compared with it: {what}")
    return found.labels


def _share(right: Mapping[str, int], labels: Mapping[str, int]) -> float:
    return 100 * sum(labels.get(name) == label for name, label in right.items()) / len(right)


def _reading(right: Mapping[str, int], labels: Mapping[str, int]) -> Reading:
    both = [(label, labels[name]) for name, label in right.items() if name in labels]
    return tuple(np.array(both, dtype=np.int64).reshape(-1, 2).T)


def _compared(score: Score, problem: Problem, name: str) -> Score:
    return replace(score, baselines=tuple(problem.baselines[name]), less=MEASURES[name].less)


TAKES = {  # how each kind is graded, and by which options
    "faces": (_faces, ()),
    "digits": (_digits, ("classifier",)),
    "truth": (_truth, ("truth",)),
    "labels": (_labels, ("pair", "truth", "beside")),
}
