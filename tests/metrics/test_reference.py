"""A set of real images as its scores: measured once, kept in a file, and what generated images are scored against."""

import resource
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from hw2lib import used
from hw2lib.data import ImageSet
from hw2lib.data.standins import faces
from hw2lib.errors import UserError
from hw2lib.metrics import sliced_wasserstein
from hw2lib.metrics.images import one_face
from hw2lib.metrics.reference import Reference, face_scores, read, reference, shipped, write


def drawn(n: int, seed: int) -> torch.Tensor:
    return (faces.faces(n, np.random.default_rng(seed)) * 255).round().byte()


class Source:
    """Thirty drawn faces to be like, forty others; counts how often it is asked for images."""

    origin = "stand-in"
    images = drawn(30, 0), drawn(40, 1)

    def __init__(self, domain_fingerprint: str = "a" * 64) -> None:
        self.domain_fingerprint = domain_fingerprint
        self.loads = 0

    def load(self, domain: str, split: str) -> ImageSet:
        self.loads += 1
        return ImageSet(self.images[split == "train"].numpy(), None, domain, split, self.origin)

    def fingerprint(self, domain: str) -> str:
        return self.domain_fingerprint


@pytest.fixture(autouse=True)
def build(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("HW2_BUILD", str(tmp_path / "build"))
    return tmp_path / "build"


@pytest.fixture
def measured() -> Reference:
    return reference(Source())


def equal(a: Reference, b: Reference) -> bool:
    same = all(torch.equal(a.statistics[level], b.statistics[level]) for level in sliced_wasserstein.LEVELS)
    return same and replace(a, statistics={}) == replace(b, statistics={})


def test_it_says_what_it_is_of(measured):
    assert (measured.domain, measured.split, measured.count, measured.size) == ("face", "val", 30, 64)
    assert (measured.origin, measured.fingerprint, measured.floor_count) == ("stand-in", "a" * 64, 40)


def test_its_floor_is_the_distance_of_the_training_images(measured):
    images, others = (sliced_wasserstein.statistics(images) for images in Source.images)
    expected = sliced_wasserstein.distance(others, images)
    assert measured.floor["sliced_wasserstein"] == expected["mean"]
    assert [measured.floor[f"sliced_wasserstein_{level}"] for level in (64, 32, 16)] == list(expected.values())[:3]


def test_the_set_itself_scores_as_the_reference(measured):
    scores = face_scores(Source.images[0], measured)
    assert scores["sliced_wasserstein"] == scores["sliced_wasserstein_16"] == 0
    for name in ("one_face", "lattice", "brightness", "contrast", "diversity"):
        assert scores[name] == getattr(measured, name)


def test_the_training_images_score_the_floor(measured):
    scores = face_scores(Source.images[1], measured)
    assert {name: value for name, value in scores.items() if name in measured.floor} == measured.floor
    assert scores["one_face"] == one_face(Source.images[1]) > 50


def test_noise_scores_worse_than_the_floor(measured):
    noise = torch.randint(0, 256, (40, 3, 64, 64), dtype=torch.uint8)
    scores = face_scores(noise, measured)
    assert scores["one_face"] == 0
    assert all(scores[name] > 2 * floor for name, floor in measured.floor.items())


def test_it_is_measured_once_for_the_same_images():
    source, others = Source(), Source("b" * 64)
    first = reference(source)
    loads = source.loads
    assert equal(reference(source), first)
    assert source.loads == loads
    assert reference(others).fingerprint == "b" * 64
    assert others.loads == loads


def test_a_damaged_copy_in_the_cache_is_measured_again(build, measured):
    (file,) = (build / "cache" / "reference").iterdir()
    file.write_bytes(file.read_bytes()[:100_000])
    assert equal(reference(Source()), measured)
    assert equal(read(file), measured)


def test_a_file_says_everything(tmp_path, measured):
    write(measured, tmp_path / "some.safetensors")
    assert equal(read(tmp_path / "some.safetensors"), measured)
    assert (tmp_path / "some.safetensors").stat().st_size < 1_500_000


def test_a_disk_that_fills_leaves_what_was_there(tmp_path, measured):
    file = tmp_path / "some.safetensors"
    write(measured, file)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(UserError, match=r"some\.safetensors: cannot be written: .*large"):
            write(replace(measured, origin="real"), file)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert equal(read(file), measured)
    assert [path.name for path in tmp_path.glob("some*")] == [file.name]


def test_a_file_that_is_read_is_noted_and_a_copy_in_the_cache_is_not(tmp_path, measured):
    used.forget()
    reference(Source())
    assert used.notes() == {}
    write(measured, tmp_path / "some.safetensors")
    read(tmp_path / "some.safetensors")
    assert list(used.notes()) == [f"file: {tmp_path}/some.safetensors"]


@pytest.mark.parametrize("content", [b"", b"<html>", b"\x80\x04}."])
def test_what_is_no_reference_is_refused(content, tmp_path):
    (tmp_path / "some.safetensors").write_bytes(content)
    with pytest.raises(UserError, match=r"some\.safetensors: damaged, or no reference"):
        read(tmp_path / "some.safetensors")


def test_weights_are_no_reference(tmp_path, measured):
    save_file({"64": torch.zeros(3)}, tmp_path / "some.safetensors")
    with pytest.raises(UserError, match="damaged, or no reference"):
        read(tmp_path / "some.safetensors")


def test_a_reference_of_another_version_is_refused(tmp_path, measured):
    write(replace(measured, version=0), tmp_path / "some.safetensors")
    with pytest.raises(UserError, match="measured in another way"):
        read(tmp_path / "some.safetensors")


def test_images_without_a_face_are_no_reference(monkeypatch):
    monkeypatch.setattr(Source, "images", (torch.zeros(30, 3, 64, 64, dtype=torch.uint8),) * 2)
    with pytest.raises(UserError, match="no face is found in any of 30 images"):
        reference(Source())


def test_the_reference_of_real_faces_ships():
    found = shipped("face")
    assert (found.domain, found.split, found.origin, found.count, found.floor_count) == (
        "face",
        "val",
        "real",
        2025,
        1000,
    )
    assert found.one_face > 95
    assert 0.8 < found.lattice < 1
    assert found.floor["sliced_wasserstein"] < 10
    noise = torch.randint(0, 256, (100, 3, 64, 64), dtype=torch.uint8)
    assert face_scores(noise, found)["sliced_wasserstein"] > 10 * found.floor["sliced_wasserstein"]
    with pytest.raises(UserError, match="no such reference"):
        shipped("usps")
