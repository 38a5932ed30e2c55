"""Images of the digits from their public homes, written in the homework's layout of 2022/23.

All become 28x28: MNIST-M is cut out of the centre, SVHN and USPS are scaled (bicubic). The last tenth of the published
training images becomes val. Nothing appears as ``digits/<domain>`` before all of it is complete.
"""

import csv
import os
import shutil
import tarfile
import tomllib
import zlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from PIL import Image
from tqdm import tqdm

from hw2lib.data.download import download
from hw2lib.data.folders import DIGIT_SIZE, images_dir, train_part
from hw2lib.data.image_set import FACES, TITLES
from hw2lib.data.labels import HEADER
from hw2lib.errors import UserError
from hw2lib.paths import ROOT

REGISTRY = ROOT / "data" / "downloads.toml"
MAY_LACK = 10  # labelled images; the archive of MNIST-M, as published, lacks one

_ASK_FOR_FACES = (
    "CelebA may not be downloaded for you: ask for it at https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html, cut the "
    "aligned faces to 64x64 RGB and put them as PNG files into {folder}/train and {folder}/val (see data/README.md)"
)


class Published(NamedTuple):
    """Images as they were published, cut or scaled to 28x28, and their labels 0 to 9; names of images it lacks."""

    images: Iterable[Image.Image]
    labels: list[int]
    lacking: tuple[str, ...] = ()


def registry() -> dict[str, dict]:
    """``data/downloads.toml``: by domain its files (name, url, md5), page, terms, megabytes, and numbers of images."""
    return tomllib.loads(REGISTRY.read_text(encoding="utf-8"))


def fetch(domain: str, data_dir: str | Path = "") -> Path:
    """Download one domain, check it, and write ``digits/<domain>``; if that is there, nothing is done.

    Interrupted, the same call continues: files that came whole are not fetched again, a broken one is continued. Up to
    `MAY_LACK` labels without an image are dropped, and a last line says so.

    Args:
        domain: one of the registry.
        data_dir: the folder that holds ``digits/``, else :func:`hw2lib.data.folders.images_dir` says which.

    Returns:
        The folder of the domain, absolute.

    Raises:
        UserError: a domain that cannot be fetched, a download or an archive that is not as it should be, a full disk.
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
        downloads.mkdir(parents=True, exist_ok=True)
        for file in registry()[domain]["files"]:
            download(file["url"], file["md5"], downloads / file["name"])
        train, test = _READERS[domain](downloads)
        _write(home, train, test)
        shutil.rmtree(downloads)
        if lacking := train.lacking + test.lacking:
            tqdm.write(f"{home}: labels without an image are dropped: {', '.join(lacking)}")
    except OSError as error:
        raise UserError(
            f"{error.filename or data_dir}: {error.strerror or error}; make room or get the rights there, "
            "then the same command continues"
        ) from error
    return home


def _mnistm(downloads: Path) -> tuple[Published, Published]:
    """Read inside the archive; nothing of it is unpacked to the disk."""
    path = downloads / "mnist_m.tar.gz"
    images: dict[tuple[str, str], Image.Image] = {}
    labels: dict[str, list[tuple[str, int]]] = {}
    try:
        with tarfile.open(path) as archive, tqdm(desc=f"reading {path.name}", unit=" files", mininterval=0.5) as bar:
            for member in archive:
                tarfile.data_filter(member, str(downloads))  # raises for a member that leads elsewhere
                name = PurePosixPath(member.name)
                if member.isfile() and name.suffix == ".png":
                    images[name.parent.name, name.name] = _centre(Image.open(archive.extractfile(member)))
                elif member.isfile() and name.name.endswith("_labels.txt"):
                    rows = archive.extractfile(member).read().decode().split("\n")
                    pairs = (row.split() for row in rows if row.strip())
                    labels[name.name] = [(image, int(label)) for image, label in pairs]
                bar.update()
        train, test = (_labelled(f"mnist_m_{split}", images, labels) for split in ("train", "test"))
    except tarfile.FilterError as error:
        raise UserError(f"{path}: refused: a member leads out of the archive ({error}); get another") from error
    except KeyError as error:
        raise UserError(f"{path}: {error} is not in the archive; get it from elsewhere") from error
    except (tarfile.TarError, OSError, EOFError, zlib.error, ValueError) as error:
        raise UserError(f"{path}: the archive cannot be read ({error}); get it from elsewhere") from error
    if len(lacking := train.lacking + test.lacking) > MAY_LACK:
        raise UserError(
            f"{path}: {len(lacking)} labelled images are not in the archive, the first is {lacking[0]}; "
            "get it from elsewhere"
        )
    return train, test


def _labelled(
    folder: str, images: dict[tuple[str, str], Image.Image], labels: dict[str, list[tuple[str, int]]]
) -> Published:
    rows = labels[f"{folder}_labels.txt"]
    there = [(images[folder, name], label) for name, label in rows if (folder, name) in images]
    lacking = tuple(f"{folder}/{name}" for name, _ in rows if (folder, name) not in images)
    return Published([image for image, _ in there], [label for _, label in there], lacking)


def _centre(image: Image.Image) -> Image.Image:
    left, top = (image.width - DIGIT_SIZE) // 2, (image.height - DIGIT_SIZE) // 2
    return image.convert("RGB").crop((left, top, left + DIGIT_SIZE, top + DIGIT_SIZE))


def _svhn(downloads: Path) -> tuple[Published, Published]:
    from torchvision.datasets import SVHN

    train, test = SVHN(downloads, "train"), SVHN(downloads, "test")
    return tuple(Published(_scaled(part), part.labels.tolist()) for part in (train, test))


def _usps(downloads: Path) -> tuple[Published, Published]:
    from torchvision.datasets import USPS

    train, test = USPS(downloads, train=True), USPS(downloads, train=False)
    return tuple(Published(_scaled(part), part.targets) for part in (train, test))


def _scaled(dataset) -> Iterable[Image.Image]:
    return (dataset[i][0].resize((DIGIT_SIZE, DIGIT_SIZE), Image.Resampling.BICUBIC) for i in range(len(dataset)))


_READERS = {"mnistm": _mnistm, "svhn": _svhn, "usps": _usps}


def _write(home: Path, train: Published, test: Published) -> None:
    """Write ``data/*.png`` and the three csv files beside ``home``, then rename."""
    building = home.with_name(f".{home.name}.building")
    shutil.rmtree(building, ignore_errors=True)
    try:
        (building / "data").mkdir(parents=True)
        rows = []
        labels = train.labels + test.labels
        progress = tqdm(desc=f"writing {TITLES[home.name]}", total=len(labels), unit=" images", mininterval=0.5)
        with progress:
            for published in (train, test):
                for image, label in zip(published.images, published.labels, strict=True):
                    name = f"{len(rows):05d}.png"
                    image.save(building / "data" / name, compress_level=1)
                    rows.append((name, label))
                    progress.update()
        first_of_val, first_of_test = train_part(len(train.labels)), len(train.labels)
        _write_csv(building / "train.csv", rows[:first_of_val])
        _write_csv(building / "val.csv", rows[first_of_val:first_of_test])
        _write_csv(building / "test.csv", rows[first_of_test:])
        os.rename(building, home)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _write_csv(path: Path, rows: list[tuple[str, int]]) -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([HEADER, *rows])
