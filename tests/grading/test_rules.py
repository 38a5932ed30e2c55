"""The homework's rules, and those of a file."""

import re

import pytest

from hw2lib.errors import UserError
from hw2lib.grading import problem, problems


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
