"""A denoiser of faces that sees them at several sizes at once, cheap enough for one CPU core.

It takes and returns what the denoisers of `hw2lib.diffusion.networks.face_unet` do.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hw2lib.diffusion.networks.face_unet import Attention, Sinusoids
from hw2lib.errors import UserError
from hw2lib.layers import Inputs

GROUPS = 8  # with that few, and in bfloat16, a CPU's own GroupNorm is fast on channels that come last


class Block(nn.Module):
    """Two convolutions, residual, (N, C, H, W) to the same; the time's embedding scales and shifts what lies between.

    So Dhariwal and Nichol 2021, section 3, with one norm in place of two, or none: at full size a norm takes a CPU as
    long as a convolution. A new block passes on what it reads.
    """

    def __init__(self, width: int, embedding: int, norm: bool) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, width) if norm else nn.Identity()
        self.conv1, self.conv2 = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        self.time = nn.Linear(embedding, 2 * width)
        zero(self.time, self.conv2)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        scale, shift = self.time(embedding)[:, :, None, None].chunk(2, 1)
        y = torch.addcmul(shift, self.conv1(F.silu(self.norm(x))), 1 + scale)
        return x + self.conv2(F.silu(y))


class Level(nn.Module):
    """One size of images, and below it, at half the size, the next.

    What it answers is the answer of the level below, enlarged, and what it adds itself: noisy images times a share that
    depends on the time, and an image made of its maps.

    Args:
        widths: channels of its maps, and of those of each level below.
        embedding: length of the time's.
        norm: whether its blocks have one; those below do.
    """

    def __init__(self, widths: tuple[int, ...], embedding: int, norm: bool = True) -> None:
        super().__init__()
        width, *below = widths
        self.stem, self.head = nn.Conv2d(3, width, 3, padding=1), nn.Conv2d(width, 3, 3, padding=1)
        self.share = nn.Linear(embedding, 3)
        self.down = Block(width, embedding, norm) if norm else None
        self.up = Block(width, embedding, norm)
        zero(self.share, self.head)
        if below:
            self.below = Level(tuple(below), embedding)
            self.shrink, self.grow = nn.Conv2d(width, below[0], 3, 2, 1), nn.Conv2d(below[0], width, 1)
        else:
            self.below, self.attention = None, Attention(width)

    def forward(self, x: Tensor, embedding: Tensor, above: Tensor | float = 0) -> tuple[Tensor, Tensor]:
        """Maps (N, width, H, W) and answer (N, 3, H, W) to noisy images (N, 3, H, W), with maps of the level above."""
        h, answer = self.stem(x) + above, self.share(embedding)[:, :, None, None] * x
        if self.down:
            h = self.down(h, embedding)
        if self.below:
            maps, coarse = self.below(F.avg_pool2d(x, 2), embedding, self.shrink(h))
            h = h + F.interpolate(self.grow(maps), scale_factor=2)
            answer = answer + F.interpolate(coarse, scale_factor=2)
        else:
            h = self.attention(h)
        h = self.up(h, embedding)
        return h, answer + self.head(F.silu(h))


class FacePyramid(nn.Module):
    """Levels from whole images down, most of whose weights are where maps are small.

    Of noisy images, the means of 2x2 pixels are noisy images of half the size, with half the noise. The level below
    reads them as such, and can be trained on them alone: given smaller images, the network begins at the level of their
    size. What it has learned there holds at full size too, at the same times, and larger levels add the detail (compare
    Karras et al. 2018, section 2, and Hoogeboom et al. 2023, section 3.1). A new network answers 0 to everything.

    Args:
        widths: channels of each level; the size is halved from one to the next.
        size: height and width of the first level, in pixels.
        embedding: length of the time's.
    """

    def __init__(self, widths: tuple[int, ...], size: int, embedding: int = 256) -> None:
        super().__init__()
        self.inputs = Inputs(3, size)
        self.time = nn.Sequential(
            Sinusoids(64), nn.Linear(64, embedding), nn.SiLU(), nn.Linear(embedding, embedding), nn.SiLU()
        )
        self.top = Level(widths, embedding, norm=False)
        self._levels = len(widths)

    def forward(self, x: Tensor, time: Tensor, labels: Tensor | None = None) -> Tensor:
        level, size, factor = self.top, self.inputs.size, 2 ** (self._levels - 1)
        while level.below and size // 2 >= x.shape[-1]:
            level, size, factor = level.below, size // 2, factor // 2
        if any(side % factor for side in x.shape[-2:]):
            raise UserError(f"images of {x.shape[-2]}x{x.shape[-1]}: give multiples of {factor}")
        return level(x, self.time(time))[1]


def zero(*modules: nn.Module) -> None:
    """Weights and biases with which training begins at 0."""
    for module in modules:
        nn.init.zeros_(module.weight)
        nn.init.zeros_(module.bias)


def pyramid() -> FacePyramid:
    """For 64x64."""
    return FacePyramid((32, 64, 128, 192), size=64)
