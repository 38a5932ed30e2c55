"""What is known of real digits: measured, kept in a file, and read again."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from hw2lib.classifier.reference import DigitReference, read, reference, shipped, write
from hw2lib.classifier.scores import digit_scores, grader
from hw2lib.data import ImageSet
from hw2lib.data.standins import StandIns
from hw2lib.errors import UserError
from hw2lib.metrics.fidelity import Extractor, extract, frechet_distance


def two_numbers(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and first pixel; takes everything for a 3."""
    logits = torch.zeros(len(images), 10)
    logits[:, 3] = 1
    return torch.stack([images.float().mean((1, 2, 3)), images[:, 0, 0, 0].float()], 1), logits


EYES = Extractor(two_numbers, "two-numbers")


class Source:
    """Noise that is darker in val; 1,000 test digits and 500 for val."""

    origin = "stand-in"

    def load(self, domain: str, split: str) -> ImageSet:
        count = {"test": 1000, "val": 500}[split]
        images = np.random.default_rng(count).integers(0, count // 4, (count, 3, 28, 28), np.uint8)
        return ImageSet(images, np.arange(count) % 10, domain, split, self.origin)

    def fingerprint(self, domain: str) -> str:
        return "a" * 64


@pytest.fixture(autouse=True)
def _build(tmp_path, monkeypatch):
    torch.set_num_threads(1)
    monkeypatch.setenv("HW2_BUILD", str(tmp_path / "build"))


def equal(a: DigitReference, b: DigitReference) -> bool:
    same = all(torch.equal(x, y) for x, y in zip(a.features, b.features, strict=True))
    return same and replace(a, features=None) == replace(b, features=None)


def test_what_is_measured():
    source = Source()
    found = reference(source, EYES)
    test, val = (torch.tensor(source.load("mnistm", split).images) for split in ("test", "val"))
    features = extract(test, EYES).features
    torch.testing.assert_close(found.features.mean, features.mean(0))
    torch.testing.assert_close(found.features.covariance, features.T.cov())
    assert found.floor == pytest.approx(frechet_distance(extract(val, EYES).features, features), rel=1e-9)
    assert found.accuracy == pytest.approx(10), "one digit in ten is a 3"
    assert (found.grader, found.split, found.count, found.floor_count) == ("two-numbers", "test", 1000, 500)
    assert (found.origin, found.fingerprint) == ("stand-in", source.fingerprint("mnistm"))
    assert reference(source, EYES, "val").count == 500


def test_a_file_says_everything(tmp_path):
    found = reference(Source(), EYES)
    write(found, tmp_path / "some.safetensors")
    assert equal(read(tmp_path / "some.safetensors"), found)
    assert [path.name for path in tmp_path.glob("some*")] == ["some.safetensors"]


@pytest.mark.parametrize("content", [b"", b"<html>", b"\x80\x04}."])
def test_what_is_no_reference_is_refused(content, tmp_path):
    (tmp_path / "some.safetensors").write_bytes(content)
    with pytest.raises(UserError, match=r"some\.safetensors: damaged, or no reference of digits"):
        read(tmp_path / "some.safetensors")


def test_another_safetensors_file_or_version_or_none(tmp_path):
    file = tmp_path / "some.safetensors"
    save_file({"mean": torch.zeros(3), "covariance": torch.eye(3)}, file)
    with pytest.raises(UserError, match="damaged, or no reference of digits"):
        read(file)
    write(replace(reference(Source(), EYES), version=0), file)
    with pytest.raises(UserError, match="measured in another way"):
        read(file)
    with pytest.raises(UserError, match="no such reference"):
        read(tmp_path / "none.safetensors")


def test_the_reference_of_real_digits_ships():
    found = shipped()
    assert (found.split, found.origin, found.floor_count) == ("test", "real", 1000)
    assert found.features.covariance.shape == (64, 64)
    noise = torch.randint(0, 256, (1000, 3, 28, 28), dtype=torch.uint8)
    standins = StandIns().load("mnistm", "test")
    of_noise = digit_scores(noise, torch.arange(1000) % 10, grader())["frechet"]
    of_standins = digit_scores(torch.tensor(standins.images), torch.tensor(standins.labels), grader())["frechet"]
    assert 0 < found.floor < of_standins / 5 < of_standins < of_noise
