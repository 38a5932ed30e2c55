"""Notebooks in JupyterLab as a reader meets them: Chromium opens one, runs all cells, moves sliders, exports a PDF."""

import io
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell
from pypdf import PdfReader

from hw2lib import paths

api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install -e '.[dev]'")

NOTEBOOK, EXPLORERS = "50_dann_architectures.ipynb", "90_explore.ipynb"
LABEL = "Report_pdf"  # JupyterLab makes it of the exporter's name
TITLE = "What does a domain-adversarial network look like?"
SECONDS = 180  # the machine may be busy

# No question about news over the page, and every cell in it, also one out of view.
SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "notebook-extension/tracker": {"windowingMode": "none"},
}


@pytest.fixture(scope="module")
def browser():
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    with api.sync_playwright() as playwright:
        path = next(filter(None, map(shutil.which, names)), playwright.chromium.executable_path)
        if not Path(path).exists():
            pytest.skip("needs a browser: install chromium, or run `playwright install chromium`")
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def server(browser, tmp_path_factory):
    """The address of a notebook by its name, in a JupyterLab with settings of its own and copies of the notebooks."""
    home, folder = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("notebooks")
    for name, settings in SETTINGS.items():
        file = home / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(settings))
    for name in (NOTEBOOK, EXPLORERS):
        notebook = nbformat.read(paths.NOTEBOOKS / name, as_version=4)
        for cell in notebook.cells:
            cell.source = cell.source.replace('preset: str = "quick"', 'preset: str = "smoke"')
        notebook.cells.append(new_code_cell("print('this', 'is', 'the', 'end')"))
        nbformat.write(notebook, folder / name)
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    places = ("JUPYTER_CONFIG", "JUPYTER_DATA", "JUPYTER_RUNTIME", "JUPYTERLAB_WORKSPACES")
    environment = {f"{place}_DIR": str(home / place) for place in places}
    environment |= {"JUPYTERLAB_SETTINGS_DIR": str(home / "settings"), "IPYTHONDIR": str(home / "ipython")}
    options = [f"--ServerApp.port={port}", "--ServerApp.port_retries=0", "--IdentityProvider.token=secret"]
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1", *options]
    process = subprocess.Popen(
        [*command, f"--ServerApp.root_dir={folder}"],
        env=os.environ | environment | {"HW2_BUILD": str(home / "build")},
        stderr=(home / "log").open("w"),
    )
    try:
        for _ in range(5 * SECONDS):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/api/status?token=secret", timeout=5)
                break
            except OSError:
                assert process.poll() is None, (home / "log").read_text()
                time.sleep(0.2)
        yield lambda name: f"http://127.0.0.1:{port}/lab/tree/{name}?token=secret&reset"
    finally:
        process.terminate()  # it shuts its kernels down
        process.wait(30)


@pytest.fixture(scope="module")
def lab(browser, server):
    """The page with the notebook after Run All Cells."""
    return run_all(browser, server(NOTEBOOK))


@pytest.fixture(scope="module")
def explorers(browser, server):
    """The same of the explorers."""
    return run_all(browser, server(EXPLORERS))


def run_all(browser, address: str):
    page = browser.new_page(viewport={"width": 1280, "height": 1600})
    page.context.set_default_timeout(SECONDS * 1000)
    page.goto(address)
    page.locator(".jp-Notebook .jp-Cell").first.wait_for()
    # Cells that are run before the kernel is there are dropped without a word; only the status bar knows.
    page.locator("#jp-main-statusbar").get_by_text("hw2lib | Idle").wait_for()
    choose(page, "Run", "Run All Cells")
    output = page.locator(".jp-OutputArea-output")
    output.filter(has_text="this is the end").or_(errors(page)).first.wait_for()
    return page


def choose(page, *path: str) -> None:
    """Click a menu of the menu bar, then an item in each menu that opens."""
    page.get_by_role("menubar").get_by_text(path[0], exact=True).click()
    for name in path[1:]:
        page.locator(".lm-Menu-itemLabel").get_by_text(name, exact=True).click()


def errors(page):
    return page.locator('[data-mime-type="application/vnd.jupyter.error"], .jp-RenderedText:has-text("Traceback")')


