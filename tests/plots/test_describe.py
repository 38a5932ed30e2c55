"""Networks in words: every layer once, in the order of the forward pass, with all parameters."""

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.nn.utils.parametrize import remove_parametrizations

from hw2lib.layers import count_parameters
from hw2lib.networks import build
from hw2lib.plots.describe import layer_table, layers, parameter_table, printed, units

DENOISERS = {
    "unet-two-level": 5_885_123,
    "unet-three-level": 15_664_515,
    "unet-wide-bottleneck": 23_335_299,
    "context-unet": 18_743_187,
    "context-unet-128": 6_590_211,
    "context-unet-64": 1_652_611,
}
GANS = ["gan-plain", "dcgan", "dcgan-wide", "wgan-gp-sn", "sagan", "acgan"]


def rows(table):
    return [tuple(row) for row in table.itertuples(index=False)]


def test_the_table_of_a_network_with_attention_and_spectral_norm():
    assert rows(layer_table(build("sagan"))) == [
        ("generator", "ConvTranspose2d(128, 512, kernel_size=4), spectral norm", "512x4x4", "1,049,088"),
        ("", "BatchNorm2d(512)", "512x4x4", "1,024"),
        ("", "ReLU()", "512x4x4", ""),
        ("", "ConvTranspose2d(512, 256, kernel_size=4, stride=2, padding=1), spectral norm", "256x8x8", "2,097,408"),
        ("", "BatchNorm2d(256)", "256x8x8", "512"),
        ("", "ReLU()", "256x8x8", ""),
        ("", "ConvTranspose2d(256, 128, kernel_size=4, stride=2, padding=1), spectral norm", "128x16x16", "524,416"),
        ("", "BatchNorm2d(128)", "128x16x16", "256"),
        ("", "ReLU()", "128x16x16", ""),
        ("", "SelfAttention(query, key, value, gamma)", "128x16x16", "20,641"),
        ("", "ConvTranspose2d(128, 64, kernel_size=4, stride=2, padding=1), spectral norm", "64x32x32", "131,136"),
        ("", "BatchNorm2d(64)", "64x32x32", "128"),
        ("", "ReLU()", "64x32x32", ""),
        ("", "SelfAttention(query, key, value, gamma)", "64x32x32", "5,201"),
        ("", "ConvTranspose2d(64, 3, kernel_size=4, stride=2, padding=1)", "3x64x64", "3,075"),
        ("", "Tanh()", "3x64x64", ""),
        ("discriminator", "Conv2d(3, 64, kernel_size=4, stride=2, padding=1), spectral norm", "64x32x32", "3,136"),
        ("", "LeakyReLU(negative_slope=0.1)", "64x32x32", ""),
        ("", "Conv2d(64, 128, kernel_size=4, stride=2, padding=1), spectral norm", "128x16x16", "131,200"),
        ("", "LeakyReLU(negative_slope=0.1)", "128x16x16", ""),
        ("", "Conv2d(128, 256, kernel_size=4, stride=2, padding=1), spectral norm", "256x8x8", "524,544"),
        ("", "LeakyReLU(negative_slope=0.1)", "256x8x8", ""),
        ("", "SelfAttention(query, key, value, gamma)", "256x8x8", "82,241"),
        ("", "Conv2d(256, 512, kernel_size=4, stride=2, padding=1), spectral norm", "512x4x4", "2,097,664"),
        ("", "LeakyReLU(negative_slope=0.1)", "512x4x4", ""),
        ("", "SelfAttention(query, key, value, gamma)", "512x4x4", "328,321"),
        ("", "Conv2d(512, 1, kernel_size=4)", "1x1x1", "8,193"),
    ]


@pytest.mark.parametrize("name", GANS)
def test_the_table_holds_each_parameter_once(name):
    network = build(name)
    table = layer_table(network)
    assert sum(int(cell.replace(",", "")) for cell in table["parameters"] if cell) == count_parameters(network)
    assert [part for part in table["part"] if part] == ["generator", "discriminator"]


