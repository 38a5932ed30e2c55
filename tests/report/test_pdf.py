"""Markdown to PDF: what the reader sees, and what a failure leaves behind."""

import io
import itertools
import os
import re
import shutil
import unicodedata
from functools import partial
from pathlib import Path

import pytest
from PIL import Image
from pypdf import PdfReader

from hw2lib.errors import UserError
from hw2lib.report import pandoc
from hw2lib.report.pdf import convert, markdown_to_pdf

write_report_pdf = partial(pandoc.write, convert=convert)

REPORT = r"""---
title: Faces & digits
subtitle: A report
author: [Ada Example, Bo Muster]
date: 14 March 2026
section-numbering: "1.1"
---

# First words

See [the map](map.png), [below](#results) and [nothing](#nowhere). Maths: $x_t$ and

\begin{align}
a &= b + c \tag{7}
\end{align}

<!-- place:
secret
-->
![Curve of $\lambda$.](curve.png)
<!-- end -->

# Results

## Tables

![Map of *features*.](map.png)

![](curve.png)

| plain | table |
|---|---|
| without | caption |

<!-- begin -->
| network | parameters | source val | source test | DANN val | DANN test | target val | target test |
|---|---|---|---|---|---|---|---|
| dann-grey-plus | 12,804,114| 61.20 ± 0.81 | 60.70 ± 0.64 | 93.28 ± 0.12 | 92.87 ± 0.30 | 98.10 ± 0.05 | 97.92 ± 0.07 |

: Accuracy.
<!-- end -->

<table><caption>Speed.</caption><tr style="text-align: right;"><th>what</th><th>images/s</th></tr>
<tr><td>fast</td><td>4082</td></tr><tr><td>much faster</td><td>9082</td></tr></table>

\begin{tabular}{lr} left & right \\ 1 & 2 \end{tabular}

```
<!-- a comment in code stays -->
```
"""


def words(pdf: bytes | Path) -> str:
    """The text of a PDF with single spaces, mathematical letters as plain ones."""
    reader = PdfReader(io.BytesIO(pdf) if isinstance(pdf, bytes) else pdf)
    text = unicodedata.normalize("NFKC", " ".join(page.extract_text() for page in reader.pages))
    return " ".join(text.replace("\u200b", "").split())


def starts(reader: PdfReader) -> dict[str, float]:
    """Where each piece of text starts, in points from the left of the page."""
    where = {}
    for page in reader.pages:
        page.extract_text(visitor_text=lambda text, cm, tm, *_: where.update({text.strip(): cm[4]}))
    return where


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    for name, size in {"curve": (600, 300), "map": (300, 300), "tall": (100, 2000)}.items():
        Image.new("RGB", size, "teal").save(folder / f"{name}.png")
    (folder / "report.md").write_text(REPORT, encoding="utf-8")
    write_report_pdf(folder / "report.md", folder / "report.pdf")
    return folder


@pytest.fixture(scope="module")
def report(folder) -> PdfReader:
    return PdfReader(folder / "report.pdf")


@pytest.fixture(scope="module")
def text(folder) -> str:
    return words(folder / "report.pdf")


def test_the_title_page_stands_alone_with_the_contents(report):
    first = report.pages[0].extract_text()
    for part in ("Faces & digits", "A report", "Ada Example", "Bo Muster", "14 March 2026", "Contents"):
        assert part in first
    assert re.search(r"2\s+Results[ .]+\d", first)
    assert "Maths" not in first
    assert report.metadata.title == "Faces & digits"


def test_pages_are_a4_and_numbered_from_the_first_after_the_title(report):
    assert [round(float(side)) for side in report.pages[0].mediabox[2:]] == [595, 842]
    assert report.pages[1].extract_text().split()[-1] == "1"


def test_sections_are_the_bookmarks(report):
    assert [item.title for item in report.outline if not isinstance(item, list)] == ["1 First words", "2 Results"]
    assert [item.title for item in report.outline[-1]] == ["2.1 Tables"]


def test_it_can_be_read_aloud(report):
    root = report.trailer["/Root"]
    assert root["/Lang"] == "en"
    assert root["/MarkInfo"]["/Marked"]
    kinds, waiting = [], [root["/StructTreeRoot"]]
    while waiting:
        node = waiting.pop().get_object()
        if isinstance(node, list):
            waiting += node
        elif isinstance(node, dict):
            kinds.append((node.get("/S"), node.get("/Alt")))
            waiting += [node["/K"]] if "/K" in node else []
    assert {kind for kind, _ in kinds} >= {"/H1", "/H2", "/P", "/Table", "/TH", "/Figure", "/Link"}
    assert {words for _, words in kinds} >= {r"Curve of \lambda.", "Map of features."}


