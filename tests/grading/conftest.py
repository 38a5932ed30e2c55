"""Real images, a course's classifier, an Inception, and good submissions."""

from pathlib import Path

import numpy as np
import pytest
import torch
from submissions import LABELS, NAMES, Hand, plain_count_faces, ten_names, write, write_csv

from hw2lib.classifier.scores import grader
from hw2lib.data.standins import digits, faces
from hw2lib.grading import RULES
from hw2lib.metrics import fidelity
from hw2lib.training.run_folder import shipped_weights
from hw2lib.weights import read as read_weights


@pytest.fixture(scope="session")
def classifier(tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("course") / "Classifier.pth"
    torch.save({"state_dict": read_weights(shipped_weights("digit-classifier").weights)}, file)
    return file


@pytest.fixture(scope="session")
def handwriting() -> dict[str, np.ndarray]:
    """Digits (N, 3, 28, 28), no two alike, in turn 0 to 9: those that the classifier reads right, and others."""
    labels = np.arange(4000) % 10
    images = (255 * digits.mnistm("train", labels, np.random.default_rng(0)).clamp(0, 1)).round().byte()
    with torch.inference_mode():
        read = grader().network(images)[1].argmax(1).numpy()
    each = [images.numpy()[(labels == digit) & (read == digit)][:100] for digit in range(10)]
    assert min(map(len, each)) == 100
    wrong = [images.numpy()[(labels == digit) & (read != digit)][:20] for digit in range(10)]
    return {"right": np.stack(each, axis=1), "wrong": np.stack(wrong, axis=1)}  # (n, 10, 3, 28, 28)


@pytest.fixture(scope="session")
def people() -> dict[str, np.ndarray]:
    """Drawn faces (N, 3, 64, 64): those in which one face is found, and others."""
    images = (255 * faces.faces(80, np.random.default_rng(0)).clamp(0, 1)).round().byte().numpy()
    one = np.array([n == 1 for n in plain_count_faces(images)])
    return {"one": images[one], "other": images[~one]}


@pytest.fixture(scope="session")
def images(tmp_path_factory, people) -> Path:
    """The homework's folder."""
    root = tmp_path_factory.mktemp("images")
    for domain in ("mnistm", "svhn", "usps"):
        write(root / "digits" / domain / "data", np.zeros((40, 3, 28, 28), np.uint8), NAMES)
        for split, part in (("val", slice(20)), ("test", slice(20, 40))):
            write_csv(root / "digits" / domain / f"{split}.csv", zip(NAMES[part], LABELS[part], strict=True))
    for split in ("train", "val", "test"):
        write(root / "face" / split, people["one"][-12:], [f"{i}.png" for i in range(12)])
    write(root / "face/GT", np.random.default_rng(0).integers(0, 256, (10, 3, 256, 256), np.uint8), ten_names())
    return root


@pytest.fixture(autouse=True)
def _here(monkeypatch, tmp_path, images):
    """These real images, no network, and an Inception whose features are mean colours, of ten classes by brightness."""
    torch.set_num_threads(1)
    monkeypatch.setenv("HW2_BUILD", str(tmp_path / "build"))
    monkeypatch.setenv("HW2_DATA", str(images))
    monkeypatch.setattr(fidelity, "inception", lambda device: fidelity.Extractor(mean_colours, "tiny"))


def mean_colours(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    means = images.float().mean((2, 3)) / 10
    classes = torch.nn.functional.one_hot(images.flatten(1).sum(1, dtype=torch.int64) % 10, 10)
    return means, 100.0 * classes


@pytest.fixture
def rules(tmp_path) -> Path:
    """The homework's rules of fewer images."""
    few = RULES.read_text().replace("count = 1000", "count = 40").replace("count = 100", "count = 2")
    (tmp_path / "few.toml").write_text(few)
    return tmp_path / "few.toml"


@pytest.fixture
def hand(tmp_path, images, handwriting, people, classifier) -> Hand:
    return Hand(tmp_path, images, handwriting, people, classifier)


@pytest.fixture
def graded(hw2, rules):
    """Runs ``hw2 grade`` with these rules."""

    def run(place: Path, edition: str, number: str, *options: str | Path) -> tuple[int, str, str]:
        where = ("--edition", edition, "--problem", number, "--rules", str(rules))
        return hw2("grade", str(place), *where, *map(str, options))

    return run
