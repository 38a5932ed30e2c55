"""``hw2 noise`` and ``hw2 sample face-pyramid``: the homework's ten faces, and sets of faces like those of a GAN."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from refusals import assert_refused

from hw2lib import paths
from hw2lib.data.png import read_png
from hw2lib.diffusion import faces
from hw2lib.diffusion.networks import face_pyramid, face_unet
from hw2lib.diffusion.networks.face_pyramid import FacePyramid
from hw2lib.diffusion.networks.face_unet import FaceUNet
from hw2lib.diffusion.sample import Denoiser, min_max
from hw2lib.diffusion.samplers import SamplerSettings
from hw2lib.diffusion.schedule import linear
from hw2lib.weights import save as save_weights

SIZE = 16
TEN = [f"{i:02d}.png" for i in range(10)]
FEW = ("--steps", "3")


def small() -> FacePyramid:
    """Draws something of its own at once, where a new network predicts no noise."""
    torch.manual_seed(0)
    network = FacePyramid((32, 32), size=SIZE)
    torch.nn.init.normal_(network.top.head.weight, std=0.1)
    return network.eval()


def course() -> FaceUNet:
    torch.manual_seed(1)
    return FaceUNet((32, 32), attending=1, size=SIZE)


@pytest.fixture(autouse=True)
def _places(tmp_path, monkeypatch):
    torch.set_num_threads(1)
    monkeypatch.setattr(paths, "TRAINED", tmp_path / "trained")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(face_pyramid, "pyramid", small)
    monkeypatch.setattr(face_unet, "course", course)


@pytest.fixture
def sample(hw2, tmp_path):
    """Runs ``hw2 sample face-pyramid`` into the folder `out` with weights in `home`, whose card is of 16x16."""
    (tmp_path / "home").mkdir()
    save_weights(small().state_dict(), tmp_path / "home/weights.safetensors")
    settings = {"recipe": "ours", "network": "face-pyramid", "seed": 0, "steps": 9, "batch": 2, "ema_decay": 0.9,
                "evaluations": 1, "domain": "face", "size": SIZE, "schedule": "linear", "diffusion_steps": 1000,
                "loss": "mse", "label_dropout": 0.0, "optimiser": "adamw", "learning_rate": 1e-3,
                "rates": "constant", "data": {}}  # fmt: skip
    (tmp_path / "home/card.json").write_text(json.dumps({"settings": settings}))

    def run(*arguments: str, out: str = "out") -> tuple[int, str, str]:
        if "--weights" not in arguments:
            arguments = (*arguments, "--weights", str(tmp_path / "home/weights.safetensors"))
        return hw2("sample", "face-pyramid", "--out", str(tmp_path / out), *arguments)

    return run


@pytest.fixture
def noise(hw2, tmp_path) -> str:
    status, out, _ = hw2("noise", str(tmp_path / "noise"), "--size", str(SIZE))
    assert (status, out) == (0, f"10 noises in {tmp_path / 'noise'}\n")
    return str(tmp_path / "noise")


def images(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in sorted(os.listdir(folder)) if name[0] != "."}


def pixels(folder: Path) -> np.ndarray:
    return np.stack([read_png(folder / name, SIZE) for name in images(folder)]).astype(int)


def expected(network: FaceUNet, settings: SamplerSettings) -> torch.Tensor:
    denoiser = Denoiser(network, linear(1000), SIZE, guidable=False, classes=0)
    return faces.draw(denoiser, settings, faces.named_noise(SIZE), mixed=False)


def test_ten_faces_from_fixed_noise(sample, noise, tmp_path):
    line = ("--noise", noise, "--eta", "0", "--steps", "50")
    assert sample(*line)[:2] == (0, f"10 images in {tmp_path / 'out'}\n")
    assert list(images(tmp_path / "out")) == TEN
    wanted = min_max(expected(small(), SamplerSettings("ddim", 50, spacing="leading", clip=False))).numpy().astype(int)
    assert np.abs(pixels(tmp_path / "out") - wanted).mean() <= 1  # files are drawn in mixed precision
    assert sample("--noise", noise, out="again")[0] == 0, "which is what it does unless it is told otherwise"
    assert images(tmp_path / "again") == images(tmp_path / "out")


def test_normalisation_can_be_switched(sample, noise, tmp_path):
    faint = 0.2 * faces.named_noise(SIZE)
    for name, one in zip(faces.NAMES, faint.split(1), strict=True):
        torch.save(one.clone(), Path(noise) / f"{name}.pt")
    line = ("--noise", noise, "--steps", "1")  # at step 1 the image is what is there
    assert sample(*line, "--normalise", "range")[0] == 0
    assert pixels(tmp_path / "out").std() == pytest.approx(0.2 * 127.5, rel=0.1)
    assert sample(*line, out="stretched")[0] == 0
    for image in pixels(tmp_path / "stretched"):
        assert (image.min(), image.max()) == (0, 255)


def test_eta_adds_noise_of_the_seed(sample, noise, tmp_path):
    for seed in "0", "1":
        assert sample(*FEW, "--noise", noise, "--eta", "0.5", "--seed", seed, out=seed)[0] == 0
    assert not set(images(tmp_path / "0").values()) & set(images(tmp_path / "1").values())


def test_a_set_without_noise_is_numbered_like_that_of_a_gan(sample, tmp_path):
    assert sample(*FEW, "--count", "12")[:2] == (0, f"12 images in {tmp_path / 'out'}\n")
    assert list(images(tmp_path / "out")) == [f"{i:04d}.png" for i in range(12)]
    assert len(set(images(tmp_path / "out").values())) == 12


def test_other_noise_makes_another_set(sample, noise, tmp_path):
    sample(*FEW, "--noise", noise)
    torch.save(torch.zeros(1, 3, SIZE, SIZE), Path(noise) / "03.pt")
    status, _, err = sample(*FEW, "--noise", noise)
    assert status == 2
    assert "holds images of other settings (noise is " in err


def test_our_network_in_a_file_of_torch(sample, tmp_path):
    torch.save({"state_dict": small().state_dict()}, tmp_path / "mine.pth")
    assert sample("--count", "1", "--weights", str(tmp_path / "mine.pth"), *FEW)[0] == 0
    marker = json.loads((tmp_path / "out/.hw2-images.json").read_text())
    assert marker["settings"]["prediction"] == "velocity", "the recipe ours, and not the homework's"


def test_the_homeworks_network(sample, noise, tmp_path):
    torch.save(course().state_dict(), tmp_path / "UNet.pt")
    assert sample(*FEW, "--noise", noise, "--weights", str(tmp_path / "UNet.pt"))[0] == 0
    wanted = min_max(expected(course().eval(), SamplerSettings("ddim", 3, spacing="leading", clip=False)))
    assert np.abs(pixels(tmp_path / "out") - wanted.numpy().astype(int)).mean() <= 1


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["--noise", "nowhere"], "00.pt: cannot be read: No such file or directory; give a tensor (1, 3, 16, 16)"),
        (["--noise", "large"], "00.pt: holds (1, 3, 32, 32) float32; give a tensor (1, 3, 16, 16) of floats"),
        (["--noise", "noise", "--count", "5"], "--count 5: --noise is of 10 images; leave --count out"),
        (["--normalise", "max"], "unknown normalisation 'max': choose one of min-max, range"),
        (["--eta", "1.5"], "eta 1.5: give 0 to 1"),
        (["--eta", "-0.1"], "eta -0.1: give 0 to 1"),
        (["--guidance-weight", "1"], "guidance weight 1: the network learned no image without its label; give 0"),
        (["--digit", "3"], "face-pyramid has no digits to choose from; leave --digit out"),
        (["--weights", "UNet.pt"], "UNet.pt: cannot be read: No such file"),
        (["--weights", "other.pt"], "other.pt: weights of another network: "),
    ],
)
def test_bad_input_is_one_line_and_makes_nothing(sample, noise, tmp_path, monkeypatch, arguments, what):
    monkeypatch.chdir(tmp_path)
    faces.write_noise(tmp_path / "large", 32)
    torch.save({"conv.weight": torch.zeros(1)}, tmp_path / "other.pt")
    assert_refused(sample(*arguments), what)
    assert not (tmp_path / "out").exists()


def test_noise_is_for_faces(hw2, noise, tmp_path):
    for network in ("dcgan", "context-unet"):
        status, _, err = hw2("sample", network, "--out", str(tmp_path / "out"), "--noise", noise)
        assert (status, err) == (
            2,
            f"hw2: error: {network} draws no faces from noise of their size: leave --noise out\n",
        )


def test_noise_that_is_there_is_kept(hw2, noise):
    status, _, err = hw2("noise", noise, "--size", "8")
    assert status == 2
    assert "has 00.pt already; choose another folder, or add --overwrite" in err
    assert faces.read_noise(Path(noise), SIZE).shape == (10, 3, SIZE, SIZE)
    assert hw2("noise", noise, "--size", "8", "--overwrite")[0] == 0
    assert faces.read_noise(Path(noise), 8).shape == (10, 3, 8, 8)
