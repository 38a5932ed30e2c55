"""A set of images is completed after a kill, never mixed with another, and never written over others' files."""

import os
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from image_folders import litter

from hw2lib.data.image_folder import LOCK, MARKER, Batch, png_names, write_images
from hw2lib.data.png import read_png
from hw2lib.errors import UserError

SIZE = 5


def noise(first: int, count: int) -> torch.Tensor:
    """Images that depend on their number alone."""
    rows = [
        torch.randint(256, (3, SIZE, SIZE), generator=torch.Generator().manual_seed(first + i)) for i in range(count)
    ]
    return torch.stack(rows).to(torch.uint8)


class Drawing:
    """Batches of four images each, which count how often they are drawn."""

    def __init__(self, count: int = 10) -> None:
        self.drawn = []
        self.batches = [
            Batch([f"{i:04d}.png" for i in range(first, min(first + 4, count))], lambda first=first: self.draw(first))
            for first in range(0, count, 4)
        ]

    def draw(self, first: int) -> torch.Tensor:
        self.drawn.append(first)
        return noise(first, 4)


def assert_whole(folder, count: int, besides=()) -> None:
    names = [f"{i:04d}.png" for i in range(count)]
    assert sorted(os.listdir(folder)) == sorted([LOCK, MARKER, *names, *besides])
    for i, name in enumerate(names):
        np.testing.assert_array_equal(read_png(folder / name, SIZE), noise(i, 1)[0].numpy())


def test_a_folder_is_made_and_filled_with_the_images_that_are_drawn(tmp_path):
    write_images(tmp_path / "some/where", Drawing().batches, {"seed": 0})
    assert_whole(tmp_path / "some/where", 10)


def test_only_what_is_missing_is_drawn_and_written(tmp_path):
    write_images(tmp_path, Drawing().batches, {"seed": 0})
    (tmp_path / "0005.png").unlink()
    (tmp_path / ".0005.png.123.partial").write_text("half an ima")
    kept = (tmp_path / "0006.png").stat().st_mtime_ns
    (tmp_path / "notes.txt").write_text("mine")

    drawing = Drawing()
    write_images(tmp_path, drawing.batches, {"seed": 0})

    assert drawing.drawn == [4]
    assert (tmp_path / "0006.png").stat().st_mtime_ns == kept
    assert_whole(tmp_path, 10, besides=["notes.txt"])

    drawing = Drawing()
    write_images(tmp_path, drawing.batches, {"seed": 0})
    assert drawing.drawn == []


KILLED = """
import sys
from pathlib import Path
sys.path[:0] = [{here!r}, {tests!r}]
from test_image_folder_writing import Drawing
from hw2lib.data.image_folder import write_images
write_images(Path({folder!r}), Drawing(4000).batches, {{"seed": 0}})
"""


def test_a_set_whose_process_was_killed_is_completed(tmp_path):
    folder = tmp_path / "set"
    here = os.path.dirname(__file__)
    script = KILLED.format(here=here, tests=os.path.dirname(here), folder=str(folder))
    process = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL)
    try:
        while not (folder / "0010.png").exists():
            assert process.poll() is None
            time.sleep(0.001)
    finally:
        process.kill()
        process.wait()

    there = [name for name in os.listdir(folder) if name[0] != "."]
    assert 10 < len(there) < 4000
    for name in there:
        read_png(folder / name, SIZE)  # each is whole

    with pytest.raises(UserError, match="holds images of other settings"):
        write_images(folder, Drawing(4000).batches, {"seed": 1})
    drawing = Drawing(4000)
    write_images(folder, drawing.batches, {"seed": 0})
    assert 0 < len(drawing.drawn) < 1000
    assert_whole(folder, 4000)


def test_a_second_process_is_refused(tmp_path):
    def draw() -> torch.Tensor:
        with pytest.raises(UserError, match="another process is writing here; wait for it or stop it"):
            write_images(tmp_path, Drawing(1).batches, {"seed": 0}, overwrite=True)
        return noise(0, 1)

    write_images(tmp_path, [Batch(["0000.png"], draw)], {"seed": 0})
    assert_whole(tmp_path, 1)


