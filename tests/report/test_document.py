"""report.md says what the records say: no more, and nothing invented."""

import subprocess
import sys

import pytest

from hw2lib import paths
from hw2lib.errors import UserError
from hw2lib.report import document, record

FOUND = {
    "notebook": "10_some",
    "preset": "smoke",
    "data": {"origin": "stand-in", "description": "drawn digits"},
    "commit": "0123456789abcdef",
    "dirty": True,
    "torch": "2.15.0",
    "seconds": 90.0,
    "hardware": {"cpu": "A CPU", "cores": 2, "gpu": None},
    "figures": [{"file": "a.png", "caption": 'Less < "more".'}, {"file": "lost.png", "caption": "Lost."}],
    "tables": {"t": {"caption": "T.", "columns": ["a"], "rows": [[1]]}},
    "values": {"mean": 72.345, "name": "dann"},
    "completed": True,
}


@pytest.fixture
def results(home):
    """The record of 10_some, for paper and for smoke."""
    for preset in ("paper", "smoke"):
        file = record.path(preset, "10_some")
        file.parent.mkdir(parents=True)
        record.write(file, FOUND | {"preset": preset})
        file.with_name("a.png").write_bytes(b"png")
    return home


def block(call: str) -> str:
    """What a block writes into the report."""
    lines = document.fill(f"<!-- [[[cog document.{call} ]]] -->\nold\n<!-- [[[end]]] -->\n", "paper").splitlines()
    assert lines[0] == f"<!-- [[[cog document.{call} ]]] -->"
    assert lines[-1] == "<!-- [[[end]]] -->"
    return "\n".join(lines[1:-1])


@pytest.mark.parametrize(
    ("call", "written"),
    [
        (
            'figure("10_some", "a")',
            '<figure>\n<img src="figures/10_some/a.png" alt="Less &lt; &quot;more&quot;.">\n'
            "<figcaption>Less &lt; &quot;more&quot;.</figcaption>\n</figure>",
        ),
        ('table("10_some", "t")', "| a |\n| ---: |\n| 1 |\n\nTable: T."),
        ('text("{10_some.name} has {10_some.mean:.1f} %, $x_{{1}}$")', "dann has 72.3 %, $x_{1}$"),
        (
            'text("It reads\\n{10_some.mean:.0f}. Of 2.5 % more:\\n{10_some.mean:.0f}.5")',
            "It reads\n72\\. Of 2.5 % more:\n72.5",
        ),
        (
            'provenance("10_some")',
            "`10_some` (preset paper, commit 0123456789 with changes) took 1.5 minutes on A CPU, 2 cores, "
            "with torch 2.15.0. Images: drawn digits.",
        ),
        ('figure("10_some", "lost")', "**missing**: figure lost of 10_some"),
        ('figure("11_other", "a")', "**missing**: figure a of 11_other"),
        ('figure("10_some", "not drawn", optional=True)', ""),
        ('figure("10_some", "lost", optional=True)', "**missing**: figure lost of 10_some"),
        ('figure("11_other", "a", optional=True)', "**missing**: figure a of 11_other"),
        ('table("10_some", "u")', "**missing**: table u of 10_some"),
        ('text("{10_some.std:.1f} of {11_other.mean}")', "**missing** of **missing**"),
        ('provenance("11_other")', "**missing**: 11_other"),
    ],
)
def test_a_block_writes_what_the_record_says(results, call, written):
    assert block(call) == written


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('<!-- [[[cog document.text("{10_some.name:.1f}") ]]] -->\n<!-- [[[end]]] -->\n', "Unknown format code 'f'"),
        ('<!-- [[[cog document.figure("10_some") ]]] -->\n<!-- [[[end]]] -->\n', "missing 1 required"),
        ('<!-- [[[cog document.figure("10_some", "a" ]]] -->\n<!-- [[[end]]] -->\n', "report.md"),
        ('<!-- [[[cog document.figure("10_some", "a") ]]] -->\n', r"Missing '\[\[\[end\]\]\]'"),
    ],
)
def test_a_block_that_is_wrong_is_one_clear_line(results, text, told):
    with pytest.raises(UserError, match=told) as error:
        document.fill(text, "paper")
    assert "\n" not in str(error.value)


SOURCE = """\
---
title: Report
---

<!-- only: paper -->
DANN beats all.
<!-- end only -->
<!-- only: quick smoke
Nothing to discuss.
-->
<!-- only: quick
Not in smoke.
-->
<!-- only: paper quick -->
Runs that ship.
<!-- end only -->

<!-- [[[cog document.text("{10_some.name}") ]]] -->
<!-- [[[end]]] -->
"""


def test_paper_keeps_the_source_and_fills_it_in_place(results):
    (results / "report.md").write_text(SOURCE)
    assert document.differences()[2:] == ["@@ -18,0 +19 @@", "+dann"]
    assert document.write("paper") == results / "report.md"
    assert (results / "report.md").read_text() == SOURCE.replace("<!-- [[[end]]]", "dann\n<!-- [[[end]]]")
    assert document.differences() == []


def test_a_number_changed_by_hand_is_found(results):
    (results / "report.md").write_text(SOURCE)
    document.write("paper")
    (results / "report.md").write_text((results / "report.md").read_text().replace("dann\n", "DANN!\n"))
    assert document.differences()[2:] == ["@@ -19 +19 @@", "-DANN!", "+dann"]


def test_other_presets_leave_out_what_is_said_of_real_images(results):
    (results / "report.md").write_text(SOURCE)
    written = document.write("smoke")
    assert written == results / "build/smoke/report.md"
    assert (results / "report.md").read_text() == SOURCE
    head, body = written.read_text().split("nobody's.\n")
    assert head.startswith("---\ntitle: Report\n---\n\n> **Preset `smoke`.**")
    assert "come from drawn digits. " in head
    assert body.split() == ["Nothing", "to", "discuss.", "dann"]


def test_quick_keeps_what_is_said_of_runs_that_ship(results):
    (results / "report.md").write_text(SOURCE)
    text = document.write("quick").read_text()
    assert "Runs that ship." in text
    assert "Not in smoke." in text
    assert "DANN beats all." not in text
    assert "only" not in text.replace("missing", "")
    assert "The trainings are those that ship" in text.split("Nothing")[0]


def test_a_report_that_says_so_already_is_not_touched(results):
    (results / "report.md").write_text(SOURCE)
    before = document.write("smoke").stat().st_mtime_ns
    assert document.write("smoke").stat().st_mtime_ns == before


@pytest.mark.parametrize("text", ["<!-- only: paper -->\nx\n", "x\n<!-- end only -->\n", "<!-- only: quick -->\nx\n"])
def test_a_passage_that_is_never_closed_is_refused(results, text):
    with pytest.raises(UserError, match="has no counterpart"):
        document.fill(text, "quick")


def test_there_has_to_be_a_report(home):
    with pytest.raises(UserError, match="there is no"):
        document.write("smoke")


def test_the_report_of_the_repository_says_what_its_records_say():
    assert document.differences() == []


@pytest.mark.slow
def test_plain_cog_finds_the_report_of_the_repository_right():
    check = [sys.executable, "-m", "cogapp", "--check", "report.md"]
    found = subprocess.run(check, cwd=paths.ROOT, capture_output=True, text=True)
    assert (found.returncode, found.stderr) == (0, "")
