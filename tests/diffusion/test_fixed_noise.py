"""The noise 00 to 09: the same for all, as the homework's files, and what is refused of a user's."""

import errno
from pathlib import Path

import pytest
import torch

from hw2lib.diffusion.faces import fixed_noise, named_noise, read_noise, write_noise
from hw2lib.errors import UserError


def test_the_named_noise_is_what_it_has_always_been():
    noise = named_noise(64)
    assert noise.shape == (10, 3, 64, 64)
    first = torch.randn((3, 64, 64), generator=torch.Generator().manual_seed(0))
    assert torch.equal(noise[0], first)
    assert noise[7, 0, 0, :3].tolist() == pytest.approx([-0.8201, 0.3956, 0.8989], abs=1e-4)
    assert abs(noise.mean()) < 0.01
    assert abs(noise.std() - 1) < 0.01
    assert torch.corrcoef(noise.flatten(1)).fill_diagonal_(0).abs().max() < 0.05


def test_written_noise_is_read_back(tmp_path):
    write_noise(tmp_path / "noise", 16)
    assert sorted(file.name for file in (tmp_path / "noise").iterdir()) == [f"{i:02d}.pt" for i in range(10)]
    assert torch.equal(read_noise(tmp_path / "noise", 16), named_noise(16))
    assert torch.equal(fixed_noise(str(tmp_path / "noise"), 16), fixed_noise("", 16))
    file = tmp_path / "noise" / "03.pt"
    assert torch.load(file, weights_only=True).shape == (1, 3, 16, 16)
    assert file.stat().st_size < 10_000, "one noise, not ten"


def test_a_users_noise_may_lack_the_batch_or_be_of_another_precision(tmp_path):
    write_noise(tmp_path, 16)
    other = torch.randn(3, 16, 16, dtype=torch.float64)
    torch.save(other, tmp_path / "04.pt")
    found = read_noise(tmp_path, 16)
    assert found.dtype == torch.float32
    assert torch.equal(found[4], other.float())


class Harmful:
    def __reduce__(self):
        return print, ("this was run",)


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (lambda file: file.unlink(), "cannot be read: No such file"),
        (lambda file: file.write_bytes(file.read_bytes()[:300]), "damaged"),
        (lambda file: file.write_bytes(b"run"), "damaged"),  # half an instruction of a pickle
        (lambda file: torch.save(Harmful(), file), "holds code .*which is never run"),
        (lambda file: torch.save({"noise": 1}, file), "holds a dict that is no plain tensor; give a tensor"),
        (lambda file: torch.save(torch.zeros(1, 3, 32, 32), file), r"holds \(1, 3, 32, 32\) float32; give a tensor"),
        (lambda file: torch.save(torch.zeros(1, 3, 16, 16, dtype=torch.int64), file), r"16\) int64; give"),
        (lambda file: torch.save(torch.full((1, 3, 16, 16), torch.nan), file), "not finite"),
        (lambda file: torch.save(torch.full((1, 3, 16, 16), 1e300, dtype=torch.float64), file), "not finite"),
        (lambda file: torch.save(torch.zeros(1, 3, 16, 16).to_sparse(), file), "no plain tensor"),
        (lambda file: torch.save(torch.zeros(1, 3, 16, 16, device="meta"), file), "no plain tensor"),
    ],
)
def test_files_that_hold_no_noise(tmp_path, capsys, spoil, what):
    write_noise(tmp_path, 16)
    spoil(tmp_path / "06.pt")
    with pytest.raises(UserError, match=rf"06\.pt: .*{what}"):
        read_noise(tmp_path, 16)
    assert "this was run" not in capsys.readouterr().out


def test_files_that_are_there_are_kept(tmp_path):
    (tmp_path / "02.pt").write_text("mine")
    with pytest.raises(UserError, match=r"has 02\.pt already"):
        write_noise(tmp_path, 16)
    assert [file.name for file in tmp_path.iterdir()] == ["02.pt"]
    write_noise(tmp_path, 16, overwrite=True)
    assert torch.equal(read_noise(tmp_path, 16), named_noise(16))


@pytest.mark.parametrize("size", [0, 200_000])
def test_a_size_that_is_none(tmp_path, size):
    with pytest.raises(UserError, match=f"size {size}: give 1 to 1024"):
        write_noise(tmp_path / "noise", size)
    assert not (tmp_path / "noise").exists()


def test_a_disk_that_is_full_leaves_what_was_there(tmp_path, monkeypatch):
    write_noise(tmp_path, 16)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    whole = Path.write_bytes

    def full(file, content):
        if file.name.startswith(".07.pt"):
            raise OSError(errno.ENOSPC, "No space left on device", str(file))
        return whole(file, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UserError, match=r"0\d\.pt: No space left on device"):
        write_noise(tmp_path, 8, overwrite=True)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_noise_that_was_learned_is_noise_all_the_same(tmp_path):
    write_noise(tmp_path, 16)
    torch.save(torch.nn.Parameter(torch.ones(1, 3, 16, 16)), tmp_path / "04.pt")
    assert not read_noise(tmp_path, 16).requires_grad
