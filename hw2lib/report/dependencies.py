"""What a notebook depends on, by content: ``{what: hash}``.

A record keeps these inputs, so whether it is out of date is a comparison of hashes. Time stamps of files say nothing: a
fresh clone has any.
"""

import hashlib
import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

from hw2lib import paths
from hw2lib.errors import UserError
from hw2lib.report import parameters, record
from hw2lib.sources import imported, modules

DATA = "data: "
FILE = "file: "
# Where the images lie and which processor computes is no other question; the record names both all the same.
PLACES = ("data_dir", "device")
# Parameters whose values name domains, also such that hw2lib does not know: a domain is a folder of images.
DOMAINS = ("domains", "source", "target", "pairs", "parts_pair", "wider_pair", "changed")


def inputs(notebook: str, preset: str, values: dict) -> dict[str, str]:
    """Everything that the results of a notebook depend on.

    That is its cells, its parameters, the modules of hw2lib that it imports directly or not, the domains of images that
    cells or parameters name, the recipes and networks with finished runs that they or modules name, and the records of
    the notebooks that it declares in its metadata (``{"hw2lib": {"after": ["51_dann_accuracy"]}}``).

    Args:
        notebook: its name without suffix.
        preset: one of ``paths.PRESETS``.
        values: the value of each of its parameters; others are ignored.

    Returns:
        To SHA-256: a path below the repository (of a folder of finished runs: their cards), ``parameters``, or
        ``file: PARAMETER`` of a file of the user's; and ``data: DOMAIN`` to the fingerprint of its images. Images that
        cannot be found are left out.

    Raises:
        UserError: no such notebook, or a parameter without a value.
    """
    file = notebook_file(notebook)
    cells = parameters.load(file)["cells"]
    code = "\n".join(cell["source"] for cell in cells if cell["cell_type"] == "code")
    declared = {"preset", *parameters.read(file)}
    if missing := declared - values.keys():
        raise UserError(f"{notebook}: report.Page(parameters=...) lacks {', '.join(sorted(missing))}")
    settings = json.dumps({name: values[name] for name in sorted(declared.difference(PLACES))}, default=str)
    text = code + settings
    try:
        library = modules(code)
    except SyntaxError as error:
        raise UserError(f"{notebook}: it, or a module that it imports, is not Python: {error}") from None
    records = [record.path(preset, name) for name in after(notebook)]
    scored = paths.ROOT / "hw2lib" / "metrics" / "reference.py" in library
    references = sorted((paths.ROOT / "data" / "reference").glob("*.safetensors")) if scored else []
    files = [path for path in (*library, *_recipes(text, library), *references, *records) if path.is_file()]
    return {
        _name(file): _sha256(json.dumps([[cell["cell_type"], cell["source"]] for cell in cells]).encode()),
        "parameters": _sha256(settings.encode()),
        **{_name(path): _sha256(path.read_bytes()) for path in files},
        **_shipped_runs(preset, text, code, library),
        **{FILE + name: _sha256(path.read_bytes()) for name, path in _files(values) if path.is_file()},
        **_fingerprints(preset, values.get("data_dir", ""), _domains(text, values)),
    }


def changes(recorded: dict[str, str], current: dict[str, str]) -> list[str]:
    """What differs. Images that are not here cannot have changed."""
    names = [name for name in {**recorded, **current} if name in current or not name.startswith(DATA)]
    return sorted(name for name in names if recorded.get(name) != current.get(name))


def data_fingerprints(inputs: dict[str, str]) -> dict[str, str]:
    """The images among the inputs: domain to fingerprint."""
    return {name.removeprefix(DATA): value for name, value in inputs.items() if name.startswith(DATA)}


def after(notebook: str) -> list[str]:
    """The notebooks whose records this one reads."""
    return list(parameters.load(notebook_file(notebook))["metadata"].get("hw2lib", {}).get("after", []))


def notebook_file(notebook: str) -> Path:
    """The file of a notebook."""
    return paths.NOTEBOOKS / f"{notebook}.ipynb"


def _recipes(text: str, library: list[Path]) -> list[Path]:
    """The recipes that the notebook names, or that a module which it uses names in quotes."""
    quoted = "\n".join(file.read_text(encoding="utf-8") for file in library)
    return [
        file
        for file in sorted((paths.ROOT / "hw2lib" / "recipes").glob("*.toml"))
        if f'"{file.stem}"' in quoted or _names(text, file.stem)
    ]


def _names(text: str, word: str) -> bool:
    return re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", text) is not None


def _shipped_runs(preset: str, text: str, code: str, library: list[Path]) -> dict[str, str]:
    """Finished runs that ship with the repository, for a notebook that can read them.

    They are those of the networks that it names, or that a module which it imports itself names in quotes: there stands
    what a preset shows if a notebook is not told otherwise.
    """
    if preset == "smoke" or paths.ROOT / "hw2lib" / "training" / "runs.py" not in library:
        return {}
    quoted = "\n".join(file.read_text(encoding="utf-8") for file in imported(code))
    found = {}
    for folder in sorted(paths.TRAINED.iterdir()) if paths.TRAINED.is_dir() else []:
        if _names(text, folder.name) or f'"{folder.name}"' in quoted:
            cards = {_name(card): _sha256(card.read_bytes()) for card in folder.rglob("card.json")}
            found[_name(folder)] = _sha256(json.dumps(cards, sort_keys=True).encode())
    return found


def _files(values: dict) -> Iterator[tuple[str, Path]]:
    """The user's files that parameters name, of a folder those that it is read for."""
    for parameter in filter(values.get, parameters.FILES):
        yield parameter, Path(values[parameter]).expanduser()
    for parameter, pattern in parameters.FOLDERS.items():
        if values.get(parameter):
            for file in sorted(Path(values[parameter]).expanduser().glob(pattern)):
                yield f"{parameter}/{file.name}", file


def _domains(text: str, values: dict) -> list[str]:
    data = importlib.import_module("hw2lib.data")  # as a statement it would make every notebook depend on hw2lib.data
    named = {domain for domain in data.TITLES if re.search(rf"(?<![a-z]){domain}(?![a-z])", text)}
    for value in filter(None, map(values.get, DOMAINS)):
        for word in [value] if isinstance(value, str) else value:
            named.update(filter(None, word.split("-")))
    return sorted(named)


def _fingerprints(preset: str, data_dir: str, domains: list[str]) -> dict[str, str]:
    data = importlib.import_module("hw2lib.data")
    found = {}
    for domain in domains:
        try:
            found[DATA + domain] = data.source(preset, data_dir).fingerprint(domain)
        except UserError:
            continue  # not here; a notebook that needs these images says so when it runs
    return found


def _name(path: Path) -> str:
    try:
        return path.relative_to(paths.ROOT).as_posix()
    except ValueError:  # build/ may be elsewhere
        return path.relative_to(paths.build_dir()).as_posix()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
