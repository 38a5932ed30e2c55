"""The denoisers against the architecture sheet, and what they have in common."""

import math

import pytest
import torch
import torch.nn.functional as F

from hw2lib.diffusion.networks.unet import Block, MapAttention, sinusoids
from hw2lib.errors import UserError
from hw2lib.layers import count_parameters
from hw2lib.networks import build

SHEET = {
    "unet-two-level": 5_885_123,
    "unet-three-level": 15_664_515,
    "unet-wide-bottleneck": 23_335_299,
    "context-unet": 18_743_187,
    "context-unet-128": 6_590_211,
    "context-unet-64": 1_652_611,
    "context-unet-32": 415_683,
}
# Of ConvBlock(i, m, o) and of attention over C channels.
BLOCKS = {(3, 64, 64): 38_848, (64, 128, 128): 221_696, (256, 512, 512): 3_540_992, (256, 128, 64): 369_024}
ATTENTION = {64: 25_216, 128: 99_584, 256: 395_776}


@pytest.fixture(scope="module", params=SHEET)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def network(name):
    torch.manual_seed(0)
    return build(name).eval()


def inputs(size=28, count=2):
    torch.manual_seed(1)
    return torch.randn(count, 3, size, size), torch.linspace(0.2, 0.9, count), torch.arange(count)


def test_parameters(name, network):
    assert count_parameters(network) == SHEET[name]


@pytest.mark.parametrize("widths", BLOCKS)
def test_parameters_of_a_block(widths):
    assert count_parameters(Block(*widths)) == BLOCKS[widths]


@pytest.mark.parametrize("channels", ATTENTION)
def test_parameters_of_attention(channels):
    assert count_parameters(MapAttention(channels)) == ATTENTION[channels]


ROWS = {
    "unet-two-level": {
        "stem": 38_848, "down.0": 328_576 + 99_584, "down.1": 623_744 + 99_584, "bottom": 2_509_312,
        "up.0": 1_643_968 + 25_216 - 262_272, "enlarge.0": 262_272,
        "up.1": 488_320 + 25_216 - 65_600, "enlarge.1": 65_600, "last": 195,
    },
    "unet-three-level": {
        "down.1": 1_246_976 + 395_776, "down.2": 2_427_136 + 395_776, "bottom": 2_361_344, "up.0": 6_228_864 + 99_584,
        "up.1": 1_566_144 + 25_216, "up.2": 422_720 + 25_216,
    },
    "unet-wide-bottleneck": {"bottom": 10_032_128},
    "context-unet": {
        "stem": 427_032, "down1": 841_104, "down2": 2_522_016, "time.0": 187_920, "time.1": 47_304, "label.0": 191_808,
        "label.1": 49_248, "from_vector": 9_145_872, "up1": 2_428_920, "up2": 2_055_672, "last": 846_291,
    },
}  # fmt: skip


def test_parameters_of_each_row(name, network):
    rows = ROWS.get(name, {})
    assert {part: count_parameters(network.get_submodule(part)) for part in rows} == rows


@torch.no_grad()
def test_a_block_whose_second_normalisation_is_zero():
    x = torch.randn(2, 64, 8, 8)
    for residual in (False, True):
        block = Block(64, 64, 64, residual)
        for parameter in block.layers[-1].parameters():
            parameter.zero_()
        assert torch.equal(block(x), F.gelu(x) if residual else torch.zeros_like(x))


@torch.no_grad()
def test_blocks_are_residual_where_they_keep_the_width():
    network = build("unet-three-level")
    for level in (*network.down, *network.up):
        assert [block.residual for block in level.blocks] == [True, False]
        assert level.attention.attention.num_heads == 4
    assert not any(block.residual for block in (network.stem, *network.bottom))


@torch.no_grad()
def test_the_map_that_came_down_stands_first():
    network, seen = build("unet-two-level").eval(), {}
    network.down[0].register_forward_hook(lambda _, __, out: seen.update(down=out))
    network.up[0].register_forward_pre_hook(lambda _, given: seen.update(up=given[0]))
    network(*inputs())
    assert torch.equal(seen["up"][:, :128], seen["down"])


@torch.no_grad()
def test_the_stem_keeps_the_variance():
    stem, x = build("context-unet-128").eval().stem, torch.randn(2, 3, 8, 8)
    first = stem.first(x)
    assert torch.allclose(stem(x), (first + stem.second(first)) / 2**0.5, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("size", [28, 32])
@torch.no_grad()
def test_noise_has_the_shape_of_the_image(network, size):
    x, time, labels = inputs(size)
    assert network(x, time, labels).shape == x.shape


@torch.no_grad()
def test_time_and_label_matter_and_images_of_a_batch_do_not_mix(network):
    x, time, labels = inputs()
    both = network(x, time, labels)
    assert torch.allclose(both[1:], network(x[1:], time[1:], labels[1:]), atol=1e-4)
    for other in ((x, time / 2, labels), (x, time, labels + 3), (x, time, torch.full_like(labels, -1))):
        assert (network(*other) - both).abs().amax((1, 2, 3)).min() > 0


@torch.no_grad()
def test_without_a_label_none_of_the_label_weights_counts(network):
    x, time, labels = inputs()
    before = network(x, time, torch.full_like(labels, -1))
    table = network.labels if hasattr(network, "labels") else network.label[0][0]
    kept = table.weight.clone()
    table.weight.normal_()
    assert torch.equal(network(x, time, torch.full_like(labels, -1)), before)
    assert not torch.equal(network(x, time, labels), before)
    table.weight.copy_(kept)


@pytest.mark.parametrize("name", ["unet-two-level", "context-unet-128"])
def test_a_size_that_cannot_be_doubled_back_is_refused(name):
    with pytest.raises(UserError, match=r"images of 30x30.*multiples of 4"):
        build(name)(*inputs(30))


def test_an_image_that_is_too_small_is_refused():
    with pytest.raises(UserError, match="at least 8x8"):
        build("unet-three-level")(*inputs(4))


def test_sinusoids():
    found = sinusoids(torch.tensor([0.0, 7.0]), 256)
    assert found.shape == (2, 256)
    assert torch.equal(found[0], torch.cat([torch.zeros(128), torch.ones(128)]))
    k = 50
    assert found[1, k] == pytest.approx(math.sin(7 * 10000 ** (-2 * k / 256)), abs=1e-6)
    assert found[1, 128 + k] == pytest.approx(math.cos(7 * 10000 ** (-2 * k / 256)), abs=1e-6)


@torch.no_grad()
def test_attention_treats_positions_alike():
    """Positions carry no mark: attention of a shuffled map is the shuffled attention."""
    torch.manual_seed(0)
    attention, x = MapAttention(64).eval(), torch.randn(2, 64, 4, 4)
    order = torch.randperm(16)
    shuffled = x.flatten(2)[:, :, order].reshape(x.shape)
    expected = attention(x).flatten(2)[:, :, order].reshape(x.shape)
    assert torch.allclose(attention(shuffled), expected, atol=1e-5)
