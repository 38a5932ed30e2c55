"""Files of ``torch.save`` that a user brings: tensors, and never code."""

import io
import pickle
import re
import struct
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hw2lib.errors import UserError

# What torch.load raises where the bytes are no file of torch.save, or not all of one.
DAMAGED = (
    pickle.UnpicklingError, struct.error, RuntimeError, AssertionError, EOFError, LookupError, TypeError, ValueError,
)  # fmt: skip


def read(file: Path, give: str) -> Any:
    """What is in the file, on the CPU.

    Args:
        file: written by ``torch.save``.
        give: what the user is told to give instead, where it cannot be read.

    Raises:
        UserError: the file is not there, damaged, or holds code, which is never run.
    """
    try:
        whole = io.BytesIO(file.read_bytes())
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}; give {give}") from None
    try:
        return torch.load(whole, map_location="cpu", weights_only=True)
    except (*DAMAGED, OSError) as error:
        code = re.search(r"GLOBAL (\S+)", str(error))
        what = f"holds code ({code[1]}), which is never run" if code else "damaged, or no file of torch.save"
        raise UserError(f"{file}: {what}; give {give}") from None


def tensors(content: Any) -> dict[str, Tensor] | None:
    """The content as names and plain tensors; None if it is anything else."""
    if isinstance(content, dict) and all(isinstance(name, str) and is_plain(x) for name, x in content.items()):
        return dict(content)
    return None


def is_plain(content: Any) -> bool:
    """Whether it is a tensor that has all its numbers in memory: no sparse one, and none without content."""
    return isinstance(content, Tensor) and content.layout is torch.strided and content.device.type == "cpu"
