"""The project's own results, graded like anybody's: images drawn by the weights that ship, and accuracies of cards."""

from collections.abc import Collection, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from hw2lib import image_files
from hw2lib.adaptation.tables import pair_title
from hw2lib.grading import MEASURES, Problem
from hw2lib.grading.grade import Grade, Score, grade
from hw2lib.training.cards import value_name
from hw2lib.training.run_folder import shipped_run

NETWORKS = {  # by the title of a problem: the network, and of pairs of domains its method
    "GAN": ("dcgan", ""),
    "ACGAN": ("acgan", ""),
    "diffusion": ("context-unet-64", ""),
    "DDIM": ("face-pyramid", ""),
    "DANN": ("dann-compact", "dann"),
    "an improved model": ("uda-cnn", "improved"),
}
LONG = ("GAN", "diffusion")  # to draw, or to score, for which Inception may be downloaded


def own_grades(
    problems: Iterable[Problem], device: str = "auto", data_dir: str = "", classifier: str = ""
) -> list[Grade]:
    """The grade of what the project has for each problem: of networks that draw, that of their files."""
    with TemporaryDirectory() as home:
        return [_own_grade(problem, Path(home), device, data_dir, classifier) for problem in problems]


def _own_grade(problem: Problem, home: Path, device: str, data_dir: str, classifier: str) -> Grade:
    network, method = NETWORKS[problem.title]
    if problem.kind == "labels":
        scores = [_of_card(problem, pair, network, method) for pair in problem.baselines]
        return Grade(problem, Path(network), "cards of finished runs", [], scores)
    if problem.kind == "truth":
        score = Score(MEASURES["mse"].title, None, tuple(problem.baselines["mse"]))  # it needs the homework's network
        return Grade(problem, Path(network), "nothing", [], [score])
    image_files.write(network, home / network, len(problem.names) or problem.count, device=device)
    options = {"classifier": Path(classifier)} if classifier and problem.kind == "digits" else {}
    return grade(home / network, problem, data_dir, noted=False, **options)


def _of_card(problem: Problem, pair: str, network: str, method: str) -> Score:
    """The accuracy of the run of seed 0 on the split that counts; that of DANN is what a better one has to exceed."""
    accuracy, baselines = _accuracy(network, method, pair, problem.split), tuple(problem.baselines[pair])
    if problem.above:
        baselines = (_accuracy(*NETWORKS["DANN"], pair, problem.split),)
    return Score(pair, accuracy, baselines, exceed=bool(problem.above))


def _accuracy(network: str, method: str, pair: str, split: str) -> float:
    return shipped_run(f"{network}/ours/{pair}/{method}/seed-0", None, False).card["accuracy"][f"target {split}"]


def own_table(problems: Iterable[Problem], grades: Iterable[Grade]) -> tuple[pd.DataFrame, Collection[str]]:
    """A row for each baseline of each problem, and the first cells of those that have no grade."""
    known = {(one.problem.edition, one.problem.number): one for one in grades}
    rows, left = [], []
    for problem in problems:
        found = known.get((problem.edition, problem.number))
        for i, (name, baselines) in enumerate(problem.baselines.items()):
            title = MEASURES[name].title if name in MEASURES else f"{pair_title(name)}, %"
            score = found.scores[i] if found else Score(title, None, tuple(baselines))
            first = f"{problem.edition}, {problem.number}: {title}"
            rows.append({"edition, problem: measure": first, "of": NETWORKS[problem.title][0]} | score.cells)
            left += [] if found else [first]
    return pd.DataFrame(rows), left


def own_values(grades: Iterable[Grade]) -> dict[str, float]:
    """What was measured, for the text, such as ``2022_2_accuracy``."""
    named = [(one.problem, zip(one.problem.baselines, one.scores, strict=True)) for one in grades]
    return {
        value_name(problem.edition, problem.number, name): score.value
        for problem, scores in named
        for name, score in scores
        if score.value is not None
    }
