"""A notebook through nbconvert to PDF: the exporter, the command line, and the server behind JupyterLab's menu."""

import base64
import io
import os
import socket
import subprocess
import sys
import time
import unicodedata
import urllib.request
from pathlib import Path

import nbformat
import pytest
from nbconvert.exporters import get_exporter
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image
from pypdf import PdfReader

from hw2lib.errors import UserError
from hw2lib.report.exporter import ReportPDFExporter

FRAME = """<div><style scoped>.dataframe {}</style><table border="1" class="dataframe">
  <thead><tr style="text-align: right;"><th></th><th>network</th><th>val</th></tr></thead>
  <tbody><tr><th>0</th><td>deep</td><td>93.28</td></tr></tbody></table></div>"""
SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="99" height="20"><text y="15">drawn</text></svg>'


def png() -> str:
    return picture("png", "teal")


def picture(kind: str, *colours: str) -> str:
    """A picture, one that moves if it has several colours, as a notebook holds it."""
    file = io.BytesIO()
    first, *others = (Image.new("RGB", (200, 100), colour) for colour in colours)
    first.save(file, kind, **({"save_all": True, "append_images": others} if others else {}))
    return base64.b64encode(file.getvalue()).decode()


def show(data: dict, **metadata):
    return new_output("display_data", data, metadata=metadata)


def code(source: str, *outputs):
    return new_code_cell(source, outputs=list(outputs))


def notebook():
    caption = "Accuracy of three seeds, $p < 0.1$."
    picture = new_markdown_cell("![Pasted.](attachment:a.png)", attachments={"a.png": {"image/png": png()}})
    cells = [
        new_markdown_cell("# How far does it carry?\n\nWords:\n- an item"),
        code("train()", new_output("stream", name="stderr", text="a warning")),
        code(
            "page.figure(fig, 'a', caption)",
            show({"image/png": png(), "text/plain": "<Figure size>"}, **{"image/png": {"alt": caption}}),
            show({"text/markdown": caption, "text/plain": "<Markdown object>"}, hw2lib="caption"),
        ),
        code("plt.show()", show({"image/png": png(), "text/plain": "<Figure size>"})),
        code("drawing", show({"image/svg+xml": SVG, "text/plain": "<SVG object>"})),
        picture,
        code("page.table()", show({"text/markdown": "| seed | test |\n|---|---|\n| 3 | 92.5 |\n\nTable: Accuracy."})),
        code("frame", new_output("execute_result", {"text/html": FRAME, "text/plain": "frame as text"})),
        code("bar", show({"application/vnd.jupyter.widget-view+json": {}, "text/plain": "HBox(children=...)"})),
        code("print('printed')", new_output("stream", name="stdout", text="printed\n")),
        code("1 / 0", new_output("error", ename="E", evalue="e", traceback=["\x1b[31mZeroDivisionError\x1b[0m: zero"])),
        new_markdown_cell("![Beside.](beside.png)"),
    ]
    return new_notebook(cells=cells)


def words(pdf: bytes) -> str:
    text = " ".join(page.extract_text() for page in PdfReader(io.BytesIO(pdf)).pages)
    return " ".join(unicodedata.normalize("NFKC", text).split())


def export(nb, folder: Path, **traits) -> tuple[bytes, dict]:
    return ReportPDFExporter(**traits).from_notebook_node(nb, {"metadata": {"name": "51_dann", "path": str(folder)}})


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("notebooks")
    (folder / "beside.png").write_bytes(base64.b64decode(png()))
    nbformat.write(notebook(), folder / "51 dänn.ipynb")
    return folder


@pytest.fixture
def unused_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


@pytest.fixture(scope="module")
def text(folder) -> str:
    return words(export(notebook(), folder)[0])


def test_nbconvert_finds_the_exporter_and_jupyterlab_lists_it():
    assert get_exporter("report_pdf") is ReportPDFExporter
    assert ReportPDFExporter.export_from_notebook


def test_the_title_is_the_first_heading(folder):
    pdf, resources = export(notebook(), folder)
    assert PdfReader(io.BytesIO(pdf)).metadata.title == "How far does it carry?"
    assert resources["output_extension"] == ".pdf"
    assert not resources.get("outputs")  # or the writer would leave a folder of pictures beside the PDF


