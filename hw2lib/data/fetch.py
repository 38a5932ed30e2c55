"""Images of the digits from their public homes, written in the homework's layout of 2022/23.

All become 28x28: MNIST-M is cut out of the centre, SVHN and USPS are scaled (bicubic). The last tenth of the published
training images becomes val. Nothing appears as ``digits/<domain>`` before all of it is complete.
"""

import csv
import os
import re
import shutil
import tarfile
import tomllib
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import chain, pairwise
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pooch
import requests
from PIL import Image
from tqdm import tqdm

from hw2lib.data import DIGIT_SIZE, FACES, SPLITS, TITLES
from hw2lib.data.folders import HEADER, RealImages, images_dir, train_part
from hw2lib.data.png import decode
from hw2lib.errors import UserError
from hw2lib.files import is_clutter, try_lock
from hw2lib.paths import ROOT

REGISTRY = ROOT / "data" / "downloads.toml"
LARGEST = 1 << 24  # bytes of a file in an archive
LARGEST_SIDE = 1024  # pixels of an image there
MAY_LACK = 10  # labelled images; the archive of MNIST-M, as published, lacks one

_ASK_FOR_FACES = (
    "CelebA may not be downloaded for you: ask for it at https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html, cut the "
    "aligned faces to 64x64 RGB and put them as PNG files into {folder}/train and {folder}/val (see data/README.md)"
)
_SECONDS = 30  # without an answer from a server
_PIECE = 1 << 13  # bytes read at a time: so many at most are lost when a transfer breaks

pooch.get_logger().setLevel("WARNING")  # the progress bar says what it would say


class Published(NamedTuple):
    """Images as they were published, cut or scaled to 28x28, and their labels 0 to 9; names of images it lacks."""

    images: Iterable[Image.Image]
    labels: list[int]
    lacking: tuple[str, ...] = ()


def registry() -> dict[str, dict]:
    """``data/downloads.toml``: by domain its files (name, url, md5), page, terms, megabytes, and numbers of images."""
    return tomllib.loads(REGISTRY.read_text(encoding="utf-8"))


def fetch(domain: str, data_dir: str | Path = "") -> Path:
    """Download a domain of the registry into ``digits/<domain>`` below `images_dir`, and return that folder, absolute.

    If it is there, nothing is done. Interrupted, the same call continues: files that came whole are not fetched again,
    a broken one is continued. Up to `MAY_LACK` labels without an image are dropped, and a last line says so. Raises
    `UserError` for another domain, while another process makes it, for a download or an archive that is not as it
    should be, and for a full disk.
    """
    data_dir = images_dir(data_dir)
    if domain == FACES:
        raise UserError(_ASK_FOR_FACES.format(folder=data_dir / FACES))
    if domain not in registry():
        raise UserError(f"no download of a domain {domain!r}; there are {', '.join(registry())}")
    home = data_dir / "digits" / domain
    if home.exists():
        return home
    downloads = data_dir / "downloads" / domain
    try:
        with _building(home) as building:
            if home.exists():  # another process has made it in the meantime
                return home
            downloads.mkdir(parents=True, exist_ok=True)
            for file in registry()[domain]["files"]:
                _download(file["url"], file["md5"], downloads / file["name"])
            train, test = _mnistm(downloads) if domain == "mnistm" else _from_torchvision(domain, downloads)
            _write(building, TITLES[domain], train, test)
            os.rename(building, home)
            shutil.rmtree(downloads)
        if lacking := train.lacking + test.lacking:
            tqdm.write(f"{home}: labels without an image are dropped: {', '.join(lacking)}")
    except OSError as error:
        where = f"{error.filename or data_dir}: {error.strerror or error}"
        raise UserError(f"{where}; make room or get the rights there, then the same command continues") from error
    return home


