"""A page: what it keeps, what it refuses, and that a result which is there is never lost."""

import io
import json
import os

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from PIL import Image

from hw2lib import data, report, used
from hw2lib.errors import UserError
from hw2lib.report.record import Staging


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
    return lambda: opened("10_page", {"preset": "smoke", "seed": 0, "device": "cpu"})


def opened(notebook: str, parameters: dict) -> report.Page:
    """The page of a notebook in whose kernel the parameters have these values."""
    return eval("report.Page(notebook)", parameters | {"report": report, "notebook": notebook})


def with_images(write_notebook, monkeypatch) -> report.Page:
    """A page that has asked for its images."""
    monkeypatch.setattr(data, "source", lambda preset, data_dir: Images())
    write_notebook("10_page", parameters='preset = "smoke"\ndata_dir = ""')
    page = opened("10_page", {"preset": "smoke", "data_dir": ""})
    assert isinstance(page.images(), Images)
    return page


@pytest.fixture
def final(home):
    return home / "build/smoke/figures/10_page"


def a_figure():
    fig, ax = plt.subplots(figsize=(1, 1))
    ax.plot([0, 1])
    return fig


def test_a_figure_is_saved_closed_and_shown_with_its_caption(page, final, write_notebook, monkeypatch):
    monkeypatch.setattr(used, "_notes", {"stand-ins: usps": "a hash"})
    open_page = with_images(write_notebook, monkeypatch)
    fig = a_figure()
    with capture_output() as shown:
        open_page.figure(fig, "line", caption="t-SNE of\n  features", provenance="seed 0")
    caption = "t-SNE of features. Source: drawn digits; seed 0."
    image, text = shown.outputs
    assert image.metadata["image/png"]["alt"] == caption
    assert text.data["text/markdown"] == caption
    assert text.metadata["hw2lib"] == "caption"
    assert not plt.fignum_exists(fig.number)
    open_page.finish()
    assert (final / "line.png").read_bytes().startswith(b"\x89PNG")
    entry = {"file": "line.png", "caption": "t-SNE of features.", "source": "drawn digits; seed 0"}
    assert json.loads((final / "record.json").read_text())["figures"] == [entry]


def test_a_figure_of_the_same_name_replaces_the_first(page, final):
    open_page = page()
    open_page.figure(a_figure(), "line", caption="Old.")
    open_page.figure(a_figure(), "line", caption="New.")
    open_page.finish()
    figures = json.loads((final / "record.json").read_text())["figures"]
    assert [figure["caption"] for figure in figures] == ["New."]


def test_a_table_keeps_numbers_and_shows_markdown(page, final):
    frame = pd.DataFrame({"n": np.array([1, 20]), "acc": [0.5, 71.25], "what": ["a|b", None]}, dtype=object)
    open_page = page()
    with capture_output() as shown:
        open_page.table("accuracy", frame.astype({"n": int, "acc": float}), caption="Accuracy")
    assert shown.outputs[0].data["text/markdown"] == (
        "| n | acc | what |\n| ---: | ---: | --- |\n| 1 | 0.5 | a\\|b |\n| 20 | 71.25 | – |\n\nTable: Accuracy."
    )
    open_page.finish()
    table = json.loads((final / "record.json").read_text())["tables"]["accuracy"]
    assert table == {
        "caption": "Accuracy.",
        "source": "",
        "columns": ["n", "acc", "what"],
        "rows": [[1, 0.5, "a|b"], [20, 71.25, None]],
    }


def test_an_index_with_a_meaning_becomes_a_column(page, final):
    open_page = page()
    open_page.table("by_name", pd.DataFrame({"v": [1]}, index=pd.Index(["dann"], name="method")), caption="C")
    open_page.finish()
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
    for value, open_page in enumerate([first, second], start=1):
        open_page.figure(a_figure(), f"line{value}", caption="C")
        open_page.value("x", value)
    for value, open_page in enumerate([first, second], start=1):
        open_page.finish()
        assert json.loads((final / "record.json").read_text())["values"] == {"x": value}
        assert sorted(os.listdir(final)) == [f"line{value}.png", "record.json"]