def test_figures_are_numbered_in_the_order_of_the_text(text):
    assert "Figure 1. Curve of λ." in text
    assert "Figure 2. Map of features." in text
    assert "Figure 3" not in text


def test_a_link_to_the_file_of_a_figure_is_its_number_and_a_dead_link_is_words(text):
    assert "See Figure 2, below and nothing." in text


def test_only_tables_with_a_caption_are_numbered(text):
    assert "Table 1. Accuracy." in text
    assert "Table 2. Speed." in text
    assert "Table 3" not in text


NUMBERED = """See [Figure 7](#fig-a), [Table A2](#tab-b), [[3](#ref-3)] and [Table 9](supplement.md#tab-c).

<figure id="fig-a">
<img src="curve.png" alt="A curve.">
<figcaption><b>Figure 7.</b> A curve.</figcaption>
</figure>

<span id="tab-b"></span>**Table A2.** Accuracy.

| a | b |
|---|---|
| 1 | 2 |

<span id="ref-3">[3]</span> A paper.
"""


def test_a_text_that_numbers_its_figures_and_tables_keeps_its_numbers_and_links(folder):
    pdf = markdown_to_pdf(NUMBERED, folder, "t.md")
    text = words(pdf)
    assert "See Figure 7, Table A2, [3] and Table 9." in text
    assert "Figure 7. A curve. Table A2. Accuracy. a b 1 2 [3] A paper." in text
    (page,) = PdfReader(io.BytesIO(pdf)).pages
    targets = [link.get_object() for link in page["/Annots"]]
    assert len([link for link in targets if "/Dest" in link or "/D" in link.get("/A", {})]) == 3
    assert [link["/A"]["/URI"] for link in targets if "/URI" in link.get("/A", {})] == ["supplement.pdf#tab-c"]


def test_tables_of_html_and_latex_keep_their_cells_in_order(text):
    assert "what images/s fast 4082 much faster 9082" in text
    assert "left right 1 2" in text


def test_words_of_a_data_frame_are_set_flush_left(report):
    where = starts(report)
    assert where["fast"] == where["much faster"]


def test_a_table_of_eight_columns_fits_and_keeps_each_number_on_one_line(report, text):
    assert "61.20 ± 0.81 60.70 ± 0.64 93.28 ± 0.12 92.87 ± 0.30 98.10 ± 0.05 97.92 ± 0.07" in text
    where = starts(report)
    assert 76 <= where["dann-grey-plus"] < where["61.20 ± 0.81"]
    assert where["98.10 ± 0.05"] < where["97.92 ± 0.07"] < 595 - 76 - 40


def test_numbers_are_set_flush_right(folder):
    pdf = markdown_to_pdf("| word | value |\n|---|---|\n| a | 7.5 |\n| bb | 10007.5 |", folder, "t.md")
    where = starts(PdfReader(io.BytesIO(pdf)))
    assert where["10007.5"] < where["7.5"] - 10
    assert where["a"] == where["bb"]


def colours(pdf: bytes) -> list[tuple[int, int, int]]:
    """The commonest colour of each picture."""
    images = [image.image.convert("RGB") for page in PdfReader(io.BytesIO(pdf)).pages for image in page.images]
    return [max(image.getcolors(1 << 20))[1] for image in images]


def test_large_pictures_become_small_and_no_other(tmp_path):
    noise = Image.effect_noise((300, 300), 90).convert("RGB")
    noise.paste("navy", (0, 0, 150, 300))
    noise.save(tmp_path / "photo.png")
    Image.new("RGB", (50, 50), (255, 0, 0)).save(tmp_path / "photo.jpg", quality=100)
    clear = noise.convert("RGBA")
    clear.putalpha(Image.linear_gradient("L").resize(clear.size))
    clear.save(tmp_path / "clear.png")
    pdf = markdown_to_pdf("# Three\n\n![](photo.png)\n\n![](photo.jpg)\n\n![](clear.png)", tmp_path, "notes.md")
    first, second, third, *_ = colours(pdf)
    assert max(abs(a - b) for a, b in zip(first, (0, 0, 128), strict=True)) < 12
    assert second[0] > 250 > 8 > max(second[1:])
    assert third == (0, 0, 128), "as it is, with its transparency beside it"
    assert len(pdf) < sum(file.stat().st_size for file in tmp_path.iterdir())


