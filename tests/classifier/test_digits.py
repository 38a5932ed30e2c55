"""Graders from files of all kinds, good and bad, and what they say of digits."""

import contextlib
import os
import random

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from hw2lib import paths
from hw2lib.classifier import reference as digit_reference
from hw2lib.classifier.scores import digit_scores, grader
from hw2lib.data.standins import StandIns
from hw2lib.errors import UserError
from hw2lib.metrics.fidelity import extract, frechet_distance
from hw2lib.networks import build
from hw2lib.weights import read as read_weights


@pytest.fixture(autouse=True)
def _build(tmp_path, monkeypatch):
    torch.set_num_threads(1)
    monkeypatch.setenv("HW2_BUILD", str(tmp_path / "build"))


@pytest.fixture(scope="module")
def standins() -> tuple[torch.Tensor, torch.Tensor]:
    """Images and labels of the stand-ins' test split."""
    digits = StandIns().load("mnistm", "test")
    return torch.tensor(digits.images), torch.tensor(digits.labels)


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return build("digit-classifier").state_dict()


@pytest.fixture
def file(tmp_path):
    return tmp_path / "Classifier.pth"


def save(state, file) -> str:
    """As the course's file is: weights and the state of an optimiser that has made a step."""
    network = build("digit-classifier")
    optimiser = torch.optim.Adam(network.parameters())
    network(torch.zeros(2, 3, 28, 28)).sum().backward()
    optimiser.step()
    torch.save({"state_dict": state, "optimizer": optimiser.state_dict()}, file)
    return str(file)


def refused(path) -> str:
    with pytest.raises(UserError) as error:
        grader(str(path))
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    return str(error.value)


# Graders


def test_a_file_like_the_courses_grades_as_the_network_in_it(file, state, standins):
    images, labels = standins[0][:200], standins[1][:200]
    found = grader(save(state, file))
    assert (found.title, found.accuracy) == ("Classifier.pth", None)
    network = build("digit-classifier")
    network.load_state_dict(state)
    with torch.inference_mode():
        classes = network(images.float() / 127.5 - 1).argmax(1)
    scores = digit_scores(images, labels, found)
    assert scores["accuracy"] == pytest.approx(100 * np.mean((classes == labels).numpy()))
    for digit in range(10):
        of_digit = (classes == labels)[labels == digit].numpy()
        assert scores[f"accuracy_{digit}"] == pytest.approx(100 * of_digit.mean())
    assert "frechet" not in scores, "the reference that ships is of another grader"


def test_the_weights_that_ship_grade_the_same_from_a_file_of_any_kind(file, standins):
    (shipped,) = (paths.TRAINED / "digit-classifier/ours").glob("seed-0-*/weights.safetensors")
    whole = {name: tensor.float() for name, tensor in read_weights(shipped).items()}
    expected = digit_scores(*standins, grader())
    assert "frechet" in expected
    for path in (save(whole, file), shipped):
        assert digit_scores(*standins, grader(str(path))) == expected
        assert grader(str(path)).name == grader().name


def test_the_one_that_ships_knows_its_accuracy_and_is_sensible(standins):
    found = grader()
    assert found.title == "the project's digit-classifier"
    assert 97 < found.accuracy < 100
    reference = digit_reference.shipped()
    assert (reference.grader, reference.origin, reference.split) == (found.name, "real", "test")
    assert reference.accuracy == pytest.approx(found.accuracy, abs=0.05), "half precision costs next to nothing"
    # It never saw the stand-ins, but they are handwriting on photographs too.
    assert 70 < digit_scores(*standins, found)["accuracy"] < found.accuracy


def test_other_weights_have_another_name(tmp_path, state):
    other = state | {"fc3.bias": state["fc3.bias"] + 1e-6}
    names = {grader(save(one, tmp_path / f"{i}.pth")).name for i, one in enumerate((state, other, state))}
    assert len(names) == 2


class Evil:
    """Leaves a trace when it is unpickled by a loader that runs code."""

    def __init__(self, trace) -> None:
        self.trace = str(trace)

    def __reduce__(self):
        return os.mkdir, (self.trace,)


def test_code_is_refused_and_not_run(tmp_path, file, state):
    trace = tmp_path / "trace"
    torch.save({"state_dict": state, "optimizer": Evil(trace)}, file)
    assert "holds code (posix.mkdir), which is never run; give one of torch.save" in refused(file)
    assert not trace.exists()
    torch.load(file, weights_only=False)
    assert trace.exists(), "the file would have run it"


