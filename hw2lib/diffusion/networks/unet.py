"""Conditional U-Nets that predict the noise in an image: one family of three sizes, with attention at each level.

A denoiser takes images (N, 3, H, W), times t/T (N,) in (0, 1], whatever the number of steps T, and labels (N,), -1 for
none. It returns the noise, of the shape of the images. Those with bilinear upsampling take any size of at least 8
pixels, the two-level one any multiple of 4.
"""

import math
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hw2lib.errors import UserError
from hw2lib.layers import GroupNorm, Inputs, Parts

EMBEDDING = 256  # width of the embedding of time and label
TIME_SCALE = 1000  # times are embedded as steps of that many, whatever T
DIGITS = 10


class Block(nn.Module):
    """Two 3x3 convolutions, each with a normalisation over the whole map, and GELU between them: (N, i, H, W) to o.

    A residual block adds its input and ends in GELU; another one ends without an activation.
    """

    def __init__(self, i: int, m: int, o: int, residual: bool = False) -> None:
        super().__init__()
        self.residual = residual
        self.layers = nn.Sequential(
            nn.Conv2d(i, m, 3, padding=1, bias=False), GroupNorm(1, m), nn.GELU(),
            nn.Conv2d(m, o, 3, padding=1, bias=False), GroupNorm(1, o),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(x + self.layers(x)) if self.residual else self.layers(x)


class MapAttention(nn.Module):
    """Self-attention of four heads between the positions of a map, and a small network behind it, both residual."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.attention = nn.MultiheadAttention(channels, 4, batch_first=True)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(channels), nn.Linear(channels, channels), nn.GELU(), nn.Linear(channels, channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2)  # (N, positions, channels)
        normed = self.norm(tokens)
        tokens = tokens + self.attention(normed, normed, normed, need_weights=False)[0]
        tokens = tokens + self.feed_forward(tokens)
        return tokens.transpose(1, 2).reshape(x.shape)


class Level(nn.Module):
    """A residual block, one that changes the width from i over m to o, the embedding added, and attention or none."""

    def __init__(self, i: int, m: int, o: int, attention: bool = True) -> None:
        super().__init__()
        self.blocks = nn.Sequential(Block(i, i, i, residual=True), Block(i, m, o))
        self.embed = nn.Sequential(nn.SiLU(), nn.Linear(EMBEDDING, o))
        self.attention = MapAttention(o) if attention else nn.Identity()

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        return self.attention(self.blocks(x) + self.embed(embedding)[:, :, None, None])


class UNet(nn.Module):
    """A stem, levels down, a bottom, and as many levels up, each of which also reads the map that came down."""

    inputs = Inputs(3, 28)

    def __init__(
        self,
        down: list[tuple[int, int]],  # channels in and out of each level down
        bottom: list[tuple[int, int, int]],  # channels in, between and out of each block
        up: list[tuple[int, int, int]],  # channels in (of both maps together), between and out of each level up
        learned: tuple[int, ...] = (),  # channels of transposed convolutions that double the size; none: bilinear
        attention: bool = True,  # whether the levels have any
    ) -> None:
        super().__init__()
        self.labels = nn.Embedding(DIGITS, EMBEDDING)
        self.stem = Block(3, 64, 64)
        self.pool = nn.MaxPool2d(2)
        self.down = nn.ModuleList(Level(i, o, o, attention) for i, o in down)
        self.bottom = nn.Sequential(*(Block(*widths) for widths in bottom))
        self.enlarge = nn.ModuleList(nn.ConvTranspose2d(width, width, 4, 2, 1) for width in learned)
        self.up = nn.ModuleList(Level(*widths, attention) for widths in up)
        self.last = nn.Conv2d(up[-1][-1], 3, 1)

    def forward(self, x: Tensor, time: Tensor, labels: Tensor) -> Tensor:
        size, factor = x.shape[-2:], 2 ** len(self.down)
        if self.enlarge and any(side % factor for side in size):
            raise UserError(f"images of {size[0]}x{size[1]}: this network doubles sizes; give multiples of {factor}")
        if min(size) < factor:
            raise UserError(f"images of {size[0]}x{size[1]}: give at least {factor}x{factor}")
        embedding = sinusoids(TIME_SCALE * time) + self.labels(labels.clamp(0)) * (labels >= 0)[:, None]
        x = self.stem(x)
        skips = []
        for level in self.down:
            skips.append(x)
            x = level(self.pool(x), embedding)
        x = self.bottom(x)
        for i, level in enumerate(self.up):
            skip = skips.pop()
            if self.enlarge:
                x = self.enlarge[i](x)
            else:
                x = F.interpolate(x, size=skip.shape[-2:], mode="bilinear", align_corners=True)
            x = level(torch.cat([skip, x], 1), embedding)
        return self.last(x)

    @property
    def parts(self) -> Parts:
        """For tables and drawings: the one part, with an example of its inputs."""
        images = torch.zeros(1, self.inputs.channels, self.inputs.size, self.inputs.size)
        return {"denoiser": (self, (images, torch.ones(1), torch.zeros(1, dtype=torch.int64)))}


def sinusoids(t: Tensor, width: int = EMBEDDING) -> Tensor:
    """Sines and then cosines of t (N,) at frequencies from 1 down to about 1/10000 (Vaswani et al. 2017, 3.5)."""
    frequencies = torch.exp(torch.arange(width // 2, device=t.device) * (-2 * math.log(10000) / width))
    angles = t.float()[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], 1)


def two_level(attention: bool = True) -> UNet:
    """Two levels and learned upsampling. 5,885,123 parameters."""
    bottom, up = [(128, 256, 256), (256, 256, 256), (256, 128, 128)], [(256, 64, 64), (128, 64, 64)]
    return UNet([(64, 128), (128, 128)], bottom, up, (128, 64), attention)


def three_levels(*bottom: tuple[int, int, int]) -> UNet:
    """Three levels, and blocks at the bottom."""
    return UNet([(64, 128), (128, 256), (256, 256)], list(bottom), [(512, 256, 128), (256, 128, 64), (128, 64, 64)])


two_level_plain = partial(two_level, attention=False)
three_level = partial(three_levels, (256, 256, 256), (256, 256, 256))  # a thin bottom; 15,664,515 parameters
# A wide bottom; 23,335,299 parameters.
wide_bottleneck = partial(three_levels, (256, 512, 512), (512, 512, 512), (512, 256, 256))
