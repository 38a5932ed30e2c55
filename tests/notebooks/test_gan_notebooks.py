"""Notebooks 10 to 13, 20 and 21."""

import pytest

from hw2lib.gan import tables

FEW = ("-p", "seeds=0,1")


def numbers(text: str) -> int:
    return int(text.replace(",", "") or 0)


def test_architectures(run):
    record = run("10")
    rows = record["tables"]["parameters"]["rows"]
    assert [row[0] for row in rows] == ["gan-plain", "dcgan", "dcgan-wide", "wgan-gp-sn", "sagan"]
    assert rows[4][1:] == [128, "3,832,885", "3,175,299", "7,008,184"]
    for row in rows:
        layers = record["tables"][f"layers-{row[0]}"]["rows"]
        assert sum(numbers(layer[-1]) for layer in layers) == numbers(row[-1])
    assert [figure["file"] for figure in record["figures"]] == [f"drawing-{row[0]}.png" for row in rows]


def test_acgan_architecture(run):
    record = run("20")
    assert record["tables"]["parameters"]["rows"][0][2:4] == ["1,496,168", "399,595"]


@pytest.fixture
def samples(run):
    return run("11")


def test_samples_are_of_the_runs_that_are_named(samples):
    (figure,) = samples["figures"]
    assert figure["file"] == "faces.png"
    for network in ("gan-plain", "dcgan"):
        assert f"{network}, recipe ours, 4 steps of 8, seed 0" in figure["source"]
    assert "embedded stand-ins" in figure["source"], "no trained weights are shown as what they are not"


def test_a_network_beside_a_and_b_has_a_picture_of_its_own(run, samples):
    record = run("11", "-p", "networks=dcgan,sagan")
    assert [figure["file"] for figure in record["figures"]] == ["faces.png", "sagan.png"]


def test_scores(run, samples, build):
    before = {file: file.stat().st_mtime_ns for file in (build / "smoke" / "runs").rglob("card.json")}
    record = run("12", *FEW, "-p", "steps=2")
    after = {file: file.stat().st_mtime_ns for file in (build / "smoke" / "runs").rglob("card.json")}
    assert before.items() <= after.items(), "trained once"
    assert {file.parent.parent.parent.name for file in after.keys() - before.keys()} <= {"face-pyramid"}
    table = record["tables"]["scores"]
    networks = ["gan-plain", "dcgan", "face-pyramid"]
    assert [row[0] for row in table["rows"]] == [*networks, "stand-in faces", "uniform noise"]
    distances = {row[0]: float(row[2].split(" ± ")[0]) for row in table["rows"]}
    assert distances["stand-in faces"] < 20 < 100 < distances["dcgan"]
    assert record["values"]["dcgan_sliced_wasserstein"] == pytest.approx(distances["dcgan"], abs=0.05)
    assert record["values"]["fidelity_missing"].startswith("No FID, IS and KID: they need the real faces")
    assert "No face descriptor distances: they need the real faces" in record["values"]["fidelity_missing"]
    assert table["columns"][3:5] == ["one face, %", "lattice"]
    shown = {row[0]: row[3:5] for row in table["rows"]}
    assert shown["uniform noise"][0] == "0.0"
    assert float(shown["uniform noise"][1]) == pytest.approx(1, abs=0.1)
    assert float(shown["stand-in faces"][0]) > 50
    assert record["values"]["real_one_face"] == pytest.approx(float(shown["stand-in faces"][0]), abs=0.05)


def test_training(run, samples):
    record = run("13", "-p", "seeds=0")
    assert [figure["file"] for figure in record["figures"]] == [
        "strips.png",
        "losses.png",
        "same-step.png",
        "alike.png",
        "study.png",
    ]
    for table, variants in (("study", tables.STUDIES | tables.RATES), ("alike", tables.ALIKE)):
        rows = record["tables"][table]["rows"]
        assert [row[:2] for row in rows] == [[title, "0"] for title in variants.values()]
        assert "missing" not in [cell for row in rows for cell in row]
    assert record["values"]["dcgan_sliced_wasserstein_last"] > 50
    assert (record["values"]["dcgan_first_step"], record["values"]["dcgan_last_step"]) == (2, 4)


def test_runs_that_are_not_finished_are_missing(run, samples):
    one = ("-p", "networks=gan-plain", "-p", "others=dcgan")
    record = run("13", *one, "-p", "seeds=7", "-p", "train=false")
    assert {row[2] for row in record["tables"]["study"]["rows"]} == {"missing"}
    rows = [row[:2] for row in record["tables"]["training"]["rows"] if row[1] == "ours"]
    assert [row[0] for row in rows] == ["gan-plain", "dcgan"], "one is shown beside"
    assert record["values"]["dcgan_closest_step"] in (2, 4)
    assert "gan_plain_closest_step" not in record["values"]
    record = run("12", *FEW, "-p", "networks=dcgan,wgan-gp-sn", "-p", "train=false")
    rows = {row[0]: row[2] for row in record["tables"]["scores"]["rows"]}
    assert rows["wgan-gp-sn"] == "missing"
    assert rows["dcgan"] != "missing"


def test_digits(run):
    record = run("21", *FEW)
    assert [figure["file"] for figure in record["figures"]] == ["digits.png", "accuracy.png"]
    generated, trained, real = record["tables"]["scores"]["rows"]
    assert trained[0] == "1 trainings"
    assert record["values"]["frechet_least"] == pytest.approx(float(trained[2]), abs=0.005)
    read = {row[0]: [float(share) for share in row[1:]] for row in record["tables"]["graders"]["rows"]}
    assert read["real MNIST-M"] == [97.4, 97.0]
    assert max(read["acgan"]) < 60
    assert float(generated[1].split(" ± ")[0]) < 60 < 95 < float(real[1])
    assert float(generated[2].split(" ± ")[0]) > float(real[2])
    linear = record["tables"]["linear"]
    assert linear["columns"][:3] == ["step", "acgan: accuracy, %", "acgan-convolutional: accuracy, %"]
    assert [row[0] for row in linear["rows"]] == ["2", "4"]
    assert float(linear["rows"][1][3]) == pytest.approx(float(trained[2]), abs=0.05), "the same training's last step"


def test_quick_shows_what_ships(run):
    record = run("11", preset="quick")
    assert "faces.png" in [figure["file"] for figure in record["figures"]]
    for figure in record["figures"]:
        assert "real images: Faces" in figure["source"]
