"""Tables and numbers of finished generators: what they say of given runs."""

import json

import numpy as np
import pytest
import torch

from hw2lib import data
from hw2lib.data import ImageSet
from hw2lib.data.standins import faces as standins
from hw2lib.files import write
from hw2lib.gan import scores as scoring
from hw2lib.gan import tables
from hw2lib.metrics import fidelity
from hw2lib.metrics.reference import shipped
from hw2lib.training.run_folder import RunFolder

SCORES = ("sliced_wasserstein", "one_face", "lattice", "brightness", "contrast", "diversity")
REAL = shipped("face")


def card(seed=0, **settings):
    """Four evaluations; the generator's loss falls as the images get better."""
    losses = [[10 * i, 1.0 + 0.5 * (i % 2), 50.0 - i, 0.7, 0.3] for i in range(1, 41)]
    curve = [{"step": step, "sliced_wasserstein": 500 - step, "face_rate": 90.0, "brightness": 0.4,
              "contrast": 0.2} for step in
             (100, 200, 300, 400)]  # fmt: skip
    return {
        "settings": {"network": "dcgan", "recipe": "study", "seed": seed, "loss": "bce", "gradient_penalty": 0.0,
                     "generator_rate": 2e-4, "discriminator_rate": 4e-4, "discriminator_optimiser": "adam",
                     "betas": [0.5, 0.999], "augment": [], "steps": 400, "batch": 64, "critic_steps": 2} | settings,
        "losses": losses, "curve": curve, "seconds": 120.0, "commit": "0123456789", "dirty": False,
        "hardware": {"gpu": None, "cpu": "a processor"}, "precision": "bf16", "images": "real images: Faces",
    }  # fmt: skip


@pytest.fixture
def finished(tmp_path):
    def make(**settings) -> RunFolder:
        one = card(**settings)
        path = tmp_path / str(len(list(tmp_path.iterdir())))
        path.mkdir()
        write(path / "card.json", json.dumps(one))
        return RunFolder(path, one["settings"])

    return make


def test_the_training_table(finished):
    (row,) = tables.training_table([finished()]).to_dict("records")
    assert row["images seen"] == "51,200", "each of two critic steps sees a batch"
    assert (row["minutes"], row["commit"], row["loss"]) == ("2.0", "0123456", "bce")
    assert row["augmentation"] == "none"
    assert (row["rates G / D"], row["optimiser"]) == ("0.0002 / 0.0004", "Adam (0.5, 0.999)")
    (row,) = tables.training_table([finished(discriminator_optimiser="sgd")]).to_dict("records")
    assert row["optimiser"] == "Adam (0.5, 0.999), D: SGD"


def test_faces_are_counted_in_the_first_and_the_last_row_of_a_strip():
    drawn_faces, noise = drawn(8, seed=0), np.random.default_rng(0).integers(0, 256, (8, 3, 64, 64), np.uint8)
    found = tables.first_faces("dcgan", {100: noise, 200: noise, 300: drawn_faces})
    assert (found["dcgan_first_step"], found["dcgan_first_faces"]) == (100, 0)
    assert (found["dcgan_last_step"], found["dcgan_noises"]) == (300, 8)
    assert found["dcgan_last_faces"] > 4


def test_scores_stand_beside_those_of_real_faces_and_of_noise(finished):
    one, other, noise = (dict.fromkeys(SCORES, value) for value in (1.0, 2.0, 9.0))
    table = tables.face_table([finished()], {"gan-plain": [], "dcgan": [one, other]}, REAL, noise)
    table = table.set_index("images")
    assert list(table.index) == ["gan-plain", "dcgan", "real faces", "uniform noise"]
    assert table.loc["dcgan", "one face, %"] == "1.5 ± 0.7"
    assert (table.loc["gan-plain"].drop("images seen in training") == "missing").all()
    assert table.loc["uniform noise", "contrast"] == "9.000"
    assert table.loc["real faces", "sliced Wasserstein x 1000"] == f"{REAL.floor['sliced_wasserstein']:.1f}"
    assert list(table["images seen in training"]) == ["–", "51,200", "–", "–"]


