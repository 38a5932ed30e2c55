"""No text of the project names a command, an option or a parameter that does not exist."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from hw2lib import paths
from hw2lib.cli import cli
from hw2lib.report import parameters, running

COMMAND = re.compile(r"(?<![\w-])hw2 ([a-z][^\n`\"]*)")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")


def text_of(node: ast.expr) -> str:
    """A string as it stands in the source, with X in place of what is filled in."""
    parts = node.values if isinstance(node, ast.JoinedStr) else [node]
    return "".join(part.value if isinstance(part, ast.Constant) else "X" for part in parts)


def strings(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str)):
            yield text_of(node)


def sources() -> Iterator[tuple[Path, str]]:
    """Each text: strings of modules, cells of notebooks, what is to be read."""
    for file in sorted((paths.ROOT / "hw2lib").rglob("*.py")):
        for text in strings(ast.parse(file.read_text())):
            yield file, " ".join(text.split("\n"))
    for file in sorted(paths.NOTEBOOKS.glob("*.ipynb")):
        yield from ((file, cell["source"]) for cell in parameters.load(file)["cells"])
    for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "data/README.md", "Makefile"):
        yield paths.ROOT / name, (paths.ROOT / name).read_text()


def options_of(command: click.Command) -> set[str]:
    return {"--help"}.union(*(parameter.opts for parameter in command.params))


def commands(group: click.Group = cli) -> Iterator[click.Command]:
    for command in group.commands.values():
        yield command
        if isinstance(command, click.Group):
            yield from commands(command)


def problem(hint: str) -> str:
    """What is wrong with ``data fetch usps --data-dir X``; "" for nothing."""
    words = re.split(r" -- |  #|[,;:.] ", hint)[0].split()  # what follows is Snakemake's, a comment, or prose
    command: click.Command = cli
    while isinstance(command, click.Group) and words:
        name = words.pop(0).rstrip(".,;:)")
        if name not in command.commands:
            return f"no command {name}"
        command = command.commands[name]
    for option in OPTION.findall(" ".join(words)):
        if option not in options_of(command):
            return f"{command.name} has no {option}"
    if command.name == "run" and words and re.fullmatch("[0-9]{2}[a-z0-9_]*", words[0]):
        known = parameters.read(parameters.notebook_file(running.find(words[0])))
        for name in re.findall(r"-p ([a-z_]+)=", hint):
            if name not in known:
                return f"notebook {words[0]} has no parameter {name}"
    return ""


def test_every_command_that_a_text_names_exists():
    hints = [(file.relative_to(paths.ROOT), hint) for file, text in sources() for hint in COMMAND.findall(text)]
    assert len(hints) > 40
    assert [(str(file), hint, problem(hint)) for file, hint in hints if problem(hint)] == []


@pytest.mark.parametrize(
    "hint", ["fetch usps", "data remove usps", "noise DIR --pixels 64", "run 40 -p networks=dcgan", "train --miss"]
)
def test_a_command_that_does_not_exist_is_seen(hint):
    assert problem(hint)


def test_every_option_that_an_error_names_exists():
    known = set().union(*map(options_of, commands()))
    named = {}
    for file in sorted((paths.ROOT / "hw2lib").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "UserError":
                named |= dict.fromkeys(OPTION.findall(" ".join(strings(node))), file.name)
    assert {"--overwrite", "--missing", "--ema"} <= named.keys()
    assert {option: file for option, file in named.items() if option not in known} == {}


def test_every_target_of_make_that_a_text_names_exists():
    targets = set(re.findall(r"^([a-z-]+):", (paths.ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {name for _, text in sources() for name in re.findall(r"(?:`|^)make ([a-z-]+)", text, re.MULTILINE)}
    assert {"setup", "report"} <= named
    assert named <= targets
