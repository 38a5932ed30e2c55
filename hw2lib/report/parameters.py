"""The parameters of a notebook: one cell tagged ``parameters``, and a check of what somebody wants to set.

papermill only warns about a name that does not exist and takes any type; here both are errors, before anything runs.
"""

import ast
import contextlib
import difflib
import io
import json
import math
import tokenize
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from hw2lib import paths
from hw2lib.errors import UserError

WANTED = {
    "int": "an integer",
    "float": "a finite number",
    "str": "text",
    "bool": "true or false",
    "list[int]": "integers (list[int]) such as 1,2 or [1, 2]",
    "list[float]": "finite numbers (list[float]) such as 0.1,1 or [0.1, 1]",
    "list[str]": 'words (list[str]) such as a,b or ["a", "b"]',
}
# Parameters that name a file or a folder of the user's.
PLACES = ("data_dir", "unet", "noise_dir", "truth_dir", "classifier", "submission", "truth", "beside", "rules")
SCALARS = {"int": int, "float": float, "str": str, "bool": bool}


@dataclass(frozen=True)
class Parameter:
    """One line ``name = default  # help``, or ``name: float = 1  # help``; its type is one of `WANTED`."""

    name: str
    default: int | float | str | bool | list
    type: str
    help: str

    def __str__(self) -> str:
        return f"{self.name} ({self.type}, default {self.default!r})"


def read(notebook: Path) -> dict[str, Parameter]:
    """The parameters of a notebook by name.

    Raises UserError unless exactly one cell is tagged and each of its lines is a plain assignment of a literal.
    """
    cells = [cell for cell in load(notebook)["cells"] if is_parameters(cell)]
    if len(cells) != 1:
        raise UserError(f"{notebook.name}: {len(cells)} cells are tagged 'parameters'; it needs exactly one")
    source = cells[0]["source"]
    try:
        tokens = tokenize.generate_tokens(io.StringIO(source).readline)
        helps = {t.start[0]: t.string.lstrip("# ") for t in tokens if t.type == tokenize.COMMENT}  # by line number
        statements = ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError, tokenize.TokenError) as error:  # of its parser
        raise UserError(f"{notebook.name}: the parameters cell is not Python: {error}") from None
    parameters = [_parameter(statement, helps, notebook) for statement in statements]
    return {parameter.name: parameter for parameter in parameters}


def load(notebook: Path) -> dict:
    """A notebook as JSON, every source one text. (nbformat would check more, but takes seconds to import.)

    Raises UserError if it is missing or not of format 4.
    """
    try:
        node = json.loads(notebook.read_text(encoding="utf-8"))
        for cell in node["cells"]:
            cell["source"] = "".join(cell["source"])  # a text, or its lines
            if not isinstance(cell["cell_type"], str) or not isinstance(tags(cell), list):
                raise TypeError("a cell without type or tags")
        node["metadata"] = dict(node["metadata"])
    except FileNotFoundError:
        raise UserError(f"there is no notebook {notebook}") from None
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{notebook}: not a notebook of format 4 ({type(error).__name__}: {error})") from None
    return node


def notebook_file(notebook: str) -> Path:
    """The file of a notebook."""
    return paths.NOTEBOOKS / f"{notebook}.ipynb"


def after(notebook: str) -> list[str]:
    """The notebooks whose records this one reads, by its metadata: ``{"hw2lib": {"after": ["51_dann_accuracy"]}}``."""
    return list(load(notebook_file(notebook))["metadata"].get("hw2lib", {}).get("after", []))


def is_parameters(cell: dict) -> bool:
    """Whether a cell is tagged as that of the parameters."""
    return "parameters" in tags(cell)


def tags(cell: dict) -> list[str]:
    """The tags of a cell."""
    return cell["metadata"].get("tags", [])


