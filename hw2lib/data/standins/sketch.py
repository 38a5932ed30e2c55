"""What the faces are drawn with: a batch of pictures, seeded dice, and shapes with soft edges."""

import numpy as np
import torch
from torch.nn import functional as F

SIZE = 64
PIXEL = 2 / SIZE  # the frame is (-1, 1) in both directions, y points down


class Sketch:
    """A batch of pictures, ``(n, 3, 64, 64)``, and the dice they are drawn with; every trait is ``(n, 1, 1, 1)``."""

    def __init__(self, n: int, rng: np.random.Generator) -> None:
        self.n, self.rng = n, rng
        axis = (torch.arange(SIZE) + 0.5) * PIXEL - 1
        self.y, self.x = (a[None, None] for a in torch.meshgrid(axis, axis, indexing="ij"))
        self.image = torch.zeros(n, 3, SIZE, SIZE)

    def vary(self, low: float, high: float, *shape: int) -> torch.Tensor:
        values = self.rng.uniform(low, high, (self.n, *(shape or (1, 1, 1))))
        return torch.from_numpy(values.astype(np.float32))

    def about(self, mean: float, spread: float) -> torch.Tensor:
        """Around a mean, three times the spread at most, the middle more likely."""
        return mean + spread * self.vary(-1, 1, 3, 1, 1).sum(1, keepdim=True)

    def chance(self, p: float) -> torch.Tensor:
        return (self.vary(0, 1) < p).float()

    def colour(self, palette: list[str], jitter: float, mix: bool = False) -> torch.Tensor:
        """``(n, 3, 1, 1)``: one colour of the palette for each picture, or one between two neighbours of it."""
        table = torch.tensor([[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in palette])
        at = self.vary(0, len(palette) - 1 if mix else len(palette))[:, 0, 0, 0]
        low = at.long()
        part = (at - low)[:, None] if mix else torch.zeros(self.n, 1)
        colour = torch.lerp(table[low], table[(low + 1).clamp(max=len(palette) - 1)], part)
        return (colour[:, :, None, None] * self.vary(1 - jitter, 1 + jitter, 3, 1, 1)).clamp(0, 1)

    def field(self, cells: int, channels: int = 1) -> torch.Tensor:
        """Smooth random fields, -1 to 1, that change ``cells`` times across the frame."""
        coarse = self.vary(-1, 1, channels, cells + 1, cells + 1)
        return F.interpolate(coarse, (SIZE, SIZE), mode="bicubic", align_corners=True)

    def paint(self, colour: torch.Tensor, cover: torch.Tensor) -> None:
        self.image = torch.lerp(self.image, colour, cover.expand_as(self.image))


def edge(inside: torch.Tensor, soft: float = 1.0) -> torch.Tensor:
    """Coverage of a pixel from its signed distance to an outline, positive inside; ``soft`` in pixels."""
    return (inside / (PIXEL * soft) + 0.5).clamp(0, 1)


def bump(x: torch.Tensor, y: torch.Tensor, width: float, height: float) -> torch.Tensor:
    """A bell close to a Gaussian that reaches exactly zero: fast, and the same on every machine."""
    near = (1 - ((x / width) ** 2 + (y / height) ** 2) / 4).clamp(min=0)
    return (near * near) ** 2


def unit(vectors: torch.Tensor) -> torch.Tensor:
    return vectors / (vectors * vectors).sum(1, keepdim=True).sqrt()
