"""Files that are written whole, where something else is in their place; and what is read as one."""

import errno
import os
import stat

import pytest

from hw2lib import weights
from hw2lib.data.png import read_png
from hw2lib.errors import UserError
from hw2lib.files import check_is_file, whole, write
from hw2lib.grading.submission import read_csv


def test_a_link_stays_one_and_its_file_is_replaced(tmp_path):
    (tmp_path / "results").mkdir()
    (tmp_path / "latest.json").symlink_to("results/today.json")
    for content in ("first", "second"):
        write(tmp_path / "latest.json", content)
        assert (tmp_path / "latest.json").is_symlink()
        assert (tmp_path / "results/today.json").read_text() == content
    assert sorted(path.name for path in (tmp_path / "results").iterdir()) == ["today.json"]


def test_what_is_no_file_stays_as_it_is(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "to-null").symlink_to(os.devnull)
    for place in (tmp_path / "pipe", tmp_path / "to-null"):
        with pytest.raises(OSError, match="neither a file nor a link to one"):
            write(place, "text")
    assert stat.S_ISFIFO(os.stat(tmp_path / "pipe").st_mode)
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


@pytest.mark.parametrize("place", ["/", ".", ".."])
def test_a_folder_is_no_file(tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(IsADirectoryError):
        write(type(tmp_path)(place), "text")


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("0000.png", lambda file: read_png(file, 64)),
        ("weights.safetensors", weights.read),
        ("UNet.pt", lambda file: weights.read_torch(file, "another")),
        ("labels.csv", read_csv),
    ],
)
def test_a_pipe_is_not_waited_for(tmp_path, name, read):
    os.mkfifo(tmp_path / name)
    with pytest.raises(UserError, match=f"{name}: .*neither a file nor a link to one"):
        read(tmp_path / name)


def test_nothing_is_no_wrong_thing(tmp_path):
    check_is_file(tmp_path / "new.json")


def test_an_error_is_one_line():
    assert str(UserError("'a\nb': no name")) == "'a b': no name"


def test_a_file_lies_on_the_disk_before_it_takes_its_place(tmp_path, monkeypatch):
    """Else a power cut can leave an empty one under its name."""
    order, replace = [], os.replace

    def replaced(source, target):
        order.append(("replaced", os.stat(source).st_ino))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", lambda file: order.append(("synced", os.fstat(file).st_ino)))
    monkeypatch.setattr(os, "replace", replaced)
    write(tmp_path / "a", "content")
    inode = (tmp_path / "a").stat().st_ino
    assert order == [("synced", inode), ("replaced", inode)]


@pytest.mark.parametrize("named", [None, "another file"])
def test_an_error_names_the_file_that_failed(tmp_path, named):
    with pytest.raises(OSError, match="full") as error, whole(tmp_path / "file"):
        raise OSError(errno.ENOSPC, "full", *([named] if named else []))
    assert error.value.filename == (named or str(tmp_path / "file"))