def test_killed_between_the_two_renames_the_next_page_heals(page, final, monkeypatch):
    first = page()
    first.value("x", 1)
    first.finish()
    before = (final / "record.json").read_bytes()
    rename = type(final).rename

    def killed(self, target):
        if self.name.endswith(".partial"):
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(type(final), "rename", killed)
    with pytest.raises(KeyboardInterrupt):
        page().finish()
    assert not final.exists()
    monkeypatch.setattr(type(final), "rename", rename)
    Staging(final).discard()  # as the next page begins
    assert (final / "record.json").read_bytes() == before
    page().finish()
    assert sorted(name for name in os.listdir(final.parent) if not name.endswith(".partial")) == [".lock", "10_page"]


def test_cells_may_run_again_before_and_after_the_last(page, final):
    open_page = page()
    for caption in ("Old.", "New."):
        open_page.figure(a_figure(), "line", caption=caption)
        open_page.value("x", len(caption))
        open_page.finish()
        open_page.finish()
        record = json.loads((final / "record.json").read_text())
        assert [figure["caption"] for figure in record["figures"]] == [caption]
        assert sorted(os.listdir(final)) == ["line.png", "record.json"]


def test_an_earlier_figure_stays_and_its_record_says_when_it_was_drawn(page, final):
    first = page()
    first.figure(a_figure(), "line", caption="A line.")
    first.finish()
    (before,) = json.loads((final / "record.json").read_text())["figures"]
    png = (final / "line.png").read_bytes()
    for _ in range(2):
        again = page()
        again.earlier_figure("line")
        again.earlier_figure("other")
        again.finish()
        (figure,) = json.loads((final / "record.json").read_text())["figures"]
        assert figure.pop("earlier").keys() == {"commit", "started"}
        assert figure == before
        assert (final / "line.png").read_bytes() == png


def test_earlier_rows_and_values_stay_and_the_record_says_so(page, final):
    first = page()
    first.table("scores", pd.DataFrame({"network": ["a", "b"], "accuracy": [1.0, 2.0]}), caption="C")
    first.values({"a_accuracy": 1.0, "b_accuracy": 2.0})
    first.finish()
    started = json.loads((final / "record.json").read_text())["started"]
    for _ in range(2):
        again = page()
        again.table(
            "scores", pd.DataFrame({"network": ["a", "b"], "accuracy": [9.0, None]}, dtype=object), "C", "", ["b"]
        )
        again.values({"a_accuracy": 9.0})
        again.earlier_values("b")
        again.finish()
        content = json.loads((final / "record.json").read_text())
        assert content["tables"]["scores"]["rows"] == [["a", 9.0], ["b", 2.0]]
        assert content["tables"]["scores"]["earlier"] == {"b": {"commit": None, "started": started}}
        assert content["values"] == {"a_accuracy": 9.0, "b_accuracy": 2.0}


def test_quick_shows_the_committed_report_and_says_so(write_notebook, home):
    write_notebook("10_page")
    values = {"seed": 0, "device": "cpu"}
    committed = opened("10_page", {"preset": "paper"} | values)
    committed.figure(a_figure(), "line", caption="A line.")
    committed.table("scores", pd.DataFrame({"network": ["a"], "accuracy": [1.0]}), caption="Scores.")
    committed.values({"a_accuracy": 1.0, "lines": 1})
    committed.finish()
    record = json.loads((home / "figures/10_page/record.json").read_text())
    InteractiveShell.instance()
    used.forget()
    quick = opened("10_page", {"preset": "quick"} | values)
    quick.earlier_figure("line")
    quick.earlier_table("scores")
    quick.earlier_table("other")
    quick.earlier_values("")
    quick.finish()
    content = json.loads((home / "build/quick/figures/10_page/record.json").read_text())
    date = f"As in the committed report, {record['started'][:10]}."
    origin = {"commit": record["commit"], "started": record["started"]}
    assert content["figures"] == [{"file": "line.png", "caption": f"A line. {date}", "source": "", "earlier": origin}]
    assert content["tables"]["scores"] == record["tables"]["scores"] | {
        "caption": f"Scores. {date}",
        "earlier": {"a": origin},
    }
    assert list(content["tables"]) == ["scores"], "none is invented"
    assert content["values"] == record["values"]
    assert "file: figures/10_page/record.json" in content["inputs"], "it is out of date when the report changes"


