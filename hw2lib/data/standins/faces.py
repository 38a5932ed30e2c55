"""The drawn faces: portraits of nobody, 64x64, made of geometry alone.

A head is an ellipsoid with a jaw. Each pixel looks up the point of the head that it sees, ``(u, v)`` in half widths and
half heights of the head, and everything on the face is drawn there, so that turning the head foreshortens eyes, nose
and mouth. Bumps (nose, cheeks, lips, sockets) tilt the surface normal, a key light shades it, and every edge is one
pixel soft. Each function paints over what is there.
"""

from types import SimpleNamespace

import numpy as np
import torch
from torch.nn import functional as F

SIZE = 64
PIXEL = 2 / SIZE  # the frame is (-1, 1) in both directions, y points down

SKIN = ["#f6dcc9", "#eec6a8", "#e0ac86", "#c98f66", "#a76c45", "#7a4a2d", "#553221"]
HAIR = ["#15110f", "#2a1c14", "#4a2f1e", "#64462f", "#84603c", "#7a4228", "#bd9560", "#e0c48a", "#9b9792"]
CLOTH = ["#22252e", "#e8e6e1", "#7b2d2d", "#2f4a6d", "#4d5b44", "#8d7a5f", "#a8a8b0", "#c08a3e", "#54365e"]
IRIS = ["#3b2515", "#5a3a1c", "#5b6b3a", "#4a7080", "#3f668f", "#6d7a80"]
LIPS = ["#b5605a", "#c4544f", "#a8453f", "#c77a6c", "#8c3a3a"]
FRAMES = ["#15130f", "#4a2a18", "#8a8a8e", "#6a1f28"]


def faces(n: int, rng: np.random.Generator) -> torch.Tensor:
    """Draw ``n`` different faces, ``(n, 3, 64, 64)`` float32, about 0 to 1."""
    # A few at a time: their planes then stay in the processor's cache, which is twice as fast.
    return torch.cat([_few(min(20, n - start), rng) for start in range(0, n, 20)])


def _few(n: int, rng: np.random.Generator) -> torch.Tensor:
    sketch = Sketch(n, rng)
    head = _pose(sketch)
    for paint in (_background, _hair_behind, _neck, _skin, _eyes, _mouth, _beard, _hair_before, _glasses):
        paint(sketch, head)
    exposure = sketch.vary(0.85, 1.15) * (1 + sketch.vary(-0.06, 0.06, 3, 1, 1))
    grain = torch.from_numpy(rng.standard_normal(sketch.image.shape, dtype=np.float32))
    return sketch.image * exposure + 0.012 * grain


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


def rgb(red: float, green: float, blue: float) -> torch.Tensor:
    """A colour or its change, ``(3, 1, 1)``."""
    return torch.tensor([red, green, blue])[:, None, None]


def edge(inside: torch.Tensor, soft: float = 1.0) -> torch.Tensor:
    """Coverage of a pixel from its signed distance to an outline, positive inside; ``soft`` in pixels."""
    return (inside / (PIXEL * soft) + 0.5).clamp(0, 1)


def bump(x: torch.Tensor, y: torch.Tensor, width: float, height: float) -> torch.Tensor:
    """A bell close to a Gaussian that reaches exactly zero: fast, and the same on every machine."""
    near = (1 - ((x / width) ** 2 + (y / height) ** 2) / 4).clamp(min=0)
    return (near * near) ** 2


def unit(vectors: torch.Tensor) -> torch.Tensor:
    return vectors / (vectors * vectors).sum(1, keepdim=True).sqrt()


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
    head.light = unit(torch.cat([vary(-0.9, 0.9), vary(-0.8, 0.1), vary(0.7, 1.2)], 1))
    head.ambient = vary(0.4, 0.68)
    # The style of the hair: long falls behind the shoulders, curly has a ragged outline, few are bald.
    head.long = sketch.chance(0.5)
    head.curly = sketch.chance(0.25)
    head.bald = sketch.chance(0.06) * (1 - head.long)
    angle = torch.atan2(x, -(y - 0.4))
    waves = sum(torch.sin(k * angle + vary(0, 6.3)) for k in (7, 13, 23, 37))
    head.strands = torch.lerp(waves / 4, sketch.field(14), 0.3 + 0.6 * head.curly)
    return head


def _background(sketch: Sketch, head: SimpleNamespace) -> None:
    """A blurred room: two colours from side to side, and shapes out of focus."""
    far = sketch.vary(0.05, 0.9) + sketch.vary(-0.1, 0.1, 3, 1, 1)
    near = sketch.vary(-0.5, 0.5) + sketch.vary(-0.2, 0.2, 3, 1, 1)
    slope = sketch.x * sketch.vary(-1, 1) + sketch.y * sketch.vary(-1, 1)
    blobs = sketch.field(3, 3) * sketch.vary(0, 0.15) + sketch.field(7, 1) * sketch.vary(0, 0.2)
    sketch.image = (far + 0.5 * near * slope + blobs).clamp(0.02, 0.98)


