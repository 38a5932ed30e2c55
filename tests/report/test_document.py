"""report.md and supplement.md say what the records say: no more, and nothing invented."""

import re

import pytest

from hw2lib import paths
from hw2lib.errors import UserError
from hw2lib.files import write_json
from hw2lib.report import document, record

FOUND = {
    "notebook": "10_some",
    "parameters": {},
    "inputs": {},
    "preset": "smoke",
    "data": {"origin": "stand-in", "description": "drawn digits"},
    "commit": "0123456789abcdef",
    "dirty": True,
    "started": "2026-11-30T12:00:00+00:00",
    "torch": "2.15.0",
    "seconds": 90.0,
    "hardware": {"cpu": "A CPU", "cores": 2, "gpu": None},
    "figures": [
        {"file": "a.png", "caption": 'Less < "more".', "source": "drawn digits; some, seed 0; on A CPU, 32-true"},
        {"file": "lost.png", "caption": "Lost.", "source": ""},
        {"file": "both.png", "caption": "Old. Source: drawn digits; some, seed 1; on A CPU, 32-true."},
    ],
    "tables": {
        "t": {"caption": "T. Source: 2 runs.", "columns": ["a", "b", "c"], "rows": [["x", 1, 2], ["y", 3, 4]]},
        "both": {"caption": "Both.", "source": "", "columns": ["a"], "rows": [[1]]},
    },
    "values": {"mean": 72.345, "name": "dann", "many": 12345, "2021_mean": 0.5, "none": None},
    "completed": True,
}
REFERENCES = """\
[S2]
edition = 2023
built = "a denoiser"
[S0]
edition = 2022
built = "a GAN"
[ganin2016]
authors = "Y. Ganin, V. Lempitsky"
title = "Domain-adversarial training"
venue = "JMLR 17"
year = 2016
url = "https://jmlr.org/a"
[hull1994]
authors = "J. J. Hull"
title = "A database"
venue = "PAMI 16"
year = 1994
"""
FIGURE = """\
<figure id="fig-10-some-a">
<img src="figures/10_some/a.png" alt="Less &lt; &quot;more&quot;.">
<figcaption><b>Figure 1.</b> Less &lt; &quot;more&quot;.</figcaption>
</figure>"""


def write_template(text: str, name: str = "report") -> None:
    (paths.ROOT / f"{name}.md.jinja").write_text(text)


@pytest.fixture
def results(home, write_notebook):
    """Notebooks 10_some, which has run for paper and for smoke, and 11_other, which has not; and empty templates."""
    write_notebook("10_some")
    write_notebook("11_other")
    (home / "references.toml").write_text(REFERENCES)
    for preset in ("paper", "smoke"):
        file = record.path(preset, "10_some")
        file.parent.mkdir(parents=True)
        write_json(file, FOUND | {"preset": preset})
        for figure in ("a", "both"):
            file.with_name(f"{figure}.png").write_bytes(b"png")
    write_template("")
    write_template("", "supplement")
    return home


def rendered(text: str, preset: str = "paper", name: str = "report") -> str:
    """What a template becomes, without the note on top."""
    write_template(text, name)
    return document.render(name, preset).partition("\n\n")[2]


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ('{{ figure("10_some", "a") }}', FIGURE),
        (
            '{{ table("10_some", "t") }}',
            '<span id="tab-10-some-t"></span>**Table 1.** T.\n\n'
            "| a | b | c |\n| --- | ---: | ---: |\n| x | 1 | 2 |\n| y | 3 | 4 |",
        ),
        ("{{ some.name }} has {{ some.mean | fixed(1) }} %, $x_{1}$", "dann has 72.3 %, $x_{1}$"),
        ('{{ some.many | commas }} and {{ some["2021_mean"] | fixed(2) }}', "12,345 and 0.50"),
        ("{{ (some.many - some.mean) | fixed(1) }} more", "12272.7 more"),
        ("It reads\n{{ some.mean | fixed(0) }}. Of", "It reads\n72\\. Of"),
        ('{{ figure("10_some", "lost") }}', "**missing**: figure lost of 10_some"),
        ('{{ figure("11_other", "a") }}', "**missing**: figure a of 11_other"),
        ('A\n\n{{ figure("10_some", "not drawn", optional=True) }}\n\nB', "A\n\nB"),
        ('{{ figure("10_some", "lost", optional=True) }}', "**missing**: figure lost of 10_some"),
        ('{{ figure("11_other", "a", optional=True) }}', "**missing**: figure a of 11_other"),
        ('{{ table("10_some", "u") }}', "**missing**: table u of 10_some"),
        ("{{ some.std | fixed(1) }} of {{ other.mean | commas }}", "**missing** of **missing**"),
        ("{{ (some.mean - other.mean) | abs | round | fixed(1) }}", "**missing**"),
        ("{{ (2 * -other.mean + some.none) | fixed(1) }}", "**missing**"),
        ("{% if some.std is defined or other.mean > 3 %}A{% else %}B{% endif %}", "B"),
    ],
)
def test_a_template_shows_what_the_record_says(results, text, written):
    assert rendered(text) == written


