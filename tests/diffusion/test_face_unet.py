"""The course's denoiser of faces: the names of its file, the arithmetic against that of another library."""

from itertools import count
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DModel
from torch import nn

from hw2lib.diffusion.networks import face_unet
from hw2lib.diffusion.networks.face_pyramid import FacePyramid
from hw2lib.diffusion.networks.face_unet import Block, FaceUNet
from hw2lib.errors import UserError
from hw2lib.layers import count_parameters

KEYS = Path(__file__).parent / "course-face-unet-keys.txt"
WIDTHS = (32, 64, 64)


@pytest.fixture
def network():
    """A small one whose weights are all drawn, also those that training begins with as zeros."""
    torch.manual_seed(0)
    network = FaceUNet(WIDTHS, attending=1, size=16)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.1)
    return network.eval()


def test_the_courses_network_has_the_names_and_shapes_of_its_file():
    lines = [line.split() for line in KEYS.read_text().splitlines() if line and not line.startswith("#")]
    with torch.device("meta"):
        network = face_unet.course()
    assert {key: "x".join(map(str, tensor.shape)) for key, tensor in network.state_dict().items()} == dict(lines)
    assert count_parameters(network) == 113_673_219


@torch.no_grad()
def test_it_computes_what_another_library_does(network):
    other = UNet2DModel(
        sample_size=16, in_channels=3, out_channels=3, layers_per_block=2, block_out_channels=WIDTHS,
        down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
        flip_sin_to_cos=False, freq_shift=0, attention_head_dim=64,
    ).eval()  # fmt: skip
    other.load_state_dict(renamed(network))
    torch.manual_seed(1)
    x = torch.randn(3, 3, 16, 16)
    expected = other(x, torch.tensor([0, 499, 999])).sample  # counted from 0
    found = network(x, torch.tensor([1, 500, 1000]) / 1000, torch.full((3,), -1))
    assert torch.allclose(found, expected, rtol=1e-3, atol=1e-3 * float(expected.std()))


def renamed(network: FaceUNet) -> dict[str, torch.Tensor]:
    """The weights under the names of that library."""
    found: dict[str, torch.Tensor] = {}

    def put(name: str, module: nn.Module) -> None:
        found.update({f"{name}.{key}": value for key, value in module.state_dict().items()})

    def put_block(group: str, number: int, block: Block) -> None:
        resnet, part = f"{group}.resnets.{number}", block.resblocks
        names = {"norm1": part.norm1, "conv1": part.conv1, "time_emb_proj": part.time[1], "norm2": part.norm2,
                 "conv2": part.conv2, "conv_shortcut": part.skip}  # fmt: skip
        for name, module in names.items():
            put(f"{resnet}.{name}", module)
        if list(block.attention.parameters()):
            attention, mine = f"{group}.attentions.{number}", block.attention
            put(f"{attention}.group_norm", mine.norm)
            for name, weight, bias in zip("qkv", mine.qkv.weight.chunk(3), mine.qkv.bias.chunk(3), strict=True):
                found[f"{attention}.to_{name}.weight"], found[f"{attention}.to_{name}.bias"] = weight.squeeze(), bias
            found[f"{attention}.to_out.0.weight"] = mine.out.weight.squeeze()
            found[f"{attention}.to_out.0.bias"] = mine.out.bias

    put("conv_in", network.down1)
    put("time_embedding.linear_1", network.time[1])
    put("time_embedding.linear_2", network.time[3])
    for way, blocks, changes, conv in (("down", 2, "downsamplers", 0), ("up", 3, "upsamplers", 1)):
        numbers = count(2 if way == "down" else 1)
        for level in range(len(WIDTHS)):
            for block in range(blocks):
                put_block(f"{way}_blocks.{level}", block, network.get_submodule(f"{way}{next(numbers)}"))
            if level < len(WIDTHS) - 1:
                put(f"{way}_blocks.{level}.{changes}.0.conv", network.get_submodule(f"{way}{next(numbers)}")[conv])
    put_block("mid_block", 0, network.mid1)
    put_block("mid_block", 1, network.mid2)
    put("conv_norm_out", network.out[0])
    put("conv_out", network.out[2])
    return found


@torch.no_grad()
@pytest.mark.parametrize("network", [FaceUNet(WIDTHS, attending=1, size=16), FacePyramid(WIDTHS, size=16)])
def test_time_matters_and_labels_do_not(network):
    torch.manual_seed(0)
    for parameter in network.parameters():  # some begin as zeros
        nn.init.normal_(parameter, std=0.1)
    x, time = torch.randn(2, 3, 16, 16), torch.tensor([0.2, 0.9])
    noise = network(x, time, torch.tensor([-1, -1]))
    assert torch.equal(noise, network(x, time, torch.tensor([3, 4])))
    assert (noise - network(x, time / 2)).abs().amax((1, 2, 3)).min() > 0


def test_a_size_that_cannot_be_halved_to_the_last_level_is_refused(network):
    with pytest.raises(UserError, match=r"images of 18x16.*multiples of 4"):
        network(torch.randn(1, 3, 18, 16), torch.rand(1))