def _download(url: str, md5: str, path: Path) -> None:
    """Make ``path`` the file with this checksum; nothing is fetched if it already is.

    What has come so far is kept as ``<path>.part``, and the next call asks the server for the rest alone. Raises
    `UserError` for no answer, a broken transfer, a web page in place of the file, or a wrong checksum.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        pooch.retrieve(url, f"md5:{md5}", fname=path.name, path=path.parent, downloader=partial(_continue, part))
    except ValueError as error:  # pooch, which has removed the file
        raise UserError(
            f"{url}: what was sent has not the MD5 {md5} of {path.name} and was dropped; "
            f"try again later, or put the file from elsewhere at {path}"
        ) from error
    except requests.HTTPError as error:
        raise UserError(
            f"{url}: the server says {error.response.status_code} {error.response.reason}; "
            f"try again later, or put {path.name} from elsewhere at {path}"
        ) from error
    except requests.exceptions.SSLError as error:
        raise UserError(
            f"{url}: the certificate is not accepted ({_reason(error)}); set the clock right, or name the "
            f"certificate of a proxy in REQUESTS_CA_BUNDLE, or put {path.name} from elsewhere at {path}"
        ) from error
    except requests.RequestException as error:
        have = f"{part.stat().st_size:,} bytes are kept" if part.exists() else "nothing came"
        raise UserError(f"{url}: no connection, or it broke ({have}); the same command continues there") from error


def _reason(error: BaseException) -> str:
    """The first cause of an error, which requests wraps several times, in one line."""
    while cause := error.__cause__ or error.__context__:
        error = cause
    return " ".join(str(getattr(error, "verify_message", "") or error).split())


def _continue(part: Path, url: str, output_file: str, _pooch: object) -> None:
    """A downloader for pooch, which checks ``output_file`` and moves it to its name."""
    have = part.stat().st_size if part.exists() else 0
    # Compression on the way would make lengths and ranges those of another file.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with requests.get(url, headers=headers, stream=True, timeout=_SECONDS) as response:
        if response.status_code != requests.codes.requested_range_not_satisfiable:  # else all of it is here
            response.raise_for_status()
            if response.status_code != requests.codes.partial_content:
                have = 0
            _save(response, part, have)
    os.replace(part, output_file)


def _save(response: requests.Response, part: Path, have: int) -> None:
    """Write what the server sends behind the first ``have`` bytes."""
    pieces = response.iter_content(_PIECE)
    first = next(pieces, b"")
    if not have and first.lstrip()[:5].lower() in (b"<!doc", b"<html"):
        raise UserError(f"{response.url}: sent a web page in place of the file; open it in a browser to see why")
    total = have + int(response.headers.get("Content-Length", 0))
    with (
        open(part, "ab" if have else "wb") as file,
        tqdm(desc=part.stem, initial=have, total=total, unit="B", unit_scale=True, mininterval=0.5) as bar,
    ):
        for piece in chain([first], pieces):
            file.write(piece)
            bar.update(len(piece))


def _mnistm(downloads: Path) -> tuple[Published, Published]:
    """Train and test of MNIST-M, read inside the archive; nothing of it is unpacked to the disk."""
    path = downloads / "mnist_m.tar.gz"
    images: dict[str, Image.Image] = {}
    labels: dict[str, list[str]] = {}
    try:
        with tarfile.open(path) as archive, tqdm(desc=f"reading {path.name}", unit=" files", mininterval=0.5) as bar:
            for member in archive:
                tarfile.data_filter(member, str(downloads))  # raises for a member that leads elsewhere
                name = PurePosixPath(member.name)
                if member.size > LARGEST:
                    raise ValueError(f"{name} is of {member.size:,} bytes")
                if is_clutter(name.name):
                    continue
                if member.isfile() and name.suffix == ".png":
                    # Pillow would have Ghostscript run what is PostScript.
                    image = Image.open(archive.extractfile(member), formats=("PNG",))
                    images[f"{name.parent.name}/{name.name}"] = _centre(image)
                elif member.isfile() and name.name.endswith("_labels.txt"):
                    labels[name.name] = archive.extractfile(member).read().decode().splitlines()
                bar.update()
        folders = ("mnist_m_train", "mnist_m_test")
        train, test = (_labelled(folder, images, labels[f"{folder}_labels.txt"]) for folder in folders)
    except tarfile.FilterError as error:
        raise UserError(f"{path}: refused: a member leads out of the archive ({error}); get another") from error
    except KeyError as error:
        raise UserError(f"{path}: {error} is not in the archive; get it from elsewhere") from error
    except (tarfile.TarError, OSError, EOFError, zlib.error, ValueError, SyntaxError) as error:
        raise UserError(f"{path}: the archive cannot be read ({error}); get it from elsewhere") from error
    if len(lacking := train.lacking + test.lacking) > MAY_LACK:
        missing = f"{len(lacking)} labelled images are not in the archive, the first is {lacking[0]}"
        raise UserError(f"{path}: {missing}; get it from elsewhere")
    return train, test


def _labelled(folder: str, images: dict[str, Image.Image], lines: list[str]) -> Published:
    """The images of a folder of the archive that its lines ``NAME LABEL`` name."""
    labels = {f"{folder}/{name}": int(label) for name, label in (line.split() for line in lines if line.strip())}
    there = {name: label for name, label in labels.items() if name in images}
    lacking = tuple(name for name in labels if name not in images)
    return Published([images[name] for name in there], list(there.values()), lacking)


def _centre(image: Image.Image) -> Image.Image:
    if max(image.size) > LARGEST_SIDE:
        raise ValueError(f"an image of {image.width}x{image.height} pixels")
    left, top = (image.width - DIGIT_SIZE) // 2, (image.height - DIGIT_SIZE) // 2
    return image.convert("RGB").crop((left, top, left + DIGIT_SIZE, top + DIGIT_SIZE))


def _from_torchvision(domain: str, downloads: Path) -> tuple[Published, Published]:
    """Train and test of SVHN or USPS, scaled."""
    from torchvision.datasets import SVHN, USPS

    def published(part: SVHN | USPS) -> Published:
        images = (part[i][0].resize((DIGIT_SIZE, DIGIT_SIZE), Image.Resampling.BICUBIC) for i in range(len(part)))
        return Published(images, part.labels.tolist() if domain == "svhn" else part.targets)

    if domain == "svhn":
        return published(SVHN(downloads, "train")), published(SVHN(downloads, "test"))
    return published(USPS(downloads, train=True)), published(USPS(downloads, train=False))


@contextmanager
def _building(home: Path) -> Iterator[Path]:
    """Yield an empty folder in which `home` is made.

    One process at a time has it. What one that was killed left there is removed first. `UserError` while another
    process has it.
    """
    home.parent.mkdir(parents=True, exist_ok=True)
    lock, building = try_lock(home.with_name(f".{home.name}.lock")), home.with_name(f".{home.name}.building")
    if lock is None:
        raise UserError(f"{home}: another process is making it; wait for it or stop it")
    try:
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir()
        yield building
    finally:
        shutil.rmtree(building, ignore_errors=True)
        lock.release()


def _write(folder: Path, title: str, train: Published, test: Published) -> None:
    """Write ``data/*.png`` and the three csv files."""
    (folder / "data").mkdir()
    labels = train.labels + test.labels
    names = [f"{i:05d}.png" for i in range(len(labels))]
    images = tqdm(chain(train.images, test.images), f"writing {title}", len(labels), unit=" images", mininterval=0.5)
    for name, image in zip(names, images, strict=True):
        image.save(folder / "data" / name, compress_level=1)
    rows = list(zip(names, labels, strict=True))
    ends = [0, train_part(len(train.labels)), len(train.labels), len(rows)]
    for split, (start, end) in zip(SPLITS, pairwise(ends), strict=True):
        with open(folder / f"{split}.csv", "w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([HEADER, *rows[start:end]])


NAME = re.compile(r"[a-z0-9][a-z0-9_]{,63}")  # no hyphen: a pair is written SOURCE-TARGET


def add(name: str, folder: Path, data_dir: str | Path = "") -> tuple[Path, dict[str, int]]:
    """Copy a folder in a layout of the homework to ``digits/NAME`` below `images_dir`, as a source or target.

    Its csv files and images are looked at before they are copied, and other files stay behind. Every image is decoded
    and every label read; nothing appears under its name if one is bad. Links to files are followed. Returns the folder
    of the domain, and the number of images of each split. Raises `UserError` for a bad name, a domain that is there or
    that another process makes, a folder that holds none, a bad image or csv, and a full disk.
    """
    if not NAME.fullmatch(name) or name == FACES:
        raise UserError(f"a domain cannot be called {name!r}: choose small letters, digits and _, and not {FACES}")
    home = images_dir(data_dir)
    target = home / "digits" / name
    _refuse_to_replace(target)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; give one that holds data/ and train.csv")
    try:
        with _building(target) as building:
            _refuse_to_replace(target)
            counts = _checked_copy(name, folder, building)
            os.rename(building / "digits" / name, target)
    except OSError as error:
        where = home if error.filename2 else error.filename or home  # a copy names first what it reads
        raise UserError(f"{where}: {error.strerror}; make room or get the rights") from None
    return target, counts


def _refuse_to_replace(target: Path) -> None:
    if target.exists():
        raise UserError(f"{target}: is there already; choose another name, or remove it first")


def _checked_copy(name: str, folder: Path, home: Path) -> dict[str, int]:
    """Copy a domain to ``digits/NAME`` below `home`, and return the number of images of each split."""
    copy, counts = home / "digits" / name, {}
    try:
        _copy(folder, copy)
        images = RealImages(home)
        for split in images.splits(name):
            rows = images.rows(name, split)
            decode(rows.folder, rows.names, DIGIT_SIZE, home / "images.npy", f"{name} {split}")
            counts[split] = len(rows.names)
    except UserError as error:  # of the copy, which nobody will see
        raise UserError(str(error).replace(f"{copy}", f"{folder}")) from None
    if "train" not in counts:
        raise UserError(f"{folder}: no train split; see data/README.md for what goes there")
    return counts


def _copy(folder: Path, copy: Path) -> None:
    """Copy what belongs to a layout: csv files, and the PNG files of its folders.

    Raises `UserError`, before anything is copied, where one of them is no file; reading a pipe would never end.
    """
    homes = [folder / name for name in ("data", *SPLITS) if (folder / name).is_dir()]
    paths = [path for home in homes for path in home.iterdir() if path.name.lower().endswith(".png")]
    paths += [path for path in folder.iterdir() if path.name.lower().endswith(".csv")]
    paths = sorted(path for path in paths if not is_clutter(path.name))
    if other := next((path for path in paths if not path.is_file()), None):
        raise UserError(f"{other}: neither a file nor a link to one; remove it, or put the file itself there")
    for home in (copy, *(copy / home.name for home in homes)):
        home.mkdir(parents=True)
    for path in paths:
        shutil.copyfile(path, copy / path.relative_to(folder))
