"""Real images, in the folders that the homework hands out: two layouts of the digits, and one of faces::

    2022/23   digits/<domain>/data/*.png     with  train.csv, val.csv, test.csv  in digits/<domain>/
    2021      digits/<domain>/train/*.png, test/*.png  with  train.csv, test.csv  in digits/<domain>/
    faces     face/train/*.png, face/val/*.png

A domain is the name of a folder below ``digits/``. The layout of 2021 has no val split: there the last tenth of the
rows of ``train.csv`` is val, and the rest is train. Of faces it has train and test; there val is test. That of 2023 has
no faces to learn from, but ``face/UNet.pt``, ``face/noise`` and ``face/GT`` (`hw2lib.diffusion.faces.homework`).
"""

import csv
import hashlib
import io
import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hw2lib import used
from hw2lib.data import DIGIT_SIZE, FACE_SIZE, FACES, SPLITS, TITLES, ImageSet, ImageSource, cache
from hw2lib.errors import UserError
from hw2lib.files import is_clutter
from hw2lib.paths import build_dir, cache_dir

HEADER = ("image_name", "label")  # of a csv file; without labels, the first alone

_LABELS = {str(label): label for label in range(10)}
_SEE = "see data/README.md for what goes there"


def train_part(count: int) -> int:
    """How many of ``count`` training images stay train; the last tenth is val."""
    return count * 9 // 10


def images_dir(data_dir: str | Path = "") -> Path:
    """Where real images are looked for: the folder given, else that of ``HW2_DATA``, else ``images`` below build/."""
    return Path(data_dir or os.environ.get("HW2_DATA") or build_dir() / "images").expanduser().absolute()


class _Place(NamedTuple):
    """Where a split lies. ``carved``: it is a part of the rows of train.csv (2021)."""

    images: Path
    csv: Path | None
    carved: bool


class _Scan(NamedTuple):
    """The PNG files of a folder, and a stamp that changes with their names, sizes and times."""

    names: Collection[str]
    stamp: str


