"""Recipes: one TOML file a task, checked key by key.

A file holds one table for each recipe (``as-reported``, ``ours``). Its plain keys hold for every run; the tables
``pair``, ``network``, ``method`` and ``preset`` inside it override them, in that order. A recipe with ``extends``
begins with all that another has, but for the presets, which go above both.
"""

import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from hw2lib.errors import UserError

Model = TypeVar("Model", bound=BaseModel)

FOLDER = Path(__file__).parent
LAYERS = ("pair", "network", "method", "preset")


def resolve(
    model: type[Model],
    task: str,
    recipe: str,
    override: dict[str, Any] | None = None,
    names: dict[str, Collection[str]] | None = None,
    folder: Path = FOLDER,
    **choice: Any,
) -> Model:
    """Merge the layers of a recipe for one choice of network, pair, method and preset, and check the result.

    Args:
        model: what the merged keys must fit; keys of `choice` that are its fields are passed on.
        task: the file's name without ``.toml``.
        recipe: a table of that file.
        override: keys that replace those of the file.
        names: what a layer's tables may be called, such as ``{"preset": PRESETS}``; other layers may hold any.
        folder: where the file is.
        choice: ``network``, ``pair``, ``method``, ``preset`` and further fields of `model`, such as ``seed``.

    Raises:
        UserError: naming the file, the key and what is allowed.
    """
    file = folder / f"{task}.toml"
    tables = _read(file)
    if recipe not in tables:
        raise UserError(f"unknown recipe '{recipe}': {file.name} has {', '.join(tables)}")
    lineage = _lineage(tables, recipe, file.name)
    for name in lineage:
        _check_layers(tables[name], model, names or {}, f"{file.name}, [{name}]")
    merged: dict[str, Any] = {}
    for name in lineage:
        merged |= {key: value for key, value in tables[name].items() if key not in (*LAYERS, "extends")}
        for layer in LAYERS[:-1]:
            merged |= tables[name].get(layer, {}).get(choice.get(layer), {})
    # Last, since a preset such as smoke is short whatever the recipe.
    for name in lineage:
        merged |= tables[name].get("preset", {}).get(choice.get("preset"), {})
    fields = {key: value for key, value in choice.items() if key in model.model_fields}
    where = f"{file.name}, [{recipe}] of {', '.join(str(choice[layer]) for layer in LAYERS if layer in choice)}"
    return validate(model, merged | (override or {}) | {"recipe": recipe} | fields, where)


def _lineage(tables: dict[str, Any], recipe: str, file: str) -> list[str]:
    """A recipe behind the one that it extends, and so on."""
    lineage = [recipe]
    while (base := _table(tables[lineage[0]], f"{file}, [{lineage[0]}]").get("extends")) is not None:
        if base not in tables or base in lineage:
            others = ", ".join(name for name in tables if name not in lineage)
            raise UserError(f"{file}, [{lineage[0]}]: extends = {base!r}: choose one of {others}")
        lineage.insert(0, base)
    return lineage


def _check_layers(table: Any, model: type[BaseModel], names: dict[str, Collection[str]], where: str) -> None:
    """A misspelt table or key would otherwise do nothing in silence until it is chosen."""
    _table(table, where)
    for layer in LAYERS:
        for name, keys in _table(table.get(layer, {}), f"{where}: {layer}").items():
            if layer in names and name not in names[layer]:
                raise UserError(f"{where}: unknown {layer} '{name}'; choose one of {', '.join(names[layer])}")
            for key in _table(keys, f"{where}: {layer}.{name}"):
                if key not in model.model_fields:
                    allowed = ", ".join(model.model_fields)
                    raise UserError(f"{where}: unknown key '{layer}.{name}.{key}'; allowed are {allowed}")


def _table(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UserError(f"{where} must be a table, not {value!r}")
    return value


def validate(model: type[Model], values: dict[str, Any], where: str) -> Model:
    """Return `model` of these values; a `UserError` names `where`, the key and what is allowed."""
    try:
        return model(**values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            allowed = ", ".join(_part(model, first["loc"][:-1]).model_fields)
            raise UserError(f"{where}: unknown key '{key}'; allowed are {allowed}") from None
        if first["type"] == "missing":
            raise UserError(f"{where}: the key '{key}' is missing") from None
        raise UserError(f"{where}: {key} = {first['input']!r}: {first['msg']}") from None


def _part(model: type[BaseModel], path: tuple[str | int, ...]) -> type[BaseModel]:
    """The model inside `model` that a path of keys leads to."""
    for key in path:
        kind = model.model_fields[key].annotation
        model = next(part for part in (kind, *get_args(kind)) if isinstance(part, type) and issubclass(part, BaseModel))
    return model


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text())
    except FileNotFoundError:
        known = ", ".join(sorted(path.stem for path in file.parent.glob("*.toml")))
        raise UserError(f"no recipe file '{file.name}': there are {known}") from None
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{file}: not valid TOML: {error}") from None