@pytest.mark.parametrize(
    ("part", "header", "cells"),
    [
        ('columns=["c", "a"]', ["c", "a"], [["2", "x"], ["4", "y"]]),
        ('rows=["y", "x"], columns=["a", "b"]', ["a", "b"], [["y", "3"], ["x", "1"]]),
        ('rows=["y", "z"]', ["a", "b", "c"], [["y", "3", "4"], ["z", "**missing**", "**missing**"]]),
        ('columns=["a", "d"]', ["a", "d"], [["x", "**missing**"], ["y", "**missing**"]]),
    ],
)
def test_a_part_of_a_table(results, part, header, cells):
    lines = rendered(f'{{{{ table("10_some", "t", {part}) }}}}').splitlines()[2:]
    read = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert read[0] == header
    assert read[2:] == cells


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{{ sone.mean }}", "'sone' is undefined"),
        ("{{ tabel(1) }}", "'tabel' is undefined"),
        ("{{ some.mean | fixd(1) }}", "No filter named 'fixd'."),
        ("{{ some.name | fixed(1) }}", "Unknown format code 'f' for object of type 'str'"),
        ('{{ figure("10_some") }}', "missing 1 required"),
        ('{{ figure("10_sone", "a") }}', "there is no notebook 10_sone"),
        ('{{ figure("10_some", "a" }}', "unexpected '}', expected ')'"),
        ('{{ ref("10_some", "nowhere") }}', "neither document shows a figure or table nowhere of 10_some"),
        ('{{ cite("nobody") }}', "references.toml has no nobody"),
        ('{% if preset == "paper" %}', "Unexpected end of template"),
    ],
)
def test_a_mistake_is_one_clear_line(results, line, told):
    with pytest.raises(UserError, match=re.escape(told)) as error:
        rendered(f"# One\n\n{line}")
    assert str(error.value).startswith("report.md.jinja, line 3: ")
    assert "\n" not in str(error.value)


def test_figures_and_tables_are_numbered_as_they_appear_and_referred_to_before_and_after(results):
    text = rendered(
        'See {{ ref("10_some", "t") }}.\n{{ table("10_some", "both") }}\n{{ figure("10_some", "a") }}\n'
        '{{ table("10_some", "t") }}\n{{ figure("10_some", "both") }}\n{{ table("10_some", "t", rows=["x"]) }}\n'
        '{{ ref("10_some", "a") }} {{ ref("10_some", "both", "table") }} {{ ref("10_some", "both", kind="figure") }}'
    )
    assert text.startswith("See [Table 2](#tab-10-some-t).")
    shown = re.findall(r'id="([\w-]+)"|(?:<b>|\*\*)((?:Figure|Table) \d)\.', text)
    names = [a or b for a, b in shown]
    assert names == [
        *("tab-10-some-both", "Table 1", "fig-10-some-a", "Figure 1", "tab-10-some-t", "Table 2"),
        *("fig-10-some-both", "Figure 2", "tab-10-some-t-3", "Table 3"),
    ]
    assert text.endswith("[Figure 1](#fig-10-some-a) [Table 1](#tab-10-some-both) [Figure 2](#fig-10-some-both)")


def test_what_both_kinds_are_called_needs_the_kind(results):
    with pytest.raises(UserError, match=r"line 3: both of 10_some is a figure and a table: add kind="):
        rendered('{{ figure("10_some", "both") }}\n{{ table("10_some", "both") }}\n{{ ref("10_some", "both") }}')


def test_a_reference_to_what_is_left_out_is_missing(results):
    text = rendered('{{ figure("11_other", "a") }}, {{ ref("11_other", "a") }}')
    assert text == "**missing**: figure a of 11_other, **missing**"


def test_one_document_refers_to_the_other(results):
    write_template('{{ table("10_some", "t") }}', "supplement")
    assert rendered('{{ ref("10_some", "t") }}') == "[Table A1](supplement.md#tab-10-some-t)"
    assert "**Table A1.** T." in document.render("supplement", "paper")
    both = rendered('{{ table("10_some", "t") }}\n{{ ref("10_some", "t") }}')
    assert both.endswith("\n[Table 1](#tab-10-some-t)"), "what it shows itself comes first"