def test_a_folder_may_have_a_colon_in_its_name(tmp_path):
    (tmp_path / "a:b").mkdir()
    Image.new("RGB", (50, 50), "teal").save(tmp_path / "a:b/map.png")
    assert colours(markdown_to_pdf("![A map.](map.png)", tmp_path / "a:b", "notes.md")) == [(0, 128, 128)]


def test_equations_outside_of_dollars_are_set_with_their_tag(text):
    assert re.search(r"a ?= ?b ?\+ ?c ?\( ?7 ?\)", text)


def test_comments_leave_no_trace_but_those_in_code_stay(text):
    assert "secret" not in text
    assert "<!-- end" not in text
    assert "<!-- a comment in code stays -->" in text


def test_without_front_matter_the_first_heading_is_the_title(folder):
    pdf = markdown_to_pdf("# Only title\n\n## Part one\n\nText.\n\n![A tall one.](tall.png)\n\nAfter.", folder, "t.md")
    reader = PdfReader(io.BytesIO(pdf))
    assert len(reader.pages) == 1  # neither title page nor contents, and a tall picture leaves room for the text
    assert [item.title for item in reader.outline] == ["Part one"]
    assert reader.metadata.title == "Only title"
    assert words(pdf) == "Only title Part one Text. Figure 1. A tall one. After. 1"


TITLE = "---\ntitle: Pages\n---\n\n# First\n\n"


def lines(count: int) -> str:
    return "\n\n".join(["A line."] * count)


def pages(text: str, folder: Path) -> list[str]:
    """The text of each page after the title page."""
    return [words_of(page) for page in PdfReader(io.BytesIO(markdown_to_pdf(TITLE + text, folder, "t.md"))).pages[1:]]


def words_of(page) -> str:
    return " ".join(page.extract_text().split())


