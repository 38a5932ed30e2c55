"""A folder of images that somebody gives: its scores beside those of real images, or what its digits are read as."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm.auto import tqdm

from hw2lib import data
from hw2lib.adaptation.networks import with_weights
from hw2lib.classifier import reference as digit_reference
from hw2lib.classifier import scores as digits
from hw2lib.data import DIGIT_SIZE, FACE_SIZE, FACES
from hw2lib.data.image_folder import labels_in_names, png_names, read_folder
from hw2lib.data.png import read_png
from hw2lib.errors import UserError
from hw2lib.files import read_json, write
from hw2lib.metrics import fidelity
from hw2lib.metrics.accuracy import outputs
from hw2lib.metrics.images import diversity
from hw2lib.metrics.reference import FLOOR_COUNT, face_scores, shipped
from hw2lib.training.devices import check_device

LESS, MORE, AS_REAL = "less is better", "more is better", "best as the real one"
FACE_ROWS = (  # title, name of the score, decimals, how to read it
    ("sliced Wasserstein distance x 1000", "sliced_wasserstein", 2, LESS),
    ("  at 64 pixels, fine details", "sliced_wasserstein_64", 2, ""),
    ("  at 32 pixels", "sliced_wasserstein_32", 2, ""),
    ("  at 16 pixels, coarse structure", "sliced_wasserstein_16", 2, ""),
    ("images with exactly one face, %", "one_face", 1, MORE),
    ("lattice of period two, about 1: none", "lattice", 2, AS_REAL),
    ("brightness, 0 to 1", "brightness", 3, AS_REAL),
    ("contrast, 0 to 1", "contrast", 3, AS_REAL),
    ("diversity, 0 to 1", "diversity", 3, AS_REAL),
)

Row = tuple[str, float, float | None, int, str]  # title, value, that of real images, decimals, how to read it


def face_scorecard(folder: Path) -> Iterator[str]:
    """Scores of 64x64 faces: a table that needs nothing but the images, then one of Inception's, or why there is none.

    Raises `UserError` for bad input, before the first table, and for damaged weights of Inception, after it.
    """
    _, images = read_folder(folder, FACE_SIZE)
    reference = shipped(FACES)
    scores = face_scores(images, reference)
    real = {**vars(reference), **reference.floor}
    table = [(title, scores[name], real[name], decimals, hint) for title, name, decimals, hint in FACE_ROWS]
    yield (
        f"{folder}: {len(images):,} images, beside {reference.count:,} real validation faces.\n"
        f"Distances are from these, the real one that of {reference.floor_count:,} training faces.\n"
        f"{_unlike(len(images), reference.floor_count)}\n{_lines(table)}\n"
    )
    yield _inception_scores(images)


def _inception_scores(images: Tensor) -> str:
    try:
        source = data.source("paper")
        source.folder(FACES)
    except UserError as error:
        return f"No FID, IS and KID, for want of real faces: {error}"
    try:
        extractor = fidelity.inception(device=check_device("auto"))
    except fidelity.Unavailable as error:
        return f"No FID, IS and KID: {error}"
    real = fidelity.stored_features(source, FACES, "val", extractor)
    others = fidelity.stored_features(source, FACES, "train", extractor, FLOOR_COUNT)
    scores, floor = (fidelity.scores(seen, real) for seen in (fidelity.extract(images, extractor), others))
    table = [
        ("Fréchet Inception distance (FID)", scores["fid"], floor["fid"], 2, LESS),
        ("Inception score (IS)", scores["is"], floor["is"], 2, MORE),
        ("kernel Inception distance (KID) x 1000", 1000 * scores["kid"], 1000 * floor["kid"], 2, LESS),
    ]
    few = "From as few images as these, FID is biased upward by tens: compare it with the real one beside it alone."
    return f"{few}\n{_unlike(len(images), len(others.features))}\n{_lines(table)}"


def digit_scorecard(folder: Path, classifier: Path | None = None) -> Iterator[str]:
    """Scores of 28x28 digits under the classifier that ships, or that of a file; `UserError` for bad input."""
    names, images = read_folder(folder, DIGIT_SIZE)
    labels = labels_in_names(folder, names)
    grader = digits.grader(str(classifier or ""))
    try:
        reference, why_none = digit_reference.real_digits(grader), ""
    except UserError as error:
        reference, why_none = None, str(error)
    scores = digits.digit_scores(images, labels, grader, reference)
    accuracy = ("read as the digit of the name, %", scores["accuracy"], reference and reference.accuracy, 1, MORE)
    counts = {digit: count for digit, count in enumerate(labels.bincount().tolist()) if count}
    each = [(f"  {digit}, {n:,} images", scores[f"accuracy_{digit}"], None, 1, "") for digit, n in counts.items()]
    table: list[Row] = [accuracy, *each, ("diversity, 0 to 1", diversity(images), None, 3, "0: all images alike")]
    beside = "."
    if reference:
        table.append(("Fréchet distance of features", scores["frechet"], reference.floor, 2, LESS))
        beside = (
            f", beside {reference.count:,} real MNIST-M {reference.split} digits.\n"
            f"The distance is from these, the real one that of {reference.floor_count:,} validation digits.\n"
            f"{_unlike(len(images), reference.floor_count)}"
        ).rstrip()
    yield f"{folder}: {len(images):,} images, read by {grader.title}{beside}\n\n{_lines(table)}\n"
    if why_none:
        yield f"Beside no real digits, and no Fréchet distance: {why_none}"


def _unlike(count: int, floor_count: int) -> str:
    """A line on why the distances of so many images do not compare with the real one; "" where they do."""
    if count == floor_count:
        return ""
    these = f"those of {count:,} do not compare with the real one, of {floor_count:,}"
    return f"The fewer images, the larger their distances: {these}.\n"


def _lines(rows: list[Row]) -> str:
    lines = [f"{'':40}{'these':>8}  {'real':>8}"]
    for title, value, real, decimals, hint in rows:
        beside = "-" if real is None else f"{real:.{decimals}f}"
        lines.append(f"{title:40}{value:8.{decimals}f}  {beside:>8}  {hint}".rstrip())
    return "\n".join(lines)


def classify(
    folder: Path, out: Path, trained: Path, device: str = "auto", overwrite: bool = False
) -> tuple[int, list[str]]:
    """Classify the PNG images of a folder, 28x28, grey or RGB, and write a csv in the order of their names.

    `trained` is the ``weights.safetensors`` of a run between domains, with its ``card.json`` beside it. The result is
    how many images the csv has, and a line for each that cannot be read and is left out.

    Raises:
        UserError: a csv that is there, no image that can be read, weights of something else, or a bad device or disk.
    """
    if out.exists() and not overwrite:
        raise UserError(f"{out}: is there already; choose another name, or add --overwrite")
    where, card = check_device(device), trained.parent / "card.json"
    if not card.exists():
        raise UserError(f"{trained}: no card.json beside it says which network it is of; give the weights of a run")
    settings = read_json(card).get("settings")
    if not isinstance(settings, dict) or "target" not in settings:
        raise UserError(f"{card}: not the card of a run between domains; give the weights of one, such as dann-compact")
    network, form = with_weights(settings, trained)
    names, images, unreadable = [], [], []
    for name in tqdm(png_names(folder), desc=str(folder), unit=" images"):
        try:
            image = read_png(folder / name, DIGIT_SIZE)
        except UserError as error:
            unreadable.append(f"{error}; left out")
        else:
            names.append(name)
            images.append(np.broadcast_to(image, (3, *image.shape[1:])))
    if not names:
        reason = f": {unreadable[0]}" if unreadable else "; name a folder of PNG images"
        raise UserError(f"{folder}: holds no image that can be classified{reason}")
    logits = outputs(network.to(where), torch.tensor(np.stack(images), device=where), *form)
    table = pd.DataFrame({"image_name": names, "label": logits.argmax(1).tolist()})
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write(out, table.to_csv(index=False, lineterminator="\n"))
    except OSError as error:
        raise UserError(f"{error.filename or out}: {error.strerror}; choose a file that can be written") from None
    return len(names), unreadable