def test_a_figure_has_its_caption_once_and_pictures_without_have_none(text):
    assert text.count("Accuracy of three seeds, p < 0.1.") == 1
    assert "Figure 1. Accuracy of three seeds" in text
    assert "Figure 2. Pasted." in text
    assert "Figure 3. Beside." in text
    assert "Figure 4" not in text
    assert "png" not in text
    assert "svg" not in text
    assert "drawn" in text


def test_tables_come_as_tables(text):
    assert "Table 1. Accuracy. seed test 3 92.5" in text
    assert "network val 0 deep 93.28" in text
    assert "frame as text" not in text


def test_what_is_not_for_readers_is_left_out(text):
    for part in ("a warning", "HBox", "<Figure", "<Markdown", "<SVG", "train()", "Appendix"):
        assert part not in text


def test_printed_text_and_errors_stay(text):
    assert "printed" in text
    assert "ZeroDivisionError: zero" in text
    assert "[31m" not in text


def test_code_is_shown_in_place_or_at_the_end(folder):
    inline = words(export(notebook(), folder, code="inline")[0])
    assert inline.index("train()") < inline.index("Figure 1.") < inline.index("print('printed')")
    appendix = words(export(notebook(), folder, code="appendix")[0])
    assert appendix.index("Beside.") < appendix.index("Appendix: code") < appendix.index("train()")
    assert appendix.count("train()") == 1


def test_a_notebook_without_anything_is_a_page():
    pdf, _ = ReportPDFExporter().from_notebook_node(new_notebook())
    assert len(PdfReader(io.BytesIO(pdf)).pages) == 1


def test_a_missing_image_names_notebook_and_image(tmp_path):
    with pytest.raises(UserError, match=r"^51_dann\.ipynb: the image beside\.png is missing"):
        export(notebook(), tmp_path)


def test_the_command_line_writes_the_pdf_and_a_failure_keeps_it(folder):
    def nbconvert():
        command = [sys.executable, "-m", "nbconvert", "--to", "report_pdf", "--ReportPDFExporter.code=appendix"]
        return subprocess.run([*command, "51 dänn.ipynb"], cwd=folder, capture_output=True, text=True)

    done = nbconvert()
    assert done.returncode == 0, done.stderr
    pdf = (folder / "51 dänn.pdf").read_bytes()
    assert "Appendix: code" in words(pdf)
    assert sorted(path.name for path in folder.iterdir()) == ["51 dänn.ipynb", "51 dänn.pdf", "beside.png"]

    (folder / "beside.png").rename(folder / "gone.png")
    try:
        done = nbconvert()
    finally:
        (folder / "gone.png").rename(folder / "beside.png")
    assert done.returncode != 0
    assert "51 dänn.ipynb: the image beside.png is missing" in done.stderr.splitlines()[-1]
    assert (folder / "51 dänn.pdf").read_bytes() == pdf


@pytest.mark.slow
def test_the_server_hands_out_the_pdf_again_and_again(folder, tmp_path, unused_port):
    places = {f"JUPYTER_{kind}_DIR": str(tmp_path / kind) for kind in ("CONFIG", "RUNTIME")}
    options = [f"--ServerApp.port={unused_port}", "--ServerApp.port_retries=0", "--IdentityProvider.token=secret"]
    command = [sys.executable, "-m", "jupyter_server", "--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1"]
    server = subprocess.Popen(
        [*command, *options, f"--ServerApp.root_dir={folder}"], env=os.environ | places, stderr=subprocess.DEVNULL
    )
    root = f"http://127.0.0.1:{unused_port}"
    try:
        for _ in range(150):
            try:
                urllib.request.urlopen(f"{root}/api/status?token=secret", timeout=5)
                break
            except OSError:
                time.sleep(0.2)
        url = f"{root}/nbconvert/report_pdf/51%20d%C3%A4nn.ipynb?download=true&token=secret"
        for _ in range(2):
            with urllib.request.urlopen(url, timeout=30) as answer:
                assert answer.headers.get_content_type() == "application/pdf"
                assert "51%20d%C3%A4nn.pdf" in answer.headers["Content-Disposition"]
                assert "Figure 3. Beside." in words(answer.read())
    finally:
        server.terminate()
        server.wait(10)


