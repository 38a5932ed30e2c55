"""The experiments on faces, with denoisers whose answers are known."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from hw2lib.diffusion import face_experiments as experiments
from hw2lib.diffusion import faces
from hw2lib.diffusion.face_experiments import lerp, slerp
from hw2lib.diffusion.networks import face_unet
from hw2lib.diffusion.networks.face_unet import FaceUNet
from hw2lib.diffusion.sample import Denoiser, draw_images, load_course, min_max
from hw2lib.diffusion.samplers import SamplerSettings
from hw2lib.diffusion.schedule import linear
from hw2lib.errors import UserError
from hw2lib.layers import Inputs

SIZE = 8
WAY = SamplerSettings("ddim", 10, spacing="leading", clip=False)


class Gaussian(nn.Module):
    """The exact noise in images whose pixels are normal with a deviation of 1/2: what a perfect denoiser would say."""

    inputs = Inputs(3, SIZE)
    deviation = 0.5

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))
        self.schedule = linear(1000)

    def forward(self, x, time, labels):
        assert (labels == -1).all()
        alpha_bar = self.schedule.alpha_bar[(1000 * time).round().long()].float()[:, None, None, None]
        return (1 - alpha_bar).sqrt() * x / (alpha_bar * self.deviation**2 + 1 - alpha_bar)


@pytest.fixture
def denoiser() -> Denoiser:
    return Denoiser(Gaussian(), linear(1000), SIZE, guidable=False, classes=0)


NOISE = faces.named_noise(SIZE)


def test_the_exact_denoiser_scales_noise_to_images(denoiser):
    """The equation of normal pixels leads from x_T to deviation x_T, but for what is left of the image at T."""
    found = faces.draw(denoiser, SamplerSettings("ddim", None, clip=False), NOISE)
    assert torch.allclose(found, 0.5 * NOISE, rtol=0.02, atol=1e-3)


class GaussianVelocity(Gaussian):
    """The same answer as a velocity."""

    def forward(self, x, time, labels):
        alpha_bar = self.schedule.alpha_bar[(1000 * time).round().long()].float()[:, None, None, None]
        return (super().forward(x, time, labels) - (1 - alpha_bar).sqrt() * x) / alpha_bar.sqrt()


def test_a_network_that_predicts_the_velocity_draws_the_same(denoiser):
    other = replace(denoiser, network=GaussianVelocity(), prediction="velocity")
    for way in (WAY, SamplerSettings("dpm-solver", 10), SamplerSettings("ddim", 10, eta=1.0)):
        drawn = faces.draw(other, way, NOISE)
        assert torch.allclose(drawn, faces.draw(denoiser, way, NOISE), atol=1e-3)


def test_faces_are_those_of_their_own_noise_whatever_the_batch(denoiser):
    many = faces.draw(denoiser, WAY, torch.cat([NOISE, NOISE[:3]]))
    assert many.shape == (13, 3, SIZE, SIZE)
    assert torch.allclose(many[10:], many[:3], atol=1e-6)
    alone = faces.draw(denoiser, WAY, NOISE[4:5])
    assert torch.allclose(many[4:5], alone, atol=1e-6)


def test_named_noise_is_that_of_the_first_images_of_its_seed(denoiser):
    drawn = draw_images(denoiser, WAY, faces.SEED, range(10), torch.full((10,), -1))
    assert torch.equal(faces.draw(denoiser, WAY, NOISE), drawn)


def test_noise_on_the_way_is_not_that_of_the_start(denoiser):
    """Both come from one generator; with the same numbers again, the first step would add the start to itself."""
    labels = torch.full((10,), -1)
    first, second = (
        draw_images(
            denoiser, replace(WAY, eta=eta), faces.SEED, range(10), labels, start=NOISE, return_intermediates=True
        )[1]
        for eta in (0.0, 1.0)
    )
    added = torch.stack([(second - first).flatten(), NOISE.flatten()])
    assert (second - first).std() > 0.1
    assert torch.corrcoef(added)[0, 1] < 0, "some of the start is taken away; it would be added"


def test_noise_of_another_shape_is_refused(denoiser):
    with pytest.raises(UserError, match=r"noise of shape \(10, 3, 4, 4\): give \(10, 3, 8, 8\)"):
        faces.draw(denoiser, WAY, faces.named_noise(4))


def test_min_max():
    images = torch.tensor([[[[-3.0, 1.0]], [[5.0, 1.0]]], [[[0.2, 0.2]], [[0.2, 0.2]]]])
    found = min_max(images)
    assert found.dtype == torch.uint8
    assert found[0].flatten().tolist() == [0, 128, 255, 128], "over all channels"
    assert not found[1].any(), "a flat image has no contrast to stretch"


def test_runs_are_the_same_without_eta_and_part_with_it(denoiser):
    drawn = experiments.repeated(denoiser, WAY, NOISE[:3], [0.0, 0.3, 0.9], runs=3)
    frame = experiments.distances_between_runs(drawn)
    assert len(frame) == 3 * 3 * 3, "pairs of runs, noises, etas"
    means = experiments.distance_headline(frame)
    assert means["distance_0"] == 0
    assert 0 < means["distance_0_3"] < means["distance_0_9"]
    assert means["distance_0_9"] < 1.3 * experiments.distance_between_noises(drawn[0.0][0])


def test_one_run_or_one_noise_cannot_be_compared(denoiser):
    with pytest.raises(UserError, match="1 runs: give at least 2"):
        experiments.repeated(denoiser, WAY, NOISE[:2], [0.0], runs=1)
    with pytest.raises(UserError, match="1 faces: give at least 2 noises"):
        experiments.distance_between_noises(torch.zeros(1, 3, 4, 4))
    with pytest.raises(UserError, match=r"eta 1\.5: give 0 to 1"):
        experiments.repeated(denoiser, WAY, NOISE[:2], [0.0, 1.5], runs=2)
    with pytest.raises(UserError, match="2 noises and 0 etas: give at least one of each"):
        experiments.repeated(denoiser, WAY, NOISE[:2], [], runs=2)
    with pytest.raises(UserError, match="0 noises and 1 etas"):
        experiments.repeated(denoiser, WAY, NOISE[:0], [0.0], runs=2)
    with pytest.raises(UserError, match="1 alphas: give at least 2"):
        experiments.path(torch.lerp, NOISE[0], NOISE[1], [0.5])


def test_distances_by_hand():
    a, b = torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.full((2, 3, 4, 4), 3, dtype=torch.uint8)
    b[1, 0] = 9
    assert experiments.distance(a, b).tolist() == pytest.approx([3, (81 / 3 + 9 * 2 / 3) ** 0.5])
    assert experiments.mean_squared_error(a, b).tolist() == pytest.approx([9, 33])
    assert experiments.distance_between_noises(torch.stack([a[0], b[0], b[0]])) == pytest.approx(2)


def test_sharpness_by_hand():
    ramp = torch.arange(4.0).expand(3, 4, 4)  # rises by one from column to column
    assert float(experiments.sharpness(ramp)) == pytest.approx(1)
    assert float(experiments.sharpness(2 * ramp + ramp.transpose(1, 2))) == pytest.approx(5**0.5)


def test_ways_between_two_noises(denoiser):
    alphas = [0.0, 0.5, 1.0]
    noises = {name: experiments.path(way, NOISE[0], NOISE[1], alphas) for name, way in experiments.PATHS.items()}
    drawn = {name: faces.draw(denoiser, WAY, points) for name, points in noises.items()}
    ends = faces.draw(denoiser, WAY, NOISE[:2])
    for images in drawn.values():
        assert torch.allclose(images[[0, 2]], ends, atol=1e-6)
    frame = experiments.path_frame(noises, drawn, alphas)
    found = experiments.path_headline(frame)
    assert found["slerp_norm_half"] == pytest.approx(experiments.shell(NOISE[0]), rel=0.1)
    assert found["lerp_contrast_half"] < 0.8 * found["slerp_contrast_half"], "less noise, paler faces"


class TwoNormals(Gaussian):
    """The exact noise where pixels are normal around 0.6 or around -0.6: the way to an image is not straight."""

    def forward(self, x, time, labels):
        alpha_bar = self.schedule.alpha_bar[(1000 * time).round().long()].float()[:, None, None, None]
        variance, centre = alpha_bar * 0.3**2 + 1 - alpha_bar, alpha_bar.sqrt() * 0.6
        side = (centre * x / variance).tanh()
        image = 0.6 * side + alpha_bar.sqrt() * 0.3**2 / variance * (x - centre * side)
        return (x - alpha_bar.sqrt() * image) / (1 - alpha_bar).sqrt()


def test_errors_fall_with_the_steps_and_are_none_with_all(denoiser):
    denoiser = replace(denoiser, network=TwoNormals())
    truth = experiments.truth(denoiser, NOISE[:3], "")
    ways = [replace(WAY, steps=None), SamplerSettings("dpm-solver", clip=False)]
    frame, drawn = experiments.errors(denoiser, NOISE[:3], truth, ways, [10, 100, 1000])
    means = experiments.error_headline(frame)
    assert means["ddim_leading_10"] > means["ddim_leading_100"] > means["ddim_leading_1000"] == 0
    assert means["dpm_solver_trailing_100"] < means["ddim_leading_100"], "of second order"
    assert torch.equal(drawn["DDIM, leading", 1000], truth)
    row = experiments.error_table(frame).iloc[0]
    assert row["sampler, grid of steps"] == "DDIM, leading"
    assert row["1000 steps"] == "0.0 ± 0.0"


def test_the_truth_of_a_user(denoiser, tmp_path):
    for i, name in enumerate(faces.NAMES[:3]):
        Image.fromarray(np.full((SIZE, SIZE, 3), 40 * i, np.uint8)).save(tmp_path / f"{name}.png")
    truth = experiments.truth(denoiser, NOISE[:3], str(tmp_path))
    assert truth[:, 0, 0, 0].tolist() == [0, 40, 80]
    with pytest.raises(UserError, match=r"03\.png: cannot be read"):
        experiments.truth(denoiser, NOISE[:4], str(tmp_path))
    with pytest.raises(UserError, match=r"8x8 pixels; it must be 16x16"):
        experiments.truth(denoiser, faces.named_noise(16)[:2], str(tmp_path))
    Image.fromarray(np.zeros((SIZE, SIZE), np.uint8)).save(tmp_path / "02.png")
    with pytest.raises(UserError, match=r"02\.png: grey; give an image in colour"):
        experiments.truth(denoiser, NOISE[:3], str(tmp_path))


def test_halfway_the_arc_keeps_the_norm_of_noise_and_the_line_loses_it():
    noises = experiments.halfway(20, SIZE)
    assert {name: tuple(noise.shape) for name, noise in noises.items()} == dict.fromkeys(
        ("ends", "slerp", "lerp"), (20, 3, SIZE, SIZE)
    )
    shell = experiments.shell(noises["ends"][0])
    for name, wanted in (("ends", shell), ("slerp", shell), ("lerp", shell / math.sqrt(2))):
        assert float(noises[name].flatten(1).norm(dim=1).mean()) == pytest.approx(wanted, rel=0.02), name
    with pytest.raises(UserError, match="1 pairs: give at least 2"):
        experiments.halfway(1, SIZE)


# The homework's UNet.pt


@pytest.fixture
def small(monkeypatch) -> FaceUNet:
    """In place of the course's network, which is large."""
    torch.manual_seed(0)
    network = FaceUNet((32, 32), attending=1, size=16)
    monkeypatch.setattr(face_unet, "course", lambda: FaceUNet((32, 32), attending=1, size=16))
    return network


