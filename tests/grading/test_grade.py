"""``hw2 grade``: each problem with good and bad submissions, and scores beside a plain implementation of the rules."""

import csv
import json
import re
import shutil
from pathlib import Path

import dlib
import numpy as np
import pytest
import torch
from PIL import Image

from hw2lib.data.standins import digits, faces
from hw2lib.errors import UserError
from hw2lib.grader.network import DigitClassifier
from hw2lib.grader.scores import grader
from hw2lib.grading import RULES, problem, problems
from hw2lib.grading.grade import Score, grade
from hw2lib.grading.submission import Fault, csv_files, read_csv
from hw2lib.metrics import fidelity
from hw2lib.training.run_folder import shipped_weights
from hw2lib.weights import read as read_weights

NAMES = [f"{7 * i:05d}.png" for i in range(40)]  # of the target's images
LABELS = [i % 10 for i in range(40)]
IMAGES = {"2021": "test", "2022": "val", "2023": "val"}


# Real images, submissions, and a course's classifier


def write(folder: Path, images: np.ndarray, names: list[str]) -> Path:
    """Images (N, 3, H, W) as PNG files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, image in zip(names, images, strict=True):
        Image.fromarray(image.transpose(1, 2, 0)).save(folder / name)
    return folder


def write_csv(file: Path, rows, header=("image_name", "label")) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(file, "w", newline="") as content:
        csv.writer(content).writerows([header, *rows])
    return file


@pytest.fixture(scope="module")
def classifier(tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("course") / "Classifier.pth"
    torch.save({"state_dict": read_weights(shipped_weights("digit-classifier").weights)}, file)
    return file


@pytest.fixture(scope="module")
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


@pytest.fixture(scope="module")
def people() -> dict[str, np.ndarray]:
    """Drawn faces (N, 3, 64, 64): those in which one face is found, and others."""
    images = (255 * faces.faces(80, np.random.default_rng(0)).clamp(0, 1)).round().byte().numpy()
    one = np.array([n == 1 for n in plain_count_faces(images)])
    return {"one": images[one], "other": images[~one]}


@pytest.fixture(scope="module")
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


def ten_names() -> list[str]:
    return [f"{i:02d}.png" for i in range(10)]


def digit_names(count: int) -> list[str]:
    """In turn 0 to 9."""
    return [f"{digit}_{i + 1:03d}.png" for i in range(count) for digit in range(10)]


class Hand:
    """Hands in good submissions, with few images."""

    def __init__(self, folder: Path, images: Path, handwriting, people, classifier: Path) -> None:
        self.folder, self.images, self.handwriting, self.people = folder, images, handwriting, people
        self.classifier = classifier

    def in_(self, edition: str, number: str) -> tuple[Path, list[str]]:
        """A folder, and the options that its grading needs."""
        folder, kind = self.folder / "submission", problem(edition, number).kind
        if kind == "faces":
            write(folder, self.people["one"][:40], [f"{i:04d}.png" for i in range(40)])
        elif kind == "digits":
            write(folder, self.handwriting["right"][:2].reshape(-1, 3, 28, 28), digit_names(2))
        elif kind == "truth":
            folder = Path(shutil.copytree(self.images / "face/GT", folder))
        else:
            part = slice(20) if IMAGES[edition] == "val" else slice(20, 40)
            for pair in problem(edition, number).baselines:
                write_csv(folder / f"{pair}.csv", zip(NAMES[part], LABELS[part], strict=True))
                wrong = [0 if label in (1, 2) else label for label in LABELS[part]]
                write_csv(self.folder / f"dann/{pair}.csv", zip(NAMES[part], wrong, strict=True))
        options = {"digits": ["--classifier", str(self.classifier)]}.get(kind, [])
        return folder, options + (["--beside", str(self.folder / "dann")] if number == "bonus" else [])


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


# The rules


def test_the_homeworks_rules():
    baselines = {
        ("2021", "1"): {"fid": [35, 30], "inception_score": [2.0, 2.15]},
        ("2021", "2"): {"accuracy": [70, 80]},
        ("2021", "3"): {"mnistm-usps": [72], "svhn-mnistm": [42], "usps-svhn": [28]},
        ("2021", "bonus"): {"mnistm-usps": [], "svhn-mnistm": [], "usps-svhn": []},
        ("2022", "1"): {"fid": [30, 27], "one_face": [85, 90]},
        ("2022", "2"): {"accuracy": [80, 88]},
        ("2022", "3"): {"mnistm-svhn": [40], "mnistm-usps": [76]},
        ("2023", "1"): {"accuracy": [90, 95]},
        ("2023", "2"): {"mse": [20]},
        ("2023", "3"): {"mnistm-svhn": [40], "mnistm-usps": [76]},
    }
    known = {(edition, number): one for edition, some in problems().items() for number, one in some.items()}
    assert {place: one.baselines for place, one in known.items()} == baselines
    assert {place for place, one in known.items() if one.split == "test"} == {("2021", n) for n in ("1", "3", "bonus")}
    digits_asked = {
        place for place, one in known.items() if one.asked.startswith("1,000 PNG images 0_001.png to 9_100")
    }
    assert digits_asked == {("2021", "2"), ("2022", "2"), ("2023", "1")}
    assert problem("2022", "1").asked == "1,000 PNG images of faces, 64x64 RGB"
    assert problem("2023", "2").asked == "10 PNG images 00.png to 09.png, 256x256 RGB"


ROWS = [(edition, number) for edition, some in problems().items() for number in some]
KINDS = {kind: [row for row in ROWS if problem(*row).kind == kind] for kind in ("faces", "digits", "truth", "labels")}


@pytest.mark.parametrize(("edition", "number"), ROWS)
def test_a_good_submission_passes(graded, hand, edition, number):
    folder, options = hand.in_(edition, number)
    status, out, err = graded(folder, edition, number, *options)
    assert (status, "wrong   nothing" in out) == (0, True), out + err
    strong = all(len(values) == 2 for values in problem(edition, number).baselines.values())
    assert out.endswith("passed, the strong baseline too\n" if strong else "\npassed\n")


# Bad submissions: what is done to a good one, and what is said about it


def first(folder: Path) -> Path:
    return min(folder.glob("*.png"))


def change(folder: Path, how) -> None:
    """Change the pixels of all images."""
    for file in folder.glob("*.png"):
        Image.fromarray(how(np.asarray(Image.open(file)).astype(int)).clip(0, 255).astype(np.uint8)).save(file)


def convert(file: Path, mode: str) -> None:
    Image.open(file).convert(mode).save(file)


def copies(folder: Path, count: int | None) -> None:
    for file in sorted(folder.glob("*.png"))[1:count]:
        shutil.copy(first(folder), file)


OF_IMAGES = {
    "one missing": (lambda f: first(f).unlink(), r"missing \(1\): 0|1 too few"),
    "another size": (lambda f: Image.new("RGB", (32, 30)).save(first(f)), r"32x30 pixels; it must be \d+x\d+ \(1\): 0"),
    "a mode": (lambda f: convert(first(f), "RGBA"), r"image of mode RGBA; convert it to grey \(L\) or RGB \(1\): 0"),
    "grey": (lambda f: convert(first(f), "L"), r"grey image; make it RGB \(1\): 0"),
    "damaged": (
        lambda f: first(f).write_bytes(first(f).read_bytes()[:90]),
        r"truncated image; copy or download it again \(1\): 0",
    ),
    "the same twice": (lambda f: copies(f, 2), r"the same pixels as another \(1\): \S+ = 0"),
    "all the same": (lambda f: copies(f, None), r"all \d+ images are the same"),
    "a file too many": (lambda f: (f / "readme.txt").write_text(""), r"no PNG file \(1\): readme.txt"),
    "black": (lambda f: change(f, lambda x: 0 * x), r"all \d+ images are the same"),
}
TOO_BAD = {
    "faces": (lambda f: change(f, lambda x: x // 8), r"FID .*  below\n"),
    "digits": (lambda f: change(f, lambda x: x[:, ::-1] // 2), r"accuracy by Classifier.pth, % .*  below\n"),
    "truth": (lambda f: change(f, lambda x: x // 2), r"mean squared error, 0 to 255 .*  below\n"),
}
PER_CSV = "[a-z]+-[a-z]+.csv"


def rows_of(folder: Path, how) -> None:
    """Change the rows of all csv files, each a name and a label."""
    for file in folder.glob("*.csv"):
        rows = list(csv.reader(file.open()))
        write_csv(file, how(rows[1:]))


def text_of(folder: Path, how) -> None:
    for file in folder.glob("*.csv"):
        file.write_text(how(file.read_text()))


OF_LABELS = {
    "one missing": (lambda f: rows_of(f, lambda r: r[1:]), rf"{PER_CSV}: no row for an image \(1\): 00"),
    "doubled": (lambda f: rows_of(f, lambda r: [*r, r[0]]), rf"{PER_CSV}: named more than once \(1\): 00"),
    "unknown": (lambda f: rows_of(f, lambda r: [*r, ("x.png", 1)]), rf"{PER_CSV}: name of no image \(1\): x.png"),
    "reversed": (lambda f: rows_of(f, lambda r: r[::-1]), rf"{PER_CSV}: in another order than the images \(20\): "),
    "ten": (lambda f: rows_of(f, lambda r: [(r[0][0], 10), *r[1:]]), rf"{PER_CSV}: label not 0 to 9 \(1\): \S+.png,10"),
    "no header": (
        lambda f: text_of(f, lambda t: t.partition("\n")[2]),
        rf"{PER_CSV}: the first line is '\S+.png,\d' and n",
    ),
    "an index": (
        lambda f: text_of(f, lambda t: "".join(f",{line}\n" for line in t.splitlines())),
        rf"{PER_CSV}: the first line is ',image_name,label' and not 'image_name,label'",
    ),
    "three fields": (
        lambda f: rows_of(f, lambda r: [(*r[0], 1), *r[1:]]),
        rf"{PER_CSV}: another number of fields \(1\): line",
    ),
    "no csv of a pair": (lambda f: min(f.glob("*.csv")).unlink(), r"no csv for [a-z]+-[a-z]+\n"),
    "zeros": (lambda f: rows_of(f, lambda r: [(name, 0) for name, _ in r]), r"accuracy, % +10.00 .*  below\n"),
}
BAD = [
    pytest.param(*row, *bad, id=f"{'-'.join(row)} {name}")
    for kind, rows in KINDS.items()
    for row in rows
    for name, bad in (OF_LABELS if kind == "labels" else OF_IMAGES | {"too bad": TOO_BAD[kind]}).items()
]


@pytest.mark.parametrize(("edition", "number", "spoil", "said"), BAD)
def test_a_bad_submission_does_not(graded, hand, edition, number, spoil, said):
    folder, options = hand.in_(edition, number)
    spoil(folder)
    status, out, err = graded(folder, edition, number, *options)
    assert status == 1, out + err
    assert re.search(said, out), out
    assert out.splitlines()[-1].startswith("not passed: ")


def test_all_that_is_wrong_is_named(graded, hand):
    folder, options = hand.in_("2022", "2")
    (folder / "0_001.png").rename(folder / "0_003.png")
    convert(folder / "1_001.png", "P")
    shutil.copy(folder / "2_001.png", folder / "2_002.png")
    (folder / "3_001.png").write_bytes(b"")
    for name in ("._0_001.png", ".DS_Store", "Thumbs.db"):  # of systems, and nobody's fault
        (folder / name).write_bytes(b"?")
    status, out, _ = graded(folder, "2022", "2", *options, "--json", "-")
    assert status == 1
    assert [(fault["what"].split(";")[0], fault["items"]) for fault in json.loads(out)["faults"]] == [
        ("missing", ["0_001.png"]),
        ("not asked for", ["0_003.png"]),
        ("image of mode P", ["1_001.png"]),
        ("truncated, or not a PNG image", ["3_001.png"]),
        ("the same pixels as another", ["2_002.png = 2_001.png"]),
    ]


def test_all_that_is_wrong_with_a_csv_is_named(tmp_path):
    rows = [("b.png", 1), ("a.png", 12), ("a.png", 2), ("x.png", -1), ("b.png",), ("d.png", "")]
    found = read_csv(write_csv(tmp_path / "svhn.csv", rows, ("name", "digit")), ["a.png", "b.png", "c.png", "d.png"])
    assert [str(fault) for fault in found.faults] == [
        "the first line is 'name,digit' and not 'image_name,label'",
        "another number of fields (1): line 6",
        "label not 0 to 9 (3): a.png,12, x.png,-1, d.png,",
        "named more than once (1): a.png",
        "no row for an image (1): c.png",
        "name of no image (1): x.png",
        "in another order than the images (2): b.png, a.png",
    ]
    assert found.labels == {"b.png": 1, "a.png": 2}


def test_the_order_of_the_truth_is_as_good_as_that_of_names(tmp_path):
    names = ["c.png", "a.png", "b.png"]
    for order in (names, sorted(names)):
        assert not read_csv(write_csv(tmp_path / "svhn.csv", [(name, 0) for name in order]), names).faults


def test_long_lists_are_shortened():
    assert str(Fault("missing", tuple("abcdefg"))) == "missing (7): a, b, c and 4 more"
    assert str(Fault("missing", tuple("abcd"))) == "missing (4): a, b, c, d"
    assert str(Fault("all the same")) == "all the same"


# An independent implementation of the rules


def plain_count_faces(images: np.ndarray) -> list[int]:
    detector = dlib.get_frontal_face_detector()
    return [len(detector(np.ascontiguousarray(image.transpose(1, 2, 0)), 1)) for image in images]


def plain_accuracy(folder: Path, classifier: Path) -> float:
    network = DigitClassifier().eval()
    network.load_state_dict(torch.load(classifier, weights_only=True)["state_dict"])
    right = 0
    for file in folder.glob("*.png"):
        x = torch.tensor(np.asarray(Image.open(file).convert("RGB"))).permute(2, 0, 1)[None] / 255
        with torch.no_grad():
            right += network((x - 0.5) / 0.5).argmax().item() == int(file.name[0])
    return 100 * right / len(list(folder.glob("*.png")))


def test_a_thousand_digits(hand, tmp_path, handwriting, classifier):
    digits = handwriting["right"].copy()
    digits[:20] = handwriting["wrong"]
    folder = write(tmp_path / "digits", digits.reshape(-1, 3, 28, 28), digit_names(100))
    by_edition = {}
    for edition, number in KINDS["digits"]:
        result = grade(folder, problem(edition, number), classifier=classifier)
        assert not result.faults
        (score,) = result.scores
        by_edition[edition] = score.value, score.verdict, result.passed
    assert by_edition == {
        "2021": (80, "strong", True), "2022": (80, "simple", True), "2023": (80, "below", False)
    }  # fmt: skip
    assert plain_accuracy(folder, classifier) == 80


def test_digits_that_are_missing_count_as_misread(hand, classifier, rules):
    folder, _ = hand.in_("2023", "1")
    for file in sorted(folder.glob("*.png"))[:5]:
        file.unlink()
    result = grade(folder, problem("2023", "1", rules), classifier=classifier)
    assert result.scores[0].value == 75
    assert plain_accuracy(folder, classifier) == 100


def test_a_thousand_faces(tmp_path, people):
    """As many pictures: drawn faces, each in as many values of a pixel at the corner."""
    drawn = np.concatenate([people["one"], people["other"]])
    images = np.concatenate([drawn] * 17)[:1000]
    images[:, 0, 0, 0] = np.arange(1000) // len(drawn)
    result = grade(write(tmp_path / "faces", images, [f"{i:04d}.png" for i in range(1000)]), problem("2022", "1"))
    assert not result.faults
    counts = np.array(plain_count_faces(images[:200]))
    assert 0 < (counts == 1).mean() < 1
    few = grade(write(tmp_path / "few", images[:200], [f"{i}.png" for i in range(200)]), problem("2022", "1"))
    assert [str(fault) for fault in few.faults] == ["800 too few"]
    assert few.scores[1].value == 100 * (counts == 1).sum() / 1000, "a missing image shows no face"
    assert 50 < result.scores[1].value < 85
    assert result.scores[1].verdict == "below"


def test_the_error_is_in_floating_point(tmp_path, images):
    true = np.stack([np.asarray(Image.open(images / "face/GT" / name)) for name in ten_names()])
    given = (true.astype(int) + np.random.default_rng(1).integers(-40, 41, true.shape)).clip(0, 255).astype(np.uint8)
    folder = write(tmp_path / "ten", given.transpose(0, 3, 1, 2), ten_names())
    (score,) = grade(folder, problem("2023", "2")).scores
    assert score.value == pytest.approx(((given.astype(float) - true) ** 2).mean(), abs=1e-9)
    assert score.value > 20
    assert score.verdict == "below"
    assert ((given - true) ** 2).mean() < 0.5 * score.value, "in bytes it wraps"
    truth = shutil.copytree(folder, tmp_path / "truth")
    assert grade(folder, problem("2023", "2"), truth=truth).scores[0].value == 0


def test_fid_and_inception_score(hand, images, rules):
    folder, _ = hand.in_("2021", "1")
    fid, inception = grade(folder, problem("2021", "1", rules)).scores
    pixels = [
        torch.stack(
            [torch.tensor(np.asarray(Image.open(file))).permute(2, 0, 1) for file in sorted(place.glob("*.png"))]
        )
        for place in (folder, images / "face/test")
    ]
    seen, real = (fidelity.extract(some, fidelity.inception(device="cpu")) for some in pixels)
    expected = fidelity.scores(seen, real)
    assert (fid.value, inception.value) == (expected["fid"], expected["is"])
    assert 0 < fid.value < 30


ON_EDGES = [
    (80, False, False, 1), (79.99, False, False, 0), (90, False, False, 2), (80, True, False, 2),
    (90.1, True, False, 0), (80, False, True, 0), (80.1, False, True, 1),
]  # fmt: skip


@pytest.mark.parametrize(("value", "less", "exceed", "reached"), ON_EDGES)
def test_a_baseline_is_reached_where_it_is_equalled(value, less, exceed, reached):
    baselines = (90, 80) if less else (80, 90)
    assert Score("", value, baselines, less, exceed).reached == reached


# What cannot be measured here, or not as the course does


@pytest.fixture
def without_inception(monkeypatch):
    def unavailable(device) -> None:
        raise fidelity.Unavailable("no weights here; set HW2_INCEPTION")

    monkeypatch.setattr(fidelity, "inception", unavailable)


@pytest.mark.parametrize("number", ["2021", "2022"])
@pytest.mark.parametrize("real", [True, False])
def test_without_inception_the_rest_goes_on(graded, hand, monkeypatch, without_inception, number, real):
    if not real:
        monkeypatch.delenv("HW2_DATA")
    status, out, _ = graded(hand.in_(number, "1")[0], number, "1")
    assert status == 0
    assert re.search(r"FID against the \w+ faces +– +3\d.00 +\d\d.00  not measured\n", out)
    assert re.search(
        f"FID against the .* faces: {'no weights here; set HW2_INC' if real else 'real faces are needed'}", out
    )
    assert ("Inception score: no weights here; set HW2_INCEPTION\n" in out) == (number == "2021")
    assert (re.search(r"one face, % +100.00 +85.00 +90.00  strong\n", out) is not None) == (number == "2022")
    assert "not decided: FID against the " in out.splitlines()[-1]


def test_without_test_faces_val_faces_stand_in_by_their_own_name(graded, hand, images, tmp_path):
    for split in ("train", "val"):
        shutil.copytree(images / "face" / split, tmp_path / "images/face" / split)
    folder, _ = hand.in_("2021", "1")
    status, out, _ = graded(folder, "2021", "1", "--data-dir", tmp_path / "images")
    assert status == 0
    assert "FID against the test faces: by the val faces, since there are no test faces\n" in out
    assert out.endswith("passed, the strong baseline too, by the project's measure and not the course's own\n")


def test_the_projects_classifier_grades_under_its_own_name(graded, hand):
    folder, _ = hand.in_("2023", "1")
    status, out, _ = graded(folder, "2023", "1", "--json", "-")
    result = json.loads(out)
    assert (status, result["passed"], result["scores"][0]["own_measure"]) == (0, None, True)
    assert result["scores"][0]["name"] == "accuracy by the project's digit-classifier, %"
    assert result["result"] == "passed, the strong baseline too, by the project's measure and not the course's own"
    change(folder, lambda x: x[:, ::-1] // 2)
    status, out, _ = graded(folder, "2023", "1")
    assert status == 1
    assert out.endswith("not passed, by the project's measure and not the course's own\n")


def test_without_truth_what_is_wrong_is_still_named(graded, hand, monkeypatch):
    ten, _ = hand.in_("2023", "2")
    monkeypatch.delenv("HW2_DATA")
    status, out, _ = graded(ten, "2023", "2")
    assert status == 0
    assert "face/GT is not there; give --truth, the homework's folder GT\n" in out
    shutil.rmtree(ten)
    csvs, _ = hand.in_("2023", "3")
    rows_of(csvs, lambda rows: [*rows, rows[0]])
    status, out, _ = graded(csvs, "2023", "3")
    assert status == 1
    assert "named more than once (1): 00000.png" in out
    assert "MNIST-M to SVHN, accuracy, %: the right labels are needed, give --truth: " in out


# A csv and its pair


@pytest.mark.parametrize(
    ("name", "pair"),
    [
        ("svhn.csv", "mnistm-svhn"),
        ("mnistm-svhn.csv", "mnistm-svhn"),
        ("MNIST-M_to_USPS_pred.csv", "mnistm-usps"),
        ("output_usps/test_pred.csv", "mnistm-usps"),
    ],
)
def test_a_name_tells_the_pair(tmp_path, name, pair):
    file = write_csv(tmp_path / "p" / name, [])
    assert csv_files(file, ["mnistm-svhn", "mnistm-usps"]) == ({pair: file}, [])
    assert csv_files(tmp_path / "p", ["mnistm-svhn", "mnistm-usps"]) == ({pair: file}, [])


def test_a_csv_alone_is_of_its_own_pair(graded, hand, tmp_path):
    folder, _ = hand.in_("2022", "3")
    file = (folder / "mnistm-usps.csv").rename(tmp_path / "predictions.csv")
    status, _, err = graded(file, "2022", "3")
    assert status == 2
    assert "predictions.csv: the name does not tell its target; give --pair, one of mnistm-svhn, mnistm-usps" in err
    status, out, _ = graded(file, "2022", "3", "--pair", "mnistm-usps")
    assert (status, "MNIST-M to USPS, accuracy, %   100.00    76.00        –  passed\n" in out) == (0, True)
    assert "SVHN, accuracy" not in out
    truth = write_csv(tmp_path / "truth.csv", [(name, 3) for name in NAMES[:20]])
    status, out, _ = graded(file, "2022", "3", "--pair", "mnistm-usps", "--truth", truth)
    assert (status, "MNIST-M to USPS, accuracy, %    10.00    76.00        –  below\n" in out) == (1, True)


def test_the_bonus_has_to_exceed_problem_3(graded, hand):
    folder, _ = hand.in_("2021", "bonus")
    status, out, _ = graded(folder, "2021", "bonus")
    assert (status, "has to exceed problem 3; give its csv, --beside" in out) == (0, True)
    status, out, _ = graded(folder, "2021", "bonus", "--beside", folder)
    assert (status, "MNIST-M to USPS, accuracy, %   100.00   100.00        –  below\n" in out) == (1, True)


# Confusion, and the worst images


def test_what_digits_are_read_as(graded, hand, handwriting, classifier, tmp_path):
    folder, options = hand.in_("2022", "2")
    (folder / "4_001.png").rename(folder / "other")
    (folder / "9_001.png").rename(folder / "4_001.png")
    (folder / "other").rename(folder / "9_001.png")
    file, sheet = tmp_path / "grade.json", tmp_path / "sheet.png"
    status, out, _ = graded(folder, "2022", "2", *options, "--json", file, "--sheet", sheet)
    assert status == 0
    assert "digits, most often misread: 4 as 9 (1), 9 as 4 (1)\n" in out
    confusion = 2 * np.eye(10, dtype=int)
    confusion[4, 4] = confusion[9, 9] = confusion[4, 9] = confusion[9, 4] = 1
    assert json.loads(file.read_text())["confusion"] == {"": confusion.tolist()}
    result = grade(folder, problem("2022", "2"), classifier=classifier)
    assert list(result.worst) == ["4 as 9 (1)", "9 as 4 (1)"]
    assert np.array_equal(result.worst["4 as 9 (1)"][0], handwriting["right"][0, 9])
    with Image.open(sheet) as picture:
        assert picture.format == "PNG"
        assert len(picture.convert("RGB").getcolors(1 << 20)) > 100


def test_faces_that_are_none_are_the_worst(hand, people, rules):
    folder, _ = hand.in_("2022", "1")
    write(folder, people["other"][:1], ["0000.png"])
    worst = grade(folder, problem("2022", "1", rules)).worst
    assert [images.tolist() for images in worst.values()] == [people["other"][:1].tolist()]


def test_a_submission_without_bad_images_has_no_sheet(graded, hand, tmp_path):
    folder, _ = hand.in_("2022", "1")
    status, _, err = graded(folder, "2022", "1", "--sheet", tmp_path / "sheet.png")
    assert (status, (tmp_path / "sheet.png").exists()) == (0, False)
    assert err.endswith(f"hw2: no image stands out as bad; {tmp_path}/sheet.png is not written\n")


# Bad input


def test_bad_input_is_one_line(hw2, hand, rules, classifier, tmp_path):
    faces, _ = hand.in_("2022", "1")
    few = ("--rules", str(rules))

    def refused(what: str, *arguments) -> None:
        status, out, err = hw2("grade", *map(str, arguments))
        assert (status, out) == (2, "")
        (*_, line) = err.splitlines()  # behind progress bars
        assert line.startswith("hw2: error: ")
        assert what in line

    def of(edition: str, number: str) -> tuple[str, ...]:
        return "--edition", edition, "--problem", number

    refused("no edition '2020': there are 2021, 2022, 2023; --rules adds others", faces, *of("2020", "1"))
    refused("edition 2022 has no problem '4': it has 1, 2, 3", faces, *of("2022", "4"))
    refused("--classifier: not for problem 1 of 2022", faces, *of("2022", "1"), "--classifier", classifier)
    refused("--beside: not for problem 3 of 2021", faces, *of("2021", "3"), "--beside", faces)
    refused("nowhere: cannot be read: No such file or directory", tmp_path / "nowhere", *of("2022", "1"))
    refused("no csv file there; name one, or a folder of them", faces, *of("2022", "3"))
    refused("nowhere: no such folder of images", faces, *of("2022", "1"), *few, "--data-dir", tmp_path / "nowhere")
    refused("x/g.json: No such file", faces, *of("2022", "1"), *few, "--json", tmp_path / "x/g.json")


def test_a_course_adds_its_edition(hw2, hand, tmp_path):
    folder, _ = hand.in_("2022", "1")
    rules = tmp_path / "ours.toml"
    rules.write_text(
        '[2030.A]\ntitle = "GAN"\nkind = "faces"\ncount = 40\nsize = 64\nbaselines = { one_face = [99] }\n'
    )
    status, out, _ = hw2("grade", str(folder), "--edition", "2030", "--problem", "A", "--rules", str(rules))
    assert (status, out.endswith("\npassed\n")) == (0, True)
    assert problems(rules).keys() == {"2021", "2022", "2023", "2030"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("faces", "portraits"), "kind = 'portraits'"),
        (("one_face", "two_faces"), "'two_faces' is no measure of faces; choose of fid, inception_score, one_face"),
        (("[85]", "[85, 80]"), "one_face: give the simple and then the strong baseline"),
        (("size = 64", "size = 64\nsizes = 28"), "unknown key 'sizes'"),
        (("count = 40", ""), "faces need a count and a size"),
        (("[2030.1]", "2030 = 1"), "2030 holds no tables [2030.PROBLEM]"),
        (("[2030.1]", "[2030"), "not valid TOML"),
    ],
)
def test_rules_that_are_wrong_are_one_line(tmp_path, change, said):
    text = '[2030.1]\ntitle = "GAN"\nkind = "faces"\ncount = 40\nsize = 64\nbaselines = { one_face = [85] }\n'
    (tmp_path / "rules.toml").write_text(text.replace(*change))
    with pytest.raises(UserError, match=re.escape(said)) as error:
        problems(tmp_path / "rules.toml")
    assert "\n" not in str(error.value)
