"""The face rate, on the drawn faces that are embedded, and on what is no face; on real faces where there are any."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from hw2lib.data.standins import digits, faces
from hw2lib.errors import UserError
from hw2lib.metrics.images import count_faces, face_rate

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
    assert face_rate(drawn) > 70
    assert count_faces(drawn).shape == (100,)


@pytest.mark.parametrize("part", [8, 16])
def test_shuffled_faces_are_none(drawn, part):
    assert not torch.equal(shuffled(drawn, part), drawn)
    assert torch.equal(shuffled(drawn, part).sum((2, 3)), drawn.sum((2, 3)))
    assert face_rate(shuffled(drawn, part)) <= 2


def test_noise_is_no_face():
    noise = torch.randint(0, 256, (100, 3, 64, 64), generator=torch.Generator().manual_seed(0)).float()
    blurred = torch.nn.functional.interpolate(noise[:, :, ::8, ::8], size=64, mode="bicubic").clamp(0, 255)
    assert face_rate(noise.byte()) == 0
    assert face_rate(blurred.byte()) <= 2


def test_digits_are_no_faces():
    images = digits.mnistm("val", np.arange(100) % 10, np.random.default_rng(0)).clamp(0, 1) * 255
    assert face_rate(torch.nn.functional.interpolate(images, size=64, mode="bilinear").byte()) <= 2


def test_the_rate_is_the_percentage_with_exactly_one(drawn):
    found = drawn[count_faces(drawn) == 1][:3]
    blank = torch.full((1, 3, 64, 64), 128, dtype=torch.uint8)
    assert face_rate(torch.cat([found, blank])) == 75


def test_an_image_counts_alike_alone_or_among_others(drawn):
    counts = count_faces(drawn[:20])
    assert torch.equal(torch.cat([count_faces(drawn[i : i + 2]) for i in range(0, 20, 2)]), counts)


def test_one_image_is_refused(drawn):
    with pytest.raises(UserError, match="at least two"):
        face_rate(drawn[:1])


@pytest.mark.skipif(not SHARED.is_dir(), reason="no real faces here")
def test_real_faces_are_found(tmp_path):
    unpack = [sys.executable, SHARED / "unpack.py", tmp_path, "--format", "npz", "--only", "face", "--limit", "300"]
    subprocess.run(unpack, check=True, capture_output=True)
    images = torch.tensor(np.load(tmp_path / "face.npz")["val_images"]).permute(0, 3, 1, 2)
    assert face_rate(images) > 95
    assert face_rate(shuffled(images, 16)) < 3
    assert face_rate(shuffled(images, 8)) < 3