PLOTLY, VEGA = "application/vnd.plotly.v1+json", "application/vnd.vegalite.v5+json"
WIDGET = "application/vnd.jupyter.widget-view+json"
LIVE = '<div><script>window.Plotly = {};</script><div id="a"></div>\n\n<script>\n\ndraw()\n\n</script></div>'


def warnings_of(cells: list, folder: Path, caplog) -> tuple[bytes, list[str]]:
    """The PDF of these cells, and what is said of them, without the notebook's name."""
    caplog.clear()
    pdf, _ = export(new_notebook(cells=cells), folder)
    lines = [record.getMessage() for record in caplog.records]
    assert all(line.startswith("51_dann.ipynb, ") for line in lines)
    return pdf, [line.removeprefix("51_dann.ipynb, ") for line in lines]


@pytest.mark.parametrize("kind", ["gif", "webp"])
def test_a_picture_that_moves_is_shown_as_it_begins_and_that_is_said(folder, caplog, kind):
    moving = {f"image/{kind}": picture(kind, "teal", "red"), "text/plain": "<Image object>"}
    still = {f"image/{kind}": picture(kind, "navy"), "text/plain": "<Image object>"}
    captioned = show(moving, **{f"image/{kind}": {"alt": "It moves."}})
    pdf, told = warnings_of([code("move()", captioned), code("stay()", show(still))], folder, caplog)
    images = [image.image.convert("RGB") for page in PdfReader(io.BytesIO(pdf)).pages for image in page.images]
    assert [max(image.getcolors())[1] for image in images] == [(0, 128, 128), (0, 0, 128)] or kind == "webp"
    assert len(images) == 2
    assert "Figure 1. It moves." in words(pdf)
    assert "Image object" not in words(pdf)
    assert told == [f"cell 1 (move()): of a picture that moves the PDF shows the beginning: output_0_0.{kind}"]


def test_a_plot_of_a_browser_is_shown_by_its_static_picture_or_named(folder, caplog):
    cells = [
        code("first", show({PLOTLY: {}, "image/png": png(), "text/html": LIVE})),
        code("second", show({PLOTLY: {}}), show({PLOTLY: {}})),
        code("third", show({PLOTLY: {}, "text/html": LIVE})),
        code("fourth", show({VEGA: {}, "text/plain": "alt.Chart(...)"})),
        code("slider", show({WIDGET: {}, "text/plain": "IntSlider(value=0)"})),
        code("bitmap", show({"image/bmp": "Qk0="})),
        code("bar", show({WIDGET: {}, "text/plain": "steps:   0%|          | 0/3 [00:00<?, ?step/s]"})),
    ]
    pdf, told = warnings_of(cells, folder, caplog)
    assert len([image for page in PdfReader(io.BytesIO(pdf)).pages for image in page.images]) == 1
    assert "alt.Chart(...)" in words(pdf)
    assert [line.split(", and")[0] for line in told[:4]] == [
        f"cell 2 (second): a page cannot show {PLOTLY}",
        f"cell 4 (fourth): a page cannot show {VEGA}",
        f"cell 5 (slider): a page cannot show {WIDGET}",
        "cell 6 (bitmap): a page cannot show image/bmp",
    ]
    assert [line.split(">")[0] for line in told[4:]] == ["cell 3 (third): a page cannot show HTML's <script"]


def test_what_a_page_cannot_show_of_markdown_is_named_by_its_cell_once(folder, caplog):
    cells = [
        new_markdown_cell("Nothing to say: 1 × 1 → 1."),
        new_markdown_cell("\U0010f123 and \U0010f123 and \U0010f124, $x \\nosuchcommand$"),
        new_markdown_cell("# No -->\n\n\U0010f123 <video src='a.mp4'></video>\n\n<iframe src='b.html'></iframe>"),
    ]
    _, told = warnings_of(cells, folder, caplog)
    second = "cell 2 (\U0010f123 and \U0010f123 and \U0010f124, $x \\nosuchcommand$): "
    assert told == [
        "cell 3 (# No ->): a page cannot show HTML's <video>: <video src='a.mp4'>",
        "cell 3 (# No ->): a page cannot show HTML's <iframe>: <iframe src='b.html'>",
        second + "this formula is shown as its source: x \\nosuchcommand",
        second + "the PDF shows a box for what no font has: \U0010f123, \U0010f124",
        "cell 3 (# No ->): the PDF shows a box for what no font has: \U0010f123",
    ]