def _hair_shade(head: SimpleNamespace, depth: float) -> torch.Tensor:
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
    long = torch.maximum(head.cap * edge(0.4 - head.t, 4), curtain)
    sketch.paint(_hair_shade(head, 0.62), torch.where(head.long > 0, long, head.cap * edge(0.02 - head.t, 6)))


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
    across_ear = (head.x.abs() - 0.97 * head.half + 0.05 * head.x.sign() * head.yaw) / 0.075
    ear = 1 - (across_ear**2 + ((head.t - 0.08) / 0.2) ** 2)
    sketch.paint(head.skin * vary(0.7, 0.85), edge(ear * 0.06) * (1 - head.long))


def _skin(sketch: Sketch, head: SimpleNamespace) -> None:
    u, v, vary = head.u, head.v, sketch.vary
    apart = u.abs() - 0.4
    nose = vary(0.5, 1.0)
    bumps = (
        nose * 0.16 * bump(u, v - 0.2, 0.11, 0.22)
        + nose * 0.16 * bump(u, v - 0.36, 0.15, 0.09)
        + 0.08 * bump(apart, v + 0.22, 0.3, 0.09)
        - 0.10 * bump(apart, v, 0.22, 0.12)
        + vary(0.02, 0.08) * bump(apart - 0.05, v - 0.32, 0.2, 0.18)
        + 0.05 * bump(u, v - 0.62, 0.3, 0.12)
        - 0.03 * bump(u, v - 0.77, 0.25, 0.05)
        + 0.06 * bump(u, v - 0.93, 0.2, 0.12)
    )
    down, right = torch.gradient(bumps, spacing=PIXEL, dim=(2, 3))
    normal = unit(torch.cat([head.s - right, 0.8 * head.t - down, head.z + 0.25], 1))
    lit = (normal * head.light).sum(1, keepdim=True)
    shade = head.ambient + (1.12 - head.ambient) * lit.clamp(min=0)
    # Red light travels furthest under the skin: shadows are warm.
    tone = shade ** rgb(0.8, 1.0, 1.1)
    gloss = 0.16 * lit.clamp(min=0.3) ** 24
    blush = vary(0, 0.16) * bump(apart - 0.08, v - 0.32, 0.22, 0.16)
    sketch.paint(head.skin * tone * (1 - blush * rgb(0.0, 0.7, 0.6)) + gloss, head.inside)
    head.tone = shade
    nostril = bump(u.abs() - 0.09, v - 0.405, 0.05, 0.025) * 0.6 + 0.2 * bump(u, v - 0.43, 0.16, 0.03)
    sketch.paint(head.skin * 0.35, nostril * head.inside)


def _eyes(sketch: Sketch, head: SimpleNamespace) -> None:
    vary = sketch.vary
    head.eye_apart, head.eye_level = sketch.about(0.2, 0.006), sketch.about(-0.015, 0.01)
    x = head.u.abs() * head.half - head.eye_apart
    y = head.v * head.tall - head.eye_level
    wide, top, low = vary(0.082, 0.105), vary(0.028, 0.052), vary(0.02, 0.032)
    y = y + vary(-0.15, 0.15) * x
    lens = 1 - (x / wide) ** 2
    socket = bump(x, y + 0.035, 0.13, 0.06) * vary(0.1, 0.45)
    sketch.paint(head.skin * 0.4, socket * head.inside)
    white = edge(torch.minimum(top * lens + y, low * lens - y)) * head.inside
    sketch.paint(rgb(0.93, 0.91, 0.9) * (0.25 + 0.6 * head.tone), white)
    gaze_x, gaze_y = sketch.about(0, 0.008), sketch.about(-0.004, 0.003)
    side = x * head.u.sign() - gaze_x
    distance = (side**2 + (y - gaze_y) ** 2).sqrt()
    iris = sketch.colour(IRIS, 0.15)
    for shade, radius in ((0.4, 0.048), (0.85, 0.036), (0.12, 0.02)):  # rim, iris, pupil
        sketch.paint(iris * shade, edge(radius - distance) * white)
    glint = edge(0.008 - ((side - 0.015 * head.light[:, :1].sign()) ** 2 + (y - gaze_y + 0.015) ** 2).sqrt())
    sketch.paint(torch.ones(3, 1, 1), 0.8 * glint * white)
    lid = edge(0.012 + vary(0, 0.01) - (y + top * lens).abs()) * edge(wide * 1.1 - x.abs())
    sketch.paint(head.skin * 0.16, lid * head.inside * vary(0.7, 1))
    brow_y = y + vary(0.1, 0.14) + vary(-0.12, 0.2) * x - vary(0, 2.5) * (x - 0.03) ** 2
    thick = vary(0.012, 0.028) * (1 - 0.5 * ((x + 0.1) / 0.25).clamp(0, 1))
    brow = edge(thick - brow_y.abs(), 1.3) * edge(vary(0.1, 0.135) - x.abs(), 2)
    sketch.paint(head.hair * 0.55, brow * head.inside * vary(0.55, 0.95))