class RealImages(ImageSource):
    """The images below `images_dir`, which holds ``digits/``, ``face/`` or both, else `UserError`.

    Each image folder is looked through once in the life of the object. No link may lead out of the folder.
    """

    origin = "real"

    def __init__(self, data_dir: str | Path = "") -> None:
        self.root = images_dir(data_dir)
        self._scans: dict[Path, _Scan] = {}
        if not self.root.is_dir():
            raise UserError(
                f"{self.root}: no such folder of images; they are looked for in data_dir, else HW2_DATA, else "
                f"{build_dir() / 'images'}: run `hw2 data fetch mnistm svhn usps`, or {_SEE}"
            )
        if not self.domains() and not self.instead_of_faces():
            raise UserError(f"{self.root}: holds neither digits/<domain>/ nor face/; {_SEE}")

    def domains(self) -> tuple[str, ...]:
        """The domains that are there: folders below ``digits/`` by name, then ``face`` if it has a split."""
        folders = (path for path in self.root.glob("digits/*") if path.is_dir() and not is_clutter(path.name))
        has_faces = any((self.root / FACES / split).is_dir() for split in SPLITS)
        return (*sorted(path.name for path in folders), *([FACES] if has_faces else []))

    def instead_of_faces(self) -> str:
        """What ``face/`` holds where it has no split, such as ``GT/ (10 files), UNet.pt``; "" for nothing."""
        there = [] if FACES in self.domains() else sorted(self.root.glob(f"{FACES}/*"))
        shown = []
        for path in (path for path in there if not is_clutter(path.name)):
            files = [file for file in path.glob("*") if not is_clutter(file.name)]
            shown.append(f"{path.name}/ ({len(files)} files)" if path.is_dir() else path.name)
        return ", ".join(shown)

    def folder(self, domain: str) -> Path:
        """The folder of a domain; `UserError` if it is not there."""
        if domain not in self.domains():
            if domain == FACES and (others := self.instead_of_faces()):
                raise UserError(f"{self.root / FACES}: no faces, neither train/ nor val/; it holds {others}; {_SEE}")
            raise UserError(f"{self.root}: no domain {domain!r}; there are {', '.join(self.domains())}")
        return self.root / FACES if domain == FACES else self.root / "digits" / domain

    def layout(self, domain: str) -> str:
        """``"2022/23"``, ``"2021"``, or ``"faces"``."""
        folder = self.folder(domain)
        if domain == FACES:
            return "faces"
        return "2022/23" if (folder / "data").is_dir() else "2021"

    def splits(self, domain: str) -> tuple[str, ...]:
        """The splits of a domain that exist, in the order of `SPLITS`."""
        return tuple(split for split in SPLITS if self._find(domain, split))

    def load(self, domain: str, split: str) -> ImageSet:
        """One split, from the cache; the first time, and whenever the folder has changed, its images are decoded.

        Raises `UserError` for an unknown domain or split, and for a csv or an image that is not as it should be.
        """
        images, labels, digest = self._cached_or_built(domain, split)
        used.note("images", f"{domain} {split}", digest)
        return ImageSet(images, labels, domain, split, self.origin)

    def digest(self, domain: str, split: str) -> str:
        """SHA-256 (hex) of a split's pixels and labels; read and refused as in `load`."""
        return self._cached_or_built(domain, split).digest

    def fingerprint(self, domain: str) -> str:
        """SHA-256 (hex) of the domain's pixels and labels, whatever its layout and wherever it lies."""
        digests = {split: self.digest(domain, split) for split in self.splits(domain)}
        for split, digest in digests.items():
            used.note("images", f"{domain} {split}", digest)
        return hashlib.sha256("\n".join(f"{split} {digest}" for split, digest in digests.items()).encode()).hexdigest()

    def kept_key(self) -> dict[str, Any]:
        """The cache folder of each split, which no image is opened for."""
        splits = ((domain, split) for domain in self.domains() for split in self.splits(domain))
        return {f"{domain} {split}": self._cache_folder(domain, split).name for domain, split in splits}

    def describe(self, domains: Sequence[str] = ()) -> str:
        """One line for a caption: the domains that it shows, by default all that are there."""
        return "real images: " + ", ".join(TITLES.get(domain, domain) for domain in domains or self.domains())

    def rows(self, domain: str, split: str) -> cache.Rows:
        """The names and labels of a split, checked; no image is opened."""
        place = self._place(domain, split)
        there = self._scan(place.images).names
        if not there:
            raise UserError(f"{place.images}: holds no PNG images; {_SEE}")
        names, labels = read_labels(place.csv, there) if place.csv else (sorted(there), None)
        self._refuse_shared(domain, place, names)
        if place.carved:
            ends = (0, train_part(len(names))) if split == "train" else (train_part(len(names)), None)
            names, labels = names[slice(*ends)], None if labels is None else labels[slice(*ends)]
        for name in names:
            if os.path.islink(f"{place.images}/{name}"):  # half the time of joining Paths
                self._refuse_outside(place.images / name)
        return cache.Rows(place.images, names, labels)

    def cached(self, domain: str, split: str) -> cache.Cached | None:
        """The split if it has been decoded and has not changed since, else None."""
        return cache.read(self._cache_folder(domain, split))

    def _cached_or_built(self, domain: str, split: str) -> cache.Cached:
        if cached := self.cached(domain, split):
            return cached
        title = f"{TITLES.get(domain, domain)} {split}"
        size = FACE_SIZE if domain == FACES else DIGIT_SIZE
        return cache.build(self._cache_folder(domain, split), self.rows(domain, split), size, title)

    def _cache_folder(self, domain: str, split: str) -> Path:
        """Named by the domain's folder, and a stamp that changes with the csv and the images' names, sizes, times."""
        place = self._place(domain, split)
        stamp = hashlib.sha256(f"{place.carved} {self._scan(place.images).stamp}".encode())
        if place.csv:
            stamp.update(_content(place.csv))
        home = hashlib.sha256(bytes(self.folder(domain).resolve())).hexdigest()
        return cache_dir() / "images" / f"{domain}-{home[:8]}" / f"{split}-{stamp.hexdigest()[:16]}"

    def _place(self, domain: str, split: str) -> _Place:
        place = self._find(domain, split)
        if place is None:
            there = ", ".join(self.splits(domain)) or "none"
            raise UserError(f"{self.folder(domain)}: no split {split!r} (there: {there}); {_SEE}")
        for path in filter(None, (place.images, place.csv)):
            self._refuse_outside(path)
        return place

    def _find(self, domain: str, split: str) -> _Place | None:
        folder = self.folder(domain)
        if domain == FACES:
            home = folder / ("test" if split == "val" and not (folder / "val").is_dir() else split)
            return _Place(home, None, carved=False) if home.is_dir() else None
        carved = self.layout(domain) == "2021" and split in ("train", "val") and not _csv(folder, "val").is_file()
        home = "train" if carved else split
        images = folder / ("data" if self.layout(domain) == "2022/23" else home)
        labels = _csv(folder, home)
        return _Place(images, labels, carved) if split in SPLITS and images.is_dir() and labels.is_file() else None

    def _refuse_shared(self, domain: str, place: _Place, names: list[str]) -> None:
        """Refuse an image that another split's csv names too: nobody trains on what is tested."""
        places = [self._place(domain, split) for split in self.splits(domain)]
        for other in sorted({other.csv for other in places if other.images == place.images} - {place.csv}):
            if shared := set(names).intersection(read_labels(other, self._scan(place.images).names)[0]):
                raise UserError(f"{place.csv} and {other} both name {min(shared)!r}; an image belongs to one split")

    def _refuse_outside(self, path: Path) -> None:
        if not path.resolve().is_relative_to(self.root.resolve()):
            raise UserError(f"{path}: a link that leads out of {self.root}; put the file itself there")

    def _scan(self, folder: Path) -> _Scan:
        if folder not in self._scans:
            try:
                with os.scandir(folder) as entries:
                    files = {
                        entry.name: f"{entry.name}/{(file := entry.stat()).st_size}/{file.st_mtime_ns}"
                        for entry in entries
                        if entry.name.lower().endswith(".png") and not is_clutter(entry.name)
                    }
            except OSError as error:
                where = error.filename or folder
                raise UserError(f"{where}: cannot be read: {error.strerror}; mend or remove it") from error
            content = "\n".join(sorted(files.values())).encode(errors="surrogateescape")
            self._scans[folder] = _Scan(files.keys(), hashlib.sha256(content).hexdigest())
        return self._scans[folder]


