"""What people clone stays small, and what they read stays short."""

import subprocess

import pytest

from hw2lib import paths

MIB = 2**20


@pytest.fixture(scope="module")
def tracked() -> dict[str, int]:
    """Path to bytes of what git tracks."""
    done = subprocess.run(["git", "ls-files", "-z"], cwd=paths.ROOT, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip("no git repository")
    files = {name: paths.ROOT / name for name in done.stdout.split("\0") if name}
    return {name: file.stat().st_size for name, file in files.items() if file.is_file()}


def test_the_tree_is_small(tracked):
    assert sum(tracked.values()) <= 64 * MIB


def test_weights_and_the_pdf_are_small(tracked):
    large = {name for name, size in tracked.items() if size > 15e6}
    assert not large
    assert tracked.get("report.pdf", 0) <= 5 * MIB


def test_a_file_fits_in_one_reading():
    modules = sorted((paths.ROOT / "hw2lib").rglob("*.py"))
    lengths = {file: len(file.read_text().splitlines()) for file in modules}
    assert len(modules) <= 109
    assert max(lengths.values()) <= 450
