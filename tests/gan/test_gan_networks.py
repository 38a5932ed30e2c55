"""The six GANs against the architecture sheet: layers, parameters, shapes."""

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from hw2lib.gan.networks import SelfAttention
from hw2lib.gan.recipe import SCORING
from hw2lib.layers import Sigmoid, count_parameters
from hw2lib.networks import build, names

# Parameters of the generator and the discriminator, and width of the noise.
SHEET = {
    "gan-plain": (3_574_784, 2_763_776, 100),
    "dcgan": (3_576_704, 2_765_568, 100),
    "dcgan-wide": (18_855_040, 2_765_568, 100),
    "wgan-gp-sn": (18_855_040, 2_878_464, 100),
    "sagan": (3_832_885, 3_175_299, 128),
    "acgan": (1_496_168, 399_595, 100),
    "acgan-convolutional": (1_135_976, 399_595, 100),
}
# Sizes of the images behind each convolution.
UP = {"acgan": [8, 15, 29, 28], "acgan-convolutional": [4, 8, 8, 15, 29, 28]}
DOWN = {"acgan": [14, 7, 4, 2], "acgan-convolutional": [14, 7, 4, 2]}


@pytest.fixture(scope="module", params=SHEET)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def gan(name):
    torch.manual_seed(0)
    return build(name).eval()


def inputs(gan, count=3):
    noise = torch.randn(count, gan.latent)
    return (noise, torch.arange(count)) if gan.classes else (noise,)


def test_the_sheet_covers_every_network():
    assert set(SHEET) == set(names("gan"))


def test_the_acgans_of_a_seed_begin_with_the_same_embedding():
    torch.manual_seed(0)
    expected = torch.nn.Embedding(10, 100).weight
    for network in ("acgan", "acgan-convolutional"):
        torch.manual_seed(0)
        torch.testing.assert_close(build(network).generator.embedding.weight, expected)


def test_parameters(name, gan):
    assert (count_parameters(gan.generator), count_parameters(gan.discriminator), gan.latent) == SHEET[name]


def test_shapes_and_ranges(name, gan):
    images = gan.generator(*inputs(gan))
    assert images.shape == (3, gan.inputs.channels, gan.inputs.size, gan.inputs.size)
    assert images.abs().max() <= 1
    judged = gan.discriminator(images)
    if gan.classes:
        judged, classes = judged
        assert classes.shape == (3, 10)
    assert judged.shape == (3,)
    gives_probability = any(isinstance(layer, Sigmoid) for layer in gan.discriminator.modules())
    assert gives_probability == (name not in SCORING)
    if gives_probability:
        assert ((judged > 0) & (judged < 1)).all()


def test_the_logit_of_a_discriminator_without_biases_and_normalisation_is_proportional_to_the_image():
    torch.manual_seed(0)
    discriminator, images = build("gan-plain").discriminator, torch.randn(4, 3, 64, 64)
    assert torch.equal(discriminator(0 * images), torch.full((4,), 0.5)), "mid-grey, whatever was learned"
    logit, of_half = (discriminator(x).logit() for x in (1000 * images, 500 * images))
    assert torch.allclose(of_half, logit / 2, rtol=1e-3)
    assert logit.abs().min() > 1e-3


def test_sizes_behind_each_convolution(name, gan):
    found = {"generator": [], "discriminator": []}
    hooks = []
    for part, sizes in found.items():
        for layer in getattr(gan, part).modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) and layer.kernel_size != (1, 1):
                hooks.append(layer.register_forward_hook(lambda _, __, out, sizes=sizes: sizes.append(out.shape[-1])))
    gan.discriminator(gan.generator(*inputs(gan)))
    for hook in hooks:
        hook.remove()
    assert found["generator"] == UP.get(name, [4, 8, 16, 32, 64])
    assert found["discriminator"] == DOWN.get(name, [32, 16, 8, 4, 1])


def kinds(module):
    return [type(layer) for layer in module.modules()]


def test_normalisation_and_activation():
    plain, dcgan, critic = build("gan-plain"), build("dcgan"), build("wgan-gp-sn")
    assert nn.BatchNorm2d not in kinds(plain)
    assert nn.LeakyReLU not in kinds(plain.discriminator)
    assert kinds(dcgan.generator).count(nn.BatchNorm2d) == 4
    assert kinds(dcgan.discriminator).count(nn.BatchNorm2d) == 3
    assert kinds(dcgan.discriminator).count(nn.LeakyReLU) == 4
    assert kinds(critic.discriminator).count(nn.LayerNorm) == 3
    assert nn.BatchNorm2d not in kinds(critic.discriminator)


@pytest.mark.parametrize(("name", "part", "count"), [("wgan-gp-sn", "discriminator", 5), ("sagan", "discriminator", 4)])
def test_spectral_normalisation_makes_the_largest_singular_value_one(name, part, count):
    torch.manual_seed(0)
    module = getattr(build(name), part)
    wrapped = [layer for layer in module if is_parametrized(layer)]
    assert len(wrapped) == count
    for layer in wrapped:
        for _ in range(1000):
            layer.weight  # noqa: B018  a step of power iteration
    for layer in wrapped:
        largest = torch.linalg.matrix_norm(layer.eval().weight.flatten(1), 2)
        assert largest.item() == pytest.approx(1, abs=1e-3)


def test_the_generator_of_sagan_is_normalised_but_for_its_last_layer():
    convolutions = [layer for layer in build("sagan").generator if isinstance(layer, nn.ConvTranspose2d)]
    assert [is_parametrized(layer) for layer in convolutions] == [True] * 4 + [False]


def test_attention_is_the_identity_until_gamma_opens_it():
    attention, x = SelfAttention(16), torch.randn(2, 16, 5, 5)
    assert torch.equal(attention(x), x)
    attention.gamma.data.fill_(1)
    assert not torch.allclose(attention(x), x)


def test_attention_is_that_of_the_paper():
    """Position by position: a softmax over the keys for each query, without scaling."""
    torch.manual_seed(0)
    attention, x = SelfAttention(16).double(), torch.randn(1, 16, 2, 3).double()
    attention.gamma.data.fill_(0.7)
    query, key, value = (layer(x)[0].flatten(1) for layer in (attention.query, attention.key, attention.value))
    expected = torch.empty(16, 6).double()
    for i in range(6):
        weights = torch.softmax(torch.stack([query[:, i] @ key[:, j] for j in range(6)]), 0)
        expected[:, i] = sum(weights[j] * value[:, j] for j in range(6))
    assert torch.allclose(attention(x)[0].flatten(1), 0.7 * expected + x[0].flatten(1))


def test_attention_stands_where_the_sheet_has_it():
    def channels(module):
        return [layer.value.out_channels for layer in module if isinstance(layer, SelfAttention)]

    gan = build("sagan")
    assert channels(gan.generator) == [128, 64]
    assert channels(gan.discriminator) == [256, 512]


def test_the_digit_changes_the_image():
    gan = build("acgan").eval()
    noise = torch.randn(1, 100).expand(10, -1)
    images = gan.generator(noise, torch.arange(10))
    assert torch.pdist(images.flatten(1)).min() > 0.1


def test_the_same_seed_makes_the_same_weights():
    def weights(seed):
        torch.manual_seed(seed)
        return build("dcgan").generator[0].weight

    assert torch.equal(weights(3), weights(3))
    assert not torch.equal(weights(3), weights(4))
    assert weights(3).std().item() == pytest.approx(0.02, rel=0.01)
