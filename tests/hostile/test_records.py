"""Records and cards of any shape, and text in them that a template, a page or a browser would take for its own."""

import html
import html.parser
import json
import re
from pathlib import Path

import pytest
from fuzz import JSON, NASTY, changed_json, fuzz
from hypothesis import example
from hypothesis import strategies as st
from IPython.display import Markdown

from hw2lib import given_images, image_files, paths
from hw2lib.errors import UserError
from hw2lib.explore import Explorer, int_slider
from hw2lib.files import read_json
from hw2lib.report import age, build, document, markdown, pdf, record
from hw2lib.report import html as pages
from hw2lib.training import cards
from hw2lib.training.run_folder import RunFolder

NOTEBOOK = "31_diffusion_samples"
RECORD = read_json(paths.ROOT / "figures" / NOTEBOOK / "record.json")  # without its checksum
RECORD["inputs"] = {name: RECORD["inputs"][name] for name in sorted(RECORD["inputs"])[:8]}
TEMPLATE = f"""\
---
title: Report
---

{{{{ figure("{NOTEBOOK}", "{RECORD["figures"][0]["file"].removesuffix(".png")}") }}}}

{{{{ table("{NOTEBOOK}", "t") }}}}

{{{{ cell("{NOTEBOOK}", "t", "x", "b") }}}} {{{{ diffusion_samples.v }}}} {{{{ diffusion_samples.n | fixed(2) }}}}

{{{{ runs() }}}}
"""
RECORD["tables"] = {"t": {"caption": "T.", "source": "s", "columns": ["a", "b"], "rows": [["x", 1], ["y", "z"]]}}
RECORD["values"] = {"v": "word", "n": 1.5}


@pytest.fixture
def report(guard, monkeypatch):
    """A repository of one notebook."""
    notebooks = guard.home / "notebooks"
    notebooks.mkdir()
    (notebooks / f"{NOTEBOOK}.ipynb").write_bytes((paths.NOTEBOOKS / f"{NOTEBOOK}.ipynb").read_bytes())
    monkeypatch.setattr(paths, "ROOT", guard.home)
    monkeypatch.setattr(paths, "NOTEBOOKS", notebooks)
    (guard.home / "report.md.jinja").write_text(TEMPLATE)
    (guard.home / "supplement.md.jinja").write_text("Nothing.\n")
    return write_record


def write_record(content: object) -> None:
    file = record.path("smoke", NOTEBOOK)
    file.parent.mkdir(parents=True, exist_ok=True)
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    file.write_bytes(text)
    (file.parent / RECORD["figures"][0]["file"]).write_bytes(
        (Path(__file__).parents[2] / "figures" / NOTEBOOK).joinpath(RECORD["figures"][0]["file"]).read_bytes()
    )


@fuzz(450, content=st.one_of(changed_json(RECORD), changed_json(RECORD), JSON, st.binary(max_size=40)))
@example(content=b"[" * 3000)
@example(content={"completed": True})
@example(content=RECORD | {"values": {"v": "\ud800"}})
def test_a_record(guard, report, content):
    report(content)
    guard(build.outdated, "smoke")
    guard(document.render, document.REPORT, "smoke")
    found = guard(record.read, "smoke", NOTEBOOK)
    if isinstance(found, dict):
        guard(age.age, found, NOTEBOOK, found["parameters"])


CARD = read_json(next((paths.TRAINED / "context-unet-64").rglob("card.json")))


@fuzz(450, content=st.one_of(changed_json(CARD), changed_json(CARD), JSON, st.binary(max_size=40)))
@example(content=b"[" * 3000)
@example(content={"settings": CARD["settings"]})
@example(content=CARD | {"curve": None})
def test_a_card(guard, content):
    (guard.home / "card.json").write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    weights = guard.home / "weights.safetensors"
    weights.touch()
    folder = RunFolder(guard.home, CARD["settings"])

    def show() -> None:
        if folder.card:
            cards.provenance([folder])
            cards.result_of(folder)
            cards.training_table([folder], lambda _: {})

    guard(show)
    guard(image_files.write, "context-unet-64", guard.home / "out", weights=weights, ema=True)
    guard(given_images.classify, guard.home, guard.home / "out.csv", weights)
    assert not (guard.home / "out").exists()


