"""``hw2 sample``: which images it writes, the same ones whatever else is asked for, and what it refuses."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from refusals import assert_refused

from hw2lib import paths
from hw2lib.data.png import read_png
from hw2lib.gan.sample import generate
from hw2lib.image_files import _names
from hw2lib.networks import build
from hw2lib.noise import ImageNoise
from hw2lib.weights import save as save_weights


@pytest.fixture(autouse=True)
def _places(tmp_path, monkeypatch):
    torch.set_num_threads(1)
    monkeypatch.setattr(paths, "TRAINED", tmp_path / "trained")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.fixture(scope="session")
def home(tmp_path_factory) -> Path:
    """Generators' weights by the name of the network."""
    home = tmp_path_factory.mktemp("weights")
    for name in ("dcgan", "acgan"):
        torch.manual_seed(0)
        save_weights(build(name).generator.state_dict(), home / name)
    return home


@pytest.fixture
def sample(hw2, home, tmp_path):
    """Runs ``hw2 sample`` into the folder `out`, with the weights of that network."""

    def run(network: str, *arguments: str, out: str = "out") -> tuple[int, str, str]:
        if "--weights" not in arguments and (home / network).exists():
            arguments = (*arguments, "--weights", str(home / network))
        return hw2("sample", network, "--out", str(tmp_path / out), *arguments)

    return run


def images(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in sorted(os.listdir(folder)) if name[0] != "."}


def drawn_alone(network: str, seed: int, i: int, digit: int | None = None) -> np.ndarray:
    """Image `i` in a batch of one."""
    torch.manual_seed(0)
    gan = build(network)
    labels = None if digit is None else torch.tensor([digit])
    return generate(gan.generator, ImageNoise(seed, [i]).draw(gan.latent), labels)[0].numpy()


def assert_alike(path: Path, expected: np.ndarray) -> None:
    difference = np.abs(read_png(path, expected.shape[-1]).astype(int) - expected)
    assert difference.max() <= 1  # sums may be rounded otherwise in another batch


def test_faces_are_numbered_and_seeded(sample, tmp_path):
    status, out, _ = sample("dcgan", "--count", "60", "--seed", "3")
    assert (status, out) == (0, f"60 images in {tmp_path / 'out'}\n")
    assert list(images(tmp_path / "out")) == [f"{i:04d}.png" for i in range(60)]
    for i in (0, 49, 50, 59):
        assert_alike(tmp_path / f"out/{i:04d}.png", drawn_alone("dcgan", 3, i))

    sample("dcgan", "--count", "2", "--seed", "4", out="other")
    assert images(tmp_path / "other")["0000.png"] != images(tmp_path / "out")["0000.png"]


def test_digits_by_default_are_a_hundred_of_each(sample, tmp_path):
    status, out, _ = sample("acgan")
    assert (status, out) == (0, f"1000 images in {tmp_path / 'out'}\n")
    assert list(images(tmp_path / "out")) == [f"{d}_{i:03d}.png" for d in range(10) for i in range(1, 101)]
    for digit, i in ((0, 1), (7, 51), (9, 100)):  # the same noise for each digit
        assert_alike(tmp_path / f"out/{digit}_{i:03d}.png", drawn_alone("acgan", 0, i - 1, digit))


def test_an_image_is_the_same_bit_for_bit_whatever_else_is_drawn(sample, tmp_path):
    sample("acgan", "--count", "1010", out="all")
    everything = images(tmp_path / "all")
    assert len(everything) == 1010

    sample("acgan", "--digit", "7", "--digit", "3", "--digit", "7", "--count", "104", out="some")
    some = images(tmp_path / "some")
    assert list(some) == [f"{d}_{i:03d}.png" for d in (3, 7) for i in range(1, 53)]
    assert some.items() <= everything.items()

    for name in ("3_001.png", "7_052.png"):
        (tmp_path / "some" / name).unlink()
    assert sample("acgan", "--digit", "3", "--digit", "7", "--count", "104", out="some")[0] == 0
    assert images(tmp_path / "some") == some

    sample("acgan", "--digit", "3", out="default")
    assert list(images(tmp_path / "default")) == [f"3_{i:03d}.png" for i in range(1, 101)]


def test_faces_are_the_same_bit_for_bit_for_another_count(sample, tmp_path):
    sample("dcgan", "--count", "53", out="more")
    sample("dcgan", "--count", "1", out="one")
    assert images(tmp_path / "one").items() <= images(tmp_path / "more").items()


