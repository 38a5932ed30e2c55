"""One training run on disk: settings, log, training state, and, once finished, weights and a card.

settings.json      what defines the run; a folder refuses to go on under other settings
log.jsonl          one line each few steps
state.pt           everything that the next step needs; replaced atomically as training goes
weights.safetensors, card.json     the result; the card is written last and makes the run finished
"""

import fcntl
import io
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from hw2lib import torch_file
from hw2lib.errors import UserError
from hw2lib.metrics.tensor_file import save_tensors


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
            with open(self.path / ".lock", "w") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise UserError(f"{self.path}: another process is training here; wait for it or stop it") from None
                self._check_settings()
                yield self
        except OSError as error:
            where = error.filename or self.path
            raise UserError(f"{where}: {error.strerror}; mend that, and the same command goes on") from None

    def _check_settings(self) -> None:
        file = self.path / "settings.json"
        if not file.exists():
            write_atomically(file, json.dumps(self.settings, indent=1))
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
        return card if card.get("settings") == self.settings else None

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
        write_atomically(self.path / "state.pt", content.getvalue())

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
        except (*torch_file.DAMAGED, OSError):
            raise UserError(f"{file}: damaged, or no training state of this project; remove it to begin anew") from None
        log = self.path / "log.jsonl"
        lines = log.read_text().splitlines(keepends=True) if log.exists() else []
        # A line cut short by a kill lies behind the state, as every line of a later step does.
        kept = [line for line in lines if line.endswith("}\n") and json.loads(line)["step"] <= step]
        write_atomically(log, "".join(kept))
        return state

    def finish(self, weights: dict[str, Tensor], card: dict[str, Any]) -> dict[str, Any]:
        """Write the result and drop the training state."""
        save_weights(weights, self.weights)
        card = {"settings": self.settings, **card}
        write_atomically(self.path / "card.json", json.dumps(card, indent=1))
        (self.path / "state.pt").unlink(missing_ok=True)
        return card


def write_atomically(file: Path, content: str | bytes) -> None:
    """Write under a temporary name, then rename; what was there before stays until then."""
    temporary = file.with_name(file.name + ".partial")
    try:
        # A file's name in the text may have bytes that are no UTF-8.
        temporary.write_bytes(content if isinstance(content, bytes) else content.encode(errors="surrogateescape"))
        os.replace(temporary, file)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def read_json(file: Path) -> dict[str, Any]:
    """The object in a file; `UserError` if it cannot be read or holds none."""
    try:
        found = json.loads(file.read_text())
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror})") from None
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise UserError(f"{file}: damaged; remove the folder to begin anew")
    return found


def save_weights(weights: dict[str, Tensor], file: Path) -> None:
    """Write tensors as safetensors, atomically; `UserError` if they cannot be written."""
    save_tensors({name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}, file)


def read_weights(file: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file; `UserError` if it is missing, truncated, or a pickle."""
    try:
        return load_file(file)
    except FileNotFoundError:
        raise UserError(f"{file}: no such weights file") from None
    except (SafetensorError, OSError) as error:
        raise UserError(f"{file}: not a whole safetensors file ({error}); pickles are never loaded") from None


def load_weights(network: nn.Module, file: Path) -> None:
    """Fill `network` from a safetensors file, half precision widened.

    Raises:
        UserError: a missing or truncated file, a pickle, or the weights of another network; nothing is changed then.
    """
    fill(network, read_weights(file), file)


def fill(network: nn.Module, weights: dict[str, Tensor], file: Path) -> None:
    """Fill `network` with tensors read from `file`.

    Raises:
        UserError: they are those of another network; nothing is changed then.
    """
    expected = network.state_dict()
    wrong = {}
    for name in sorted(weights.keys() | expected.keys()):
        there, here = (tuple(tensors[name].shape) if name in tensors else None for tensors in (weights, expected))
        if there is None:
            wrong[name] = "is missing"
        elif here is None:
            wrong[name] = "is not expected"
        elif there != here:
            wrong[name] = f"has the shape {there}, not {here}"
    if wrong:
        name, what = next(iter(wrong.items()))
        raise UserError(
            f"{file}: weights of another network ({len(wrong)} tensors differ, the first is '{name}', which {what})"
        )
    network.load_state_dict(weights)
