"""Each problem with good and bad submissions: everything that is wrong is named."""

import json
import re
import shutil

import pytest
from PIL import Image
from submissions import change, convert, copies, first, rows_of, text_of, write_csv

from hw2lib.grading import problem, problems
from hw2lib.grading.submission import Fault, read_csv

ROWS = [(edition, number) for edition, some in problems().items() for number in some]
KINDS = {kind: [row for row in ROWS if problem(*row).kind == kind] for kind in ("faces", "digits", "truth", "labels")}


@pytest.mark.parametrize(("edition", "number"), ROWS)
def test_a_good_submission_passes(graded, hand, edition, number):
    folder, options = hand.in_(edition, number)
    status, out, err = graded(folder, edition, number, *options)
    assert (status, "wrong   nothing" in out) == (0, True), out + err
    strong = all(len(values) == 2 for values in problem(edition, number).baselines.values())
    assert out.endswith("passed, the strong baseline too\n" if strong else "\npassed\n")


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
}
TOO_BAD = {
    "faces": (lambda f: change(f, lambda x: x // 8), r"FID .*  below\n"),
    "digits": (lambda f: change(f, lambda x: x[:, ::-1] // 2), r"accuracy by Classifier.pth, % .*  below\n"),
    "truth": (lambda f: change(f, lambda x: x // 2), r"mean squared error, 0 to 255 .*  below\n"),
}
PER_CSV = "[a-z]+-[a-z]+.csv"
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
