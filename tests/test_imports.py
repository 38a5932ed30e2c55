"""Imports run one way (pyproject.toml says which), and nothing needs what Linux alone has."""

import ast

from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

from hw2lib import paths


def test_imports_run_one_way(monkeypatch):
    monkeypatch.chdir(paths.ROOT)
    assert lint_imports(no_cache=True) == EXIT_STATUS_SUCCESS


def test_nothing_needs_what_linux_alone_has():
    for file in (paths.ROOT / "hw2lib").rglob("*.py"):
        names = set()
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                names.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                names.add(node.module)
        assert not names & {"fcntl", "resource", "pwd", "grp"}, file
