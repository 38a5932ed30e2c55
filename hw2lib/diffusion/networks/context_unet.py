"""A U-Net into which time and label enter as a scale and a shift of whole maps: the ContextUnet of conditional MNIST.

It takes and returns what the denoisers of `hw2lib.diffusion.networks.unet` do, at sizes that are multiples of 4.
"""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hw2lib.diffusion.networks.unet import DIGITS, UNet
from hw2lib.errors import UserError
from hw2lib.layers import GroupNorm, Inputs


def _half(i: int, o: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.GELU())


def _pair(i: int, o: int) -> nn.Sequential:
    return nn.Sequential(_half(i, o), _half(o, o))


class Stem(nn.Module):
    """Two convolutions, the second residual, scaled to keep the variance: (N, 3, H, W) to (N, width, H, W)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = _half(3, width), _half(width, width)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return (x + self.second(x)) / 1.414


def _vector(i: int, o: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(i, o), nn.GELU(), nn.Linear(o, o))


class ContextUNet(nn.Module):
    """Two levels, of `width` channels at full size, a multiple of 8; the bottom is one vector.

    The label scales each map on its way up, and the time shifts it.
    """

    inputs = Inputs(3, 28)
    parts = UNet.parts

    def __init__(self, width: int) -> None:
        super().__init__()
        n = width
        self.stem = Stem(n)
        self.down1 = nn.Sequential(_pair(n, n), nn.MaxPool2d(2))
        self.down2 = nn.Sequential(_pair(n, 2 * n), nn.MaxPool2d(2))
        self.to_vector = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.GELU())
        self.time = nn.ModuleList([_vector(1, 2 * n), _vector(1, n)])
        self.label = nn.ModuleList([_vector(DIGITS, 2 * n), _vector(DIGITS, n)])
        self.from_vector = nn.Sequential(nn.ConvTranspose2d(2 * n, 2 * n, 7, 7), GroupNorm(8, 2 * n), nn.ReLU())
        self.up1 = nn.Sequential(nn.ConvTranspose2d(4 * n, n, 2, 2), _pair(n, n), _pair(n, n))
        self.up2 = nn.Sequential(nn.ConvTranspose2d(2 * n, n, 2, 2), _pair(n, n), _pair(n, n))
        self.last = nn.Sequential(
            nn.Conv2d(2 * n, n, 3, padding=1), GroupNorm(8, n), nn.ReLU(), nn.Conv2d(n, 3, 3, padding=1)
        )

    def forward(self, x: Tensor, time: Tensor, labels: Tensor) -> Tensor:
        if any(side % 4 for side in x.shape[-2:]):
            raise UserError(f"images of {x.shape[-2]}x{x.shape[-1]}: this network doubles sizes; give multiples of 4")
        digit = F.one_hot(labels.clamp(0), DIGITS).to(x.dtype) * (labels >= 0)[:, None]
        with torch.autocast(x.device.type, enabled=False):  # bfloat16 has fewer numbers than there are times
            shift1, shift2 = (layer(time[:, None].float())[:, :, None, None] for layer in self.time)
        scale1, scale2 = (layer(digit)[:, :, None, None] for layer in self.label)
        stem = self.stem(x)
        down1 = self.down1(stem)
        down2 = self.down2(down1)
        up = self.from_vector(self.to_vector(down2))
        if up.shape != down2.shape:  # made for maps of 7x7, that is for images of 28x28
            up = F.interpolate(up, size=down2.shape[-2:], mode="bilinear")
        up = self.up1(torch.cat([scale1 * up + shift1, down2], 1))
        up = self.up2(torch.cat([scale2 * up + shift2, down1], 1))
        return self.last(torch.cat([up, stem], 1))


wide = partial(ContextUNet, 216)  # as in the report; 18,743,187 parameters
narrow = partial(ContextUNet, 128)  # a third of it; 6,590,211 parameters
narrower = partial(ContextUNet, 64)  # fit for training on a CPU; 1,652,611 parameters
narrowest = partial(ContextUNet, 32)  # fit for a CPU and minutes; 415,683 parameters