def _csv(folder: Path, split: str) -> Path:
    """The csv of a split, also with capitals in its name, as some systems write it."""
    file = folder / f"{split}.csv"
    if file.is_file():
        return file
    try:
        return next((path for path in sorted(folder.iterdir()) if path.name.lower() == file.name), file)
    except OSError as error:
        raise UserError(f"{folder}: cannot be read: {error.strerror}; mend or remove it") from None


def read_labels(path: Path, there: Collection[str]) -> tuple[list[str], np.ndarray | None]:
    """The file names of a csv, and their labels ``(N,)`` int64, 0 to 9, in the order of the rows.

    The header is ``image_name,label``, or ``image_name`` alone where labels are not known, which are None then. The
    names must be among those of ``there``. Raises `UserError` with file and line for a missing header, an unknown or
    repeated name, a path in place of a name, or a label that is no integer from 0 to 9.
    """
    try:
        reader = csv.reader(io.StringIO(_content(path).decode("utf-8-sig"), newline=""))
        header = tuple(field.strip() for field in next(reader, []))
        rows = [(reader.line_num, [field.strip() for field in row]) for row in reader if row]
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a csv file in UTF-8 ({error})") from error
    if header not in (HEADER, HEADER[:1]):
        raise UserError(f"{path}, line 1: no header; the first line must be {','.join(HEADER)} or {HEADER[0]}")
    labels: dict[str, int | None] = {}
    for line, row in rows:
        where = f"{path}, line {line}"
        if len(row) != len(header):
            raise UserError(f"{where}: {len(row)} fields; a row is {','.join(header)}")
        name = row[0]
        if name in labels:
            raise UserError(f"{where}: {name!r} a second time; name each image once")
        if "/" in name or "\\" in name or name == "..":
            raise UserError(f"{where}: {name!r} is a path; give the bare name of a file in the images' folder")
        if name not in there:
            raise UserError(
                f"{where}: {name!r} is not among the PNG files of the images' folder; add the image or remove the row"
            )
        if len(row) == 2 and row[1] not in _LABELS:
            raise UserError(f"{where}: label {row[1]!r}; a label is an integer from 0 to 9")
        labels[name] = _LABELS[row[1]] if len(row) == 2 else None
    if not labels:
        raise UserError(f"{path}: names no image; add rows {','.join(header)} or remove the file")
    return list(labels), np.fromiter(labels.values(), np.int64, len(labels)) if header == HEADER else None


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
