"""Kept results: read again where nothing has changed, made anew where anything has."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from hw2lib import kept as kept_module
from hw2lib import used
from hw2lib.kept import kept

RESULT = {
    "tensor": torch.arange(3),
    "array": np.ones((2, 2)),
    1: (1.5, [True, None, "text"]),
}
calls = []


@dataclass(frozen=True)
class Settings:
    steps: int = 20


@kept
def expensive(*arguments, **options):
    calls.append(arguments)
    used.note("images", "usps test", "1")
    return RESULT


@pytest.fixture(autouse=True)
def _places(tmp_path, monkeypatch):
    monkeypatch.setenv("HW2_BUILD", str(tmp_path))
    monkeypatch.setattr(used, "closure_digest", lambda module: "code")
    calls.clear()
    used.forget()


def results(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache/results").iterdir())


def test_a_result_is_computed_once_and_comes_back_as_it_was():
    first, second = expensive(1), expensive(1)
    assert calls == [(1,)]
    for result in (first, second):
        assert torch.equal(result["tensor"], RESULT["tensor"])
        assert np.array_equal(result["array"], RESULT["array"])
        assert result[1] == RESULT[1]


def test_each_argument_counts(tmp_path):
    file = tmp_path / "weights"
    file.write_text("1")
    network = nn.Linear(2, 2)

    def all_of_them() -> list[tuple]:
        return [
            (1,), (1.0, 2), ("1",), ([1, 2],), (torch.zeros(2),), (torch.zeros(2, 1),), (np.zeros(2, np.uint8),),
            (Settings(),), (Settings(10),), ({"a": 1},), (file,), (network,), (torch.device("cpu"),), (max,), (None,),
        ]  # fmt: skip

    for arguments in [*all_of_them(), *all_of_them()]:
        expensive(*arguments)
    assert len(calls) == len(all_of_them())
    expensive(1, option=1)
    file.write_text("22")
    expensive(file)
    with torch.no_grad():
        network.weight += 1
    expensive(network)
    assert len(calls) == len(all_of_them()) + 3


def test_other_code_computes_again(monkeypatch):
    expensive(1)
    monkeypatch.setattr(used, "closure_digest", lambda module: "other code")
    expensive(1)
    assert len(calls) == 2


def test_what_was_used_is_noted_again():
    expensive(1)
    used.forget()
    expensive(1)
    assert used.notes() == {"images: usps test": "1"}


@pytest.mark.parametrize("damage", [b"", b"no torch file", "half"])
def test_a_damaged_file_is_made_anew(tmp_path, damage):
    expensive(1)
    (file,) = results(tmp_path)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2] if damage == "half" else damage)
    expensive(1)
    expensive(1)
    assert len(calls) == 2
    assert results(tmp_path) == [file]


def test_an_argument_that_cannot_be_told_from_another_is_refused():
    with pytest.raises(TypeError, match="kept_key"):
        kept_module._plain(object())


def test_a_disk_that_cannot_be_written_costs_no_result(tmp_path):
    (tmp_path / "cache").write_text("no folder")
    assert expensive(1)[1] == RESULT[1]
