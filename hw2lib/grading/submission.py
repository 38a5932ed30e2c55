"""What somebody hands in, a folder of images or csv files: what is there, and everything that is wrong with it."""

import csv
import io
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from hw2lib.data.folders import HEADER
from hw2lib.data.image_folder import png_names
from hw2lib.data.png import read_png
from hw2lib.errors import UserError
from hw2lib.files import check_is_file, is_clutter

SHOWN = 3  # names of a longer list


class Fault(NamedTuple):
    """Something that is wrong with what is handed in."""

    what: str
    items: tuple[str, ...] = ()  # all files, names or lines that it holds for

    def __str__(self) -> str:
        """Such as ``missing (96): 0_001.png, 0_002.png, 0_003.png and 93 more``."""
        count, more = len(self.items), len(self.items) - SHOWN
        shown = ", ".join(self.items[:SHOWN] if more > 1 else self.items)
        words = f"{self.what} ({count:,}): {shown}{f' and {more:,} more' * (more > 1)}" if count else self.what
        return words.encode(errors="backslashreplace").decode()  # a name that is not in UTF-8


def _faults(lists: Mapping[str, Sequence[str]]) -> list[Fault]:
    """One fault for each list that is not empty."""
    return [Fault(what, tuple(items)) for what, items in lists.items() if items]


class Images(NamedTuple):
    """The PNG images of a folder."""

    names: list[str]  # of those that can be read, sorted
    pixels: Tensor  # uint8 (N, 3, size, size)
    there: int  # files in all
    faults: list[Fault]


def read_images(folder: Path, size: int, asked: Sequence[str], count: int) -> Images:
    """The PNG images of a folder, and what is wrong with them; `UserError` if the folder cannot be read.

    `asked` are the names that they should have, empty where any do, and `count` is how many there should be.
    """
    there = png_names(folder)
    others = sorted(name for name in os.listdir(folder) if name not in there and not is_clutter(name))
    wrong: dict[str, list[str]] = {}
    names, arrays = [], []
    for name in tqdm(there, desc=str(folder), unit=" images", delay=2, leave=False):
        try:
            image = read_png(folder / name, size)
        except UserError as error:
            wrong.setdefault(str(error).removeprefix(f"{folder / name}: "), []).append(name)
            continue
        if len(image) == 1:
            wrong.setdefault("grey image; make it RGB", []).append(name)
        names.append(name)
        arrays.append(np.broadcast_to(image, (3, size, size)))
    faults = []
    if not asked and len(there) != count:
        faults.append(Fault(f"{abs(len(there) - count):,} too {'few' if len(there) < count else 'many'}"))
    if asked:
        faults += _faults({"missing": _without(asked, there), "not asked for": _without(there, asked)})
    faults += _faults({"no PNG file": others} | wrong) + _duplicates(names, arrays)
    pixels = torch.from_numpy(np.stack(arrays)) if arrays else torch.empty(0, 3, size, size, dtype=torch.uint8)
    return Images(names, pixels, len(there), faults)


def _without(names: Iterable[str], others: Iterable[str]) -> list[str]:
    others = set(others)
    return [name for name in dict.fromkeys(names) if name not in others]


def _duplicates(names: Sequence[str], arrays: Sequence[np.ndarray]) -> list[Fault]:
    first: dict[bytes, str] = {}
    again = []
    for name, image in zip(names, arrays, strict=True):
        if (other := first.setdefault(image.tobytes(), name)) != name:
            again.append(f"{name} = {other}")
    if again and len(first) == 1:
        return [Fault(f"all {len(names):,} images are the same")]
    return _faults({"the same pixels as another": again})


class Labels(NamedTuple):
    """The rows of a csv ``image_name,label``."""

    labels: dict[str, int]  # name to label, 0 to 9; of a name that is there twice, the first
    faults: list[Fault]