def test_every_cell_runs_without_an_error(lab):
    assert errors(lab).all_inner_texts() == []
    prompts = lab.locator(".jp-CodeCell .jp-InputPrompt")
    api.expect(prompts).to_have_text([f"[{i + 1}]:" for i in range(prompts.count())])  # the last follows its output


def test_the_figure_is_shown_and_has_its_caption_below_it_once(lab):
    output = lab.locator(".jp-Cell", has_text="figures.idea()").locator(".jp-OutputArea")
    image = output.locator("img")
    image.scroll_into_view_if_needed()
    image.evaluate("image => image.decode()")  # raises for what is no picture
    assert image.evaluate("image => image.complete && image.naturalWidth > 300 && image.clientWidth > 300")
    caption = "The three parts of a domain-adversarial network, and how the strength of the gradient reversal rises"
    assert output.inner_text().count(caption) == 1
    assert output.get_by_text(caption).bounding_box()["y"] > image.bounding_box()["y"]


def test_tables_are_tables_with_captions(lab):
    parameters = lab.locator(".jp-OutputArea-output", has_text="Table: Trainable parameters of each network by part.")
    api.expect(parameters.locator("tbody tr")).to_have_count(5)
    api.expect(parameters.locator("th").first).to_have_text("network")
    api.expect(parameters.locator("td[align=right]", has_text="41,040")).to_have_count(1)
    layers = lab.locator(".jp-OutputArea-output", has_text="Table: Layers of dann-")
    api.expect(layers).to_have_count(5)
    api.expect(layers.locator("table")).to_have_count(5)
    assert "---" not in "".join(lab.locator(".jp-OutputArea-output").all_inner_texts())


def test_the_export_menu_gives_the_pdf(lab, tmp_path):
    with lab.context.expect_event("download", timeout=60_000) as download:  # another tab asks for it
        choose(lab, "File", "Save and Export Notebook As", LABEL)
    assert download.value.suggested_filename == NOTEBOOK.replace(".ipynb", ".pdf")
    download.value.save_as(tmp_path / "page.pdf")
    pdf = (tmp_path / "page.pdf").read_bytes()
    assert pdf.startswith(b"%PDF")
    reader = PdfReader(io.BytesIO(pdf))
    assert reader.metadata.title == TITLE
    text = " ".join(" ".join(page.extract_text() for page in reader.pages).split())
    assert TITLE in text
    assert "Figure 1. The three parts" in text
    assert "Table 1. Trainable parameters" in text
    assert "page.finish()" not in text


def explorer(page, name: str):
    """The output of the cell that makes an explorer."""
    return page.locator(".jp-Cell", has_text=f"explore.{name}(").locator(".jp-OutputArea-output")


def press(output, slider: str, key: str) -> None:
    handle = output.locator(".widget-hslider", has_text=slider).locator(".noUi-handle")
    handle.focus()
    handle.press(key)


def test_a_picture_follows_the_keyboard(explorers):
    assert errors(explorers).all_inner_texts() == []
    output = explorer(explorers, "denoiser")
    image = output.locator("img")
    before = image.get_attribute("src")
    press(output, "digit", "ArrowRight")
    api.expect(image).not_to_have_attribute("src", before, timeout=SECONDS * 1000)
    api.expect(output).to_contain_text("Digit 4 by 8 steps of DDIM")
    image.evaluate("image => image.decode()")
    assert image.evaluate("image => image.naturalWidth > 100 && image.clientWidth > 100")


def test_a_drawing_can_be_stopped(explorers):
    output = explorer(explorers, "denoiser")
    press(output, "images", "End")
    stop = output.get_by_role("button", name="Stop")
    stop.click()  # once it is enabled
    api.expect(output).to_contain_text("Stopped", timeout=SECONDS * 1000)
    api.expect(stop).to_be_disabled()


def test_the_way_from_noise_is_played(explorers):
    output = explorer(explorers, "reverse_process")
    image = output.locator("img")
    before = image.get_attribute("src")
    output.locator(".widget-play button").first.click()
    api.expect(image).not_to_have_attribute("src", before, timeout=SECONDS * 1000)
    api.expect(output).to_contain_text("Digit 3 at t = 0 of 1,000", timeout=SECONDS * 1000)
