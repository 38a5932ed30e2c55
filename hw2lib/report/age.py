"""What a record was made from, and whether that has changed since: a comparison of hashes, kept by name.

There is one of each thing that a notebook used: its code cells, its parameters, the modules of the library that were
loaded in its kernel, and what `hw2lib.used` noted while it ran.
"""

import contextlib
import hashlib
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from hw2lib import files, networks, paths, used
from hw2lib.errors import UserError
from hw2lib.report import parameters

# Where the images lie and which processor computes is no other question; the record names both all the same.
PLACES = ("data_dir", "device")
# Of the modules that make a report, only the page has a part in what a notebook shows.
MACHINERY = "hw2lib/report/"
PAGE = "hw2lib/report/page.py"
LIBRARY = ("module", "recipe", "stand-ins")  # inputs that follow from the files of the library alone
EXPLORER = "explorer"  # the tag of a cell behind the page, from which nothing goes into the record


@dataclass
class Age:
    """How a record compares with what is there now, by names."""

    changed: list[str] = field(default_factory=list)  # or gone; empty: the record is current
    unknown: list[str] = field(default_factory=list)  # not at hand, such as real images, or weights that do not ship


def notebook_inputs(notebook: str, values: dict) -> dict[str, str]:
    """The inputs that are known before a notebook runs: a hash of its code cells, and one of its parameters."""
    file = parameters.notebook_file(notebook)
    cells = [cell for cell in parameters.load(file)["cells"] if cell["cell_type"] == "code"]
    counted = [cell for cell in cells if not parameters.is_parameters(cell) and EXPLORER not in parameters.tags(cell)]
    code = [_code_digest(cell["source"]) for cell in counted]
    settings = {name: values.get(name) for name in sorted({"preset", *parameters.read(file)}.difference(PLACES))}
    return {"cells": _digest(code), "parameters": _digest(settings)}


def loaded_modules() -> dict[str, str]:
    """A hash of each module of the library that this process has loaded."""
    files = (getattr(sys.modules[name], "__file__", None) for name in list(sys.modules) if name.startswith("hw2lib"))
    places = {used.name_of(Path(file)): Path(file) for file in files if file}
    counted = (place for place in sorted(places) if place == PAGE or not place.startswith(MACHINERY))
    return {f"module: {place}": used.file_digest(places[place]) for place in counted}


def domains(inputs: dict[str, str]) -> list[str]:
    """The domains of images among the inputs."""
    kinds = (name.partition(": ") for name in inputs)
    return sorted({what.split(" ")[0] for kind, _, what in kinds if kind in ("images", "stand-ins")})


def age(record: dict, notebook: str, values: dict) -> Age:
    """Compare the inputs of a complete record with what is there now; `values` are the parameters of a run."""
    result, now, images = Age(), notebook_inputs(notebook, values), _images(record, values)
    data_dir = values.get("data_dir", "")
    with _found_before() as found:
        for name, before in record["inputs"].items():
            kind, _, what = name.partition(": ")
            try:
                current = found.get(name) or (_current(kind, what, images, data_dir) if what else now.get(name))
            except (OSError, ValueError, LookupError, TypeError, SyntaxError, RecursionError, UserError):
                current = "gone"  # the record names what there cannot be
            if kind in LIBRARY:
                found[name] = current
            if current is None:
                result.unknown.append(name)
            elif current != before:
                result.changed.append(name)
    return result


@contextlib.contextmanager
def _found_before() -> Iterator[dict[str, str]]:
    """Hashes of inputs by name, kept while no file of the library changes: to find them takes torch, slow to load."""
    library = [file for file in sorted(paths.ROOT.glob("hw2lib/**/*")) if file.suffix in (".py", ".toml")]
    state = _digest([[used.name_of(file), used.digest_of_file(file)] for file in library])
    file, found = paths.cache_dir() / "inputs.json", {}
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        kept = json.loads(file.read_text(encoding="utf-8"))
        found = dict(kept["found"]) if kept["state"] == state else {}
    before = len(found)
    yield found
    if len(found) > before:
        with contextlib.suppress(OSError):  # a full disk costs time, not the result
            file.parent.mkdir(parents=True, exist_ok=True)
            files.write(file, json.dumps({"state": state, "found": found}))


def _current(kind: str, what: str, images, data_dir: str) -> str | None:
    """The hash of one input as it is now; None if it cannot be known here."""
    file = paths.ROOT / what  # an absolute path stays one
    if kind == "module":
        return used.file_digest(file) if file.is_file() else "gone"
    if kind == "file":
        if file.is_file():
            return used.digest_of_file(file)
        return "gone" if file.is_relative_to(paths.ROOT) and not file.is_relative_to(paths.build_dir()) else None
    if kind == "absent":
        from hw2lib.data.folders import images_dir

        return "there" if (images_dir(data_dir) / what).exists() else "none"
    if kind == "recipe":
        from hw2lib.training.recipe import digest_of, resolve

        choice = json.loads(what)
        try:
            return digest_of(resolve(networks.recipe_class(choice["network"]), **choice))
        except UserError:
            return "gone"
    if kind == "stand-ins":
        from hw2lib.data.standins import StandIns

        return StandIns().fingerprint(what)
    domain, _, split = what.rpartition(" ")
    with contextlib.suppress(UserError):
        return images.digest(domain, split) if images else None


def _images(record: dict, values: dict):
    """The real images that a record is compared with, or None where there are none."""
    if any(name.startswith("images: ") for name in record["inputs"]):
        from hw2lib import data

        with contextlib.suppress(UserError):
            return data.source("paper", values.get("data_dir", ""))


def _code_digest(source: str) -> str:
    try:
        return used.digest(source)
    except SyntaxError:  # IPython's own commands
        return hashlib.sha256(source.encode()).hexdigest()


def _digest(value) -> str:
    return hashlib.sha256(json.dumps(value, default=str, sort_keys=True).encode()).hexdigest()
