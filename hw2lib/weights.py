"""Tensors in files: safetensors of ours, and files of ``torch.save`` that a user brings. Code is never loaded."""

import io
import pickle
import re
import struct
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from hw2lib import used
from hw2lib.errors import UserError
from hw2lib.files import whole

# What torch.load raises where the bytes are no file of torch.save, or not all of one.
DAMAGED = (
    pickle.UnpicklingError, struct.error, RuntimeError, AssertionError, EOFError, LookupError, TypeError, ValueError,
)  # fmt: skip


def save(tensors: dict[str, Tensor], file: Path, metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file whole; what was there before stays until then. `UserError` if it cannot be written."""
    on_cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with whole(file) as temporary:
            save_file(on_cpu, temporary, metadata)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{file}: cannot be written: {reason}; make room, get the rights, or set HW2_BUILD") from None


def read(file: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file; `UserError` if it is missing, truncated, or a pickle."""
    try:
        tensors = load_file(file)
    except FileNotFoundError:
        raise UserError(f"{file}: no such weights file") from None
    except (SafetensorError, OSError) as error:
        raise UserError(f"{file}: not a whole safetensors file ({error}); pickles are never loaded") from None
    used.note_file(file)
    return tensors


def load(network: nn.Module, file: Path) -> None:
    """Fill `network` from a safetensors file, half precision widened; see `read` and `fill` for what is refused."""
    fill(network, read(file), file)


def fill(network: nn.Module, tensors: dict[str, Tensor], file: Path) -> None:
    """Fill `network` with tensors read from `file`; `UserError`, before any change, if they are another network's."""
    there, here = ({name: tuple(x.shape) for name, x in some.items()} for some in (tensors, network.state_dict()))
    if wrong := [name for name in sorted(there.keys() | here.keys()) if there.get(name) != here.get(name)]:
        name = wrong[0]
        if name in there and name in here:
            what = f"has the shape {there[name]}, not {here[name]}"
        else:
            what = "is not expected" if name in there else "is missing"
        differ = f"{len(wrong)} tensors differ, the first is '{name}', which {what}"
        raise UserError(f"{file}: weights of another network ({differ})")
    network.load_state_dict(tensors)


def read_torch(file: Path, give: str) -> Any:
    """What is in a file of ``torch.save``, on the CPU.

    If it is not there, damaged, or holds code, which is never run, a `UserError` says what to `give` instead.
    """
    try:
        content = io.BytesIO(file.read_bytes())
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}; give {give}") from None
    try:
        tensors = torch.load(content, map_location="cpu", weights_only=True)
    except (*DAMAGED, OSError) as error:
        code = re.search(r"GLOBAL (\S+)", str(error))
        what = f"holds code ({code[1]}), which is never run" if code else "damaged, or no file of torch.save"
        raise UserError(f"{file}: {what}; give {give}") from None
    used.note_file(file)
    return tensors


def named_tensors(content: Any) -> dict[str, Tensor] | None:
    """The content as names and plain tensors; None if it is anything else."""
    named = isinstance(content, dict) and all(isinstance(name, str) and is_plain(x) for name, x in content.items())
    return dict(content) if named else None


def is_plain(content: Any) -> bool:
    """Whether it is a tensor that has all its numbers in memory: no sparse one, and none without content."""
    return isinstance(content, Tensor) and content.layout is torch.strided and content.device.type == "cpu"
