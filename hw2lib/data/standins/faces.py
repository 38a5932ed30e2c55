"""The drawn faces: portraits of nobody, 64x64, made of geometry alone.

A head is an ellipsoid with a jaw. Each pixel looks up the point of the head that it sees, ``(u, v)``, and everything on
the face is drawn there, so that turning the head foreshortens eyes, nose and mouth. Bumps (nose, cheeks, lips, sockets)
tilt the surface normal, a key light shades it, and every edge is one pixel soft.
"""

from types import SimpleNamespace

import numpy as np
import torch

from hw2lib.data.standins import features
from hw2lib.data.standins.sketch import Sketch, bump, edge, unit

SKIN = ["#f6dcc9", "#eec6a8", "#e0ac86", "#c98f66", "#a76c45", "#7a4a2d", "#553221"]
HAIR = ["#15110f", "#2a1c14", "#4a2f1e", "#64462f", "#84603c", "#7a4228", "#bd9560", "#e0c48a", "#9b9792"]
CLOTH = ["#22252e", "#e8e6e1", "#7b2d2d", "#2f4a6d", "#4d5b44", "#8d7a5f", "#a8a8b0", "#c08a3e", "#54365e"]


def faces(n: int, rng: np.random.Generator) -> torch.Tensor:
    """Draw ``n`` different faces, ``(n, 3, 64, 64)`` float32, about 0 to 1."""
    # A few at a time: their planes then stay in the processor's cache, which is twice as fast.
    return torch.cat([_few(min(20, n - start), rng) for start in range(0, n, 20)])


def _few(n: int, rng: np.random.Generator) -> torch.Tensor:
    sketch = Sketch(n, rng)
    head = _pose(sketch)
    _background(sketch)
    _hair_behind(sketch, head)
    _neck(sketch, head)
    features.skin(sketch, head)
    features.eyes(sketch, head)
    features.mouth(sketch, head)
    features.beard(sketch, head)
    _hair_before(sketch, head)
    features.glasses(sketch, head)
    exposure = sketch.vary(0.85, 1.15) * (1 + sketch.vary(-0.06, 0.06, 3, 1, 1))
    grain = torch.from_numpy(rng.standard_normal(sketch.image.shape, dtype=np.float32))
    return sketch.image * exposure + 0.012 * grain


def _pose(sketch: Sketch) -> SimpleNamespace:
    """Place the head; find the point of it that each pixel sees, and the colours and the light it has."""
    vary, about = sketch.vary, sketch.about
    roll, yaw, pitch = about(0, 0.07), about(0, 0.22), about(0, 0.08)
    x, y = sketch.x - about(0, 0.03), sketch.y - about(0.08, 0.02)
    scale = about(1.14, 0.03)
    x, y = (torch.cos(roll) * x + torch.sin(roll) * y) / scale, (torch.cos(roll) * y - torch.sin(roll) * x) / scale
    half, tall = about(0.5, 0.016), about(0.7, 0.016)
    t = y / tall
    jaw = (t.clamp(0, 1) ** 1.6) * vary(0.12, 0.36)
    s = x / (half * (1 - jaw))
    radius = (s.abs() ** 2.2 + t.abs() ** 2.2) ** (1 / 2.2)
    z = (1 - s**2 - t**2).clamp(min=0).sqrt()
    head = SimpleNamespace(x=x, y=y, s=s, t=t, z=z, radius=radius, yaw=yaw, half=half, tall=tall)
    head.u = s * torch.cos(yaw) - z * torch.sin(yaw)
    head.v = t * torch.cos(pitch) - z * torch.sin(pitch)
    head.inside = edge((1 - radius) * half)
    head.skin = sketch.colour(SKIN, 0.04, mix=True)
    head.hair = sketch.colour(HAIR, 0.06)
    side = vary(-0.9, 0.9)
    light = torch.cat([side, vary(-0.8, 0.1), vary(0.7, 1.2)], 1)
    head.light = unit(light)
    head.ambient = vary(0.4, 0.68)
    # The style of the hair: long falls behind the shoulders, curly has a ragged outline, few are bald.
    head.long = sketch.chance(0.5)
    head.curly = sketch.chance(0.25)
    head.bald = sketch.chance(0.06) * (1 - head.long)
    angle = torch.atan2(x, -(y - 0.4))
    waves = sum(torch.sin(k * angle + vary(0, 6.3)) for k in (7, 13, 23, 37))
    head.strands = torch.lerp(waves / 4, sketch.field(14), 0.3 + 0.6 * head.curly)
    return head