# Text of others in a page

LIVE = ("script", "iframe", "object", "embed", "form", "link", "meta", "base", "style", "svg", "input", "video")
ATTACKS = [
    "<img src=x onerror=alert(1)>",
    "{{ 7 * 7 }}",
    "---\ntitle: x\n---",
    "[" * 1000,
    "<svg/onload=alert(1)>",
    "<iframe src='javascript:alert(1)'></iframe>",
    "<a href='javascript:alert(1)'>x</a>",
    "<details open ontoggle=alert(1)>",
    "![x](x.png){onerror=alert(1)}",
    "[x]{onclick=alert(1)}",
    "[x](javascript:alert(1))",
    "[x][y]\n\n[y]: javascript:alert(1)",
    "<javascript:alert(1)>",
    '`#read("/etc/passwd")`{=typst}',
    "```{=typst}\n#panic()\n```",
    "`<script>alert(1)</script>`{=html}",
    "$\\href{javascript:alert(1)}{x}$",
    "#panic()",
    "\\begin{tabular}\\input{/etc/passwd}\\end{tabular}",
    "--><script>alert(1)</script>",
    "</figcaption><script>alert(1)</script>",
    "![](/etc/passwd)",
    "![](../../../../etc/passwd)",
    "![](http://127.0.0.1:9/x.png)",
    "|x|\n|-|\n|y|",
    "\u202e\u2066x",
]


class Live(html.parser.HTMLParser):
    """What would run in a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attributes: list) -> None:
        mine = tag in ("meta", "style") and "alert" not in str(attributes)
        if tag in LIVE and not mine:
            self.found.append(tag)
        for name, value in attributes:
            address = name not in ("alt", "aria-label", "title") and "javascript:" in (value or "").lower()
            if name.startswith("on") or address:
                self.found.append(f"{tag} {name}={value}")


def live(page: str) -> list[str]:
    parser = Live()
    parser.feed(page)
    return parser.found


@pytest.mark.slow
@pytest.mark.parametrize("attack", [*ATTACKS, " ".join(NASTY[:-1]).replace("\ud800", "")])
def test_text_of_others_is_text_in_every_page(guard, report, attack):
    """In a caption, a source, a column, a cell and a value; in report.md, in HTML and in PDF."""
    attacked = json.loads(json.dumps(RECORD))
    attacked["figures"][0] |= {"caption": f"A {attack} b.", "source": attack}
    attacked["tables"]["t"] |= {
        "caption": f"A {attack} b.",
        "columns": ["a", attack],
        "rows": [["x", attack], [attack, 1]],
    }
    attacked["values"]["v"] = attack
    attacked["data"] = {"origin": attack, "description": attack}
    report(json.dumps(attacked).encode())
    text = guard(document.render, document.REPORT, "smoke")
    assert isinstance(text, str)
    assert not re.search(r"\b49\b", text)
    folder = paths.report_dir("smoke")
    page, images, _ = pages.convert(text, folder, "report.md")
    assert live(page.decode()) == []
    assert len(images) == 1  # the figure
    assert pdf.markdown_to_pdf(text, folder, "report.md").startswith(b"%PDF")
    assert not list(guard.home.parent.rglob("marker*"))


@pytest.mark.parametrize("attack", [*ATTACKS, *NASTY])
def test_a_table_of_a_notebook_shows_text(attack):
    """JupyterLab does not clean the Markdown of a trusted notebook, and a submission's files may have any name."""
    shown = markdown.pipe_table(["a", attack], [[attack, 1]], attack)
    assert shown.count("\n") == 2 + 2 * bool(attack)
    for sign in ("<s", "<i", "<a", "<d", "<j", "<!", "</", "["):
        assert sign not in shown
    assert Markdown(shown)


@pytest.mark.parametrize("attack", ["<img src=x onerror=alert(1)>", "</b><script>alert(1)</script>", "&lt;x&gt;"])
def test_an_explorer_shows_text(attack):
    def draw(number):
        raise UserError(attack)

    explorer = Explorer(draw, {"number": int_slider("number", 0, 0, 1)})
    assert live(explorer.text.value) == []
    assert html.unescape(explorer.text.value).endswith(attack)
