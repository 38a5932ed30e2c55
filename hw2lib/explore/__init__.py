"""Explorers: pictures that follow sliders, in JupyterLab. A notebook calls one in the last line of a cell.

    explore.denoiser()

This file is what they share: controls, a picture, the time that it took, and a button that stops it. The first picture
is drawn in the cell itself, the others in a thread of their own: in the one that takes messages of widgets, that of the
button would wait behind the drawing that it is meant to stop. Run by papermill, an explorer leaves its first picture.
"""

import base64
import html
import io
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from importlib import import_module
from typing import Any

import ipywidgets as widgets
import matplotlib.pyplot as plt
from ipywidgets import Layout
from matplotlib.figure import Figure
from torch import nn

from hw2lib.errors import UserError
from hw2lib.training.run_folder import RunFolder, shipped_run

IMAGES = ("acgan", "denoiser", "eta", "gans", "interpolation", "reverse_process")
PLACES = dict.fromkeys(IMAGES, "images") | {"adaptation": "domains"}  # explorers, and the modules that they are in

RESOLUTION = 110  # pixels of an inch
LONGEST = "460px"  # of a control

__all__ = list(PLACES)


def __getattr__(name: str) -> Any:
    """An explorer; nobody waits for the imports of another."""
    if name in PLACES:
        return getattr(import_module(f"{__name__}.{PLACES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


_one_at_a_time = ThreadPoolExecutor(1, "explorer")  # each drawing takes all cores
_current = threading.local()


class Stopped(Exception):
    """Nobody waits for this picture any more."""


def stoppable(network: nn.Module) -> None:
    """Make each call of a network a place where the drawing that it is part of can be stopped."""
    network.register_forward_pre_hook(lambda *_: _check())


def _check() -> None:
    stop = getattr(_current, "stop", None)
    if stop and stop.is_set():
        raise Stopped


class Explorer(widgets.VBox):
    """Controls above a picture.

    A change of a control stops the drawing under way, if any, and begins another; what was drawn once is shown again.

    Args:
        draw: takes the values of the controls by name, and returns a figure and a sentence on it. A `UserError` is
            shown in place of the sentence.
        controls: widgets with a ``value`` and a description.
        others: widgets that move these, such as a play button.
    """

    def __init__(
        self,
        draw: Callable[..., tuple[Figure, str]],
        controls: Mapping[str, widgets.ValueWidget],
        others: Sequence[widgets.Widget] = (),
    ) -> None:
        self.controls = dict(controls)
        self.picture = widgets.Image(format="png", layout=Layout(max_width="100%", align_self="flex-start"))
        self.text = widgets.HTML()
        self.stop = widgets.Button(description="Stop", tooltip="Stop drawing", icon="stop", disabled=True)
        self.stop.layout = Layout(width="6em", flex="none")
        self._draw_figure, self._drawn, self._lock = draw, {}, threading.Lock()
        self._stopped, self._future = threading.Event(), Future()
        for control in (*self.controls.values(), *others):
            control.style.description_width = "10em"
            control.layout.width = LONGEST
        row = widgets.HBox([self.stop, self.text], layout=Layout(align_items="center"))
        super().__init__([*others, *self.controls.values(), row, self.picture])
        self._make(self._values(), self._stopped)
        self.stop.on_click(lambda _: self._stopped.set())
        for control in self.controls.values():
            control.observe(self._follow, "value")

    def wait(self) -> None:
        """Return when the picture is that of the controls, or an error or that it was stopped is shown."""
        self._future.result()

    def _values(self) -> dict[str, Any]:
        return {name: control.value for name, control in self.controls.items()}

    def _follow(self, change: Any = None) -> None:
        with self._lock:
            self._stopped.set()
            self._stopped = threading.Event()
            values = self._values()
            if drawn := self._drawn.get(tuple(values.values())):
                self._show(*drawn, "seen before")
                return
            self.stop.disabled = False
            self.text.value = "drawing ..."
            self._future = _one_at_a_time.submit(self._make, values, self._stopped)

    def _make(self, values: dict[str, Any], stop: threading.Event) -> None:
        """Draw, and show the picture unless another is wanted by now."""
        _current.stop, began = stop, time.perf_counter()
        png, took = None, ""
        try:
            _check()
            figure, text = self._draw_figure(**values)
            png = _png(figure)
            took = f"{time.perf_counter() - began:.2f} s"
            self._drawn[tuple(values.values())] = png, text
        except Stopped:
            text = "Stopped: the picture is an earlier one."
        except UserError as error:
            text = str(error)
        except Exception as error:  # nobody sees what a thread raises
            text = f"{type(error).__name__}: {error}"
            raise
        finally:
            _current.stop = None
            with self._lock:
                if stop is self._stopped:
                    self._show(png, text, took)

    def _show(self, png: bytes | None, text: str, took: str) -> None:
        if png:
            self.picture.value = png
        self.picture.layout.display = None if self.picture.value else "none"
        self._caption = text
        self.text.value = f"<b>{took}</b> {html.escape(text)}"
        self.stop.disabled = True

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """The widget, and its picture for whatever shows none, such as a PDF; under papermill the picture alone."""
        forms = {"text/plain": self._caption}
        if self.picture.value:
            forms["image/png"] = base64.b64encode(self.picture.value).decode()
        widget = {} if "HW2_RUN" in os.environ else super()._repr_mimebundle_(**kwargs)
        return widget | forms, {"image/png": {"alt": self._caption}}


def _png(figure: Figure) -> bytes:
    plt.close(figure)
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=RESOLUTION, bbox_inches="tight")
    return content.getvalue()


def slider(description: str, value: float, low: float, high: float, step: float = 0.05) -> widgets.FloatSlider:
    """A number, followed when a drag ends and at each press of a key."""
    return widgets.FloatSlider(
        value, min=low, max=high, step=step, description=description, readout_format=".2f", continuous_update=False
    )


def int_slider(description: str, value: int, low: int, high: int) -> widgets.IntSlider:
    """A whole number, as `slider`."""
    return widgets.IntSlider(value, min=low, max=high, description=description, continuous_update=False)


def choice(description: str, options: Sequence[Any]) -> widgets.Dropdown:
    """One of several, the first to begin with."""
    return widgets.Dropdown(options=options, description=description)


def with_weights(folders: Sequence[RunFolder] | None, *shipped: str) -> dict[str, RunFolder]:
    """Finished runs that have their weights, by network: those of `folders`, or where it is None those that ship."""
    if folders is None:
        found = [shipped_run(f"{network}/ours/seed-0", None, with_weights=True) for network in shipped]
        folders = [folder for folder in found if folder]
    return {folder.settings["network"]: folder for folder in folders if folder.weights.exists()}


def check_any(networks: Sequence[str] | dict[str, Any]) -> None:
    """`UserError` where there is no network to draw with."""
    if not networks:
        raise UserError("no finished run has its weights here; hw2 train --missing trains what the report shows")
