"""What stands on a face: shaded skin with a nose, eyes and brows, a mouth, a beard, glasses.

Everything is drawn in ``head.u`` and ``head.v``, the point of the head that a pixel sees, in half widths and half
heights of the head. Each function paints over what is there.
"""

from types import SimpleNamespace

import torch

from hw2lib.data.standins.sketch import PIXEL, Sketch, bump, edge, unit

IRIS = ["#3b2515", "#5a3a1c", "#5b6b3a", "#4a7080", "#3f668f", "#6d7a80"]
LIPS = ["#b5605a", "#c4544f", "#a8453f", "#c77a6c", "#8c3a3a"]
FRAMES = ["#15130f", "#4a2a18", "#8a8a8e", "#6a1f28"]


def skin(sketch: Sketch, head: SimpleNamespace) -> None:
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
    tone = shade ** torch.tensor([0.8, 1.0, 1.1])[:, None, None]
    gloss = 0.16 * lit.clamp(min=0.3) ** 24
    blush = vary(0, 0.16) * bump(apart - 0.08, v - 0.32, 0.22, 0.16)
    skin = head.skin * tone * (1 - blush * torch.tensor([0.0, 0.7, 0.6])[:, None, None]) + gloss
    sketch.paint(skin, head.inside)
    head.tone = shade
    nostril = bump(u.abs() - 0.09, v - 0.405, 0.05, 0.025) * 0.6 + 0.2 * bump(u, v - 0.43, 0.16, 0.03)
    sketch.paint(head.skin * 0.35, nostril * head.inside)


def eyes(sketch: Sketch, head: SimpleNamespace) -> None:
    vary = sketch.vary
    head.eye_apart, head.eye_level = sketch.about(0.2, 0.006), sketch.about(-0.015, 0.01)
    x = head.u.abs() * head.half - head.eye_apart
    y = head.v * head.tall - head.eye_level
    wide, top, low = vary(0.082, 0.105), vary(0.028, 0.052), vary(0.02, 0.032)
    y = y + vary(-0.15, 0.15) * x
    lens = 1 - (x / wide) ** 2
    open_ = torch.minimum(top * lens + y, low * lens - y)
    socket = bump(x, y + 0.035, 0.13, 0.06) * vary(0.1, 0.45)
    sketch.paint(head.skin * 0.4, socket * head.inside)
    white = edge(open_) * head.inside
    sketch.paint(torch.tensor([0.93, 0.91, 0.9])[:, None, None] * (0.25 + 0.6 * head.tone), white)
    gaze_x, gaze_y = sketch.about(0, 0.008), sketch.about(-0.004, 0.003)
    side = x * head.u.sign() - gaze_x
    distance = (side**2 + (y - gaze_y) ** 2).sqrt()
    iris = sketch.colour(IRIS, 0.15)
    sketch.paint(iris * 0.4, edge(0.048 - distance) * white)
    sketch.paint(iris * 0.85, edge(0.036 - distance) * white)
    sketch.paint(iris * 0.12, edge(0.02 - distance) * white)
    glint = edge(0.008 - ((side - 0.015 * head.light[:, :1].sign()) ** 2 + (y - gaze_y + 0.015) ** 2).sqrt())
    sketch.paint(torch.ones(3, 1, 1), 0.8 * glint * white)
    lid = edge(0.012 + vary(0, 0.01) - (y + top * lens).abs()) * edge(wide * 1.1 - x.abs())
    sketch.paint(head.skin * 0.16, lid * head.inside * vary(0.7, 1))
    brow_y = y + vary(0.1, 0.14) + vary(-0.12, 0.2) * x - vary(0, 2.5) * (x - 0.03) ** 2
    thick = vary(0.012, 0.028) * (1 - 0.5 * ((x + 0.1) / 0.25).clamp(0, 1))
    brow = edge(thick - brow_y.abs(), 1.3) * edge(vary(0.1, 0.135) - x.abs(), 2)
    sketch.paint(head.hair * 0.55, brow * head.inside * vary(0.55, 0.95))


def mouth(sketch: Sketch, head: SimpleNamespace) -> None:
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
    lip = torch.lerp(
        head.skin * torch.tensor([0.82, 0.58, 0.56])[:, None, None], sketch.colour(LIPS, 0.1), made_up * 0.7
    )
    gloss = 1 + 0.25 * bump(x - 0.03 * head.light[:, :1], y - gap / 2 - 0.5 * lower, 0.06, 0.012) - 0.12 * (y < 0)
    sketch.paint(lip * gloss * (0.35 + 0.65 * head.tone), edge(lips) * inside)
    sketch.paint(lip * 0.25, edge(0.009 - y.abs()) * inside * (gap == 0) * edge(lens * 0.1))
    teeth = gap / 2 * lens - y.abs()
    sketch.paint(
        torch.tensor([0.95, 0.93, 0.89])[:, None, None] * (0.5 + 0.5 * head.tone), edge(teeth) * inside * (gap > 0)
    )
    corner = bump(x.abs() - wide, y, 0.02, 0.018)
    sketch.paint(head.skin * 0.35, 0.5 * corner * head.inside)


def beard(sketch: Sketch, head: SimpleNamespace) -> None:
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


def glasses(sketch: Sketch, head: SimpleNamespace) -> None:
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