def test_numbers_of_large_sets_sort_as_they_count():
    def first_and_last(count, digit):
        names = _names(count, [digit])[digit]
        return [names[0], names[-1]]

    assert first_and_last(10_000, None) == ["0000.png", "9999.png"]
    assert first_and_last(10_001, None) == ["00000.png", "10000.png"]
    assert first_and_last(999, 4) == ["4_001.png", "4_999.png"]
    assert first_and_last(1000, 4) == ["4_0001.png", "4_1000.png"]


def test_weights_that_ship_are_the_default(sample, home, tmp_path):
    shipped = tmp_path / "trained/dcgan/ours/seed-0-12345678"
    shipped.mkdir(parents=True)
    (shipped / "card.json").write_text(json.dumps({"settings": {"network": "dcgan"}}))
    args = ["dcgan", "--count", "2"]
    status, _, err = sample(*args, "--weights", str(tmp_path / "none"))
    assert status == 2
    assert err.startswith(f"hw2: error: {tmp_path / 'none'}: cannot be read: No such file or directory; give one of")

    (home / "dcgan").rename(home / "moved")
    try:
        status, _, err = sample(*args)
        assert status == 2
        assert err == (
            "hw2: error: dcgan/ours/seed-0: no run ships with weights (those that do: none); train it, hw2 train dcgan "
            "--preset paper, and give the weights.safetensors of its folder\n"
        )
        (shipped / "weights.safetensors").write_bytes((home / "moved").read_bytes())
        assert sample(*args)[0] == 0
    finally:
        (home / "moved").rename(home / "dcgan")
    sample(*args, out="named")
    assert images(tmp_path / "out") == images(tmp_path / "named")


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["dann-compact"], "'dann-compact' is no network that draws images: choose one of gan-plain, dcgan"),
        (["dcgan", "--count", "0"], "--count 0: give 1 to 1000000 images"),
        (["dcgan", "--count", "-5"], "--count -5: give 1 to 1000000 images"),
        (["dcgan", "--count", "10000000"], "--count 10000000: give 1 to"),
        (["dcgan", "--seed", "-1"], "--seed -1: give 0 to 4292"),
        (["dcgan", "--device", "tpu"], "unknown device 'tpu'"),
        (["dcgan", "--ema"], "no card.json beside it says whether this is a moving average; leave --ema out"),
        (["dcgan", "--digit", "3"], "dcgan has no digits to choose from; leave --digit out"),
        (["acgan", "--digit", "10"], "--digit 10: give 0 to 9"),
        (["acgan", "--digit", "3", "--digit", "-1"], "--digit -1: give 0 to 9"),
        (["acgan", "--count", "95"], "--count 95: in all, of 10 digits alike; give a multiple of 10"),
        (["acgan", "--weights", "dcgan"], "dcgan: weights of another network: "),
        (["dcgan", "--weights", __file__], "damaged, or no file of torch.save"),
    ],
)
def test_bad_input_is_one_line_and_status_2_and_makes_nothing(sample, tmp_path, monkeypatch, home, arguments, what):
    monkeypatch.chdir(home)
    assert_refused(sample(*arguments), what)
    assert not (tmp_path / "out").exists()


def test_files_of_others_are_never_written_over(sample, tmp_path):
    (tmp_path / "out").mkdir()
    mine = tmp_path / "out/notes.txt"
    mine.write_text("mine")
    status, _, err = sample("acgan", "--count", "20")
    assert status == 2
    assert "holds other files, such as notes.txt; choose another folder, or add --overwrite" in err
    assert os.listdir(tmp_path / "out") == ["notes.txt"]
    assert sample("acgan", "--count", "20", "--overwrite")[0] == 0
    assert len(images(tmp_path / "out")) == 21
    status, _, err = sample("acgan", "--count", "10")
    assert status == 2
    assert "count is 20 there and 10 here" in err
    assert sample("acgan", "--count", "10", "--overwrite")[0] == 0
    assert len(images(tmp_path / "out")) == 11
    assert mine.read_text() == "mine"


def test_another_networks_weights_are_another_set(sample, home, tmp_path):
    sample("acgan", "--count", "10")
    torch.manual_seed(1)
    save_weights(build("acgan").generator.state_dict(), tmp_path / "others")
    status, _, err = sample("acgan", "--count", "10", "--weights", str(tmp_path / "others"))
    assert status == 2
    assert "weights is" in err