@pytest.mark.parametrize("entry", [None, "state_dict"])
def test_the_homeworks_weights(small, tmp_path, entry):
    weights = small.state_dict()
    torch.save({entry: weights} if entry else weights, tmp_path / "UNet.pt")
    found = faces.denoisers(str(tmp_path / "UNet.pt"), [], "cpu")["UNet.pt"]
    assert (found.schedule.steps, found.size, found.classes, found.guidable) == (1000, 16, 0, False)
    assert found.schedule.alpha_bar[21] == pytest.approx(0.99373543, abs=1e-8), "step 20 of the homework"
    for name, tensor in found.network.state_dict().items():
        assert torch.equal(tensor, weights[name])


class Harmful:
    def __reduce__(self):
        return print, ("this was run",)


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (
            lambda weights: weights.pop("mid1.resblocks.conv1.weight"),
            r"missing: 'mid1\.resblocks\.conv1\.weight'",
        ),
        (lambda weights: weights.update(extra=torch.zeros(1)), "not expected: 'extra'"),
        (lambda weights: weights.update({"out.2.bias": torch.zeros(4)}), r"another shape: 'out\.2\.bias', \(4,\)"),
        (lambda weights: weights.update(code=Harmful()), "holds code .*which is never run"),
        (lambda weights: weights["down1.bias"].fill_(torch.nan), r"'down1\.bias' holds no finite numbers"),
        (lambda weights: weights.update({"down1.bias": torch.zeros(32, dtype=torch.int64)}), "holds no finite numbers"),
        (lambda weights: weights.update({3: torch.zeros(1)}), "holds no names and tensors"),
        (lambda weights: weights.update({"down1.bias": torch.zeros(32).to_sparse()}), "holds no names and tensors"),
        (lambda weights: weights.update(note="mine"), "holds no names and tensors"),
        (lambda weights: weights.clear(), "holds no names and tensors"),
    ],
)
def test_files_that_are_not_the_homeworks(small, tmp_path, capsys, spoil, what):
    weights = dict(small.state_dict())
    spoil(weights)
    torch.save(weights, tmp_path / "UNet.pt")
    with pytest.raises(UserError, match=what):
        load_course(tmp_path / "UNet.pt")
    assert "this was run" not in capsys.readouterr().out


