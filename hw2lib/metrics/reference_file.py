"""The file of a reference: tensors, and its numbers as JSON in the metadata of safetensors."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

from safetensors import SafetensorError, safe_open
from torch import Tensor

from hw2lib.errors import UserError
from hw2lib.weights import save as save_tensors


class Versioned(Protocol):
    """What was measured in a way that may change."""

    version: int


Reference = TypeVar("Reference", bound=Versioned)


def write_reference(file: Path, tensors: dict[str, Tensor], numbers: dict[str, Any]) -> None:
    """Write a reference; what was there before stays until it is whole."""
    save_tensors(tensors, file, {"reference": json.dumps(numbers)})


def read_reference(
    file: Path, make: Callable[[dict[str, Tensor], dict[str, Any]], Reference], version: int, kind: str
) -> Reference:
    """The reference that `make` makes of the tensors and the numbers in a file.

    Raises:
        UserError: there is no file, it is damaged or no reference of that kind, or of another version.
    """
    try:
        with safe_open(file, "pt") as content:
            numbers = json.loads((content.metadata() or {})["reference"])
            found = make({name: content.get_tensor(name) for name in content.keys()}, numbers)  # noqa: SIM118
    except FileNotFoundError:
        raise UserError(f"{file}: no such reference; measure it where the real images are") from None
    except (OSError, SafetensorError, LookupError, TypeError, ValueError):
        raise UserError(f"{file}: damaged, or no {kind}; get it again") from None
    if found.version != version:
        raise UserError(f"{file}: measured in another way (version {found.version}, not {version}); get it again")
    return found
