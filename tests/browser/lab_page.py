"""JupyterLab with settings of its own, and a notebook in it as a reader works it: menus, cells, sliders."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
from nbformat.v4 import new_code_cell

from hw2lib import paths

if TYPE_CHECKING:  # tests are skipped where it is not installed
    from playwright.sync_api import Browser, Locator, Page, Playwright

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
SECONDS = 180  # the machine may be busy
END = "this is the end"  # what the last cell prints

# No question about news over the page, and every cell in it, also one out of view.
SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "notebook-extension/tracker": {"windowingMode": "none"},
}


def open_browser(playwright: "Playwright") -> "Browser | None":
    """A Chromium of this machine, or None."""
    path = next(filter(None, map(shutil.which, BROWSERS)), playwright.chromium.executable_path)
    if not Path(path).exists():
        return None
    return playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])


def copy(names: Sequence[str], folder: Path, preset: str, cells: int | None = None) -> None:
    """Notebooks, or their first cells, with another preset, and a last cell that says that it has run."""
    for name in names:
        notebook = nbformat.read(paths.NOTEBOOKS / name, as_version=4)
        notebook.cells = notebook.cells[:cells]
        for cell in notebook.cells:
            cell.source = cell.source.replace('preset: str = "quick"', f'preset: str = "{preset}"')
        notebook.cells.append(new_code_cell(f"print(*{END.split()})"))
        nbformat.write(notebook, folder / name)


@contextmanager
def serve(command: Sequence[str], home: Path) -> Iterator[str]:
    """The address of a server of notebooks that this module of Python starts, with nothing of the user's settings."""
    for name, settings in SETTINGS.items():
        file = home / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(settings))
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    places = ("JUPYTER_CONFIG", "JUPYTER_DATA", "JUPYTER_RUNTIME", "JUPYTERLAB_WORKSPACES")
    environment = {f"{place}_DIR": str(home / place) for place in places}
    environment |= {"JUPYTERLAB_SETTINGS_DIR": str(home / "settings"), "IPYTHONDIR": str(home / "ipython")}
    process = subprocess.Popen(
        [sys.executable, "-m", *command, "--no-browser", f"--port={port}"],
        env={"HW2_BUILD": str(home / "build")} | os.environ | environment,
        stderr=(home / "log").open("w"),
    )
    try:
        for _ in range(5 * SECONDS):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/login", timeout=5)
                break
            except OSError:
                assert process.poll() is None, (home / "log").read_text()
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()  # it shuts its kernels down
        process.wait(30)


@contextmanager
def lab(names: Sequence[str], home: Path, preset: str) -> Iterator[Callable[[str], str]]:
    """The address of a notebook by its name, in a JupyterLab with copies of these."""
    folder = home / "notebooks"
    folder.mkdir()
    copy(names, folder, preset)
    settings = [
        "--allow-root",
        "--ServerApp.ip=127.0.0.1",
        "--ServerApp.port_retries=0",
        "--IdentityProvider.token=secret",
    ]
    with serve(["jupyterlab", *settings, f"--ServerApp.root_dir={folder}"], home) as address:
        yield lambda name: f"{address}/lab/tree/{name}?token=secret&reset"


def open_notebook(browser: "Browser", address: str, said: list[str]) -> "Page":
    """The page with a notebook whose kernel is ready; what it says in the browser's console goes to `said`."""
    page = browser.new_page(viewport={"width": 1280, "height": 1600})
    page.context.set_default_timeout(SECONDS * 1000)
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(address)
    page.locator(".jp-Notebook .jp-Cell").first.wait_for()
    # Cells that are run before the kernel is there are dropped without a word; only the status bar knows.
    page.locator("#jp-main-statusbar").get_by_text("hw2lib | Idle").wait_for()
    return page


def run_all(page: "Page") -> None:
    """Run All Cells, and wait until the last has run or one has failed."""
    choose(page, "Run", "Run All Cells")
    page.locator(".jp-OutputArea-output").filter(has_text=END).or_(errors(page)).first.wait_for()


def choose(page: "Page", *path: str) -> None:
    """Click a menu of the menu bar, then an item in each menu that opens."""
    page.get_by_role("menubar").get_by_text(path[0], exact=True).click()
    for name in path[1:]:
        page.locator(".lm-Menu-itemLabel").get_by_text(name, exact=True).click()


def errors(page: "Page") -> "Locator":
    """What cells that failed show."""
    return page.locator('[data-mime-type="application/vnd.jupyter.error"], .jp-RenderedText:has-text("Traceback")')


def explorer(page: "Page", name: str) -> "Locator":
    """The output of the cell that makes an explorer."""
    return page.locator(".jp-Cell", has_text=f"explore.{name}(").locator(".jp-OutputArea-output")


def press(output: "Locator", slider: str, key: str) -> None:
    """Move a slider of an explorer by keyboard."""
    handle = output.locator(".widget-hslider", has_text=slider).locator(".noUi-handle")
    handle.focus()
    handle.press(key)