def test_a_missing_file(tmp_path):
    with pytest.raises(UserError, match=r"UNet\.pt: cannot be read: No such file"):
        load_course(tmp_path / "UNet.pt")


def test_guidance_of_faces_is_refused(denoiser):
    with pytest.raises(UserError, match="the network learned no image without its label; give 0"):
        faces.draw(denoiser, replace(WAY, guidance_weight=1.0), NOISE)


# Lines and arcs between noises, by closed forms.

TENTHS = [i / 10 for i in range(11)]


def pair(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.randn(shape), torch.randn(shape)


@pytest.mark.parametrize("way", [lerp, slerp])
def test_both_ends_are_the_noises_themselves(way):
    a, b = pair(3, 64, 64)
    assert torch.equal(way(a, b, 0.0), a)
    assert torch.equal(way(a, b, 1.0), b)


def test_an_arc_of_a_right_angle():
    a, b = torch.tensor([2.0, 0.0]), torch.tensor([0.0, 2.0])
    for alpha in TENTHS:
        angle = alpha * math.pi / 2
        assert slerp(a, b, alpha).tolist() == pytest.approx([2 * math.cos(angle), 2 * math.sin(angle)], abs=1e-6)
        assert lerp(a, b, alpha).tolist() == pytest.approx([2 * (1 - alpha), 2 * alpha], abs=1e-6)


def test_equal_steps_of_alpha_are_equal_angles():
    a, b = torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.6, 0.8, 0.0])
    points = [slerp(a, b, alpha) for alpha in TENTHS]
    angles = [math.acos(min(1.0, float(p @ q))) for p, q in itertools.pairwise(points)]
    assert angles == pytest.approx([math.acos(0.6) / 10] * 10, rel=1e-3)


def test_the_arc_stays_on_the_shell_and_the_line_leaves_it():
    a, b = pair(3, 64, 64)
    shell = math.sqrt(a.numel())
    assert float(slerp(a, b, 0.5).norm()) == pytest.approx(shell, rel=0.02)
    assert float(lerp(a, b, 0.5).norm()) == pytest.approx(shell / math.sqrt(2), rel=0.02)


def test_parallel_opposite_and_zero_noises_take_the_line():
    a, _ = pair(3, 8, 8)
    for b in (a, 3 * a, -a, torch.zeros_like(a)):
        for alpha in TENTHS:
            found = slerp(a, b, alpha)
            assert found.isfinite().all()
            assert torch.allclose(found, lerp(a, b, alpha))
    assert not slerp(torch.zeros_like(a), torch.zeros_like(a), 0.3).any()


@pytest.mark.parametrize("way", [lerp, slerp])
@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan")])
def test_beyond_the_ends(way, alpha):
    with pytest.raises(UserError, match=f"alpha {alpha}: give 0 to 1"):
        way(*pair(2), alpha)
