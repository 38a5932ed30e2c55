"""Imports run one way (pyproject.toml says which), and nothing needs `fcntl`."""

import ast
import os
import subprocess
import sys

from hw2lib import paths


def test_imports_run_one_way():
    # A process of its own: import-linter switches every logger off that exists already.
    lint = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    done = subprocess.run([sys.executable, "-c", lint], cwd=paths.ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_needs_what_linux_alone_has():
    for file in (paths.ROOT / "hw2lib").rglob("*.py"):
        names = set()
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                names.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                names.add(node.module)
        assert not names & {"fcntl", "resource", "pwd", "grp"}, file


def test_drawing_and_scoring_work_without_fcntl(tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['fcntl'] = None\n")
    path = os.pathsep.join([str(tmp_path), str(paths.ROOT)])
    environment = os.environ | {"PYTHONPATH": path, "HW2_BUILD": str(tmp_path / "build"), "HW2_DATA": ""}

    def hw2(*arguments: str) -> str:
        command = [sys.executable, "-m", "hw2lib", *arguments]
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "soft file lock" in done.stderr, "filelock says that it has no fcntl"
        return done.stdout

    assert hw2("sample", "acgan", "--count", "10", "--out", "digits") == "10 images in digits\n"
    assert hw2("score", "digits", "--kind", "digits").startswith("digits: 10 images, read by the project's digit-cl")
