"""``hw2 score``: the numbers that it prints are those of the library, and bad input is one line."""

import json
import re
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from PIL import Image

from hw2lib import data, paths
from hw2lib.classifier import reference as digit_reference
from hw2lib.classifier import scores as digits
from hw2lib.classifier.network import DigitClassifier
from hw2lib.data.standins import faces
from hw2lib.metrics import fidelity
from hw2lib.metrics.reference import face_scores, shipped
from hw2lib.weights import save as save_weights


@pytest.fixture(autouse=True)
def _nowhere(monkeypatch, tmp_path):
    """No images, no network, no GPU, and a build folder of its own."""
    torch.set_num_threads(1)
    monkeypatch.setenv("HW2_BUILD", str(tmp_path / "build"))
    monkeypatch.delenv("HW2_DATA", raising=False)
    monkeypatch.delenv("HW2_INCEPTION", raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    def offline(*_, **__) -> None:
        raise URLError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)


def write(folder: Path, images: np.ndarray, names: list[str] | None = None) -> Path:
    folder.mkdir(parents=True)
    names = names or [f"{i:04d}.png" for i in range(len(images))]
    for name, image in zip(names, images, strict=True):
        Image.fromarray(image.transpose(1, 2, 0)).save(folder / name)
    return folder


def drawn_faces(count: int, seed: int = 0) -> np.ndarray:
    drawn = faces.faces(count, np.random.default_rng(seed))
    return (255 * drawn.clamp(0, 1)).to(torch.uint8).numpy()


def numbers(out: str, title: str) -> list[float]:
    """The numbers of the line of that title."""
    (line,) = (line for line in out.splitlines() if line.startswith(title))
    return [float(number) for number in re.findall(r"-?\d+\.\d+", line[len(title) :])]


def test_faces_beside_real_ones(hw2, tmp_path):
    images = drawn_faces(24)
    folder = write(tmp_path / "faces", images)

    status, out, _ = hw2("score", str(folder), "--kind", "faces")

    assert status == 0
    reference = shipped("face")
    scores = face_scores(torch.from_numpy(images), reference)
    floor = reference.floor["sliced_wasserstein"]
    assert out.startswith(f"{folder}: 24 images, beside {reference.count:,} real validation faces.")
    assert numbers(out, "sliced Wasserstein distance x 1000") == pytest.approx(
        [scores["sliced_wasserstein"], floor], abs=0.005
    )
    assert numbers(out, "  at 16 pixels, coarse structure")[0] == pytest.approx(
        scores["sliced_wasserstein_16"], abs=0.005
    )
    assert numbers(out, "images with exactly one face, %") == pytest.approx(
        [scores["one_face"], reference.one_face], abs=0.05
    )
    assert numbers(out, "lattice of period two") == pytest.approx([scores["lattice"], reference.lattice], abs=0.005)
    for name in ("brightness", "contrast", "diversity"):
        assert numbers(out, f"{name}, 0 to 1") == pytest.approx([scores[name], getattr(reference, name)], abs=0.0005)
    assert (
        "The fewer images, the larger their distances: those of 24 do not compare with the real one, of 1,000." in out
    )
    (line,) = (line for line in out.splitlines() if line.startswith("No FID"))
    assert line.startswith("No FID, IS and KID, for want of real faces:")


@pytest.fixture
def real_faces(tmp_path, monkeypatch) -> Path:
    root = tmp_path / "images"
    write(root / "face/train", drawn_faces(12, seed=1))
    write(root / "face/val", drawn_faces(8, seed=2))
    monkeypatch.setenv("HW2_DATA", str(root))
    return root


def test_why_there_is_no_fid_is_one_line(hw2, tmp_path, real_faces):
    folder = write(tmp_path / "faces", drawn_faces(8))
    status, out, _ = hw2("score", str(folder), "--kind", "faces")
    assert status == 0
    assert out.splitlines()[-1].startswith(
        "No FID, IS and KID: Inception's weights cannot be downloaded (no network); set HW2_INCEPTION to a copy of"
    )


def test_inception_weights_that_are_damaged_are_an_error(hw2, tmp_path, real_faces, monkeypatch):
    folder = write(tmp_path / "faces", drawn_faces(8))
    (tmp_path / "inception.pth").write_bytes(b"half of it")
    monkeypatch.setenv("HW2_INCEPTION", str(tmp_path / "inception.pth"))
    status, out, err = hw2("score", str(folder), "--kind", "faces")
    assert status == 2
    assert "sliced Wasserstein" in out
    assert err.splitlines()[-1].startswith(f"hw2: error: {tmp_path / 'inception.pth'}: damaged, or not weights-incep")


