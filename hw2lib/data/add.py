"""A further domain of digits beside the three: a folder of yours, by a name of your choice."""

import os
import re
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from hw2lib.data import DIGIT_SIZE, FACES
from hw2lib.data.folders import RealImages, images_dir
from hw2lib.data.png import decode
from hw2lib.errors import UserError

NAME = re.compile(r"[a-z0-9][a-z0-9_]*")  # no hyphen: a pair is written SOURCE-TARGET


def add(name: str, folder: Path, data_dir: str | Path = "") -> tuple[Path, dict[str, int]]:
    """Copy a domain in one of the homework's layouts to ``digits/NAME``, where it is a source or target as the others.

    Every image is decoded and every label read first; nothing appears under its name if one is bad.

    Args:
        name: of small letters, digits and underscores.
        folder: holds ``data/`` and the csv files, or ``train/``, ``test/`` and their csv files. Links are followed.
        data_dir: the folder that holds ``digits/``, else `hw2lib.data.folders.images_dir` says which.

    Returns:
        The folder of the domain, and the number of images of each split.

    Raises:
        UserError: a bad name, a domain that is there, a folder that holds none, a bad image or csv, or a full disk.
    """
    if not NAME.fullmatch(name) or name == FACES:
        raise UserError(f"a domain cannot be called {name!r}: choose small letters, digits and _, and not {FACES}")
    home = images_dir(data_dir)
    target = home / "digits" / name
    if target.exists():
        raise UserError(f"{target}: is there already; choose another name, or remove it first")
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; give one that holds data/ and train.csv")
    try:
        home.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=home, prefix=".adding-") as building:
            copy = Path(building) / "digits" / name
            _copy(folder, copy)
            images = RealImages(building)
            counts = {}
            for split in images.splits(name):
                rows = images.rows(name, split)
                decode(rows.folder, rows.names, DIGIT_SIZE, Path(building) / "images.npy", f"{name} {split}")
                counts[split] = len(rows.names)
            if "train" not in counts:
                raise UserError(f"{folder}: no train split; see data/README.md for what goes there")
            target.parent.mkdir(exist_ok=True)
            os.rename(copy, target)
    except UserError as error:  # of the copy, which is gone
        raise UserError(str(error).replace(f"{copy}", f"{folder}")) from None
    except OSError as error:
        raise UserError(f"{error.filename or home}: {error.strerror}; make room or get the rights") from None
    return target, counts


def _copy(folder: Path, copy: Path) -> None:
    """The files of a folder, but for hidden ones; it stops at the first that cannot be copied."""
    copy.mkdir(parents=True)
    for path in sorted(folder.glob("[!.]*")):
        if path.is_dir():
            _copy(path, copy / path.name)
        else:
            shutil.copyfile(path, copy / path.name)
