"""Scores beside a plain implementation of the rules, what cannot be measured, pairs of a csv, misread digits."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from submissions import NAMES, change, digit_names, plain_count_faces, rows_of, ten_names, write, write_csv

from hw2lib import used
from hw2lib.classifier.network import DigitClassifier
from hw2lib.errors import UserError
from hw2lib.grading import problem, problems
from hw2lib.grading.grade import Score, grade
from hw2lib.grading.submission import Fault, csv_files
from hw2lib.metrics import fidelity


def plain_accuracy(folder: Path, classifier: Path) -> float:
    network = DigitClassifier().eval()
    network.load_state_dict(torch.load(classifier, weights_only=True)["state_dict"])
    right = 0
    for file in folder.glob("*.png"):
        x = torch.tensor(np.asarray(Image.open(file).convert("RGB"))).permute(2, 0, 1)[None] / 255
        with torch.no_grad():
            right += network((x - 0.5) / 0.5).argmax().item() == int(file.name[0])
    return 100 * right / len(list(folder.glob("*.png")))


def test_a_thousand_digits(tmp_path, handwriting, classifier):
    digits = handwriting["right"].copy()
    digits[:20] = handwriting["wrong"]
    folder = write(tmp_path / "digits", digits.reshape(-1, 3, 28, 28), digit_names(100))
    by_edition = {}
    for edition, number in (("2021", "2"), ("2022", "2"), ("2023", "1")):
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


@pytest.mark.parametrize(
    ("value", "shown"), [(80.0, "80.00"), (79.994, "79.99"), (79.998, "79.998"), (80.00004, "80.00004"), (None, "–")]
)
def test_a_score_is_shown_with_as_many_decimals_as_tell_it_from_a_baseline(value, shown):
    assert Score("", value, (80, 90)).cells["score"] == shown


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
    other = write_csv(folder.parent / "mnistm-usps.csv", [("of another domain.png", 3)])
    status, _, err = graded(folder / "mnistm-usps.csv", "2021", "bonus", "--beside", other)
    assert (status, f"{other}: nothing can be compared with it: no row for an image" in err) == (2, True)


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


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ('kind = "labels"\nbaselines = {}', "give one for each measure or pair"),
        ('kind = "labels"\nabove = "9"\nbaselines = { mnistm-usps = [] }', "above: '9': of labels there are 1"),
        ('kind = "digits"\ncount = 1\nsize = 28\nabove = "1"\nbaselines = { accuracy = [80] }', "above: '1'"),
    ],
)
def test_rules_that_would_let_everything_pass_are_refused(tmp_path, keys, why):
    file = tmp_path / "rules.toml"
    file.write_text(f'[2030.1]\ntitle = "t"\n{keys}\n')
    with pytest.raises(UserError) as error:
        problem("2030", "1", file)
    assert str(file) in str(error.value)
    assert why in str(error.value)


def test_the_grade_is_shown_also_where_its_file_cannot_be_written(graded, hand, tmp_path):
    folder, _ = hand.in_("2022", "1")
    status, out, err = graded(folder, "2022", "1", "--json", tmp_path / "x/g.json")
    assert (status, "exactly one face, %" in out) == (2, True)
    assert err.splitlines()[-1].startswith(f"hw2: error: {tmp_path}/x/g.json: No such file")


def test_a_record_of_a_grade_depends_on_the_files(hand, rules):
    folder, _ = hand.in_("2022", "3")
    used.forget()
    grade(folder, problem("2022", "3", rules), truth=None)
    assert f"file: {folder}/mnistm-usps.csv" in used.notes()
    used.forget()
    grade(folder, problem("2022", "3", rules), noted=False)
    assert f"file: {folder}/mnistm-usps.csv" not in used.notes()


def test_a_csv_is_of_the_pair_that_its_name_tells(tmp_path):
    pairs = ["mnistm-svhn", "usps-svhn", "My_Digits-usps"]
    names = {
        "mnistm-svhn": "MNISTM_SVHN.CSV", "usps-svhn": "usps-svhn/mnistm predictions.csv", "My_Digits-usps": "usps.csv"
    }  # fmt: skip
    for pair, name in names.items():
        file = write_csv(tmp_path / pair / "in" / name, [("a.png", 1)])
        assert csv_files(file.parent, pairs) == ({pair: file}, [])
    with pytest.raises(UserError, match="does not tell its target"):
        csv_files(write_csv(tmp_path / "svhn.csv", [("a.png", 1)]), pairs)  # of two pairs
    with pytest.raises(UserError, match="its name tells the pair My_Digits-usps, not usps-svhn"):
        csv_files(tmp_path / "My_Digits-usps/in/usps.csv", pairs, "usps-svhn")


def test_which_truth_is_meant_has_to_be_clear(graded, hand, tmp_path):
    folder, _ = hand.in_("2022", "3")
    (folder / "mnistm-svhn.csv").unlink()
    for name in ("test", "val"):
        write_csv(tmp_path / "usps" / f"{name}.csv", [("a.png", 1)])
    status, _, err = graded(folder / "mnistm-usps.csv", "2022", "3", "--truth", tmp_path / "usps")
    assert (status, "more than one csv of a pair" in err) == (2, True)


def test_rules_add_to_an_edition(tmp_path):
    (tmp_path / "more.toml").write_text('[2022.4]\ntitle = "t"\nkind = "labels"\nbaselines = { a-b = [1] }\n')
    assert list(problems(tmp_path / "more.toml")["2022"]) == ["1", "2", "3", "4"]


def test_outputs_and_folders_that_cannot_be_meant(graded, hand, tmp_path):
    folder, _ = hand.in_("2022", "1")
    for options in (("--json", tmp_path / "x", "--sheet", tmp_path / "x"), ("--sheet", "-")):
        status, out, err = graded(folder, "2022", "1", *options)
        assert (status, out, "choose a file of its own" in err) == (2, "", True)
    status, _, err = graded(folder, "2023", "2", "--data-dir", tmp_path / "nowhere")
    assert (status, "nowhere/face/GT: no such folder" in err) == (2, True)


def test_a_name_that_is_not_in_utf_8_can_be_shown():
    assert str(Fault("no PNG file", ("b\udcfcrger.png",))).encode() == b"no PNG file (1): b\\udcfcrger.png"