def _mouth(sketch: Sketch, head: SimpleNamespace) -> None:
    vary = sketch.vary
    wide, smile = vary(0.15, 0.21), vary(-0.015, 0.06)
    x = head.u * head.half
    y = head.v * head.tall - sketch.about(0.43, 0.008) + smile * ((x / wide) ** 2 - 0.5)
    lens = 1 - (x / wide) ** 2
    gap = vary(0.015, 0.05) * sketch.chance(0.4) * (smile > 0.01)
    upper, lower = vary(0.022, 0.04), vary(0.03, 0.052)
    bow = 0.006 * bump(x, y * 0, 0.025, 1)
    inside = head.inside * edge(wide - x.abs())
    lips = torch.minimum((upper + gap / 2) * lens - bow + y, (lower + gap / 2) * lens - y)
    made_up = vary(0.25, 0.9)
    lip = torch.lerp(head.skin * rgb(0.82, 0.58, 0.56), sketch.colour(LIPS, 0.1), made_up * 0.7)
    gloss = 1 + 0.25 * bump(x - 0.03 * head.light[:, :1], y - gap / 2 - 0.5 * lower, 0.06, 0.012) - 0.12 * (y < 0)
    sketch.paint(lip * gloss * (0.35 + 0.65 * head.tone), edge(lips) * inside)
    sketch.paint(lip * 0.25, edge(0.009 - y.abs()) * inside * (gap == 0) * edge(lens * 0.1))
    sketch.paint(rgb(0.95, 0.93, 0.89) * (0.5 + 0.5 * head.tone), edge(gap / 2 * lens - y.abs()) * inside * (gap > 0))
    sketch.paint(head.skin * 0.35, 0.5 * bump(x.abs() - wide, y, 0.02, 0.018) * head.inside)


def _beard(sketch: Sketch, head: SimpleNamespace) -> None:
    has = sketch.chance(0.45) * (1 - head.long)
    full, moustache = sketch.chance(0.75), sketch.chance(0.8)
    u, v = head.u, head.v
    cheek = edge((v - 0.62 + 0.5 * u**2) * head.tall, 5)
    chin = bump(u, v - 0.9, 0.3, 0.2)
    mouth_gap = 1 - bump(u, v - 0.63, 0.25, 0.07)
    lip = bump(u, v - 0.5, 0.27, 0.045) * moustache
    cover = torch.maximum(torch.where(full > 0, cheek, chin) * mouth_gap, lip)
    dense = torch.where(sketch.chance(0.5) > 0, sketch.vary(0.2, 0.45), sketch.vary(0.75, 1.0))
    texture = 0.9 + 0.3 * sketch.field(20)
    cover = (cover * dense * texture).clamp(0, 1) * has * head.inside
    sketch.paint(head.hair * 0.6 * texture * (0.4 + 0.6 * head.tone), cover)


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
    lit = 0.6 + 0.4 * head.ambient + 0.15 * head.s * head.light[:, :1]
    sketch.paint(_hair_shade(head, 0.85) * lit, cover)


def _glasses(sketch: Sketch, head: SimpleNamespace) -> None:
    worn = sketch.chance(0.18)
    x, y = head.u.abs() * head.half - head.eye_apart, head.v * head.tall - head.eye_level - 0.015
    wide, tall, power = sketch.vary(0.13, 0.16), sketch.vary(0.09, 0.13), torch.where(sketch.chance(0.5) > 0, 2.2, 4.0)
    rim = 1 - ((x / wide).abs() ** power + (y / tall).abs() ** power) ** (1 / power)
    frame = edge(sketch.vary(0.012, 0.024) - (rim * tall).abs())
    bridge = edge(0.012 - (y + 0.03).abs()) * (x < -wide)
    temple = edge(0.014 - (y + 0.03).abs()) * (x > wide)
    tint = torch.where(sketch.chance(0.25) > 0, 0.88, 0.06)
    sketch.paint(sketch.vary(0.02, 0.12, 3, 1, 1), tint * edge(rim * tall) * worn)
    rims = torch.maximum(frame, torch.maximum(bridge, temple)) * head.inside
    sketch.paint(sketch.colour(FRAMES, 0.2), rims * worn)