def test_where_weights_were_not_kept_the_end_of_training_counts(finished):
    kept, lost = finished(network="gan-plain"), finished()
    kept.weights.touch()
    black = torch.zeros(2, 3, 64, 64, dtype=torch.uint8)
    scores = scoring.scores_by_network([kept, lost], ["gan-plain", "dcgan", "sagan"], [0, 1], 2, REAL, lambda *_: black)
    assert [found["contrast"] for found in scores["gan-plain"]] == [0, 0]
    (last,) = scores["dcgan"]
    assert (last["sliced_wasserstein"], last["contrast"]) == (100, 0.2)
    assert scores["sagan"] == []


def test_a_rate_of_an_earlier_detector_is_not_taken_for_one_of_this(finished):
    scores = scoring.scores_by_network([finished()], ["dcgan"], [0], 2, REAL)
    assert scores["dcgan"][0]["face_rate"] == 90
    table = tables.face_table([finished()], scores, REAL, dict.fromkeys(SCORES, 0.0)).set_index("images")
    assert table.loc["dcgan", "one face, %"] == "missing"
    assert table.loc["dcgan", "contrast"] == "0.200"
    assert not (table == "90.0").any(axis=None)
    assert not [name for name in scoring.headline(scores, REAL, dict.fromkeys(SCORES, 0.0)) if "face_rate" in name]


@pytest.fixture
def faces(monkeypatch):
    """Two splits of drawn faces for real ones, descriptors that are their first 128 pixels, and no Inception."""

    class Source:
        origin = "stand-in"

        def load(self, domain, split):
            return ImageSet(drawn(8, seed=len(split)), None, domain, split, self.origin)

    def descriptors(images):
        return images.flatten(1)[:, :128].double() / 255

    def inception(device):
        raise fidelity.Unavailable("no network")

    monkeypatch.setattr(data, "source", lambda *_: Source())
    monkeypatch.setattr(fidelity, "face_descriptors", descriptors)
    monkeypatch.setattr(fidelity, "inception", inception)
    return descriptors


def drawn(n, seed):
    return (standins.faces(n, np.random.default_rng(seed)) * 255).round().byte().numpy()


