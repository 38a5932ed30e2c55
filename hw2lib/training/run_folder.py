"""One training run on disk, and the runs that ship with the repository.

settings.json      what defines the run; a folder refuses to go on under other settings
log.jsonl          one line each few steps
state.pt           everything that the next step needs; replaced atomically as training goes
weights.safetensors, card.json     the result; the card is written last and makes the run finished
"""

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hw2lib import paths, used, weights
from hw2lib.errors import UserError
from hw2lib.files import check_zip, read_json, try_lock, write, write_json


class RunFolder:
    """The files of one run; `settings` is what defines it, as plain JSON data. Opening makes the folder."""

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        self.path = Path(path)
        self.settings = json.loads(json.dumps(settings))

    @contextmanager
    def open(self) -> Iterator["RunFolder"]:
        """Hold the folder for one process; `UserError` if another has it, settings differ, or it cannot be written."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            held = try_lock(self.path / ".lock")
            if held is None:
                raise UserError(f"{self.path}: another process is training here; wait for it or stop it")
            try:
                file = self.path / "settings.json"
                if not file.exists():
                    write_json(file, self.settings)
                there, here = read_json(file), self.settings
                keys = [key for key in sorted(there.keys() | here.keys()) if there.get(key) != here.get(key)]
                if keys:
                    others = "; ".join(f"{key} is {there.get(key)!r} there and {here.get(key)!r} here" for key in keys)
                    raise UserError(f"{self.path}: the run has other settings ({others}); choose another folder")
                for left in self.path.rglob(".*.partial"):  # by a process that was killed
                    left.unlink()
                yield self
            finally:
                held.release()
        except OSError as error:
            where = error.filename or self.path
            raise UserError(f"{where}: {error.strerror}; mend that, and the same command goes on") from None

    @property
    def weights(self) -> Path:
        """The file of the trained weights."""
        return self.path / "weights.safetensors"

    @property
    def _log(self) -> Path:
        return self.path / "log.jsonl"

    @property
    def card(self) -> dict[str, Any] | None:
        """The card of a finished run with these settings, else None."""
        file = self.path / "card.json"
        card = read_json(file) if file.exists() else {}
        if card.get("settings") != self.settings:
            return None
        used.note_file(file)
        return card

    def kept_key(self) -> dict[str, Any]:
        """What results that are kept (`hw2lib.kept`) depend on: settings and weights."""
        return {"settings": self.settings, "weights": self.weights}

    def log(self, **entry: float) -> None:
        """Append one line to the log."""
        with open(self._log, "a") as file:
            file.write(json.dumps(entry) + "\n")

    def history(self) -> list[dict[str, float]]:
        """The log's lines; `UserError` for a damaged one."""
        with _refused_if_damaged(self._log):
            lines = self._log.read_text().splitlines() if self._log.exists() else []
            return [dict(json.loads(line)) for line in lines]

    def save_state(self, state: dict[str, Any]) -> None:
        """Write tensors, numbers and strings from which training goes on, and with them the log."""
        content = io.BytesIO()  # torch.save to a file that cannot be written raises a RuntimeError
        torch.save(state | {"log": self._log.read_text() if self._log.exists() else ""}, content)
        write(self.path / "state.pt", content.getvalue())

    def progress(self) -> tuple[int, float]:
        """Steps and seconds of the last saved state; 0 without one that can be read."""
        with suppress(*weights.DAMAGED, OSError):
            state = torch.load(self.path / "state.pt", map_location="cpu", weights_only=True, mmap=True)
            return _reached(state)
        return 0, 0.0

    def load_state(self) -> dict[str, Any] | None:
        """The last saved state or None; the log becomes what it was then."""
        file = self.path / "state.pt"
        if not file.exists():
            self._log.unlink(missing_ok=True)
            return None
        try:
            check_zip(file)
            state = torch.load(file, map_location="cpu", weights_only=True)
            step, _ = _reached(state)
            log = state.pop("log", None)
        except PermissionError:
            raise
        except (*weights.DAMAGED, OSError):
            raise UserError(f"{file}: damaged, or no training state of this project; remove it to begin anew") from None
        if not isinstance(log, str):  # of before 2026-12, without its log, in which later lines may follow
            with _refused_if_damaged(self._log):
                lines = self._log.read_text().splitlines(keepends=True) if self._log.exists() else []
                log = "".join(x for x in lines if x.endswith("}\n") and json.loads(x)["step"] <= step)
        write(self._log, log)
        return state

    def finish(self, tensors: dict[str, Tensor], card: dict[str, Any]) -> dict[str, Any]:
        """Write the result and drop the training state."""
        weights.save(tensors, self.weights)
        card = {"settings": self.settings, **card}
        write_json(self.path / "card.json", card)
        (self.path / "state.pt").unlink(missing_ok=True)
        return card


def _reached(state: dict[str, Any]) -> tuple[int, float]:
    """Steps and seconds of a state; one of `weights.DAMAGED` if they are no numbers."""
    step, seconds = state["step"], state.get("seconds", 0.0)
    if type(step) is not int or type(seconds) not in (int, float):
        raise TypeError
    return step, seconds


@contextmanager
def _refused_if_damaged(log: Path) -> Iterator[None]:
    try:
        yield
    except (ValueError, TypeError, LookupError, RecursionError):
        raise UserError(f"{log}: damaged; remove the folder to begin anew") from None


def shipped_weights(network: str, recipe: str = "ours", seed: int = 0) -> RunFolder:
    """The finished run that ships with its weights; `UserError` unless there is exactly one."""
    title = f"{network}/{recipe}/seed-{seed}"
    run = shipped_run(title, None, with_weights=True)
    if not run:
        others = sorted({file.parents[2].name for file in paths.TRAINED.glob(f"*/{recipe}/*/weights.safetensors")})
        remedy = f"train it, hw2 train {network} --preset paper, and give the weights.safetensors of its folder"
        raise UserError(f"{title}: no run ships with weights (those that do: {', '.join(others) or 'none'}); {remedy}")
    return run


def shipped_run(title: str, settings: dict[str, Any] | None, with_weights: bool) -> RunFolder | None:
    """The finished run of a title (``dcgan/ours/seed-0``) that ships, of these settings or any; `UserError` for two."""
    what = "weights.safetensors" if with_weights else "card.json"
    folders = [file.parent for file in sorted(paths.TRAINED.glob(f"{title}-*/{what}"))]
    runs = [RunFolder(folder, settings or read_json(folder / "card.json").get("settings") or {}) for folder in folders]
    runs = [run for run in runs if run.card]
    if len(runs) > 1:
        raise UserError(f"{runs[0].path} and {runs[1].path.name} both ship; remove the one that is out of date")
    return runs[0] if runs else None