def test_the_table_of_two_gans():
    assert parameter_table({name: build(name) for name in ("sagan", "acgan")}).to_dict("records") == [
        {"network": "sagan", "latent": 128, "generator": "3,832,885", "discriminator": "3,175,299",
         "total": "7,008,184"},
        {"network": "acgan", "latent": 100, "generator": "1,496,168", "discriminator": "399,595",
         "total": "1,895,763"},
    ]  # fmt: skip


@pytest.mark.parametrize("name", DENOISERS)
def test_the_table_of_a_denoiser_holds_each_parameter_once(name):
    table = layer_table(build(name))
    assert sum(int(cell.replace(",", "")) for cell in table["parameters"] if cell) == DENOISERS[name]


def test_the_table_of_a_denoiser_is_told_by_its_levels():
    """The pooling is one layer that is called before each level down."""
    table = layer_table(build("unet-two-level"))
    assert [part for part in table["part"] if part] == [
        "labels", "stem", "pool", "down 1", "pool", "down 2", "bottom", "enlarge 1", "up 1", "enlarge 2", "up 2",
        "last",
    ]  # fmt: skip
    first = list(table["part"]).index("down 1")
    assert rows(table)[first + 10 : first + 14] == [
        ("", "SiLU()", "256", ""),
        ("", "Linear(in_features=256, out_features=128)", "128", "32,896"),
        ("", "LayerNorm((128,))", "196x128", "256"),
        ("", "MultiheadAttention(128, heads=4)", "196x128", "66,048"),
    ]


def test_the_table_of_two_denoisers():
    assert parameter_table({name: build(name) for name in ("unet-two-level", "context-unet")}).to_dict("records") == [
        {"network": "unet-two-level", "input": "3x28x28", "in attention": "249,600", "share, %": "4.2",
         "total": "5,885,123"},
        {"network": "context-unet", "input": "3x28x28", "in attention": "0", "share, %": "0.0",
         "total": "18,743,187"},
    ]  # fmt: skip


def test_parts_of_a_network_have_the_names_of_its_attributes():
    assert list(units(build("context-unet-128"))) == [
        "stem", "down 1", "down 2", "to vector", "time 1", "time 2", "label 1", "label 2", "from vector", "up 1",
        "up 2", "last",
    ]  # fmt: skip


class Backwards(nn.Module):
    """Holds its layers in another order than it calls them, one of them twice and one never."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Linear(7, 7)
        self.last = nn.Linear(4, 2)
        self.middle = nn.Linear(4, 4)
        self.first = spectral_norm(nn.Linear(3, 4, bias=False))

    def forward(self, x):
        return self.last(self.middle(self.middle(self.first(x))))


def test_layers_come_as_they_are_called_and_weights_that_are_shared_count_once():
    network = Backwards()
    found = layers(network, (torch.zeros(1, 3),))
    assert [layer.module for layer in found] == [network.first, network.middle, network.middle, network.last]
    assert [layer.parameters for layer in found] == [12, 20, 0, 10]
    table = layer_table({"a part": (network, (torch.zeros(1, 3),))})
    assert rows(table)[0] == ("a part", "Linear(in_features=3, out_features=4, bias=False), spectral norm", "4", "12")


@pytest.mark.parametrize("name", [*GANS, "dann-wide", "unet-two-level", "context-unet-128"])
def test_describing_leaves_the_network_as_it_was(name):
    network = build(name).train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    layer_table(network)
    assert all(module.training for module in network.modules())
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


@pytest.mark.parametrize("name", ["gan-plain", "dcgan", "dcgan-wide", "acgan", "dann-deep"])
def test_without_parametrisations_the_print_is_torchs(name):
    network = build(name)
    assert printed(network) == str(network)


def test_the_print_of_a_parametrised_layer_is_that_of_the_layer():
    network = build("wgan-gp-sn").discriminator
    lines = printed(network).splitlines()
    for module in network:
        if isinstance(module, nn.Conv2d):
            remove_parametrizations(module, "weight")
    assert lines == [line + ", spectral norm" * ("Conv2d" in line) for line in str(network).splitlines()]
    assert sum("spectral norm" in line for line in lines) == 5


def test_examples_fit_the_parts():
    for name in (*GANS, "dann-grey", "unet-three-level", "context-unet-128"):
        for title, (module, inputs) in build(name).parts.items():
            assert module.eval()(*inputs) is not None, (name, title)
