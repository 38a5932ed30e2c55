"""Each explorer with small, new networks: its picture follows every control, and shows what it says."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from synthetic import Synthetic

from hw2lib import explore
from hw2lib.adaptation.recipe import DANNRecipe
from hw2lib.diffusion.faces import named_noise
from hw2lib.diffusion.recipe import Recipe
from hw2lib.explore import images as explorers
from hw2lib.gan.recipe import Recipe as GANRecipe
from hw2lib.networks import build
from hw2lib.training.run_folder import RunFolder


def run_of(folder, recipe) -> RunFolder:
    """A run whose weights are new ones, none of them 0, so that what goes in matters for what comes out."""
    torch.manual_seed(0)
    network = build(recipe.network)
    for parameter in network.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, 0, 0.02)
    network = network.generator if recipe.task == "gan" else network
    run = RunFolder(folder / recipe.title, recipe.model_dump(mode="json"))
    run.finish(network.state_dict(), {"accuracy": {}})
    return run


def gan_run(folder, network: str) -> RunFolder:
    return run_of(folder, GANRecipe.choose(network, "ours", 0, "smoke"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def digits(folder):
    return [run_of(folder, Recipe.choose("context-unet-32", "ours", 0, "smoke"))]


@pytest.fixture(scope="module")
def faces(folder):
    return [run_of(folder, Recipe.choose("face-pyramid", "ours", 0, "smoke"))]


def move(explorer, **values) -> None:
    for name, value in values.items():
        explorer.controls[name].value = value
    explorer.wait()


def follows(explorer, **values) -> None:
    """Each of these changes, one after the other, changes the picture."""
    for name, value in values.items():
        before = explorer.picture.value
        move(explorer, **{name: value})
        assert explorer.picture.value != before, name


def shown(explorer) -> np.ndarray:
    """The pixels of the first axes of the figure as it is now."""
    values = {name: control.value for name, control in explorer.controls.items()}
    figure, _ = explorer._draw_figure(**values)
    plt.close(figure)
    return np.asarray(figure.axes[0].images[0].get_array())


def test_denoiser(digits):
    explorer = explore.denoiser(digits, "cpu")
    assert "8 steps of DDIM" in explorer.text.value
    follows(explorer, digit=4, guidance_weight=0.0, steps=3, seed=1, sampler="dpm-solver", images=1)
    assert "3 steps of DPM-Solver++, w = 0: 3 calls" in explorer.text.value


def test_a_long_drawing_can_be_stopped(digits):
    explorer = explore.denoiser(digits, "cpu")
    explorer.controls["images"].value = 10
    explorer.stop.click()
    explorer.wait()
    assert "Stopped" in explorer.text.value


def test_reverse_process(digits, monkeypatch):
    explorer = explore.reverse_process(digits, "cpu")
    follows(explorer, digit=4, guidance_weight=0.0, seed=1)
    monkeypatch.setattr(explorers, "_way", None)  # all states are there
    play = explorer.children[0]
    for step in (0, 20):
        before = explorer.picture.value
        play.value = step
        explorer.wait()
        assert explorer.controls["step"].value == step
        assert explorer.picture.value != before
    assert "t = 0 of 1,000" in explorer.text.value
    state, prediction = np.hsplit(shown(explorer)[:, [*range(28), *range(30, 58)]], 2)
    assert (state == prediction).all(), "at the end both are the image"


def test_the_way_is_that_of_the_sampler_and_predictions_lead_to_its_end(digits):
    denoiser = explorers.load(digits[0])
    settings = explorers.default_settings("context-unet-32", steps=4)
    states, predicted, times = explorers._way(denoiser, settings, 3, 0)
    drawn = explorers.draw_images(denoiser, settings, 0, [0], torch.tensor([3]), mixed=True)
    assert times == [1000, 750, 500, 250, 0]
    assert torch.equal(states[-1:], drawn)
    assert torch.allclose(predicted[-2], states[-1], atol=1e-4), "the last step goes to its prediction"


def test_eta(faces):
    explorer = explore.eta(faces, "cpu")
    assert "differ by 0.0 grey levels" not in explorer.text.value
    follows(explorer, noise=3, steps=2, eta=0.0)
    assert "differ by 0.0 grey levels" in explorer.text.value
    assert not shown(explorer)[:, -64:].any()


def test_interpolation(faces):
    explorer = explore.interpolation(faces, "cpu")
    follows(explorer, steps=2, first=2, second=3, alpha=0.25)
    a, b = named_noise(64)[[2, 3]]
    line = float((0.75 * a + 0.25 * b).norm())
    assert f"lerp {line:.1f}" in explorer.text.value
    move(explorer, alpha=0.0)
    norm = f"{float(a.norm()):.1f}"
    assert f"slerp {norm}, lerp {norm}" in explorer.text.value


def test_gans(folder):
    explorer = explore.gans([gan_run(folder, "gan-plain"), gan_run(folder, "dcgan")], "cpu")
    follows(explorer, first=3, second=4, alpha=0.0)
    left, middle, right = (shown(explorer)[:, start : start + 64] for start in (0, 66, 132))
    assert (left == middle).all()
    assert (left != right).any()


def test_acgan(folder):
    explorer = explore.acgan([gan_run(folder, "acgan")], "cpu")
    follows(explorer, first=3, alpha=1.0, second=4)
    tiles = {shown(explorer)[:, start : start + 28].tobytes() for start in range(0, 300, 30)}
    assert len(tiles) == 10


def test_adaptation(folder):
    methods = ("source-only", "dann")
    recipes = [DANNRecipe.choose("dann-compact", "ours", "mnistm", "usps", method, 0, "smoke") for method in methods]
    runs, images = [run_of(folder, recipe) for recipe in recipes], Synthetic()
    explorer = explore.adaptation(runs, images, count=20)
    for number in (7, 19):
        follows(explorer, image=number)
        assert f"image {number}, truth {images.load('usps', 'test').labels[number]}" in explorer.text.value
    assert "source-only reads" in explorer.text.value
    assert "DANN reads" in explorer.text.value


@pytest.mark.parametrize("name", ["denoiser", "reverse_process", "eta", "interpolation", "gans", "acgan", "adaptation"])
def test_without_a_finished_run_an_explorer_says_so(name):
    assert "no finished run has its weights here" in getattr(explore, name)([]).text.value


def test_a_run_without_its_weights_is_left_out(folder, digits):
    card = RunFolder(folder / "none", {"network": "unet-two-level"})
    assert explore.denoiser([card, *digits], "cpu").controls["network"].options == ("context-unet-32",)


def test_a_bad_file_of_the_homework_is_a_line_in_the_widget(tmp_path):
    (tmp_path / "UNet.pt").write_bytes(b"nothing")
    assert "UNet.pt: damaged" in explore.eta([], "cpu", unet=str(tmp_path / "UNet.pt")).text.value


def test_what_ships_is_the_default():
    assert explore.acgan(device="cpu").picture.value


def test_there_is_no_other_explorer():
    with pytest.raises(AttributeError, match="no attribute 'sliders'"):
        explore.sliders  # noqa: B018