def test_a_figure_stays_between_its_neighbours_and_leaves_no_large_gap(folder):
    fitting = pages(lines(60), folder)[0].count("A line.")
    for count in range(fitting // 3, fitting):
        found = pages(f"{lines(count)}\n\n![A tall one.](tall.png)\n\nBehind it.\n\n# Next\n\nThe end.", folder)
        text = " ".join(found)
        assert text.index("A tall one.") < text.index("Behind it.") < text.index("Next") < text.index("The end.")
        assert "A tall one." in found[0] or count > 0.55 * fitting  # else much more than a third is white
    assert "A tall one." not in found[0]


def test_links_lead_to_headings_anchors_and_figures_and_pages_are_named(folder):
    anchor = '<a id="an-anchor"></a>'
    figure = '<figure id="a-figure">\n<img src="map.png" alt="A &quot;m&quot;">\n<figcaption>M.</figcaption>\n</figure>'
    links = "In [words](#far-away), [page](#far-away), [page](#an-anchor), [page](#a-figure) and [page](#nowhere)."
    text = f"{links}\n\n{lines(60)}\n\n{anchor}\n{figure}\n\n{lines(60)}\n\n## Far *away*\n\nHere."
    reader = PdfReader(io.BytesIO(markdown_to_pdf(TITLE + text, folder, "t.md")))
    found = [words_of(page) for page in reader.pages[1:]]
    here = next(n for n, page in enumerate(found, start=1) if "Far away" in page)
    picture = next(n for n, page in enumerate(found, start=1) if "Figure 1" in page)
    assert 1 < picture < here
    assert f"In words, page {here}, page {picture}, page {picture} and page." in found[0].replace("\xa0", " ")
    actions = [link.get_object() for link in reader.pages[1]["/Annots"]]
    assert len([link for link in actions if link["/Subtype"] == "/Link"]) == 4


def test_an_anchor_stays_with_what_follows_it(folder):
    places = set()
    fitting = pages(lines(60), folder)[0].count("A line.")
    for count in range(fitting - 6, fitting + 1):
        text = f'[page](#here)\n\n{lines(count)}\n\n<a id="here"></a>\n\n## Its heading\n\nIts text.'
        found = pages(text, folder)
        places.add(place := next(n for n, page in enumerate(found, start=1) if "Its heading" in page))
        assert f"page {place} " in found[0].replace("\xa0", " ")
    assert places == {1, 2}


@pytest.mark.parametrize("count", [22, 24, 26, 28, 30])
def test_a_table_does_not_break_before_it_has_begun(folder, count):
    def table(rows):
        return "\n".join(["| head | word |", "|---|---|", *(f"| row{n}x | w |" for n in range(rows)), "", ": A table."])

    for rows in (4, 60):
        found = pages(f"{lines(count)}\n\n## Its heading\n\n{table(rows)}", folder)
        first = next(page for page in found if "row0x" in page)
        assert "Its heading" in first
        assert "Table 1" in first
        assert "row3x" in first
        assert rows == 4 or "row9x" in first


def test_a_long_word_of_code_is_broken_inside_the_margins(folder):
    word = "x" * 300
    lines = PdfReader(io.BytesIO(markdown_to_pdf(f"```\n{word}\n```", folder, "t.md"))).pages[0].extract_text()
    lengths = [line.count("x") for line in lines.splitlines()]
    assert sum(lengths) == 300
    assert max(lengths) < 90


def test_the_same_report_gives_the_same_bytes(folder):
    write_report_pdf(folder / "report.md", folder / "again.pdf")
    assert (folder / "again.pdf").read_bytes() == (folder / "report.pdf").read_bytes()
    assert "/CreationDate" not in PdfReader(folder / "again.pdf").metadata


def test_words_with_a_backslash_are_shown_as_they_stand(folder, caplog):
    text = r"In C:\Users\me\hw2_data\digits a \lambda, \d+ and \textbf{two words}." + "\n\n\\newpage\n\n"
    text += "| path |\n|---|\n| C:\\temp\\new |\n\n\\begin{tikzpicture} \\draw (0,0); \\end{tikzpicture}"
    found = words(markdown_to_pdf(text, folder, "t.md"))
    assert r"In C:\Users\me\hw2_data\digits a \lambda, \d+ and \textbf{two words}. \newpage" in found
    assert r"C:\temp\new" in found
    assert r"\draw (0,0);" in found
    assert not caplog.records


def test_macros_and_references_are_followed(folder, caplog):
    text = r"""
\newcommand{\E}[1]{\mathbb{E}[#1]}
$\def\R{\mathbb{R}} \DeclareMathOperator{\most}{most}$

By \eqref{one}, \ref{two}, $\eqref{three}$ but not \eqref{none}: $\E{x} \in \R$ and $\most y$.

\begin{equation}
a = b \label{one}
\end{equation}

$$ c = d \tag{7} \label{two} $$

\begin{align}
e &= f \\
g &= h \label{three}
\end{align}
"""
    found = words(markdown_to_pdf(text, folder, "t.md")).replace(" ", "")
    assert r"By(1),7,(2)butnot\eqref{none}:𝔼[x]∈ℝandmosty." in found.replace("E[x]∈R", "𝔼[x]∈ℝ")
    assert "a=b(1)c=d(7)e=fg=h(2)" in found
    assert not caplog.records


@pytest.mark.parametrize("count", [12, 16, 30])
def test_a_wide_table_keeps_every_cell_apart_and_inside_the_margins(folder, count):
    header, cells = ([f"{kind}_{n:02}" for n in range(count)] for kind in ("column", "0.1234"))
    table = "\n".join(f"| {' | '.join(row)} |" for row in (header, ["---"] * count, cells))
    pdf = markdown_to_pdf(f"{table}\n\n: A wide one.", folder, "t.md")
    spans = []
    reader = PdfReader(io.BytesIO(pdf))

    def note(text, cm, tm, font, size):
        if text.strip():
            spans.append((round(cm[5]), cm[4], size * cm[0], text.strip()))

    for page in reader.pages:
        page.extract_text(visitor_text=note)
    found = [span for span in spans if span[3] in {*header, *cells}]
    assert {span[3] for span in found} == {*header, *cells}
    assert words(pdf).count("A wide one.") == 1
    rows: dict[int, list] = {}
    for y, x, _, text in found:
        rows.setdefault(y, []).append((x, text))
    for row in rows.values():
        places = sorted(x for x, _ in row)
        assert places[0] >= 76
        assert places[-1] < 595 - 76 - 15
        assert min((b - a for a, b in itertools.pairwise(places)), default=99) > 20


def test_a_pdf_is_made_again_only_when_something_has_changed(tmp_path, folder, monkeypatch):
    report, pdf, note = (tmp_path / name for name in ("report.md", "report.pdf", "note.json"))
    (tmp_path / "some folder").mkdir()
    image = tmp_path / "some folder/curve.png"
    image.write_bytes((folder / "curve.png").read_bytes())
    report.write_text("![A curve.](<some folder/curve.png>)")

    def made() -> bool:
        if pdf.exists():
            os.utime(pdf, ns=(0, 0))
        write_report_pdf(report, pdf, note=note)
        return pdf.stat().st_mtime_ns > 0

    assert made()
    assert not made()
    os.utime(image, (0, 0))
    assert not made(), "by content"
    image.write_bytes((folder / "map.png").read_bytes())
    assert made()
    report.write_text("![Another curve.](<some folder/curve.png>)")
    assert made()
    pdf.write_bytes(b"%PDF of somebody")
    assert made()
    note.write_text("[]")
    assert made()
    assert not made()
    templates = shutil.copytree(pandoc.TEMPLATES, tmp_path / "templates")
    (templates / "report.typ").write_text((templates / "report.typ").read_text().replace("a4", "a5"))
    monkeypatch.setattr(pandoc, "TEMPLATES", templates)
    assert made()
    assert not made()
    pdf.unlink()
    assert made()
    image.unlink()
    with pytest.raises(UserError, match="missing"):
        made()


def test_what_gave_a_warning_is_said_each_time(tmp_path, caplog):
    (tmp_path / "report.md").write_text("# Title\n\nNo font has \U0010f123.\n", encoding="utf-8")
    for _ in range(2):
        write_report_pdf(tmp_path / "report.md", tmp_path / "report.pdf", note=tmp_path / "note.json")
    assert caplog.messages == ["report.md, line 3: the PDF shows a box for what no font has: \U0010f123"] * 2


def test_maths_that_cannot_be_set_is_named_in_a_warning(folder, caplog):
    markdown_to_pdf(r"$x\nosuchcommand$", folder, "notes.md")
    assert "notes.md" in caplog.text
    assert r"\nosuchcommand" in caplog.text


def test_code_of_typst_in_a_text_is_text(folder):
    (page,) = PdfReader(io.BytesIO(markdown_to_pdf("`#panic()`{=typst}", folder, "a.md"))).pages
    assert "#panic()" in page.extract_text()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("![A map.](figures/no_such.png)", "figures/no_such.png is missing"),
        ("In a line ![](no_such.png) too.", "no_such.png is missing"),
        ("![A map.](page.png)", "page.png"),
        ("![A map.](cut.png)", "cut.png"),
        ("---\ntitle: [open\n---\n\nText.", "YAML"),
    ],
)
def test_bad_input_is_one_line_and_the_earlier_pdf_stays(tmp_path, folder, text, message):
    (tmp_path / "page.png").write_text("<html>Not found</html>")
    (tmp_path / "cut.png").write_bytes((folder / "map.png").read_bytes()[:200])
    (tmp_path / "report.md").write_text(text)
    (tmp_path / "report.pdf").write_bytes(b"earlier")
    with pytest.raises(UserError, match=message) as error:
        write_report_pdf(tmp_path / "report.md", tmp_path / "report.pdf")
    assert str(error.value).startswith("report.md: ")
    assert "\n" not in str(error.value)
    assert (tmp_path / "report.pdf").read_bytes() == b"earlier"
    assert sorted(os.listdir(tmp_path)) == ["cut.png", "page.png", "report.md", "report.pdf"]


