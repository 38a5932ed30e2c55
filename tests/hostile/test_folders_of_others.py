"""Folders and csv files that somebody brings: digits to learn from, and what is handed in to be graded."""

import os
from pathlib import Path

import numpy as np
import pytest
from fuzz import NASTY, WORDS, fuzz, mutated
from hypothesis import example
from hypothesis import strategies as st
from PIL import Image

from hw2lib.data.fetch import add
from hw2lib.data.folders import HEADER, RealImages, read_labels
from hw2lib.errors import UserError
from hw2lib.grading import RULES, Problem, grade, problems, submission

NAMES = [f"{i:05d}.png" for i in range(6)]
GOOD = "image_name,label\n" + "".join(f"{name},{i}\n" for i, name in enumerate(NAMES))

FIELDS = st.one_of(st.sampled_from([*NAMES, "0", "9", "10", "-1", *HEADER, "../00000.png", "/etc/passwd"]), WORDS)
ROWS = st.lists(st.lists(FIELDS, max_size=3).map(",".join), max_size=8).map("\n".join)
CSV = st.one_of(
    ROWS.map(lambda rows: rows.encode(errors="surrogatepass")),
    ROWS.map(lambda rows: f"image_name,label\n{rows}".encode(errors="surrogatepass")),
    mutated(GOOD.encode(), GOOD.encode("utf-16"), GOOD.replace(",", ";").encode()),
    st.binary(max_size=300),
)


def image(folder: Path, name: str, size: int = 28) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(len(list(folder.iterdir()))).integers(0, 256, (size, size, 3), np.uint8)
    Image.fromarray(pixels).save(folder / name, "PNG")
    return folder / name


@fuzz(1500, content=CSV)
def test_a_csv_of_digits(guard, content):
    file = guard.home / "train.csv"
    file.write_bytes(content)
    labels = guard(read_labels, file, NAMES)
    if not isinstance(labels, UserError):
        names, digits = labels
        assert set(names) <= set(NAMES)
        assert digits is None or (len(names) == len(digits) and 0 <= digits.min() <= digits.max() <= 9)


@fuzz(800, content=CSV)
def test_a_csv_that_is_handed_in(guard, content):
    file = guard.home / "predictions.csv"
    file.write_bytes(content)
    labels = guard(submission.read_csv, file, NAMES)
    assert all(label in range(10) for label in labels.labels.values())
    for fault in labels.faults:
        str(fault).encode()


@pytest.fixture
def digits(guard):
    """A folder of digits, which is made anew for each input."""
    for name in NAMES:
        image(guard.home / "original/data", name)

    def made(csv: bytes, links: list[tuple[str, str]], where: str) -> Path:
        folder = guard.home / f"digits-{guard.cases}"
        (folder / "data").mkdir(parents=True)
        for name in NAMES:
            os.link(guard.home / "original/data" / name, folder / "data" / name)
        for name, target in links:
            (folder / where / name).unlink(missing_ok=True)
            (folder / where / name).symlink_to(target)
        if not (folder / "train.csv").is_symlink():
            (folder / "train.csv").write_bytes(csv)
        return folder

    return made


def is_name(text: str) -> bool:
    try:
        return 0 < len(os.fsencode(text)) < 250 and not {"/", "\0"}.intersection(text) and text not in (".", "..")
    except UnicodeEncodeError:
        return False


FILE_NAMES = st.one_of(st.sampled_from([*NASTY, *NAMES, "train.csv", "TRAIN.CSV"]), WORDS).filter(is_name)
LINKS = st.tuples(FILE_NAMES, st.sampled_from(["/dev/zero", "/etc/passwd", "..", ".", "nowhere", "/proc/self/mem"]))


@fuzz(
    300, csv=CSV, name=WORDS | st.just("mine"), links=st.lists(LINKS, max_size=2), where=st.sampled_from(["", "data"])
)
def test_a_folder_of_digits_is_added(guard, digits, csv, name, links, where):
    folder = digits(csv, links, where)
    home = guard.home / f"images-{guard.cases}"
    added = guard(add, name, folder, home)
    if isinstance(added, UserError):
        assert not list(home.glob("digits/[!.]*"))
    else:
        assert added[0] == home / "digits" / name
        assert not [file for file in added[0].rglob("*") if file.is_symlink()]


@fuzz(200, csv=CSV, name=FILE_NAMES, links=st.lists(LINKS, max_size=2), where=st.sampled_from(["", "data"]))
def test_a_folder_of_real_images(guard, digits, csv, name, links, where):
    folder = digits(csv, links, where)
    (root := guard.home / f"real-{guard.cases}/digits").mkdir(parents=True)
    folder.rename(root / name)

    def read() -> None:
        images = RealImages(root.parent)
        images.describe()
        for domain in images.domains():
            for split in images.splits(domain):
                images.load(domain, split)

    guard(read)


FACES = Problem(edition="1", number="1", title="t", kind="faces", count=2, size=16, baselines={"fid": []})
LABELS = Problem(edition="1", number="2", title="t", kind="labels", baselines={"mnistm-svhn": [1.0]})
TRUTH = Problem(edition="1", number="3", title="t", kind="truth", count=3, size=16, baselines={"mse": [1.0]})


@fuzz(
    400,
    names=st.lists(st.one_of(FILE_NAMES, FILE_NAMES.map("{}.png".format), FILE_NAMES.map("{}.csv".format)), max_size=4),
    contents=st.lists(st.one_of(CSV, st.sampled_from([b"folder", b"image", b"pipe", b"/dev/zero"])), max_size=4),
    problem=st.sampled_from([FACES, LABELS, TRUTH]),
)
def test_a_folder_that_is_handed_in(guard, names, contents, problem):
    folder = guard.home / f"handed-{guard.cases}"
    folder.mkdir()
    for name, content in zip(filter(is_name, names), contents, strict=False):
        file = folder / name
        if os.path.lexists(file):
            continue
        match content:
            case b"folder":
                file.mkdir()
            case b"image":
                image(folder, name, 16)
            case b"pipe":
                os.mkfifo(file)
            case b"/dev/zero":
                file.symlink_to("/dev/zero")
            case _:
                file.write_bytes(content)
    graded = guard(lambda: str(grade.grade(folder, problem, noted=False)))
    if isinstance(graded, str):
        graded.encode()


@fuzz(200, content=st.one_of(mutated(RULES.read_bytes()), WORDS.map(lambda x: x.encode(errors="surrogatepass"))))
@example(content=b"a = " + b"[" * 3000)
def test_rules_of_a_course(guard, content):
    file = guard.home / "rules.toml"
    file.write_bytes(content)
    guard(problems, file)
