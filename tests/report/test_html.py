"""Markdown to HTML: one file that needs no other, with the words, numbers and pictures of the PDF."""

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from hw2lib.errors import UserError
from hw2lib.report import html, pandoc

REPORT = r"""---
title: Faces & digits
author: Ada Example
section-numbering: "1.1"
abstract: What was found.
---

# First words

See [the map](map.png), [page](#results), [an anchor](#x), [nothing](#nowhere), [more](supplement.md#y) and
[a paper](https://example.org/paper).[^1] Maths: $x_t$ and

$$a = b \tag{7}$$

[^1]: A note.

<a id="x"></a>
<figure id="curve">
<img src="curve.png" alt="A line that falls">
<figcaption>The curve.</figcaption>
</figure>

# Results

## Tables and pictures

![A map of *features*.](map.png)

| network | correct, % |
|---|---|
| ours | 97.1 ± 0.2 |

Table: Accuracy.

<script src="https://example.org/track.js"></script>
"""


class Elements(HTMLParser):
    """The elements of a page, as (tag, attributes), and its words."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found, self.words, self.open = [], "", ""
        self.feed(page)
        self.words = " ".join(self.words.split())

    def handle_starttag(self, tag, attributes):
        self.open = tag
        self.found.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.words += "" if self.open == "style" else data

    def all(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.found if name == tag]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("html")
    for name, size in {"curve": (60, 30), "map": (30, 30)}.items():
        Image.new("RGB", size, "teal").save(folder / f"{name}.png")
    (folder / "report.md").write_text(REPORT, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def page(folder) -> Elements:
    pandoc.write(folder / "report.md", folder / "report.html", html.convert)
    return Elements((folder / "report.html").read_text(encoding="utf-8"))


def test_it_needs_no_other_file_and_runs_nothing(page, folder):
    assert not page.all("script")
    assert not page.all("link")
    sources = [value for _, attributes in page.found for name, value in attributes.items() if name in ("src", "srcset")]
    assert len(sources) == 2
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    style = re.search(r"<style>(.*?)</style>", (folder / "report.html").read_text(), re.DOTALL)[1]
    assert "nav {" in style
    assert not re.search(r"url\(|@import|http", style)


def test_every_picture_has_its_words_and_its_number(page):
    assert [image["alt"] for image in page.all("img")] == ["A line that falls", "A map of features."]
    assert "Figure 1. The curve." in page.words
    assert "Figure 2. A map of features." in page.words
    assert "Table 1. Accuracy." in page.words
    assert "See Figure 2, section, an anchor, nothing, more and a paper." in page.words


def test_links_lead_to_what_is_there(page):
    ids = [attributes["id"] for _, attributes in page.found if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = [attributes["href"] for attributes in page.all("a")]
    assert {target[1:] for target in targets if target.startswith("#")} <= set(ids)
    assert {"#results", "#x", "supplement.html#y", "https://example.org/paper"} <= set(targets)
    assert "#nowhere" not in targets


def test_the_contents_name_every_section_with_its_number(page, folder):
    source = (folder / "report.html").read_text(encoding="utf-8")
    contents = Elements(re.search(r"<nav.*?</nav>", source, re.DOTALL)[0])
    assert contents.words == "Contents 1 First words 2 Results 2.1 Tables and pictures"
    assert [link["href"] for link in contents.all("a")] == ["#first-words", "#results", "#tables-and-pictures"]
    headings = re.findall(r"<h(\d).*?>(.*?)</h", source, re.DOTALL)
    assert [level for level, _ in headings] == ["1", "2", "2", "3"]


def test_its_parts_are_named_and_it_fits_a_phone(page):
    assert page.all("html")[0]["lang"] == "en"
    assert page.all("a")[0] == {"class": "skip", "href": "#text"}
    assert page.all("main") == [{"id": "text"}]
    assert page.all("nav") == [{"aria-labelledby": "contents"}]
    assert "width=device-width" in str(page.all("meta"))
    assert [attributes["class"] for attributes in page.all("div")] == ["table"]


def test_equations_are_mathml(page):
    assert {math["display"] for math in page.all("math")} == {"inline", "block"}


def test_it_is_made_again_only_when_something_has_changed(folder, tmp_path):
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / "supplement.md").write_text("# Title\n\n![A map.](map.png)")
    made = tmp_path / "build" / "supplement.html"

    def make() -> bytes:
        pandoc.write(tmp_path / "supplement.md", made, html.convert, tmp_path / "note.json")
        return made.read_bytes()

    first, time = make(), made.stat().st_mtime_ns
    assert make() == first
    assert made.stat().st_mtime_ns == time
    (tmp_path / "curve.png").replace(tmp_path / "map.png")
    assert make() != first


def test_a_missing_image_is_one_line(folder):
    with pytest.raises(UserError, match=r"^report\.md: the image none\.png is missing"):
        html.convert("![A map.](none.png)", folder, "report.md")


def test_sections_have_numbers_only_where_the_text_asks_for_them(folder):
    content, _, _ = html.convert("# One\n\n## Two", folder, "notes.md")
    assert b'class="header-section-number"' not in content


def test_links_to_files_follow_from_where_the_page_lies(folder):
    text = "[r](figures/a.json), [s](supplement.md), [t](report.md.jinja), [u](https://example.org/a), [v](/a)"
    content, _, _ = html.convert(f"{text}\n", folder, "report.md", base="../..")
    assert [link["href"] for link in Elements(content.decode()).all("a") if not link["href"].startswith("#")] == [
        "../../figures/a.json", "supplement.html", "../../report.md.jinja", "https://example.org/a", "/a",
    ]  # fmt: skip
