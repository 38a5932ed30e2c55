"""Digits of a folder as the homework hands them in: ``image_name,label``."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm.auto import tqdm

from hw2lib.adaptation.networks import with_weights
from hw2lib.data import DIGIT_SIZE
from hw2lib.data.image_folder import png_names
from hw2lib.data.png import read_png
from hw2lib.errors import UserError
from hw2lib.files import read_json, write
from hw2lib.metrics.accuracy import outputs
from hw2lib.training.devices import check_device


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