def test_a_page_that_has_used_no_image_names_none(page, final, write_notebook, monkeypatch):
    monkeypatch.setattr(used, "_notes", {})
    open_page = with_images(write_notebook, monkeypatch)
    open_page.figure(a_figure(), "line", caption="A line.", provenance="shipped runs")
    open_page.finish()
    assert json.loads((final / "record.json").read_text())["figures"][0]["source"] == "shipped runs"


def test_drawings_have_a_palette_and_images_all_their_colours(page, final):
    figure, axes = plt.subplots()
    axes.imshow(np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8), interpolation="nearest")
    open_page = page()
    open_page.figure(a_figure(), "line", caption="A line.")
    open_page.figure(figure, "noise", caption="Noise.")
    open_page.finish()
    content = io.BytesIO()
    a_figure().savefig(content, format="png", bbox_inches="tight")
    with Image.open(final / "line.png") as small, Image.open(content) as whole:
        assert small.mode == "P"
        difference = np.asarray(small.convert("RGB"), int) - np.asarray(whole.convert("RGB"), int)
        assert np.abs(difference).max() < 10
    with Image.open(final / "noise.png") as picture:
        assert picture.mode == "RGB"


def test_a_page_needs_its_notebook_its_preset_and_all_parameters(home, write_notebook):
    write_notebook("10_page")
    values = {"preset": "smoke", "seed": 1, "device": "cpu"}
    with pytest.raises(UserError, match="unknown preset 'huge'; there are smoke, quick, paper"):
        opened("10_page", values | {"preset": "huge"})
    with pytest.raises(UserError, match="there is no notebook"):
        opened("11_other", values)
    with pytest.raises(UserError, match="10_page: the parameter device is not set; run the parameters cell first"):
        opened("10_page", {"preset": "smoke", "seed": 1})
    with pytest.raises(UserError, match="10_page: parameter seed must be an integer, not '3'"):
        opened("10_page", values | {"seed": "3"})  # as papermill's own -p passes lists and more
    write_notebook("10_page", parameters='preset = "smoke"\nrates: list[float] = [1]')
    with pytest.raises(UserError, match=r"rates must be finite numbers .* not \[inf\]"):
        opened("10_page", {"preset": "smoke", "rates": [float("inf")]})
    assert not (home / "build").exists()


def test_a_record_names_what_was_used_and_forgets_no_module(page, final, home):
    file = home / "data/weights"
    file.parent.mkdir()
    file.write_text("1")
    open_page = page()
    used.note_file(file)
    open_page.finish()
    inputs = json.loads((final / "record.json").read_text())["inputs"]
    assert {"cells", "parameters", "file: data/weights"} <= set(inputs)
    assert any(name.endswith("report/page.py") for name in inputs)


def test_the_record_is_strict_json_and_says_where_it_was_made(page, final):
    page().finish()
    text = (final / "record.json").read_text()
    found = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert found["completed"] is True
    assert found["hardware"]["cores"] >= 1
    assert found["hardware"]["cpu"]
    assert found["parameters"] == {"preset": "smoke", "seed": 0, "device": "cpu"}
    assert found["commit"] is None  # this folder is no repository
