"""Notebooks in JupyterLab as a reader meets them: Chromium opens one, runs all cells, moves sliders, exports a PDF."""

import io
import re

import pytest
from lab_page import SECONDS, choose, copy, errors, explorer, lab, open_browser, open_notebook, press, run_all, serve
from pypdf import PdfReader

api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install -e '.[dev]'")

NOTEBOOK, DRAWN, EXPLORERS = "50_dann_architectures.ipynb", "20_acgan_architecture.ipynb", "90_explore.ipynb"
LABEL = "Report_pdf"  # JupyterLab makes it of the exporter's name
TITLE = "What does a domain-adversarial network look like?"


@pytest.fixture(scope="module")
def browser():
    with api.sync_playwright() as playwright:
        browser = open_browser(playwright)
        if not browser:
            pytest.skip("needs a browser: install chromium, or run `playwright install chromium`")
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def said():
    """Errors in the console of all pages."""
    return []


@pytest.fixture(scope="module")
def opened(browser, said, tmp_path_factory):
    """Opens a notebook by its name, and runs all cells."""
    with lab([NOTEBOOK, DRAWN, EXPLORERS], tmp_path_factory.mktemp("lab"), preset="smoke") as address:

        def opened(name: str):
            page = open_notebook(browser, address(name), said)
            run_all(page)
            return page

        yield opened


@pytest.fixture(scope="module")
def page(opened):
    return opened(NOTEBOOK)


@pytest.fixture(scope="module")
def drawn(opened):
    return opened(DRAWN)


@pytest.fixture(scope="module")
def explorers(opened):
    return opened(EXPLORERS)


def test_every_cell_runs_without_an_error(page):
    assert errors(page).all_inner_texts() == []
    prompts = page.locator(".jp-CodeCell .jp-InputPrompt")
    api.expect(prompts).to_have_text([f"[{i + 1}]:" for i in range(prompts.count())])  # the last follows its output


def test_the_figure_is_shown_and_has_its_caption_below_it_once(page):
    output = page.locator(".jp-Cell", has_text="figures.idea()").locator(".jp-OutputArea")
    image = output.locator("img")
    image.scroll_into_view_if_needed()
    image.evaluate("image => image.decode()")  # raises for what is no picture
    assert image.evaluate("image => image.complete && image.naturalWidth > 300 && image.clientWidth > 300")
    caption = "A domain-adversarial network, and the strength of its gradient reversal in the course of training."
    assert output.inner_text().count(caption) == 1
    assert output.get_by_text(caption).bounding_box()["y"] > image.bounding_box()["y"]


def test_tables_are_tables_with_captions(page):
    parameters = page.locator(".jp-OutputArea-output", has_text="Table: Trainable parameters of each network by part.")
    api.expect(parameters.locator("tbody tr")).to_have_count(5)
    api.expect(parameters.locator("th").first).to_have_text("network")
    api.expect(parameters.locator("td[align=right]", has_text="41,040")).to_have_count(1)
    layers = page.locator(".jp-OutputArea-output", has_text="Table: Layers of dann-")
    api.expect(layers).to_have_count(5)
    api.expect(layers.locator("table")).to_have_count(5)
    assert "---" not in "".join(page.locator(".jp-OutputArea-output").all_inner_texts())


def test_the_export_menu_gives_the_pdf(page, tmp_path):
    with page.context.expect_event("download", timeout=60_000) as download:  # another tab asks for it
        choose(page, "File", "Save and Export Notebook As", LABEL)
    assert download.value.suggested_filename == NOTEBOOK.replace(".ipynb", ".pdf")
    download.value.save_as(tmp_path / "page.pdf")
    pdf = (tmp_path / "page.pdf").read_bytes()
    assert pdf.startswith(b"%PDF")
    reader = PdfReader(io.BytesIO(pdf))
    assert reader.metadata.title == TITLE
    text = " ".join(" ".join(sheet.extract_text() for sheet in reader.pages).split())
    assert TITLE in text
    assert "Figure 1. A domain-adversarial network" in text
    assert "Table 1. Trainable parameters" in text
    assert "page.finish()" not in text


@pytest.mark.parametrize(
    ("name", "slider", "text"),
    [
        ("denoiser", "digit", "Digit 4 by 8 steps of DDIM"),
        ("gans", "α", "From noise 0 to noise 1 at α = 0.55"),
        ("acgan", "from noise", "from 1 to 1 at α = 0"),
        ("adaptation", "target image", "image 1, truth"),
    ],
)
def test_a_picture_follows_the_keyboard(explorers, name, slider, text):
    assert errors(explorers).all_inner_texts() == []
    output = explorer(explorers, name)
    image = output.locator("img")
    before = image.get_attribute("src")
    press(output, slider, "ArrowRight")
    api.expect(output).to_contain_text(text, timeout=SECONDS * 1000)
    api.expect(image).not_to_have_attribute("src", before)
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


def test_cells_run_again_with_another_parameter(drawn):
    assert errors(drawn).all_inner_texts() == []
    caption = drawn.locator(".jp-OutputArea-output", has_text="Generator (above) and discriminator (below) of acgan")
    api.expect(caption).to_have_count(1)
    drawn.locator(".jp-Cell .cm-line", has_text="network: str =").get_by_text('"acgan"').dblclick()
    drawn.keyboard.type("dcgan")
    choose(drawn, "Run", "Run All Cells")
    drawn.locator(".jp-OutputArea-output", has_text="Generator (above) and discriminator (below) of dcgan").wait_for()
    api.expect(caption).to_have_count(0)
    api.expect(drawn.locator(".jp-OutputArea-output", has_text="Layers of dcgan")).to_have_count(1)
    assert errors(drawn).all_inner_texts() == []


def test_the_console_names_no_error(page, drawn, explorers, said):
    assert said == []


def test_the_explorers_are_a_page_without_code(browser, tmp_path):
    pytest.importorskip("voila", reason="needs Voila: pip install -e '.[dev]'")
    copy([EXPLORERS], tmp_path, preset="smoke", cells=5)  # to the first explorer
    options = ["--Voila.token=secret", "--progressive_rendering=True"]  # as in the Makefile, but for the token
    with serve(["voila", str(tmp_path / EXPLORERS), *options], tmp_path) as address:
        page = browser.new_page()
        page.goto(address)
        api.expect(page).to_have_url(re.compile("/login"))
        page.goto(f"{address}/?token=secret", wait_until="commit")
        image = page.locator(".widget-image")
        image.wait_for(timeout=SECONDS * 1000)
        api.expect(page.get_by_text("explore.denoiser")).to_have_count(0)
        before = image.get_attribute("src")
        press(page.locator("body"), "digit", "ArrowRight")
        api.expect(page.get_by_text("Digit 4 by 8 steps of DDIM")).to_have_count(1, timeout=SECONDS * 1000)
        api.expect(image).not_to_have_attribute("src", before)
        page.close()