def read_csv(file: Path, images: Sequence[str] = ()) -> Labels:
    """The labels of a csv, and what is wrong with it; `UserError` if it cannot be read.

    `images` are the names that it should have, in their order, empty where they are not known.
    """
    try:
        check_is_file(file)
        reader = csv.reader(io.StringIO(file.read_bytes().decode("utf-8-sig"), newline=""))
        rows = [(reader.line_num, tuple(field.strip() for field in row)) for row in reader if row]
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}; name a csv file") from None
    except (csv.Error, UnicodeDecodeError) as error:
        return Labels({}, [Fault(f"not a csv file in UTF-8 ({error})")])
    header, faults = rows[0][1] if rows else (), []
    if header != HEADER:
        faults = [Fault(f"the first line is '{','.join(header)[:60]}' and not '{','.join(HEADER)}'")]
    has_header = not (len(header) == 2 and header[1].isdecimal())
    places = [header.index(name) if name in header else i for i, name in enumerate(HEADER)]
    labels: dict[str, int] = {}
    names, other_lines, no_labels = [], [], []
    for line, row in rows[has_header:]:
        if len(row) != max(len(header), 2):
            other_lines.append(f"line {line}")
            continue
        name, label = (row[place] for place in places)
        names.append(name)
        if re.fullmatch("[0-9]", label):
            labels.setdefault(name, int(label))
        else:
            no_labels.append(f"{name},{label}")
    twice = [name for name, count in Counter(names).items() if count > 1]
    lists = {"another number of fields": other_lines, "label not 0 to 9": no_labels, "named more than once": twice}
    if images:
        known = set(images)
        order = [name for name in dict.fromkeys(names) if name in known]
        there = set(order)
        swapped = [a for a, b in zip(order, (name for name in images if name in there), strict=True) if a != b]
        lists |= {"no row for an image": _without(images, names), "name of no image": _without(names, images)}
        lists |= {"in another order than the images": [] if order == sorted(order) else swapped}
    return Labels(labels, faults + _faults(lists))


def csv_files(place: Path, pairs: Sequence[str], pair: str = "") -> tuple[dict[str, Path], list[Fault]]:
    """The csv of each pair of domains: `place` itself, or those in that folder, else one level below.

    A csv is of the pair whose target its name, or else its folder's, mentions last; a single one may be told its
    `pair`. `UserError` for a place without a csv, for one whose pair is not known, and for an unknown pair.
    """
    if pair and pair not in pairs:
        raise UserError(f"--pair {pair}: this problem has {', '.join(pairs)}")
    if place.is_file():
        files = [place]
    else:
        inside = ([file for file in place.glob(depth) if _is_csv(file.relative_to(place))] for depth in ("*", "*/*"))
        files = next((sorted(some) for some in inside if some), [])
    if not files:
        raise UserError(f"{place}: no csv file there; name one, or a folder of them")
    if pair and len(files) > 1:
        raise UserError(f"{place}: --pair is of one csv, and there are {len(files)}; name it")
    if pair and (told := _named(files[0].stem, pairs)) not in (None, pair):
        raise UserError(f"{files[0]}: its name tells the pair {told}, not {pair}; rename it, or give that pair")
    if pair:
        return {pair: files[0]}, []
    found: dict[str, Path] = {}
    lost, more = [], []
    for file in files:
        which = _pair_of(file, pairs)
        if which is None:
            lost.append(str(file))
        elif which in found:
            more.append(f"{file} beside {found[which]}")
        else:
            found[which] = file
    if not found:
        raise UserError(f"{files[0]}: the name does not tell its target; give --pair, one of {', '.join(pairs)}")
    return found, _faults({"csv whose name tells no target": lost, "more than one csv of a pair": more})


def _is_csv(file: Path) -> bool:
    return file.suffix.lower() == ".csv" and not any(map(is_clutter, file.parts))


def _pair_of(file: Path, pairs: Sequence[str]) -> str | None:
    return _named(file.stem, pairs) or _named(file.absolute().parent.name, pairs)


def _named(name: str, pairs: Sequence[str]) -> str | None:
    """The pair that a name mentions last, or the only one of the target that it mentions last."""

    def last(words: Iterable[str]) -> str | None:
        there = [(_bare(name).rfind(_bare(word)), len(word), word) for word in words if _bare(word) in _bare(name)]
        return max(there)[2] if there else None

    if pair := last(pairs):
        return pair
    domain = last({domain for pair in pairs for domain in pair.split("-")})
    of_target = [pair for pair in pairs if pair.partition("-")[2] == domain]
    return of_target[0] if len(of_target) == 1 else None


def _bare(name: str) -> str:
    """The letters and digits of a name, small."""
    return re.sub(r"[\W_]", "", name.lower())