def test_a_whole_network_is_code_too(file):
    torch.save(build("digit-classifier"), file)
    assert "holds code (hw2lib.classifier.network.DigitClassifier), which is never run" in refused(file)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"conv1.bias": None}, "1 tensors differ; missing: 'conv1.bias'"),
        ({"fc4.weight": torch.zeros(2)}, "1 tensors differ; not expected: 'fc4.weight'"),
        (
            {"fc1.weight": torch.zeros(128, 400)},
            "1 tensors differ; of another shape: 'fc1.weight', (128, 400) and not (128, 256)",
        ),
        ({"fc2.bias": torch.full((64,), torch.nan)}, "'fc2.bias' holds no finite numbers"),
    ],
)
@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
def test_weights_that_are_not_quite_those(file, state, change, what, ending):
    changed = {name: tensor for name, tensor in {**state, **change}.items() if tensor is not None}
    file = file.with_suffix(ending)
    save_file(changed, file) if ending == ".safetensors" else save(changed, file)
    assert what in refused(file)


@pytest.mark.parametrize("content", [{"model": {}}, {"state_dict": [1]}, {"state_dict": {"a": 1}}, torch.zeros(3)])
def test_a_file_without_a_state_dict(file, content):
    torch.save(content, file)
    assert "holds no names and tensors by themselves" in refused(file)


def test_a_file_that_is_not_there_or_a_folder(tmp_path):
    assert "cannot be read: No such file or directory" in refused(tmp_path / "none.pth")
    assert "no such weights file" in refused(tmp_path / "none.safetensors")
    assert "cannot be read: Is a directory" in refused(tmp_path)


@pytest.mark.parametrize("content", [b"", b"<html>rate limit</html>", b"\x80\x02}q\x00.", b"PK\x03\x04 and no more"])
def test_a_file_of_something_else(file, content):
    file.write_bytes(content)
    refused(file)


def test_a_damaged_file(file, state):
    """Cut short, or with single bytes changed: a grader or one line, never a traceback."""
    save(state, file)
    whole = file.read_bytes()
    draw = random.Random(0)
    for _ in range(20):
        file.write_bytes(whole[: draw.randrange(len(whole))])
        assert "damaged, or no file of torch.save" in refused(file)
    for _ in range(40):
        place = draw.choice([draw.randrange(2000), draw.randrange(len(whole))])  # the pickle is at the beginning
        file.write_bytes(whole[:place] + bytes([draw.randrange(256)]) + whole[place + 1 :])
        with contextlib.suppress(UserError):
            grader(str(file))


# Scores


@pytest.fixture
def some(file, state):
    """A grader with random weights."""
    return grader(save(state, file))


def test_a_perfect_and_a_useless_answer(some, standins):
    images = standins[0][:100]
    classes = extract(images, some).logits.argmax(1)
    assert digit_scores(images, classes, some)["accuracy"] == 100
    assert digit_scores(images, (classes + 1) % 10, some)["accuracy"] == 0
    assert set(digit_scores(images[:5], torch.tensor([3, 3, 3, 8, 8]), some)) == {
        "accuracy",
        "accuracy_3",
        "accuracy_8",
    }


def test_the_frechet_distance_is_that_of_fidelity(some, standins):
    images, labels = standins
    reference = digit_reference.reference(StandIns(), some)
    generated = torch.randint(0, 256, (300, 3, 28, 28), dtype=torch.uint8)
    expected = frechet_distance(extract(generated, some).features, extract(images, some).features)
    assert digit_scores(generated, labels[:300], some, reference)["frechet"] == pytest.approx(expected, rel=1e-6)
    assert digit_scores(images, labels, some, reference)["frechet"] == pytest.approx(0, abs=1e-6)


def test_the_reference_of_another_grader_is_refused(some, standins):
    with pytest.raises(UserError, match=r"the reference is of digit-classifier-.*, not of digit-classifier-"):
        digit_scores(*standins, some, digit_reference.shipped())


@pytest.mark.parametrize(
    ("labels", "what"),
    [
        (torch.zeros(4, dtype=torch.int64), "as many integers from 0 to 9"),
        (torch.zeros(5), "as many integers from 0 to 9"),
        (torch.full((5,), 10), "as many integers from 0 to 9"),
        (torch.full((5,), -1), "as many integers from 0 to 9"),
    ],
)
def test_other_labels_are_refused(some, standins, labels, what):
    with pytest.raises(UserError, match=what):
        digit_scores(standins[0][:5], labels, some)


def test_other_images_are_refused(some):
    for count, size, what in ((5, 32, "images of 32x32 pixels cannot be scored; give 28x28"), (1, 28, "at least two")):
        images = torch.zeros(count, 3, size, size, dtype=torch.uint8)
        with pytest.raises(UserError, match=what):
            digit_scores(images, torch.zeros(count, dtype=torch.int64), some)
