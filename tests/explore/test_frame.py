"""The frame of explorers, without a browser and without a network that takes its time."""

import base64
import io
import threading

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import Image

from hw2lib.errors import UserError
from hw2lib.explore import Explorer, int_slider, slider, stoppable

WIDGET = "application/vnd.jupyter.widget-view+json"


class Drawing:
    """Draws its number as a shade of grey, each time with one call of a network, and counts."""

    def __init__(self) -> None:
        self.drawn, self.began, self.go_on = [], threading.Event(), threading.Event()
        self.network = torch.nn.Identity()
        stoppable(self.network)

    def __call__(self, number: int):
        self.drawn.append(number)
        self.began.set()
        if number == 5:
            assert self.go_on.wait(30)
        if number == 8:
            raise UserError("8 < 9: give another")
        if number == 9:
            raise ValueError("a mistake of ours")
        self.network(torch.zeros(1))
        figure, axes = plt.subplots(figsize=(1, 1))
        axes.imshow(np.full((2, 2), number), vmin=0, vmax=10, cmap="gray")
        return figure, f"Number {number}."


@pytest.fixture
def drawing():
    return Drawing()


@pytest.fixture
def explorer(drawing):
    return Explorer(drawing, {"number": int_slider("number", 1, 0, 10)})


def choose(explorer: Explorer, number: int) -> None:
    explorer.controls["number"].value = number
    explorer.wait()


def centre(explorer: Explorer) -> int:
    with Image.open(io.BytesIO(explorer.picture.value)) as picture:
        return picture.convert("L").getpixel((picture.width // 2, picture.height // 2))


def test_the_picture_follows_its_control_and_the_time_stands_beside_it(explorer):
    first, open_figures = centre(explorer), plt.get_fignums()
    assert "Number 1." in explorer.text.value
    choose(explorer, 7)
    assert centre(explorer) > first + 100
    assert "Number 7." in explorer.text.value
    assert " s</b>" in explorer.text.value
    assert plt.get_fignums() == open_figures


def test_what_was_drawn_once_is_shown_at_once(explorer, drawing):
    first = explorer.picture.value
    choose(explorer, 2)
    explorer.controls["number"].value = 1
    assert explorer.picture.value == first, "without waiting"
    assert "Number 1." in explorer.text.value
    assert drawing.drawn == [1, 2]


def test_a_drag_is_followed_at_its_end():
    assert not int_slider("a", 1, 0, 3).continuous_update
    assert not slider("b", 0.5, 0, 1).continuous_update


def test_stop_ends_a_drawing_at_its_next_call_and_the_earlier_picture_stays(explorer, drawing):
    first = explorer.picture.value
    assert explorer.stop.disabled
    drawing.began.clear()
    explorer.controls["number"].value = 5
    assert drawing.began.wait(30)
    assert not explorer.stop.disabled
    explorer.stop.click()
    drawing.go_on.set()
    explorer.wait()
    assert "Stopped" in explorer.text.value
    assert explorer.picture.value == first
    assert explorer.stop.disabled
    choose(explorer, 6)
    choose(explorer, 5)
    assert drawing.drawn == [1, 5, 6, 5], "what was stopped is drawn when it is asked for again"
    assert "Number 5." in explorer.text.value


def test_a_change_replaces_the_drawing_under_way(explorer, drawing):
    drawing.began.clear()
    explorer.controls["number"].value = 5
    assert drawing.began.wait(30)
    explorer.controls["number"].value = 6
    explorer.controls["number"].value = 7
    drawing.go_on.set()
    explorer.wait()
    assert drawing.drawn == [1, 5, 7], "nobody waits for 6"
    assert "Number 7." in explorer.text.value


def test_bad_input_is_a_line_in_the_widget(explorer):
    choose(explorer, 8)
    assert "8 &lt; 9: give another" in explorer.text.value
    assert explorer.stop.disabled
    choose(explorer, 7)
    assert "Number 7." in explorer.text.value


def test_a_mistake_of_ours_is_seen_too(explorer):
    explorer.controls["number"].value = 9
    with pytest.raises(ValueError, match="a mistake of ours"):
        explorer.wait()
    assert "ValueError: a mistake of ours" in explorer.text.value


def test_the_output_is_a_widget_and_for_others_its_picture(explorer):
    data, metadata = explorer._repr_mimebundle_()
    assert data[WIDGET]["model_id"] == explorer.model_id
    assert base64.b64decode(data["image/png"]) == explorer.picture.value
    assert metadata["image/png"]["alt"] == data["text/plain"] == "Number 1."


def test_under_papermill_the_output_is_the_picture_alone(drawing, monkeypatch):
    monkeypatch.setenv("HW2_RUN", '"1"')
    data, _ = Explorer(drawing, {"number": int_slider("number", 1, 0, 10)})._repr_mimebundle_()
    assert data.keys() == {"image/png", "text/plain"}
    data, _ = Explorer(drawing, {"number": int_slider("number", 8, 0, 10)})._repr_mimebundle_()
    assert data == {"text/plain": "8 < 9: give another"}