def _background(sketch: Sketch) -> None:
    """A blurred room: two colours from side to side, and shapes out of focus."""
    far, near = (
        sketch.vary(0.05, 0.9) + sketch.vary(-0.1, 0.1, 3, 1, 1),
        sketch.vary(-0.5, 0.5) + sketch.vary(-0.2, 0.2, 3, 1, 1),
    )
    slope = sketch.x * sketch.vary(-1, 1) + sketch.y * sketch.vary(-1, 1)
    blobs = sketch.field(3, 3) * sketch.vary(0, 0.15) + sketch.field(7, 1) * sketch.vary(0, 0.2)
    sketch.image = (far + 0.5 * near * slope + blobs).clamp(0.02, 0.98)


def _hair_shade(sketch: Sketch, head: SimpleNamespace, depth: float) -> torch.Tensor:
    sheen = bump(head.x - 0.4 * head.light[:, :1], head.t + 0.85, 0.4, 0.16)
    return head.hair * (depth + 0.28 * head.strands + 0.7 * sheen * (1 - head.curly)) + 0.05 * sheen


def _hair_behind(sketch: Sketch, head: SimpleNamespace) -> None:
    vary = sketch.vary
    head.volume = torch.where(head.long > 0, vary(1.12, 1.3), vary(1.03, 1.14)) + 0.1 * head.curly
    ragged = (0.04 + 0.06 * head.curly) * sketch.field(11) + 0.03 * head.strands
    lift, sweep = vary(0.05, 0.12), vary(-0.15, 0.15)  # short hair stands higher on one side
    cap = ((head.x / head.half) ** 2 + ((head.y + lift + sweep * head.x) / head.tall) ** 2).sqrt() - ragged
    head.cap = edge((head.volume - cap) * head.half) * (1 - head.bald)
    fall = head.half * (head.volume + vary(-0.1, 0.2) * head.t.clamp(0, 2)) + ragged * head.half - head.x.abs()
    length = vary(0.5, 1.6)
    curtain = edge(fall) * edge(head.y + 0.06) * edge(length + 0.1 * head.strands - head.y, 3)
    sides = torch.where(
        head.long > 0, torch.maximum(head.cap * edge(0.4 - head.t, 4), curtain), head.cap * edge(0.02 - head.t, 6)
    )
    sketch.paint(_hair_shade(sketch, head, 0.62), sides)


def _neck(sketch: Sketch, head: SimpleNamespace) -> None:
    """Neck in the shadow of the chin, shoulders, and ears."""
    vary = sketch.vary
    across = (sketch.x + 0.1 * head.yaw) / vary(0.27, 0.36)
    lit = (0.75 + 0.25 * across * head.light[:, :1]) * (1 - 0.3 * across**2).clamp(min=0.3)
    shadow = 1 - 0.45 * edge(head.tall + 0.16 - head.y, 5)
    sketch.paint(head.skin * lit * shadow, edge((1 - across.abs()) * 0.3) * edge(head.y - 0.3))
    slope = vary(0.78, 0.95) + vary(0.2, 0.5) * (sketch.x.abs() - 0.3).clamp(min=0)
    collar = vary(0, 0.5) * (0.45 - sketch.x.abs()).clamp(min=0)
    folds = 0.9 + 0.12 * sketch.field(5) + 0.15 * sketch.x * head.light[:, :1]
    sketch.paint(sketch.colour(CLOTH, 0.15) * folds, edge(sketch.y - slope - collar))
    ear = 1 - (
        ((head.x.abs() - 0.97 * head.half + 0.05 * head.x.sign() * head.yaw) / 0.075) ** 2
        + ((head.t - 0.08) / 0.2) ** 2
    )
    sketch.paint(head.skin * vary(0.7, 0.85), edge(ear * 0.06) * (1 - head.long))


def _hair_before(sketch: Sketch, head: SimpleNamespace) -> None:
    """The hairline: a curve in (u, v) above which hair covers the face; with long hair it comes down at the sides."""
    vary = sketch.vary
    fringe = sketch.chance(0.25)
    line = torch.where(fringe > 0, vary(-0.4, -0.24), vary(-0.68, -0.5))
    part = vary(-0.35, 0.35) * (1 - fringe)
    temples = torch.where(head.long > 0, vary(0.6, 1.8), vary(0.25, 0.6))
    line = line + part * head.u + temples * head.u.abs() ** vary(2.5, 5) + 0.05 * head.strands
    cover = edge((line - head.v) * head.tall, 1.6) * torch.maximum(head.cap, head.inside * (1 - head.bald))
    cover = cover * torch.where(head.long > 0, 1, edge(0.1 - head.t, 3))
    shadow = edge((line + 0.09 - head.v) * head.tall, 5) * head.inside * (1 - head.bald)
    sketch.paint(head.skin * 0.35, 0.35 * shadow)
    sketch.paint(
        _hair_shade(sketch, head, 0.85) * (0.6 + 0.4 * head.ambient + 0.15 * head.s * head.light[:, :1]), cover
    )
