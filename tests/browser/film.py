"""Makes the moving picture of the README, by hand: python tests/browser/film.py

A browser walks alpha of the explorer `interpolation` from 0 to 1 by keyboard; a frame is a screenshot of the explorer.
"""

import io
import tempfile
from pathlib import Path

from lab_page import explorer, lab, open_browser, open_notebook, press, run_all
from PIL import Image
from playwright.sync_api import expect, sync_playwright

from hw2lib import paths

NOTEBOOK, FILE = "90_explore.ipynb", paths.ROOT / "figures" / "explore.webp"
NOISES = {"from noise": 3, "to noise": 7}  # of the explorer, which begins with 0 and 1
STEPS = 20  # of the slider, 0.05 each
WIDTH = 710  # pixels; all of the picture, and of the text above it
FRAME, END = 250, 1200  # milliseconds that a frame is shown, and the first and the last


def frames(page) -> list[Image.Image]:
    """The explorer at each alpha, drawn by a key press each."""
    output = explorer(page, "interpolation")
    for slider, noise in NOISES.items():
        press(output, slider, "Home")
        for _ in range(noise):
            press(output, slider, "ArrowRight")
    press(output, "α", "Home")
    between, taken = "Between noise {:02d} and {:02d}".format(*NOISES.values()), []
    for step in range(STEPS + 1):
        if step:
            press(output, "α", "ArrowRight")
        expect(output).to_contain_text(f"{between} at α = {step / STEPS:g};", timeout=60_000)
        output.locator("img").evaluate("image => image.decode()")
        box = output.locator(".widget-vbox").bounding_box()
        png = page.screenshot(clip=box | {"width": WIDTH}, full_page=True)
        taken.append(Image.open(io.BytesIO(png)).convert("RGB"))
    return taken


def main() -> None:
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as home:
        browser = open_browser(playwright)
        if not browser:
            raise SystemExit("film: needs a browser: install chromium")
        with lab([NOTEBOOK], Path(home), preset="quick") as address:
            page = open_notebook(browser, address(NOTEBOOK), [])
            run_all(page)
            first, *others = frames(page)
        browser.close()
    times = [END, *[FRAME] * (len(others) - 1), END]
    first.save(FILE, save_all=True, append_images=others, duration=times, loop=0, quality=65, method=6)
    print(f"{FILE}: {len(times)} frames, {FILE.stat().st_size / 1000:.0f} KB")


if __name__ == "__main__":
    main()
