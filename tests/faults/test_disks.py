"""A full disk and a read-only one, at every kind of write: one line that names file and reason, and nothing is lost."""

import shutil
from pathlib import Path

import pytest
import torch
from forks import contents
from image_folders import noise, write_2022
from project import save_notebook
from small_disk import SmallDisk

from hw2lib import cli, files, paths, report, runs, weights
from hw2lib.kept import kept
from hw2lib.report import build, document, record

RUN = next(paths.TRAINED.glob("uda-cnn/ours/mnistm-usps/improved/seed-0-*"))


def spoil(disk: SmallDisk, fault: str) -> None:
    if fault != "read-only":
        disk.leave(int(fault.split()[0]))
    elif not disk.read_only(True):
        pytest.skip("nothing may be mounted here")


def mend(disk: SmallDisk, fault: str) -> None:
    if fault == "read-only":
        disk.read_only(False)
    else:
        disk.leave(32 << 10)


@pytest.fixture
def disk(tmp_path, monkeypatch):
    disk = SmallDisk(tmp_path / "disk", 64)
    monkeypatch.setenv("HW2_BUILD", str(disk.path / "build"))
    (disk.path / "there").write_text("before")  # a tmpfs of no size would have no end
    yield disk
    disk.close()


# Commands: a number makes what is written another. Each returns exit status and what was told, as `hw2` does.


def train(place: Path, hw2, number: int):
    return hw2(
        *["train", "digit-classifier", "--preset", "smoke", "--device", "cpu", "--set", "steps=40", "--seed"],
        str(number),
    )


def sample(place: Path, hw2, number: int):
    return hw2(*f"sample acgan --count 10 --device cpu --seed {number} --out".split(), str(place / f"drawn{number}"))


def noises(place: Path, hw2, number: int):
    return hw2("noise", str(place / f"noise{number}"))


def classify(place: Path, hw2, number: int):
    out = ["--overwrite", str(place.parent / "digits/data"), str(place / "labels.csv")]
    return hw2("classify", "--device", "cpu", "--weights", str(RUN / "weights.safetensors"), *out)


def add(place: Path, hw2, number: int):
    return hw2("data", "add", f"mine{number}", str(place.parent / "digits"), "--data-dir", str(place / "images"))


def grade(place: Path, hw2, number: int):
    status, out, err = hw2(
        *["grade", "--edition", "2023", "--problem", "3", "--truth"], *[str(place.parent / "digits/test.csv")] * 2,
        "--pair", "mnistm-svhn", "--json", str(place / "grade.json"),
    )  # fmt: skip
    return 0 if status == 1 else status, out, err


FAULTS = [(write, fault) for write in (train, sample, noises, add) for fault in ("0 KiB", "24 KiB", "read-only")]
FAULTS += [(write, fault) for write in (classify, grade) for fault in ("0 KiB", "read-only")]  # whose files are small


@pytest.mark.slow
@pytest.mark.parametrize(("write", "fault"), FAULTS)
def test_a_command_names_the_file_and_loses_nothing(tmp_path, disk, hw2, write, fault):
    write_2022(tmp_path / "digits", noise(200), [i % 10 for i in range(200)], sizes=(180, 10, 10))
    assert write(disk.path, hw2, 1)[0] == 0
    before = contents(disk.path)
    spoil(disk, fault)
    status, _, err = write(disk.path, hw2, 2)
    assert status == 2, err
    last = err.splitlines()[-1]
    assert last.startswith(f"hw2: error: {disk.path}"), last
    assert any(why in last for why in ("No space left on device", "Read-only file system", "File too large")), last
    after = contents(disk.path)
    new = set(after) - set(before)
    assert {name: after[name] for name in before} == before
    assert {name for name in new if not name.endswith(("settings.json", ".png", "log.jsonl", ".pt"))} == set()
    mend(disk, fault)
    assert write(disk.path, hw2, 2)[0] == 0
    assert contents(disk.path).items() >= before.items()


# Parts of commands


class Stage:
    """A project on the disk, with a record, and a finished run of the preset paper."""

    def __init__(self, place: Path, monkeypatch) -> None:
        for name in ("NOTEBOOKS", "TRAINED"):
            monkeypatch.setattr(paths, name, place / name.lower())
        monkeypatch.setattr(paths, "ROOT", place)
        self.place = place
        (place / "notebooks").mkdir()
        save_notebook(place / "notebooks/10_page.ipynb")
        for name in (document.REPORT, document.SUPPLEMENT):
            (place / f"{name}.md.jinja").write_text("---\ntitle: T\n---\n\n{{ page.number }}\n")
        (place / "references.toml").write_text("")
        self.run = place / "build/paper/runs/uda-cnn/run"
        self.run.mkdir(parents=True)
        for file in RUN.iterdir():
            if file.is_file():
                shutil.copy(file, self.run)

    def page(self, number: int) -> None:
        """A figure and a record."""
        variables = {"preset": "smoke", "seed": 0, "device": "cpu", "report": report}
        page = eval('report.Page("10_page")', variables)
        page.value("number", number)
        page._figures["line.png"] = bytes([number]) * 20_000, {"file": "line.png", "caption": "A line.", "source": ""}
        page.finish()

    def documents(self, number: int) -> None:
        """report.md, its PDF and its HTML."""
        shown = record.read("smoke", "10_page")["values"]["number"]
        assert build.export(document.write(document.REPORT, "smoke"), "smoke").stat().st_size > 1000, shown

    def ship(self, number: int) -> None:
        runs.ship(self.run, with_weights=True)

    def weights(self, number: int) -> None:
        weights.save({"a": torch.full((10_000,), number)}, self.place / "weights.safetensors")


@pytest.mark.parametrize("fault", ["0 KiB", "8 KiB", "read-only"])
@pytest.mark.parametrize("write", ["page", "documents", "ship", "weights"])
def test_a_part_names_the_file_and_loses_nothing(disk, monkeypatch, write, fault, capsys):
    stage = Stage(disk.path, monkeypatch)
    call = getattr(stage, write)
    stage.page(1)
    call(1)
    if write == "documents":
        stage.page(2)  # which report.md does not show yet
    before = contents(disk.path)
    spoil(disk, fault)

    def main(**options) -> None:
        call(2)

    monkeypatch.setattr(cli, "cli", main)
    with pytest.raises(SystemExit) as exit_:
        cli.main()
    err = capsys.readouterr().err
    assert exit_.value.code == 2
    assert err.startswith(f"hw2: error: {disk.path}"), err
    assert err.count("\n") == 1
    after = contents(disk.path)
    mend(disk, fault)
    call(2)
    assert after.keys() == before.keys()
    assert all(content in (before[name], contents(disk.path)[name]) for name, content in after.items()), "each is whole"


@kept
def expensive(number: int) -> torch.Tensor:
    return torch.full((100_000,), number)


def test_a_result_that_cannot_be_kept_is_still_a_result(disk):
    for fault in ("0 KiB", "24 KiB"):
        spoil(disk, fault)
        assert expensive(3)[0] == 3
        assert list(contents(disk.path)) == ["there"]
    mend(disk, "0 KiB")
    expensive(3)
    (file,) = disk.path.glob("build/cache/results/*")
    files.check_zip(file)
