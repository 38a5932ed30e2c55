"""Expensive results are kept in ``build/cache/results`` and read again where nothing that they depend on has changed.

    @kept
    def draw(folder, seed, count): ...

The result of a call is found by the function's name, its arguments, and the source of its module and of all modules
that it imports (`hw2lib.used`). A run folder counts by its settings and weights, a network by its weights, a file by
its content. Removing the folder is always safe.
"""

import contextlib
import dataclasses
import functools
import hashlib
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from hw2lib import paths, used, weights
from hw2lib.files import check_zip, write

P = ParamSpec("P")
R = TypeVar("R")


def kept(function: Callable[P, R]) -> Callable[P, R]:
    """Keep the results of a function: tensors, arrays, plain values, and lists, tuples and dicts of them.

    A damaged file is made anew.
    """

    @functools.wraps(function)
    def kept_function(*args: P.args, **kwargs: P.kwargs) -> R:
        code = used.closure_digest(function.__module__)
        call = [function.__module__, function.__qualname__, code, torch.__version__, args, sorted(kwargs.items())]
        key = hashlib.sha256(json.dumps(_plain(call)).encode()).hexdigest()
        file = paths.cache_dir() / "results" / f"{function.__name__}-{key[:32]}.pt"
        if file.exists():
            with contextlib.suppress(*weights.DAMAGED, OSError):
                check_zip(file)
                content = torch.load(file, weights_only=True)
                result = _restored(content["result"])
                used.note_again(content["used"])
                return result
        with used.collected() as notes:
            result = function(*args, **kwargs)
        content = io.BytesIO()
        torch.save({"result": _stored(result), "used": notes}, content)
        with contextlib.suppress(OSError):  # a full disk costs time, not the result
            file.parent.mkdir(parents=True, exist_ok=True)
            write(file, content.getvalue())
        return result

    return kept_function


def _plain(value: Any) -> Any:
    """A value as JSON data that differs wherever results may differ."""
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, Mapping):
        return ["mapping", [[_plain(key), _plain(item)] for key, item in value.items()]]
    if isinstance(value, list | tuple | range):
        return [_plain(item) for item in value]
    if isinstance(value, torch.device):
        return f"device {value.type}"
    if isinstance(value, Tensor | np.ndarray):
        array = value.detach().cpu().numpy() if isinstance(value, Tensor) else value
        return ["array", str(array.dtype), list(array.shape), hashlib.sha256(array.tobytes()).hexdigest()]
    if isinstance(value, nn.Module):
        devices = sorted({tensor.device.type for tensor in value.state_dict().values()})
        return ["network", type(value).__qualname__, devices, _plain(value.state_dict())]
    if isinstance(value, Path):
        return ["file", used.digest_of_file(value) if value.is_file() else str(value)]
    if hasattr(value, "kept_key"):  # it knows best, such as a run folder or a source of images
        return [type(value).__qualname__, _plain(value.kept_key())]
    if dataclasses.is_dataclass(value):
        return [type(value).__qualname__, _plain({x.name: getattr(value, x.name) for x in dataclasses.fields(value)})]
    if callable(value) and hasattr(value, "__qualname__"):
        code = used.closure_digest(value.__module__) if value.__module__.startswith("hw2lib.") else None
        return ["function", value.__module__, value.__qualname__, code]
    raise TypeError(f"results cannot be kept by a {type(value).__qualname__}; give it a method kept_key")


def _stored(value: Any) -> Any:
    """A result as torch.load takes it back without pickle."""
    if isinstance(value, np.ndarray):
        return {"kept": "array", "content": torch.from_numpy(np.ascontiguousarray(value))}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, tuple):
        return {"kept": "tuple", "items": [_stored(item) for item in value]}
    if isinstance(value, list):
        return [_stored(item) for item in value]
    if isinstance(value, dict):
        return {"kept": "dict", "items": [[_stored(key), _stored(item)] for key, item in value.items()]}
    return value


def _restored(value: Any) -> Any:
    if isinstance(value, list):
        return [_restored(item) for item in value]
    match value:
        case {"kept": "array", "content": content}:
            return content.numpy()
        case {"kept": "tuple", "items": items}:
            return tuple(_restored(item) for item in items)
        case {"kept": "dict", "items": items}:
            return {_restored(key): _restored(item) for key, item in items}
    return value
