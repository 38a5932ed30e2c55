"""In how many images one face is found: drawn faces, what is no face, and real faces where there are any."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from hw2lib.data.standins import digits, faces
from hw2lib.errors import UserError
from hw2lib.metrics.images import count_faces, one_face

SHARED = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture(scope="module")
def drawn() -> torch.Tensor:
    return (faces.faces(100, np.random.default_rng(0)) * 255).round().byte()


def shuffled(images: torch.Tensor, part: int) -> torch.Tensor:
    """Each image with its square parts in another order, the same for all."""
    parts = images.unfold(2, part, part).unfold(3, part, part).flatten(2, 3)  # (N, 3, parts, part, part)
    parts = parts[:, :, torch.randperm(parts.shape[2], generator=torch.Generator().manual_seed(0))]
    rows = parts.unflatten(2, (64 // part, 64 // part)).transpose(3, 4)
    return rows.reshape(images.shape)


def test_most_drawn_faces_are_found(drawn):
    counts = count_faces(drawn)
    assert counts.shape == (100,)
    assert counts.bincount().tolist() == pytest.approx([27, 73], abs=2)
    assert counts[:8].tolist() == [0, 1, 1, 1, 1, 0, 1, 0]


def test_two_faces_side_by_side_are_not_one(drawn):
    found = drawn[count_faces(drawn) == 1][:40]
    pairs = torch.cat([found[:3], found[20:23]], dim=3)
    assert count_faces(pairs).tolist() == [2] * 3
    assert one_face(pairs) == 0


@pytest.mark.parametrize("part", [8, 16])
def test_shuffled_faces_are_none(drawn, part):
    assert not torch.equal(shuffled(drawn, part), drawn)
    assert torch.equal(shuffled(drawn, part).sum((2, 3)), drawn.sum((2, 3)))
    assert one_face(shuffled(drawn, part)) <= 2


def test_noise_is_no_face():
    noise = torch.randint(0, 256, (100, 3, 64, 64), generator=torch.Generator().manual_seed(0)).float()
    blurred = torch.nn.functional.interpolate(noise[:, :, ::8, ::8], size=64, mode="bicubic").clamp(0, 255)
    assert one_face(noise.byte()) == 0
    assert one_face(blurred.byte()) <= 2


def test_digits_are_no_faces():
    images = digits.mnistm("val", np.arange(100) % 10, np.random.default_rng(0)).clamp(0, 1) * 255
    assert one_face(torch.nn.functional.interpolate(images, size=64, mode="bilinear").byte()) <= 2


def test_the_rate_is_the_percentage_with_exactly_one(drawn):
    found = drawn[count_faces(drawn) == 1][:3]
    blank = torch.full((1, 3, 64, 64), 128, dtype=torch.uint8)
    assert one_face(torch.cat([found, blank])) == 75


def test_an_image_counts_alike_alone_or_among_others(drawn):
    counts = count_faces(drawn[:20])
    assert torch.equal(torch.cat([count_faces(drawn[i : i + 2]) for i in range(0, 20, 2)]), counts)


def test_one_image_is_refused(drawn):
    with pytest.raises(UserError, match="at least two"):
        one_face(drawn[:1])


@pytest.mark.skipif(not SHARED.is_dir(), reason="no real faces here")
def test_real_faces_are_found(tmp_path):
    unpack = [sys.executable, SHARED / "unpack.py", tmp_path, "--format", "npz", "--only", "face", "--limit", "300"]
    subprocess.run(unpack, check=True, capture_output=True)
    images = torch.tensor(np.load(tmp_path / "face.npz")["val_images"]).permute(0, 3, 1, 2)
    assert one_face(images) > 90
    assert one_face(shuffled(images, 16)) < 3
    assert one_face(shuffled(images, 8)) < 3