def test_a_disk_that_fills_up_keeps_the_earlier_pdf(tmp_path, monkeypatch):
    (tmp_path / "report.md").write_text("# Text")
    (tmp_path / "report.pdf").write_bytes(b"earlier")

    def full(path, content):
        with path.open("wb") as file:
            file.write(content[:100])
        raise OSError(28, "No space left on device")

    original = Path.write_bytes
    monkeypatch.setattr(Path, "write_bytes", lambda p, c: full(p, c) if p.parent == tmp_path else original(p, c))
    with pytest.raises(UserError, match=r"report\.pdf: cannot write the report: No space left"):
        write_report_pdf(tmp_path / "report.md", tmp_path / "report.pdf")
    assert (tmp_path / "report.pdf").read_bytes() == b"earlier"
    assert sorted(os.listdir(tmp_path)) == ["report.md", "report.pdf"]


def test_who_is_reading_the_earlier_pdf_is_not_disturbed(tmp_path):
    (tmp_path / "report.md").write_text("# Text")
    (tmp_path / "report.pdf").write_bytes(b"earlier")
    with (tmp_path / "report.pdf").open("rb") as reader:
        write_report_pdf(tmp_path / "report.md", tmp_path / "report.pdf")
        assert reader.read() == b"earlier"
    assert words(tmp_path / "report.pdf") == "Text 1"


def test_a_report_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(UserError, match=r"report\.md: cannot read the report: No such file"):
        write_report_pdf(tmp_path / "report.md", tmp_path / "report.pdf")
    (tmp_path / "report.md").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"report\.md: cannot read the report: it is not UTF-8"):
        write_report_pdf(tmp_path / "report.md", tmp_path / "report.pdf")
