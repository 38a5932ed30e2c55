"""One training run on disk: settings, log, training state, and, once finished, weights and a card.

settings.json      what defines the run; a folder refuses to go on under other settings
log.jsonl          one line each few steps
state.pt           everything that the next step needs; replaced atomically as training goes
weights.safetensors, card.json     the result; the card is written last and makes the run finished
"""

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hw2lib import used, weights
from hw2lib.errors import UserError
from hw2lib.files import read_json, try_lock, write


class RunFolder:
    """The files of one run.

    Args:
        path: the folder; made when the run is opened.
        settings: what defines the run, as plain JSON data.
    """

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        self.path = Path(path)
        self.settings = json.loads(json.dumps(settings))

    @contextmanager
    def open(self) -> Iterator["RunFolder"]:
        """Hold the folder for one process.

        Raises:
            UserError: another process has it, it was made with other settings, or it cannot be written, at once or
                later, on a disk that fills.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            held = try_lock(self.path / ".lock")
            if held is None:
                raise UserError(f"{self.path}: another process is training here; wait for it or stop it")
            try:
                self._check_settings()
                yield self
            finally:
                held.release()
        except OSError as error:
            where = error.filename or self.path
            raise UserError(f"{where}: {error.strerror}; mend that, and the same command goes on") from None

    def _check_settings(self) -> None:
        file = self.path / "settings.json"
        if not file.exists():
            write(file, json.dumps(self.settings, indent=1))
            return
        there = read_json(file)
        if there != self.settings:
            differences = "; ".join(
                f"{key} is {there.get(key)!r} there and {self.settings.get(key)!r} here"
                for key in sorted(there.keys() | self.settings.keys())
                if there.get(key) != self.settings.get(key)
            )
            raise UserError(f"{self.path}: the run has other settings ({differences}); choose another folder")

    @property
    def weights(self) -> Path:
        """The file of the trained weights."""
        return self.path / "weights.safetensors"

    @property
    def card(self) -> dict[str, Any] | None:
        """The card of a finished run with these settings, else None."""
        file = self.path / "card.json"
        if not file.exists():
            return None
        card = read_json(file)
        if card.get("settings") != self.settings:
            return None
        used.note_file(file)
        return card

    def kept_key(self) -> dict[str, Any]:
        """What results that are kept (`hw2lib.kept`) depend on: settings and weights."""
        return {"settings": self.settings, "weights": self.weights}

    def log(self, **entry: float) -> None:
        """Append one line to the log."""
        with open(self.path / "log.jsonl", "a") as file:
            file.write(json.dumps(entry) + "\n")

    def history(self) -> list[dict[str, float]]:
        """The log's lines."""
        file = self.path / "log.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def save_state(self, state: dict[str, Any]) -> None:
        """Write tensors, numbers and strings from which training goes on."""
        content = io.BytesIO()  # torch.save to a file that cannot be written raises a RuntimeError
        torch.save(state, content)
        write(self.path / "state.pt", content.getvalue())

    def load_state(self) -> dict[str, Any] | None:
        """The last saved state or None; the log is cut back to its step."""
        file = self.path / "state.pt"
        if not file.exists():
            (self.path / "log.jsonl").unlink(missing_ok=True)
            return None
        try:
            state = torch.load(file, map_location="cpu", weights_only=True)
            step = state["step"]
        except PermissionError:
            raise
        except (*weights.DAMAGED, OSError):
            raise UserError(f"{file}: damaged, or no training state of this project; remove it to begin anew") from None
        log = self.path / "log.jsonl"
        lines = log.read_text().splitlines(keepends=True) if log.exists() else []
        # A line cut short by a kill lies behind the state, as every line of a later step does.
        kept = [line for line in lines if line.endswith("}\n") and json.loads(line)["step"] <= step]
        write(log, "".join(kept))
        return state

    def finish(self, tensors: dict[str, Tensor], card: dict[str, Any]) -> dict[str, Any]:
        """Write the result and drop the training state."""
        weights.save(tensors, self.weights)
        card = {"settings": self.settings, **card}
        write(self.path / "card.json", json.dumps(card, indent=1))
        (self.path / "state.pt").unlink(missing_ok=True)
        return card