def values_in(namespace: dict, notebook: str) -> dict[str, int | float | str | bool | list]:
    """The parameters of a notebook as they stand in its kernel, checked: papermill's own ``-p`` passes any text.

    Raises UserError if one is not there, or not of its type.
    """
    values = {}
    for name, parameter in read(notebook_file(notebook)).items():
        if name not in namespace:
            raise UserError(f"{notebook}: the parameter {name} is not set; run the parameters cell first")
        values[name] = namespace[name]
        if not _fits(values[name], parameter.type):
            raise UserError(f"{notebook}: parameter {name} must be {WANTED[parameter.type]}, not {values[name]!r}")
    return values


def split(assignments: Iterable[str]) -> dict[str, str]:
    """``["seed=3"]`` as ``{"seed": "3"}``; files and folders are made absolute: a kernel works in another folder."""
    pairs = [assignment.partition("=") for assignment in assignments]
    for name, equals, text in pairs:
        if not (name and equals):
            raise UserError(f"-p {name}{equals}{text}: write -p NAME=VALUE")
    as_given = ("", paths.OURS)
    return {name: paths.absolute(text) if name in PLACES and text not in as_given else text for name, _, text in pairs}


def check(notebook: Path, overrides: dict[str, str]) -> dict[str, int | float | str | bool | list]:
    """``overrides`` with every text turned into the type of its parameter.

    Raises UserError for a name that the notebook does not have, or a text that is not of the type.
    """
    known = read(notebook)
    for name in overrides:
        if name not in known:
            hint = "".join(f"did you mean {close}? " for close in difflib.get_close_matches(name, known, n=1))
            allowed = ", ".join(map(str, known.values()))
            raise UserError(f"{notebook.stem}: unknown parameter {name!r}; {hint}it has {allowed}")
    return {name: _convert(known[name], text, notebook) for name, text in overrides.items()}


def _parameter(statement: ast.stmt, helps: dict[int, str], notebook: Path) -> Parameter:
    match statement:
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            annotation = None
        case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation, value=ast.expr() as value):
            annotation = ast.unparse(annotation)
        case _:
            raise UserError(f"{notebook.name}: parameters cell, line {statement.lineno}: write NAME = VALUE")
    default = None
    with contextlib.suppress(ValueError, TypeError, RecursionError, MemoryError):
        default = ast.literal_eval(value)
    kind = annotation or type(default).__name__
    if kind == "list" and isinstance(default, list) and default:
        kind = f"list[{type(default[0]).__name__}]"
    if kind not in WANTED or not _fits(default, kind):
        allowed = ", ".join(WANTED)
        raise UserError(f"{notebook.name}: {name!r} must be a literal of type {allowed} (an empty list says which)")
    return Parameter(name, default, kind, helps.get(statement.end_lineno, ""))


def _item(kind: str) -> str:
    """``int`` for ``list[int]``."""
    return kind.removeprefix("list[").removesuffix("]")


def _fits(value, kind: str) -> bool:
    if kind not in SCALARS:
        return isinstance(value, list) and all(_fits(item, _item(kind)) for item in value)
    if kind == "float" and type(value) in (int, float):
        return math.isfinite(value)
    return type(value) is SCALARS[kind]


def _convert(parameter: Parameter, text: str, notebook: Path):
    """A value, or a list of them from JSON or from elements between commas."""
    kind = SCALARS[_item(parameter.type)]
    try:
        if parameter.type in SCALARS:
            return _to_scalar(text, kind)
        if not text.strip().startswith("["):
            return [_to_scalar(part.strip(), kind) for part in text.split(",") if part.strip()]
        return [_to_scalar(item if isinstance(item, str) else json.dumps(item), kind) for item in json.loads(text)]
    except (ValueError, KeyError, RecursionError):
        wanted = WANTED[parameter.type]
        raise UserError(f"{notebook.stem}: parameter {parameter.name} must be {wanted}, not {text!r}") from None


def _to_scalar(text: str, kind: type) -> int | float | str | bool:
    if kind is bool:
        return {"true": True, "false": False}[text.lower()]
    value = kind(text)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError
    return value