def test_papers_are_numbered_as_they_are_cited_and_reports_keep_their_names(results):
    text = rendered(
        "{{ references() }}\n\n"
        '{{ cite("hull1994") }} {{ cite("S2") }} {{ cite("ganin2016", "S0") }} {{ cite("hull1994") }}'
    )
    *listed, cited = text.split("\n\n")
    assert cited == "[[1](#ref-1)] [S2](#ref-S2) [[2](#ref-2), [S0](#ref-S0)] [[1](#ref-1)]"
    assert listed == [
        '<span id="ref-S0">[S0]</span> A student\'s report on the homework of 2022: a GAN.',
        '<span id="ref-S2">[S2]</span> A student\'s report on the homework of 2023: a denoiser.',
        '<span id="ref-1">[1]</span> J. J. Hull. A database. *PAMI 16*, 1994.',
        '<span id="ref-2">[2]</span> Y. Ganin, V. Lempitsky. Domain-adversarial training. *JMLR 17*, 2016. '
        "<https://jmlr.org/a>",
    ]


def test_what_is_not_cited_is_not_listed(results):
    assert "Ganin" not in rendered('{{ cite("hull1994") }}\n\n{{ references() }}')


def test_runs_names_each_source_once(results):
    lines = rendered("{{ runs() }}").splitlines()
    assert lines[0] == "| notebook | results from | date | commit | machine | torch | minutes |"
    sources = "drawn digits; some, seed 0; some, seed 1; 2 runs"
    run = f"{sources} | 2026-11-30 | 0123456 with changes | A CPU, 2 cores | 2.15.0 | 1.5"
    assert lines[2] == f"| 10_some | {run} |"
    assert lines[3] == "| 11_other |" + " **missing** |" * 6


SOURCE = """\
---
title: Report
---

{% if preset == "paper" %}
DANN beats all.
{% endif %}
{% if preset != "smoke" %}
Runs that ship.
{% endif %}
{{ some.name }}
"""


@pytest.mark.parametrize(
    ("preset", "body", "note"),
    [
        ("paper", "DANN beats all.\nRuns that ship.\ndann\n", "<!-- Rendered by hw2 report: edit report.md.jinja"),
        ("quick", "Runs that ship.\n**missing**\n", "> **Preset `quick`.** The trainings are those that ship"),
        ("smoke", "dann\n", "> **Preset `smoke`.** The pictures and numbers of this copy come from drawn digits. They"),
    ],
)
def test_one_template_serves_all_presets(results, preset, body, note):
    write_template(SOURCE)
    written = document.write("report", preset)
    assert written == (results if preset == "paper" else results / "build" / preset) / "report.md"
    front, said, text = re.fullmatch(r"(---\n.*?\n---\n\n)(.*?)\n\n(.*)", written.read_text(), re.DOTALL).groups()
    assert front == "---\ntitle: Report\n---\n\n"
    assert said.startswith(note)
    assert text == body


def test_a_number_changed_by_hand_is_found_in_each_document(results):
    for name in ("report", "supplement"):
        write_template("{{ some.name }}\n", name)
        document.write(name, "paper")
    assert document.differences() == []
    for name in ("report", "supplement"):
        file = results / f"{name}.md"
        file.write_text(file.read_text().replace("dann\n", "DANN!\n"))
    assert [line for line in document.differences() if line[0] != "@"] == [
        *("--- report.md", "+++ records", "-DANN!", "+dann"),
        *("--- supplement.md", "+++ records", "-DANN!", "+dann"),
    ]


def test_a_document_that_says_so_already_is_not_touched(results):
    write_template(SOURCE)
    before = document.write("report", "smoke").stat().st_mtime_ns
    assert document.write("report", "smoke").stat().st_mtime_ns == before


def test_there_has_to_be_a_template(home):
    with pytest.raises(UserError, match=r"there is no .*report\.md\.jinja"):
        document.write("report", "smoke")


def test_the_documents_of_the_repository_say_what_its_records_say():
    assert document.differences() == []


@pytest.mark.parametrize("preset", ["paper", "quick", "smoke"])
def test_the_templates_of_the_repository_serve_each_preset(preset, tmp_path, monkeypatch):
    monkeypatch.setenv("HW2_BUILD", str(tmp_path))
    for name in ("report", "supplement"):
        text = document.render(name, preset)
        assert ("**missing**" in text) == (preset != "paper"), "what has not run is missing, and nothing else"
        anchors = re.findall(r'id="([\w-]+)"', text)
        assert len(anchors) == len(set(anchors))
        links = re.findall(r"\]\(#((?:fig|tab|ref)-[\w-]+)\)", text)
        assert set(links) <= set(anchors)
