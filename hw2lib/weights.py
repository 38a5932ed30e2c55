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
    """Write a safetensors file whole; what was there before stays until then.

    Raises:
        UserError: it cannot be written.
    """
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
    """Fill `network` from a safetensors file, half precision widened.

    Raises:
        UserError: a missing or truncated file, a pickle, or the weights of another network; nothing is changed then.
    """
    fill(network, read(file), file)


def fill(network: nn.Module, tensors: dict[str, Tensor], file: Path) -> None:
    """Fill `network` with tensors read from `file`.

    Raises:
        UserError: they are those of another network; nothing is changed then.
    """
    expected = network.state_dict()
    wrong = {}
    for name in sorted(tensors.keys() | expected.keys()):
        there, here = (tuple(some[name].shape) if name in some else None for some in (tensors, expected))
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
    network.load_state_dict(tensors)


def read_torch(file: Path, give: str) -> Any:
    """What is in a file of ``torch.save``, on the CPU.

    Args:
        file: written by ``torch.save``.
        give: what the user is told to give instead, where it cannot be read.

    Raises:
        UserError: the file is not there, damaged, or holds code, which is never run.
    """
    try:
        content = io.BytesIO(file.read_bytes())
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}; give {give}") from None
    try:
        found = torch.load(content, map_location="cpu", weights_only=True)
    except (*DAMAGED, OSError) as error:
        code = re.search(r"GLOBAL (\S+)", str(error))
        what = f"holds code ({code[1]}), which is never run" if code else "damaged, or no file of torch.save"
        raise UserError(f"{file}: {what}; give {give}") from None
    used.note_file(file)
    return found


def named_tensors(content: Any) -> dict[str, Tensor] | None:
    """The content as names and plain tensors; None if it is anything else."""
    if isinstance(content, dict) and all(isinstance(name, str) and is_plain(x) for name, x in content.items()):
        return dict(content)
    return None


def is_plain(content: Any) -> bool:
    """Whether it is a tensor that has all its numbers in memory: no sparse one, and none without content."""
    return isinstance(content, Tensor) and content.layout is torch.strided and content.device.type == "cpu"
