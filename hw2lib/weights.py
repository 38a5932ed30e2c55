"""Tensors in files: safetensors of ours, and files of ``torch.save`` that a user brings. Code is never loaded."""

import contextlib
import hashlib
import io
import pickle
import re
import struct
import warnings
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from hw2lib import used
from hw2lib.errors import UserError
from hw2lib.files import CHECKSUM, check_is_file, check_zip, whole

# What torch.load raises where the bytes are no file of torch.save, or not all of one.
DAMAGED = (
    pickle.UnpicklingError, struct.error, RuntimeError, AssertionError, AttributeError, EOFError, LookupError,
    TypeError, ValueError,
)  # fmt: skip

DEEPEST = 3  # dots in the place of tensors in a file


def save(tensors: dict[str, Tensor], file: Path, metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file whole; what was there before stays until then. `UserError` if it cannot be written."""
    on_cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with whole(file) as temporary:
            save_file(on_cpu, temporary, {CHECKSUM: _checksum(on_cpu), **(metadata or {})})
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{file}: cannot be written: {reason}; make room, get the rights, or set HW2_BUILD") from None


def read(file: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file; `UserError` if it is missing, truncated, damaged, or a pickle."""
    try:
        check_is_file(file)
        with safe_open(file, "pt") as content:
            checksum = (content.metadata() or {}).get(CHECKSUM)
        tensors = load_file(file)
    except FileNotFoundError:
        raise UserError(f"{file}: no such weights file") from None
    except (SafetensorError, OSError) as error:
        raise UserError(f"{file}: not a whole safetensors file ({error}); pickles are never loaded") from None
    if checksum not in (None, _checksum(tensors)):  # none in files of others, and of before 2026-12
        raise UserError(f"{file}: damaged: its content is not what was written; copy or train it again")
    used.note_file(file)
    return tensors


def _checksum(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 (hex) of names, types, shapes and content."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def load(network: nn.Module, file: Path) -> None:
    """Fill `network` from a file of safetensors or of ``torch.save``, whatever its suffix; half precision is widened.

    A file of ``torch.save`` may hold the tensors bare or below names, such as ``state_dict`` or ``model``; those below
    ``ema`` go before all others, if they are of this network. A wrapper's name before every tensor, such as
    ``module.``, is taken away. `UserError`, before any change, for a file that is missing or damaged or holds code, for
    the weights of another network, and for several that fit.
    """
    expected = network.state_dict()
    sets = {place: _unwrapped(tensors, expected) for place, tensors in _sets_in(file).items()}
    of_it = {place: tensors for place, tensors in sets.items() if tensors.keys() & expected.keys()}
    averages = {place: tensors for place, tensors in of_it.items() if re.search(r"(^|[._])ema([._]|$)", place)}
    sets = averages or of_it or sets
    fitting = [place for place, tensors in sets.items() if _shapes(tensors) == _shapes(expected)]
    if len(fitting) > 1:
        raise UserError(f"{file}: holds several weights of this network: {_listed(fitting)}; give a file of one")
    if not fitting:
        place = max(sets, key=lambda place: len(sets[place].keys() & expected.keys()))
        where = f"{file}, '{place}'" if place else f"{file}"
        raise UserError(f"{where}: weights of another network: {_differences(sets[place], expected)}")
    tensors = sets[fitting[0]]
    for name, tensor in tensors.items():
        # An integer in place of a number would be taken without a word.
        if expected[name].is_floating_point() and not (tensor.is_floating_point() and tensor.isfinite().all()):
            raise UserError(f"{file}: '{name}' holds no finite numbers; give the weights of a network that has learned")
    network.load_state_dict(tensors)


def nearest(file: Path, networks: Sequence[nn.Module]) -> nn.Module:
    """The network of whose tensors' names a file has the most; read, and refused if need be, as in `load`."""
    sets = _sets_in(file).values()
    names = [network.state_dict().keys() for network in networks]
    shared = [max(len(_unwrapped(tensors, expected).keys() & expected) for tensors in sets) for expected in names]
    return networks[shared.index(max(shared))]


def is_safetensors(file: Path) -> bool:
    """Whether a file is of safetensors by its content; by its name, if its beginning does not tell."""
    with contextlib.suppress(OSError):
        check_is_file(file)
        with open(file, "rb") as content:
            beginning = content.read(9)
        if beginning[8:] == b"{":  # behind the length of the header in eight bytes
            return True
        if beginning.startswith((b"PK", b"\x80")):  # an archive or a pickle, as torch.save writes them
            return False
    return file.suffix.lower() == ".safetensors"


def _sets_in(file: Path) -> dict[str, dict[str, Tensor]]:
    """All that is names and plain tensors in a file, by its place, such as ``ema.state_dict``; "" is the whole file."""
    if is_safetensors(file):
        return {"": read(file)}
    give = "one of torch.save({'state_dict': network.state_dict()}, …), or of safetensors"
    content = read_torch(file, give)
    sets, waiting = {}, [("", content)]
    while waiting:
        place, part = waiting.pop(0)
        if isinstance(part, dict) and all(isinstance(name, str) for name in part):
            if part and all(map(is_plain, part.values())):
                sets[place] = part
                if averages := {name: tensor for name, tensor in part.items() if name.startswith("ema_model.")}:
                    sets[f"{place}.ema_model"] = averages  # ema-pytorch saves both networks and counters side by side
            if place.count(".") < DEEPEST:
                waiting += [(f"{place}.{name}".lstrip("."), x) for name, x in part.items() if isinstance(x, dict)]
    if not sets:
        there = f"it is a {type(content).__name__}"
        if isinstance(content, dict) and content:
            others_first = sorted(content.items(), key=lambda item: is_plain(item[1]))
            there = f"it has {_listed([f'{name} ({type(x).__name__})' for name, x in others_first])}"
        raise UserError(f"{file}: holds no names and tensors by themselves: {there}; give {give}")
    return sets


def _unwrapped(tensors: dict[str, Tensor], expected: Collection[str]) -> dict[str, Tensor]:
    """The tensors without a name before each, where more of the names are expected ones then."""
    best = tensors
    if "n_averaged" not in expected:  # AveragedModel counts beside its module
        tensors = {name: tensor for name, tensor in tensors.items() if name != "n_averaged"}
    while len({name.partition(".")[0] for name in tensors}) == 1 and all("." in name for name in tensors):
        tensors = {name.partition(".")[2]: tensor for name, tensor in tensors.items()}
        if len(tensors.keys() & expected) > len(best.keys() & expected):
            best = tensors
    return best


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def _differences(tensors: dict[str, Tensor], expected: dict[str, Tensor]) -> str:
    """Such as ``2 tensors differ; missing: 'a'; not expected: 'b'``."""
    there, here = _shapes(tensors), _shapes(expected)
    parts = {
        "missing": [f"'{name}'" for name in here if name not in there],
        "not expected": [f"'{name}'" for name in there if name not in here],
        "of another shape": [f"'{n}', {there[n]} and not {here[n]}" for n in here if there.get(n, here[n]) != here[n]],
    }
    listed = [f"{what}: {_listed(names)}" for what, names in parts.items() if names]
    return "; ".join([f"{sum(map(len, parts.values()))} tensors differ", *listed])


def _listed(names: Sequence[str]) -> str:
    """The first three, and how many more there are."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3:,} more" if len(names) > 3 else "")


def read_torch(file: Path, give: str) -> Any:
    """What is in a file of ``torch.save``, on the CPU.

    If it is not there, damaged, or holds code, which is never run, a `UserError` says what to `give` instead.
    """
    try:
        check_is_file(file)
        content = io.BytesIO(file.read_bytes())
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}; give {give}") from None
    try:
        if content.read(2) == b"PK":
            check_zip(content)
        content.seek(0)
        with warnings.catch_warnings(action="ignore"):  # on kinds of tensors that are refused later
            tensors = torch.load(content, map_location="cpu", weights_only=True)
    except (*DAMAGED, OSError) as error:
        code = re.search(r"GLOBAL (\S+)", str(error))
        what = f"holds code ({code[1]}), which is never run" if code else "damaged, or no file of torch.save"
        raise UserError(f"{file}: {what}; give {give}") from None
    used.note_file(file)
    return tensors


def is_plain(content: Any) -> bool:
    """Whether it is a tensor that has all its numbers in memory: no sparse one, and none without content."""
    return isinstance(content, Tensor) and content.layout is torch.strided and content.device.type == "cpu"
