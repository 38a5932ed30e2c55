"""The five networks against the architecture sheet, and the gradient reversal."""

import pytest
import torch

from hw2lib.adaptation.networks import reversal_strength, reverse_gradient
from hw2lib.errors import UserError
from hw2lib.layers import count_parameters
from hw2lib.networks import build, names
from hw2lib.plots.describe import layer_table, parameter_table

# features, label predictor, domain classifier, all; input; width of the features; of the domain output
SHEET = {
    "dann-wide": (210_176, 216_410, 205_302, 631_888, (3, 28, 28), 2048, 2),
    "dann-deep": (179_712, 399_626, 397_313, 976_651, (3, 28, 28), 128, 1),
    "dann-compact": (41_040, 372_298, 296_834, 710_172, (3, 28, 28), 768, 2),
    "dann-grey": (2_142_336, 530_442, 1_055_233, 3_728_011, (1, 32, 32), 512, 1),
    "dann-grey-plus": (2_179_392, 530_442, 1_055_233, 3_765_067, (1, 32, 32), 512, 1),
    "dann-grey-strided": (2_142_336, 530_442, 1_055_233, 3_728_011, (1, 32, 32), 512, 1),
    "dann-grey-leaky": (2_142_336, 530_442, 1_055_233, 3_728_011, (1, 32, 32), 512, 1),
    "dann-grey-dropout": (2_142_336, 530_442, 1_055_233, 3_728_011, (1, 32, 32), 512, 1),
}


def images(name: str, n: int = 4) -> torch.Tensor:
    return torch.randn(n, *SHEET[name][4], generator=torch.Generator().manual_seed(0))


def test_the_sheet_covers_every_network():
    assert set(SHEET) == set(names("dann"))


@pytest.mark.parametrize("name", SHEET)
def test_parameters_of_each_part(name):
    network = build(name)
    parts = (network.features, network.label, network.domain, network)
    assert tuple(map(count_parameters, parts)) == SHEET[name][:4]


@pytest.mark.parametrize("name", SHEET)
def test_shapes(name):
    network = build(name).eval()
    *_, size, width, domain_width = SHEET[name]
    assert (network.inputs.channels, network.inputs.size, network.inputs.size) == size
    x = images(name)
    assert network.features(x).shape == (4, width)
    assert network(x).shape == (4, 10)
    logits, domains = network(x, labelled=3, reversal=1.0)
    assert logits.shape == (3, 10)
    assert domains.shape == (4, domain_width)


STAGES = {
    "dann-wide": ["64x24x24", "64x12x12", "128x8x8", "128x4x4", "2048"],
    "dann-deep": ["64x25x25", "64x12x12", "64x8x8", "64x3x3", "128x1x1", "128"],
    "dann-compact": ["32x24x24", "32x12x12", "48x8x8", "48x4x4", "768"],
    "dann-grey": ["64x32x32", "64x16x16", "128x16x16", "128x8x8", "256x8x8", "256x4x4", "256x4x4", "256x2x2",
                  "512x2x2", "512x1x1", "512"],
    "dann-grey-plus": ["64x32x32", "64x16x16", "64x16x16", "128x16x16", "128x8x8", "256x8x8", "256x4x4", "256x4x4",
                       "256x2x2", "512x2x2", "512x1x1", "512"],
    "dann-grey-strided": ["64x16x16", "128x8x8", "256x4x4", "256x2x2", "512x1x1", "512"],
}  # fmt: skip
STAGES |= dict.fromkeys(["dann-grey-leaky", "dann-grey-dropout"], STAGES["dann-grey"])


@pytest.mark.parametrize("name", SHEET)
def test_the_table_of_layers_shows_each_stage_and_all_parameters(name):
    table = layer_table(build(name))
    ends = table[table["layer"].str.match("Conv2d|MaxPool2d|Flatten")]
    assert list(ends["output"]) == STAGES[name]
    assert sum(int(cell.replace(",", "")) for cell in table["parameters"] if cell) == SHEET[name][3]
    assert [part for part in table["part"] if part] == ["feature extractor", "label predictor", "domain classifier"]


