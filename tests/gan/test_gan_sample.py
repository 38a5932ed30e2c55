"""An image depends on its seed and number only."""

import pytest
import torch
from torch import nn

from hw2lib.data.prepare import to_uint8
from hw2lib.gan import sample as sampling
from hw2lib.gan.sample import generate, sample, with_standing_statistics
from hw2lib.networks import build
from hw2lib.noise import ImageNoise
from hw2lib.training.steps import MovingAverage


@pytest.fixture(scope="module")
def gan():
    torch.manual_seed(0)
    return build("acgan").eval()


def draw_noise(seed, numbers):
    return ImageNoise(seed, numbers).draw(100)


def test_noise_does_not_depend_on_what_is_drawn_beside_it():
    whole = draw_noise(3, range(12))
    assert torch.equal(draw_noise(3, range(5, 9)), whole[5:9])
    assert len(torch.unique(whole, dim=0)) == 12
    assert not torch.equal(draw_noise(4, range(12)), whole)
    assert draw_noise(3, []).shape == (0, 100)


def test_noise_is_normal():
    noise = draw_noise(0, range(1000))
    assert noise.mean().abs() < 0.01
    assert noise.std() == pytest.approx(1, abs=0.01)
    neighbours = torch.corrcoef(noise[:40])
    assert (neighbours - torch.eye(40)).abs().max() < 0.5, "generators of neighbouring seeds are independent"


@pytest.mark.parametrize("name", ["dcgan", "acgan"])
def test_images_do_not_depend_on_the_batch(name, monkeypatch):
    gan = build(name).eval()
    monkeypatch.setattr(sampling, "BATCH", 7)
    expected = sample(gan, gan.generator, seed=1, count=20)[0]
    for batch in (1, 20):
        monkeypatch.setattr(sampling, "BATCH", batch)
        assert torch.equal(sample(gan, gan.generator, seed=1, count=20)[0], expected)
    assert expected.dtype == torch.uint8


def test_digits_take_turns(gan):
    images, labels = sample(gan, gan.generator, seed=0, count=23)
    assert labels.tolist() == [i % 10 for i in range(23)]
    noise = draw_noise(0, range(3))  # one for each ten
    expected = generate(gan.generator, noise[[0, 1, 2]], torch.tensor([0, 3, 2]))
    assert (images[[0, 13, 22]].float() - expected.float()).abs().max() <= 1


def test_sampling_is_in_eval_mode(gan):
    gan.generator.train()
    before = {name: tensor.clone() for name, tensor in gan.generator.state_dict().items()}
    sample(gan, gan.generator, seed=0, count=3)
    assert all(torch.equal(tensor, before[name]) for name, tensor in gan.generator.state_dict().items())


def test_rounding():
    values = torch.tensor([-1.0, -0.999, 0.0, 0.999, 1.0, 1.2, -3.0])
    assert to_uint8(values).tolist() == [0, 0, 128, 255, 255, 255, 0]


def test_standing_statistics_are_those_of_the_activations():
    """Weights that are far from those of training: only recomputed statistics make the activations normal."""
    torch.manual_seed(0)
    gan = build("dcgan")
    average = MovingAverage(gan.generator, 0.5)
    for layer in average.module:
        if isinstance(layer, nn.ConvTranspose2d):
            layer.weight.data.mul_(3)
    standing = with_standing_statistics(gan, average.module, batch=64)

    def spread(generator: nn.Module) -> list[float]:
        """The deviation of what each BatchNorm makes, before its own scale and shift."""
        found = []

        def measure(norm, _, made):
            found.append(((made - norm.bias[:, None, None]) / norm.weight[:, None, None]).std().item())

        hooks = [layer.register_forward_hook(measure) for layer in generator if isinstance(layer, nn.BatchNorm2d)]
        with torch.no_grad():
            generator.eval()(torch.randn(64, 100))
        for hook in hooks:
            hook.remove()
        return found

    assert spread(standing) == pytest.approx([1] * 4, abs=0.05)
    assert abs(spread(average.module)[0] - 1) > 0.3, "the average itself is untouched"
    for after, before in zip(standing.parameters(), average.module.parameters(), strict=True):
        assert torch.equal(after, before)
