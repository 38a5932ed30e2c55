"""Recipes: one TOML file a task, checked key by key.

A file holds one table for each recipe (``as-reported``, ``ours``), whose plain keys hold for every run. Tables inside
it replace them for a pair of domains, a network or a method, such as ``[ours.pair.mnistm-usps]``; one inside another,
``[ours.network.uda-cnn-wide.pair.mnistm-usps]``, holds where both do.

* The table that names most of a run's pair, network and method has the last word. Two that name as many must not give
  a key different values; a table for both says which.
* A recipe with ``extends = "ours"`` begins with all of ``ours``, and its own tables replace that.
* The tables of presets, such as ``[ours.preset.smoke]``, replace all others, also those of a recipe that extends.
* A key that takes an augmentation takes a table, or the name of one in ``augmentations.toml``.
"""

import tomllib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from hw2lib.errors import UserError

Model = TypeVar("Model", bound=BaseModel)

FOLDER = Path(__file__).parent
LAYERS = ("pair", "network", "method", "preset")
AUGMENTATIONS = "augmentations.toml"


def resolve(
    model: type[Model],
    task: str,
    recipe: str,
    override: dict[str, Any] | None = None,
    names: dict[str, Collection[str]] | None = None,
    folder: Path = FOLDER,
    **choice: Any,
) -> Model:
    """Merge the tables of ``<task>.toml`` for one choice, and check the result; a `UserError` says what is allowed.

    Args:
        override: keys that replace those of the file.
        names: what tables of a layer may be called, such as ``{"preset": PRESETS}``; other layers may hold any.
        choice: ``network``, ``pair``, ``method``, ``preset`` and further fields of `model`, such as ``seed``.
    """
    file = f"{task}.toml"
    tables = _read(folder / file)
    if recipe not in tables:
        raise UserError(f"unknown recipe '{recipe}': {file} has {', '.join(tables)}")
    lineage, keys = _lineage(tables, recipe, file), {}
    for name in lineage:
        _check(tables[name], LAYERS, model, names or {}, f"{file}, [{name}]")
    for name in lineage:
        keys |= _merged(tables[name], name, choice, file)
    for name in lineage:  # last, since a preset such as smoke is short whatever the recipe
        keys |= tables[name].get("preset", {}).get(choice.get("preset"), {})
    keys |= override or {}
    for key, value in keys.items():
        if key.startswith("augment") and isinstance(value, str):
            augmentations = _read(folder / AUGMENTATIONS)
            if value not in augmentations:
                has = f"{AUGMENTATIONS} has {', '.join(augmentations)}"
                raise UserError(f"{file}, [{recipe}]: {key} = '{value}': {has}")
            bases = [augmentations[base] for base in _lineage(augmentations, value, AUGMENTATIONS)]
            keys[key] = {part: change for base in bases for part, change in base.items() if part != "extends"}
    fields = {key: value for key, value in choice.items() if key in model.model_fields}
    where = f"{file}, [{recipe}] of {', '.join(str(choice[layer]) for layer in LAYERS if layer in choice)}"
    return validate(model, keys | {"recipe": recipe} | fields, where)


def _merged(table: dict[str, Any], recipe: str, choice: dict[str, Any], file: str) -> dict[str, Any]:
    """The keys of a recipe for one choice, presets aside."""

    def title(*layers: str) -> str:
        names = [f".{layer}.{choice[layer]}" for layer in reversed(LAYERS) if layer in layers]
        return f"[{recipe}{''.join(names)}]"

    keys: dict[str, Any] = {}
    places: dict[str, tuple[str, ...]] = {}  # the layers of the table that a key is from
    for place, own in sorted(_tables(table, choice, LAYERS[:-1]), key=lambda entry: -len(entry[0])):
        for key, value in own.items():
            if key not in keys:
                keys[key], places[key] = value, place
            elif len(places[key]) == len(place) and keys[key] != value:
                values = f"{keys[key]!r} in {title(*places[key])} and {value!r} in {title(*place)}"
                raise UserError(f"{file}: {key} is {values}; say which in {title(*place, *places[key])}")
    return keys


def _tables(
    table: dict[str, Any], choice: dict[str, Any], layers: tuple[str, ...], place: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """A table and those inside it that hold for a choice: the layers that each names, and its keys."""
    yield place, {key: value for key, value in table.items() if key not in (*LAYERS, "extends")}
    for i, layer in enumerate(layers):
        if inner := table.get(layer, {}).get(choice.get(layer)):
            yield from _tables(inner, choice, layers[:i], (*place, layer))


def _lineage(tables: dict[str, Any], name: str, file: str) -> list[str]:
    """A table behind the one that it extends, and so on."""
    lineage = [name]
    while (base := _table(tables[lineage[0]], f"{file}, [{lineage[0]}]").get("extends")) is not None:
        if base not in tables or base in lineage:
            others = ", ".join(name for name in tables if name not in lineage)
            raise UserError(f"{file}, [{lineage[0]}]: extends = {base!r}: choose one of {others}")
        lineage.insert(0, base)
    return lineage


def _check(
    table: Any, layers: tuple[str, ...], model: type[BaseModel], names: dict[str, Collection[str]], where: str
) -> None:
    """A misspelt table or key would otherwise do nothing in silence until it is chosen."""
    for i, layer in enumerate(layers):
        inner = () if layer == "preset" else layers[:i]
        for name, keys in _table(table.get(layer, {}), f"{where}: {layer}").items():
            if layer in names and name not in names[layer]:
                raise UserError(f"{where}: unknown {layer} '{name}'; choose one of {', '.join(names[layer])}")
            for key in _table(keys, f"{where}: {layer}.{name}"):
                if key not in inner and (key in LAYERS or key not in model.model_fields):
                    allowed = ", ".join(model.model_fields)
                    raise UserError(f"{where}: unknown key '{layer}.{name}.{key}'; allowed are {allowed}")
            _check(keys, inner, model, names, f"{where}: {layer}.{name}")


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
            part = model
            for name in first["loc"][:-1]:
                kinds = (part.model_fields[name].annotation, *get_args(part.model_fields[name].annotation))
                part = next(kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel))
            allowed = ", ".join(part.model_fields)
            raise UserError(f"{where}: unknown key '{key}'; allowed are {allowed}") from None
        if first["type"] == "missing":
            raise UserError(f"{where}: the key '{key}' is missing") from None
        raise UserError(f"{where}: {key} = {first['input']!r}: {first['msg']}") from None


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        known = ", ".join(sorted(path.stem for path in file.parent.glob("*.toml")))
        raise UserError(f"no recipe file '{file.name}': there are {known}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file}: not valid TOML: {error}") from None