def test_a_folder_with_other_files_is_refused_and_left_as_it_was(tmp_path):
    (tmp_path / "0003.png").write_text("somebody's")
    with pytest.raises(UserError, match=r"holds other files, such as 0003\.png; choose another folder, or add --over"):
        write_images(tmp_path, Drawing().batches, {"seed": 0})
    assert os.listdir(tmp_path) == ["0003.png"]
    assert (tmp_path / "0003.png").read_text() == "somebody's"


def test_what_systems_leave_in_a_folder_is_no_other_file(tmp_path):
    litter(tmp_path)
    write_images(tmp_path, Drawing(1).batches, {"seed": 0})
    assert png_names(tmp_path) == ["0000.png"]
    assert (tmp_path / "Thumbs.db").exists()


def test_other_settings_are_refused_and_what_is_there_stays(tmp_path):
    write_images(tmp_path, Drawing().batches, {"seed": 0, "count": 10})
    with pytest.raises(UserError, match=r"other settings \(count is 10 there and 4 here; seed is 0 there and 1 here\)"):
        write_images(tmp_path, Drawing(4).batches, {"seed": 1, "count": 4})
    assert_whole(tmp_path, 10)


def test_overwriting_replaces_the_earlier_set_and_leaves_other_files(tmp_path):
    for name in ("notes.txt", "0099.png", "1_001.png"):
        (tmp_path / name).write_text("somebody's")
    write_images(tmp_path, Drawing(10).batches, {"seed": 0}, overwrite=True)
    old = (tmp_path / "0002.png").read_bytes()
    (tmp_path / "0001.png").write_text("damaged")

    write_images(tmp_path, Drawing(3).batches, {"seed": 0, "count": 3}, overwrite=True)

    assert_whole(tmp_path, 3, besides=["notes.txt", "0099.png", "1_001.png"])
    assert (tmp_path / "0002.png").read_bytes() == old
    assert (tmp_path / "0099.png").read_text() == "somebody's"


def test_overwriting_that_is_interrupted_leaves_no_image_of_before(tmp_path):
    write_images(tmp_path, Drawing(10).batches, {"seed": 7})

    def interrupt() -> torch.Tensor:
        raise KeyboardInterrupt

    batches = [*Drawing(4).batches, Batch(["0004.png"], interrupt)]
    with pytest.raises(KeyboardInterrupt):
        write_images(tmp_path, batches, {"seed": 0}, overwrite=True)
    assert_whole(tmp_path, 4)
    with pytest.raises(UserError, match="seed is 0 there and 7 here"):
        write_images(tmp_path, Drawing(10).batches, {"seed": 7})
    write_images(tmp_path, Drawing(10).batches, {"seed": 0})
    assert_whole(tmp_path, 10)


def test_the_hidden_file_cannot_name_files_elsewhere(tmp_path):
    victim = tmp_path / "victim.png"
    victim.write_text("somebody's")
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "thesis.tex").write_text("mine")
    names = '["../victim.png", "thesis.tex"]'
    for content in (f'{{"settings": {{"seed": 1}}, "names": {names}}}', '{"settings": {"seed": 1}, "names":', "[]"):
        (folder / MARKER).write_text(content)
        with pytest.raises(UserError, match="holds"):
            write_images(folder, Drawing(2).batches, {"seed": 0})
        write_images(folder, Drawing(2).batches, {"seed": 0}, overwrite=True)
        assert_whole(folder, 2, besides=["thesis.tex"])
    assert victim.read_text() == "somebody's"


def test_a_fault_of_the_disk_is_one_line_and_leaves_no_half_image(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="file: not a folder; choose another name"):
        write_images(tmp_path / "file", Drawing().batches, {})
    with pytest.raises(UserError, match="Not a directory; mend that"):
        write_images(tmp_path / "file/below", Drawing().batches, {})
    (tmp_path / "set/0002.png").mkdir(parents=True)
    with pytest.raises(UserError, match=r"0002\.png: Is a directory; mend that, and the same command goes on"):
        write_images(tmp_path / "set", Drawing().batches, {}, overwrite=True)
