"""A set of images as PNG files in a folder of their own: never over others' files, each whole, and resumable.

A hidden file in the folder says what the set is. An interrupted set is completed, another is refused.
"""

import fcntl
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image
from torch import Tensor
from tqdm.auto import tqdm

from hw2lib.errors import UserError

MARKER = ".hw2-images.json"


class Batch(NamedTuple):
    """Images that are drawn together.

    Attributes:
        names: their file names.
        draw: returns them as uint8 (n, 3, H, W), in that order; what is beyond the names is left out.
    """

    names: list[str]
    draw: Callable[[], Tensor]


def write_images(folder: Path, batches: Sequence[Batch], settings: dict[str, Any], overwrite: bool = False) -> None:
    """Write what is missing of a set; a batch that is all there is not drawn.

    Args:
        folder: where to; made if it is not there.
        batches: the images.
        settings: all that they depend on, as plain JSON data.
        overwrite: write all of it anew, in place of an earlier set and of files that have the same names. Any other
            file stays.

    Raises:
        UserError: the folder holds other files or another set, another process writes there, or the disk is at fault.
    """
    names = [name for batch in batches for name in batch.names]
    try:
        with _claimed(folder, names, settings, overwrite):
            there = set(os.listdir(folder)).intersection(names)
            with tqdm(total=len(names), initial=len(there), desc=str(folder), unit=" images") as bar:
                for batch in batches:
                    missing = [i for i, name in enumerate(batch.names) if name not in there]
                    images = batch.draw().permute(0, 2, 3, 1).cpu().numpy() if missing else ()
                    for i in missing:
                        temporary = folder / _temporary(batch.names[i])
                        Image.fromarray(images[i]).save(temporary, "PNG")
                        os.replace(temporary, folder / batch.names[i])
                    bar.update(len(missing))
    except OSError as error:
        where = error.filename or folder
        raise UserError(f"{where}: {error.strerror}; mend that, and the same command goes on") from None


@contextmanager
def _claimed(folder: Path, names: list[str], settings: dict[str, Any], overwrite: bool) -> Iterator[None]:
    """Hold the folder for one process and make it the home of this set."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: not a folder; choose another name")
    folder.mkdir(parents=True, exist_ok=True)
    others = sorted(set(os.listdir(folder)) - {MARKER})
    foreign = UserError(
        f"{folder}: holds other files, such as {others[0]}; choose another folder, or add --overwrite, which replaces "
        "files of the same names and leaves all others"
    ) if others else None  # fmt: skip
    if foreign and not overwrite and not (folder / MARKER).exists():
        raise foreign
    with open(folder / MARKER, "a+") as marker:
        try:
            fcntl.flock(marker, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{folder}: another process is writing here; wait for it or stop it") from None
        marker.seek(0)
        before, earlier_names = _parse(marker.read())
        if before != settings or overwrite:
            if before and not overwrite:
                raise UserError(
                    f"{folder}: holds images of other settings ({_differences(before, settings)}); choose another "
                    "folder, or add --overwrite"
                )
            if foreign and not overwrite:  # interrupted before the first image
                raise foreign
            # Old images go before the file says that what is there is new.
            for name in {*earlier_names, *names}:
                (folder / name).unlink(missing_ok=True)
                (folder / _temporary(name)).unlink(missing_ok=True)
            marker.truncate(0)
            json.dump({"settings": settings, "names": names}, marker)
            marker.flush()
        yield


def _temporary(name: str) -> str:
    return f".{name}.partial"


def _parse(marker: str) -> tuple[dict[str, Any] | None, list[str]]:
    """Settings and names of the set that is there. Names come from a file, and may only be of images beside it."""
    try:
        found = json.loads(marker)
        return found["settings"], [n for n in found["names"] if Path(n).name == n and n.endswith(".png")]
    except (ValueError, LookupError, TypeError):
        return None, []


def _differences(there: dict[str, Any], here: dict[str, Any]) -> str:
    keys = sorted(key for key in there.keys() | here.keys() if there.get(key) != here.get(key))
    return "; ".join(f"{key} is {there.get(key)} there and {here.get(key)} here" for key in keys)
