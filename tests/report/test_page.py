"""A page: what it keeps, what it refuses, and that a result which is there is never lost."""

import json
import os

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from hw2lib import report
from hw2lib.errors import UserError


class Images:
    """Stands for a data source."""

    origin = "stand-in"

    def describe(self, domains):
        return "drawn digits"


@pytest.fixture
def page(home, write_notebook):
    """Open the page of a notebook."""
    write_notebook("10_page")
    InteractiveShell.instance()  # so that what is displayed can be captured
    return lambda **options: report.Page("10_page", "smoke", {"seed": 0, "device": "cpu"}, **options)


@pytest.fixture
def final(home):
    return home / "build/smoke/figures/10_page"


def a_figure():
    fig, ax = plt.subplots(figsize=(1, 1))
    ax.plot([0, 1])
    return fig


def test_a_figure_is_saved_closed_and_shown_with_its_caption(page, final):
    opened = page(data=Images())
    fig = a_figure()
    with capture_output() as shown:
        opened.figure(fig, "line", caption="t-SNE of\n  features", provenance="seed 0")
    caption = "t-SNE of features. Source: drawn digits; seed 0."
    image, text = shown.outputs
    assert image.metadata["image/png"]["alt"] == caption
    assert text.data["text/markdown"] == caption
    assert text.metadata["hw2lib"] == "caption"
    assert not plt.fignum_exists(fig.number)
    opened.finish()
    assert (final / "line.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((final / "record.json").read_text())["figures"] == [{"file": "line.png", "caption": caption}]


def test_a_figure_of_the_same_name_replaces_the_first(page, final):
    opened = page()
    opened.figure(a_figure(), "line", caption="Old.")
    opened.figure(a_figure(), "line", caption="New.")
    opened.finish()
    assert json.loads((final / "record.json").read_text())["figures"] == [{"file": "line.png", "caption": "New."}]


def test_a_table_keeps_numbers_and_shows_markdown(page, final):
    frame = pd.DataFrame({"n": np.array([1, 20]), "acc": [0.5, 71.25], "what": ["a|b", None]}, dtype=object)
    opened = page()
    with capture_output() as shown:
        opened.table("accuracy", frame.astype({"n": int, "acc": float}), caption="Accuracy")
    assert shown.outputs[0].data["text/markdown"] == (
        "| n | acc | what |\n| ---: | ---: | --- |\n| 1 | 0.5 | a\\|b |\n| 20 | 71.25 | – |\n\nTable: Accuracy."
    )
    opened.finish()
    table = json.loads((final / "record.json").read_text())["tables"]["accuracy"]
    assert table == {
        "caption": "Accuracy.",
        "columns": ["n", "acc", "what"],
        "rows": [[1, 0.5, "a|b"], [20, 71.25, None]],
    }


def test_an_index_with_a_meaning_becomes_a_column(page, final):
    opened = page()
    opened.table("by_name", pd.DataFrame({"v": [1]}, index=pd.Index(["dann"], name="method")), caption="C")
    opened.finish()
    table = json.loads((final / "record.json").read_text())["tables"]["by_name"]
    assert (table["columns"], table["rows"]) == (["method", "v"], [["dann", 1]])


@pytest.mark.parametrize("bad", [float("nan"), np.float32("inf"), [1], np.zeros(2)])
def test_what_is_no_finite_number_is_refused(page, bad):
    with pytest.raises(UserError, match="10_page: value 'x' is"):
        page().value("x", bad)


def test_a_table_with_nan_names_the_cell(page):
    with pytest.raises(UserError, match="table 't', row 1, column 'acc' is nan"):
        page().table("t", pd.DataFrame({"acc": [1.0, None]}), caption="C")


@pytest.mark.parametrize("name", ["", "a/b", "..", "a b"])
def test_a_name_that_is_no_file_name_is_refused(page, name):
    with pytest.raises(UserError, match="no good name"):
        page().value(name, 1)


def test_a_page_that_is_not_finished_leaves_the_earlier_one_alone(page, final):
    first = page()
    first.value("x", 1)
    first.finish()
    before = (final / "record.json").read_bytes()
    second = page()
    second.value("x", 2)
    second.figure(a_figure(), "line", caption="C")
    assert [file.name for file in final.iterdir()] == ["record.json"]
    assert (final / "record.json").read_bytes() == before
    del second
    third = page()
    third.finish()
    assert [file.name for file in final.iterdir()] == ["record.json"]  # nothing of the second
    assert sorted(os.listdir(final.parent)) == [".lock", "10_page"]


def test_two_pages_of_one_notebook_do_not_mix(page, final):
    first, second = page(), page()
    for value, opened in enumerate([first, second], start=1):
        opened.figure(a_figure(), f"line{value}", caption="C")
        opened.value("x", value)
    for value, opened in enumerate([first, second], start=1):
        opened.finish()
        assert json.loads((final / "record.json").read_text())["values"] == {"x": value}
        assert sorted(os.listdir(final)) == [f"line{value}.png", "record.json"]


def test_killed_between_the_two_renames_the_next_page_heals(page, final, monkeypatch):
    first = page()
    first.value("x", 1)
    first.finish()
    before = (final / "record.json").read_bytes()
    second = page()
    rename = type(final).rename

    def killed(self, target):
        if self.name.endswith(".partial"):
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(type(final), "rename", killed)
    with pytest.raises(KeyboardInterrupt):
        second.finish()
    assert not final.exists()
    monkeypatch.setattr(type(final), "rename", rename)
    third = page()
    assert (final / "record.json").read_bytes() == before
    third.finish()
    assert sorted(os.listdir(final.parent)) == [".lock", "10_page"]


def test_a_finished_page_takes_no_more(page):
    opened = page()
    opened.finish()
    for more in (lambda: opened.value("x", 1), opened.finish):
        with pytest.raises(UserError, match="finished"):
            more()


def test_a_page_needs_its_notebook_its_preset_and_all_parameters(home, write_notebook):
    write_notebook("10_page")
    with pytest.raises(UserError, match="unknown preset 'huge'; there are smoke, quick, paper"):
        report.Page("10_page", "huge")
    with pytest.raises(UserError, match="there is no notebook"):
        report.Page("11_other", "smoke")
    with pytest.raises(UserError, match=r"10_page: .* lacks device$"):
        report.Page("10_page", "smoke", {"seed": 1})
    assert not (home / "build").exists()


def test_the_record_is_strict_json_and_says_where_it_was_made(page, final):
    page().finish()
    text = (final / "record.json").read_text()
    found = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert found["completed"] is True
    assert found["hardware"]["cores"] >= 1
    assert found["hardware"]["cpu"]
    assert found["parameters"] == {"preset": "smoke", "seed": 0, "device": "cpu"}
    assert set(found["inputs"]) == {"notebooks/10_page.ipynb", "parameters"}
    assert found["commit"] is None  # this folder is no repository