@pytest.mark.parametrize("count", [8, 12])
def test_fid_where_weights_and_real_faces_are_at_hand(hw2, tmp_path, real_faces, monkeypatch, count):
    weight = torch.randn(3 * 64 * 64, 4, generator=torch.Generator().manual_seed(0)) / 100

    def network(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = images.flatten(1).float() / 255 @ weight
        return features, features

    extractor = fidelity.Extractor(network, "tiny")
    monkeypatch.setattr(fidelity, "inception", lambda device: extractor)
    images = drawn_faces(count)
    folder = write(tmp_path / "faces", images)

    status, out, _ = hw2("score", str(folder), "--kind", "faces")

    assert status == 0
    assert ("those of 8 do not compare with the real one, of 12." in out) == (count == 8)
    source = data.source("paper")
    real, others = (
        fidelity.extract(torch.from_numpy(source.load("face", split).images.copy()), extractor)
        for split in ("val", "train")
    )
    expected = fidelity.scores(fidelity.extract(torch.from_numpy(images), extractor), real)
    floor = fidelity.scores(others, real)
    assert expected["fid"] > 0.01
    assert numbers(out, "Fréchet Inception distance (FID)") == pytest.approx([expected["fid"], floor["fid"]], abs=0.005)
    assert numbers(out, "Inception score (IS)") == pytest.approx([expected["is"], floor["is"]], abs=0.005)
    assert numbers(out, "kernel Inception distance (KID) x 1000") == pytest.approx(
        [1000 * expected["kid"], 1000 * floor["kid"]], abs=0.006
    )


# Digits


@pytest.fixture
def classifier() -> DigitClassifier:
    """One that has learned nothing, but tells digits apart in its own way."""
    torch.manual_seed(0)
    network = DigitClassifier().eval()
    with torch.no_grad():  # no digit is taken for the same as any other
        typical = network.features(torch.from_numpy(striped(200, seed=9)) / 127.5 - 1).mean(0)
        network.fc3.bias.copy_(-network.fc3.weight @ typical)
    return network


@pytest.fixture
def drawn_digits(tmp_path) -> tuple[Path, np.ndarray, np.ndarray]:
    """A folder of digits, four of each but of 8, with images and labels in the order of names."""
    labels = np.repeat([0, 1, 2, 3, 4, 5, 6, 7, 9], 4)
    images = striped(len(labels), seed=0)
    names = [f"{label}_{i % 4 + 1:03d}.png" for i, label in enumerate(labels)]
    return write(tmp_path / "digits", images, names), images, labels


def striped(count: int, seed: int) -> np.ndarray:
    """Images (N, 3, 28, 28) that differ much."""
    rng = np.random.default_rng(seed)
    return np.tile(rng.integers(0, 256, (count, 3, 4, 1)), (1, 1, 7, 28)).astype(np.uint8)


@pytest.fixture
def real_digits(tmp_path, monkeypatch) -> None:
    home = tmp_path / "images/digits/mnistm"
    images = striped(60, seed=1)
    names = [f"{i:05d}.png" for i in range(60)]
    write(home / "data", images, names)
    for split, part in (("train", slice(20)), ("val", slice(20, 40)), ("test", slice(40, 60))):
        rows = [f"{name},{i % 10}" for i, name in enumerate(names[part])]
        (home / f"{split}.csv").write_text("\n".join(["image_name,label", *rows]) + "\n")
    monkeypatch.setenv("HW2_DATA", str(tmp_path / "images"))


def seen(network: DigitClassifier, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Features, and the digit that each image is taken for."""
    with torch.inference_mode():
        x = torch.from_numpy(images) / 127.5 - 1
        return network.features(x).double(), network(x).argmax(1).numpy()


def test_digits_under_a_classifier_of_the_users(hw2, tmp_path, classifier, drawn_digits, real_digits):
    folder, images, labels = drawn_digits
    torch.save({"state_dict": classifier.state_dict()}, tmp_path / "Classifier.pth")

    status, out, err = hw2("score", str(folder), "--kind", "digits", "--classifier", str(tmp_path / "Classifier.pth"))

    assert status == 0, err
    assert "36 images, read by Classifier.pth, beside 20 real MNIST-M test digits" in out
    assert "those of 36 do not compare with the real one, of 20.\n\n" in out
    features, taken = seen(classifier, images)
    right = taken == labels
    assert 0 < right.mean() < 1
    real_features, real_taken = seen(classifier, striped(60, seed=1)[40:])
    real_right = real_taken == np.arange(20) % 10
    assert numbers(out, "read as the digit of the name, %") == pytest.approx(
        [100 * right.mean(), 100 * real_right.mean()], abs=0.05
    )
    for digit in set(labels.tolist()):
        expected = 100 * right[labels == digit].mean()
        assert numbers(out, f"  {digit}, 4 images") == pytest.approx([expected], abs=0.05)
    assert "  8, " not in out
    assert numbers(out, "Fréchet distance of features")[0] == pytest.approx(
        fidelity.frechet_distance(features, real_features), abs=0.006
    )


def test_digits_under_a_classifier_of_the_users_without_real_ones(
    hw2, tmp_path, classifier, drawn_digits, real_digits, monkeypatch
):
    ship(classifier, tmp_path, monkeypatch)
    torch.manual_seed(1)
    torch.save({"state_dict": DigitClassifier().state_dict()}, tmp_path / "Classifier.pth")
    monkeypatch.delenv("HW2_DATA")
    status, out, _ = hw2(
        "score", str(drawn_digits[0]), "--kind", "digits", "--classifier", f"{tmp_path}/Classifier.pth"
    )
    assert status == 0
    assert "Fréchet distance of features" not in out
    assert out.splitlines()[-1].startswith("Beside no real digits, and no Fréchet distance: ")


def ship(classifier: DigitClassifier, tmp_path: Path, monkeypatch) -> None:
    """Let the classifier, and its reference of the real digits, be those that ship."""
    monkeypatch.setattr(paths, "TRAINED", tmp_path / "trained")
    monkeypatch.setattr(digit_reference, "SHIPPED", tmp_path / "reference")
    run = tmp_path / "trained/digit-classifier/ours/seed-0-12345678"
    run.mkdir(parents=True)
    save_weights(classifier.state_dict(), run / "weights.safetensors")
    card = {"settings": {"network": "digit-classifier"}, "accuracy": {"test": 98.7}}
    (run / "card.json").write_text(json.dumps(card))
    reference = digit_reference.reference(data.source("paper"), digits.grader())
    digit_reference.write(reference, tmp_path / "reference/mnistm-test.safetensors")


def test_digits_under_the_classifier_that_ships(hw2, tmp_path, classifier, drawn_digits, real_digits, monkeypatch):
    ship(classifier, tmp_path, monkeypatch)
    monkeypatch.delenv("HW2_DATA")
    folder, images, labels = drawn_digits
    status, out, err = hw2("score", str(folder), "--kind", "digits")
    assert status == 0, err
    assert "read by the project's digit-classifier, beside 20 real" in out
    assert numbers(out, "read as the digit of the name, %")[0] == pytest.approx(
        100 * (seen(classifier, images)[1] == labels).mean(), abs=0.05
    )
    assert len(numbers(out, "Fréchet distance of features")) == 2


def test_a_digit_without_its_label_is_refused(hw2, tmp_path):
    folder = write(tmp_path / "digits", striped(2, seed=0), ["1_001.png", "00002.png"])
    status, out, err = hw2("score", str(folder), "--kind", "digits")
    assert (status, out) == (2, "")
    assert err.splitlines()[-1] == (
        f"hw2: error: {folder}/00002.png: the name does not begin with the image's digit, as 7_001.png does"
    )


def test_a_classifier_that_is_none_is_refused(hw2, tmp_path, drawn_digits):
    torch.save({"state_dict": {"fc1.weight": torch.zeros(3)}}, tmp_path / "Classifier.pth")
    status, out, err = hw2(
        "score", str(drawn_digits[0]), "--kind", "digits", "--classifier", f"{tmp_path}/Classifier.pth"
    )
    assert (status, out) == (2, "")
    assert f"{tmp_path}/Classifier.pth, 'state_dict': weights of another network" in err.splitlines()[-1]


# Both


@pytest.mark.parametrize("kind", ["faces", "digits"])
def test_bad_folders_are_one_line_and_status_2(hw2, tmp_path, kind):
    size = {"faces": 64, "digits": 28}[kind]

    def refused(folder: Path, what: str) -> None:
        status, out, err = hw2("score", str(folder), "--kind", kind)
        assert (status, out) == (2, "")
        assert err.splitlines()[-1].startswith("hw2: error: ")
        assert what in err.splitlines()[-1]

    names = ["0_001.png", "0_002.png"]
    black = np.zeros((2, 3, size, size), np.uint8)
    refused(tmp_path / "none", "none: cannot be read: No such file or directory")
    refused(write(tmp_path / "one", black[:1], names[:1]), "one: holds 1 PNG image; a score needs two at least")
    refused(write(tmp_path / "small", black[:, :, 1:, 1:], names), f"must be {size}x{size}")
    mixed = write(tmp_path / "mixed", black, names)
    Image.new("RGB", (size, size + 1)).save(mixed / "0_003.png")
    refused(mixed, f"0_003.png: {size}x{size + 1} pixels; it must be {size}x{size}")


def test_a_classifier_is_for_digits(hw2, tmp_path):
    folder = write(tmp_path / "faces", np.zeros((2, 3, 64, 64), np.uint8))
    status, _, err = hw2("score", str(folder), "--kind", "faces", "--classifier", "Classifier.pth")
    assert (status, err) == (2, "hw2: error: --classifier grades digits; leave it out, or score --kind digits\n")
