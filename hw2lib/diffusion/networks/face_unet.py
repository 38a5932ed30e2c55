"""The homework's denoiser of faces: the U-Net of DDPM (Ho et al. 2020, appendix B) as the course stores it.

It takes and returns what the denoisers of `hw2lib.diffusion.networks.unet` do, at any size that can be halved from
level to level. Faces have no label, so labels are not read.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hw2lib.errors import UserError
from hw2lib.layers import GroupNorm, Inputs

TIME_SCALE = 1000  # times are embedded as steps of that many, counted from 0 as the course's are
GROUPS = 32
BLOCKS = 2  # residual blocks of each level on the way down


class Sinusoids(nn.Module):
    """Times t/T (N,) to sines and then cosines (N, width) of the step; the frequencies are stored with the weights."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("inv_freq", torch.exp(torch.arange(0, width, 2) * (-math.log(10000) / width)))

    def forward(self, time: Tensor) -> Tensor:
        with torch.autocast(time.device.type, enabled=False):  # bfloat16 has fewer numbers than there are steps
            angles = (TIME_SCALE * time.float() - 1)[:, None] * self.inv_freq
            return torch.cat([angles.sin(), angles.cos()], 1)


class ResidualBlock(nn.Module):
    """Two convolutions behind GroupNorm and SiLU, the time's embedding added between them: (N, i, H, W) to o."""

    def __init__(self, i: int, o: int, embedding: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = GroupNorm(GROUPS, i), nn.Conv2d(i, o, 3, padding=1)
        self.time = nn.Sequential(nn.SiLU(), nn.Linear(embedding, o))
        self.norm2, self.conv2 = GroupNorm(GROUPS, o), nn.Conv2d(o, o, 3, padding=1)
        self.skip = nn.Conv2d(i, o, 1) if i != o else nn.Identity()
        nn.init.zeros_(self.conv2.weight)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        y = self.conv1(F.silu(self.norm1(x))) + self.time(embedding)[:, :, None, None]
        return self.skip(x) + self.conv2(F.silu(self.norm2(y)))


class Attention(nn.Module):
    """Self-attention of one head between the positions of a map, residual."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = GroupNorm(GROUPS, channels)
        self.qkv, self.out = nn.Conv2d(channels, 3 * channels, 1), nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm(x)).flatten(2).transpose(1, 2).chunk(3, 2)  # (N, positions, channels) each
        mixed = F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None])[:, 0]
        return x + self.out(mixed.transpose(1, 2).reshape(x.shape))


class Block(nn.Module):
    """A residual block, and attention behind it or none."""

    def __init__(self, i: int, o: int, embedding: int, attention: bool) -> None:
        super().__init__()
        self.resblocks = ResidualBlock(i, o, embedding)
        self.attention = Attention(o) if attention else nn.Identity()

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        return self.attention(self.resblocks(x, embedding))


class FaceUNet(nn.Module):
    """Residual blocks on the way down, one more a level on the way up, each of which also reads a map that came down.

    Its parameters have the names under which the course's are stored. A new network answers 0 to everything, and its
    residual blocks add hardly anything to what they read (Ho et al. 2020, public code).

    Args:
        widths: channels of each level; the size is halved from one to the next.
        attending: the level, from 0, whose blocks have attention; the middle has it too.
        size: height and width that it is made for, in pixels.
    """

    def __init__(self, widths: tuple[int, ...], attending: int, size: int) -> None:
        super().__init__()
        self.inputs = Inputs(3, size)
        base, bottom, embedding = widths[0], widths[-1], 4 * widths[0]
        self.time = nn.Sequential(
            Sinusoids(base), nn.Linear(base, embedding), nn.SiLU(), nn.Linear(embedding, embedding)
        )
        down: list[nn.Module] = [nn.Conv2d(3, base, 3, padding=1)]
        kept = [base]  # channels of the maps that the way up reads
        for level, width in enumerate(widths):
            for _ in range(BLOCKS):
                down.append(Block(kept[-1], width, embedding, level == attending))
                kept.append(width)
            if level < len(widths) - 1:
                down.append(nn.Sequential(nn.Conv2d(width, width, 3, 2, 1)))
                kept.append(width)
        self.mid1, self.mid2 = Block(bottom, bottom, embedding, True), Block(bottom, bottom, embedding, False)
        up: list[nn.Module] = []
        last = bottom
        for level, width in reversed(list(enumerate(widths))):
            for _ in range(BLOCKS + 1):
                up.append(Block(last + kept.pop(), width, embedding, level == attending))
                last = width
            if level:
                up.append(nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(width, width, 3, padding=1)))
        self.out = nn.Sequential(GroupNorm(GROUPS, base), nn.SiLU(), nn.Conv2d(base, 3, 3, padding=1))
        nn.init.zeros_(self.out[2].weight)
        nn.init.zeros_(self.out[2].bias)
        self._down, self._up = ([f"{way}{i + 1}" for i in range(len(x))] for way, x in (("down", down), ("up", up)))
        for name, module in zip(self._down + self._up, down + up, strict=True):
            self.add_module(name, module)
        self._factor = 2 ** (len(widths) - 1)

    def forward(self, x: Tensor, time: Tensor, labels: Tensor | None = None) -> Tensor:
        if any(side % self._factor for side in x.shape[-2:]):
            raise UserError(f"images of {x.shape[-2]}x{x.shape[-1]}: give multiples of {self._factor}")
        embedding = self.time(time)
        maps = []
        for module in map(self.get_submodule, self._down):
            x = module(x, embedding) if isinstance(module, Block) else module(x)
            maps.append(x)
        x = self.mid2(self.mid1(x, embedding), embedding)
        for module in map(self.get_submodule, self._up):
            x = module(torch.cat([x, maps.pop()], 1), embedding) if isinstance(module, Block) else module(x)
        return self.out(x)


def course() -> FaceUNet:
    """That of the homework's ``UNet.pt``, for 256x256. 113,673,219 parameters."""
    return FaceUNet((128, 128, 256, 256, 512, 512), attending=4, size=256)