def test_descriptors_of_generated_faces_are_compared_with_those_of_real_ones(faces):
    some = torch.tensor(drawn(6, seed=9))
    found, missing = scoring.distance_tables({"dcgan": lambda: some}, 6, "paper", "", "cpu")
    assert (list(found), missing) == (["descriptors"], "No FID, IS and KID: no network.")
    val, train = (torch.tensor(drawn(8, seed=len(split))[np.arange(6) * 8 // 6]) for split in ("val", "train"))
    expected = [100 * fidelity.frechet_distance(faces(images), faces(val)) for images in (some, train)]
    table = found["descriptors"]
    assert list(table["images"]) == ["dcgan", "real, train against val"]
    assert list(table["face descriptor distance x 100"].astype(float)) == pytest.approx(expected, abs=0.005)
    assert min(expected) > 1


def test_why_there_are_no_distances_is_a_sentence_each():
    need = "they need the real faces themselves; set data_dir, or preset to paper."
    sentences = f"No FID, IS and KID: {need} No face descriptor distances: {need}"
    assert scoring.distance_tables({}, 6, "quick", "", "cpu") == ({}, sentences)


def test_means_for_the_text():
    one, other, noise = (dict.fromkeys(SCORES, value) for value in (1.0, 2.0, 9.0))
    values = scoring.headline({"gan-plain": [one, other], "dcgan": []}, REAL, noise)
    assert values["gan_plain_brightness"] == 1.5
    assert not [name for name in values if name.startswith("dcgan")]
    assert values["noise_sliced_wasserstein"] == 9
    assert (values["real_one_face"], values["real_lattice"]) == (REAL.one_face, REAL.lattice)


def test_a_loss_that_tells_and_one_that_lies():
    found = scoring.loss_against_quality(card())
    assert found["dcgan_loss_correlation"] == pytest.approx(1)
    assert found["dcgan_generator_loss_first"] == pytest.approx(np.mean([50 - i for i in range(1, 11)]))
    assert found["dcgan_sliced_wasserstein_last"] == 100
    lying = card()
    for row in lying["losses"]:
        row[2] = 100 - row[2]
    assert scoring.loss_against_quality(lying)["dcgan_loss_correlation"] == pytest.approx(-1)


def test_the_closest_mark_may_lie_before_the_last():
    turned = card()
    turned["curve"][-2]["sliced_wasserstein"] = 3.0
    found = scoring.closest(turned)
    assert found == {"dcgan_closest": 3.0, "dcgan_closest_step": turned["curve"][-2]["step"]}
    assert turned["curve"][-1]["sliced_wasserstein"] > 3


def test_the_study(finished):
    runs = [finished(seed=seed) for seed in (0, 1)] + [finished(network="gan-plain")]
    frame = tables.study_frame(runs)
    assert frame["roughness"].iloc[0] == pytest.approx(0.5 / 1.25), "the loss goes up and down between 1 and 1.5"
    titles = {("dcgan", "study"): "B", ("dcgan", "study-sgd"): "B, SGD", ("gan-plain", "study"): "A"}
    table = tables.study_table(frame, titles).set_index("variant")
    assert list(table["seeds"]) == ["0, 1", "missing", "0"]
    assert table.loc["B", "sliced Wasserstein x 1000"] == "100.0 ± 0.0"
    assert table.loc["A", "sliced Wasserstein x 1000"] == "100.0"
    found = scoring.study_headline(frame)
    assert found["dcgan_study_contrast"] == pytest.approx(0.2)
    assert found["gan_plain_study_sliced_wasserstein"] == 100
    assert scoring.study_headline(tables.study_frame([])) == {}


def test_the_course_of_digits(finished):
    longer, shorter = finished(seed=0), finished(seed=1)
    marks = [{"step": 1500, "accuracy": 50.0, "frechet": 9.0}, {"step": 3000, "accuracy": 70.0, "frechet": 5.0}]
    for run, curve in ((longer, marks), (shorter, [{"step": 1500, "accuracy": 52.0, "frechet": 9.0}])):
        write(run.path / "card.json", json.dumps(run.card | {"curve": curve}))
    rows = tables.course_table({"acgan": [longer, shorter], "other": [shorter]}).to_dict("records")
    assert [row.pop("step") for row in rows] == ["1,500", "3,000"]
    assert rows[0] == {
        "acgan: accuracy, %": "51.0 ± 1.4", "other: accuracy, %": "52.0",
        "acgan: Fréchet distance": "9.0 ± 0.0", "other: Fréchet distance": "9.0",
    }  # fmt: skip
    assert rows[1]["acgan: accuracy, %"] == "70.0"
    assert rows[1]["other: accuracy, %"] == "missing"


def test_a_study_at_a_step(finished):
    longer, shorter = finished(seed=0), finished(network="gan-plain")
    write(shorter.path / "card.json", json.dumps(shorter.card | {"curve": shorter.card["curve"][:3]}))
    frame = tables.study_frame([longer, shorter], 300)
    assert list(frame["sliced_wasserstein"]) == [200, 200]
    assert list(tables.study_frame([longer], 10)["roughness"]) == [], "not scored there"
    assert list(tables.study_frame([longer, shorter], 400)["network"]) == ["dcgan"], "the other was not scored there"
    table = tables.study_table(frame, {("dcgan", "study"): "B"}, "lattice", "roughness")
    assert not {"lattice", "roughness of the loss"} & set(table)
    assert [mark["contrast"] for mark in tables.at_step([longer, shorter], 400)] == [0.2]