# In the order of the sheet: where pooling comes before the activation, and where maps are dropped.
ORDER = {
    "dann-wide": "Conv2d BatchNorm2d MaxPool2d ReLU Conv2d BatchNorm2d Dropout2d MaxPool2d ReLU Flatten",
    "dann-deep": "Conv2d BatchNorm2d ReLU MaxPool2d Conv2d BatchNorm2d Dropout2d ReLU MaxPool2d Conv2d Flatten",
    "dann-compact": "Conv2d BatchNorm2d ReLU MaxPool2d Conv2d BatchNorm2d Dropout2d ReLU MaxPool2d Flatten",
    "dann-grey": "Conv2d BatchNorm2d ReLU MaxPool2d " * 5 + "Flatten",
    "dann-grey-plus": "Conv2d BatchNorm2d ReLU MaxPool2d Conv2d BatchNorm2d ReLU "
    + "Conv2d BatchNorm2d ReLU MaxPool2d " * 4
    + "Flatten",
    "dann-grey-strided": "Conv2d BatchNorm2d ReLU " * 5 + "Flatten",
    "dann-grey-leaky": "Conv2d BatchNorm2d LeakyReLU MaxPool2d " * 5 + "Flatten",
    "dann-grey-dropout": "Conv2d BatchNorm2d ReLU MaxPool2d " * 2
    + "Dropout2d "
    + "Conv2d BatchNorm2d ReLU MaxPool2d " * 3
    + "Flatten",
}


@pytest.mark.parametrize("name", ORDER)
def test_the_order_of_the_feature_extractors_layers(name):
    assert " ".join(type(layer).__name__ for layer in build(name).features) == ORDER[name]


def test_the_table_of_networks():
    table = parameter_table({"dann-compact": build("dann-compact")})
    assert table.to_dict("records") == [
        {
            "network": "dann-compact",
            "input": "3x28x28",
            "features": 768,
            "feature extractor": "41,040",
            "label predictor": "372,298",
            "domain classifier": "296,834",
            "total": "710,172",
        }
    ]


def test_grey_ends_in_a_probability_and_the_others_in_logits():
    assert {name for name in SHEET if build(name).domain_is_probability} == {n for n in SHEET if "grey" in n}
    domains = build("dann-grey")(100 * images("dann-grey", 8), reversal=1.0)[1]
    assert ((domains > 0) & (domains < 1)).all()


def test_a_probability_keeps_its_gradient_in_bfloat16():
    sigmoid = build("dann-grey").domain[-1]
    logit = torch.tensor([8.0], dtype=torch.bfloat16, requires_grad=True)
    probability = sigmoid(logit)
    assert probability.item() == pytest.approx(0.99966465, abs=1e-7)
    probability.sum().backward()
    assert logit.grad.item() == pytest.approx(3.35e-4, rel=0.01)


def test_the_seed_makes_the_weights():
    def weights(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return build("dann-compact").features[0].weight

    assert torch.equal(weights(3), weights(3))
    assert not torch.equal(weights(3), weights(4))


def test_an_unknown_network_is_refused_with_those_there_are():
    with pytest.raises(UserError, match="unknown network 'dann': choose one of gan-plain, dcgan, dcgan-wide"):
        build("dann")


# Gradient reversal: nothing forward, minus the strength backward, and its schedule


def test_forward_is_the_identity():
    x = torch.randn(5, 7)
    assert torch.equal(reverse_gradient(x, 0.3), x)


@pytest.mark.parametrize("strength", [0.0, 0.25, 1.0, 3.0])
def test_backward_is_minus_the_strength(strength):
    x = torch.randn(5, 7, dtype=torch.float64, requires_grad=True)
    reverse_gradient(x, strength).square().sum().backward()
    torch.testing.assert_close(x.grad, -strength * 2 * x.detach())


@pytest.mark.parametrize("name", ["dann-compact", "dann-grey"])
def test_only_what_lies_before_it_is_reversed(name):
    """The features' gradient is -strength times that without reversal; the domain classifier's is not touched."""
    network = build(name).double().eval()
    if name == "dann-grey":
        network.domain = network.domain[:-1]  # its sigmoid computes in float32
    inputs = network.inputs
    x = torch.randn(6, inputs.channels, inputs.size, inputs.size, dtype=torch.float64)

    network(x, reversal=0.4)[1].square().sum().backward()
    reversed_ = {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}
    network.zero_grad()
    network.domain(network.features(x)).square().sum().backward()
    plain = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}

    assert reversed_.keys() == plain.keys()
    for name, gradient in plain.items():
        assert gradient.abs().max() > 0, name
        factor = -0.4 if name.startswith("features") else 1
        torch.testing.assert_close(reversed_[name], factor * gradient, rtol=1e-9, atol=1e-12)


def test_the_schedule():
    assert reversal_strength(0) == 0
    assert reversal_strength(1) == pytest.approx(0.99990920, abs=5e-9)
    assert reversal_strength(0.1) == pytest.approx(0.46211716, abs=5e-9)  # tanh(1/2)
    assert reversal_strength(1, maximum=0.3) == pytest.approx(0.3 * 0.99990920, abs=5e-9)
