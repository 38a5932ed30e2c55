"""What the homework asks of DDIM on faces: the effect of eta, ways between two noises, and faces drawn in fewer steps.

Distances are root mean squared differences of pixels of 0 to 255, and errors mean squared ones.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations, product
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from hw2lib import used
from hw2lib.data.png import read_png
from hw2lib.data.prepare import to_uint8
from hw2lib.diffusion.faces import NAMES, SEED, draw
from hw2lib.diffusion.sample import Denoiser, min_max
from hw2lib.diffusion.samplers import SamplerSettings
from hw2lib.errors import UserError
from hw2lib.metrics.images import contrast
from hw2lib.metrics.reference import Reference, face_scores
from hw2lib.noise import ImageNoise
from hw2lib.training.cards import spread, value_name

STEPS = {"smoke": 4, "quick": 20, "paper": 50}  # of 1,000, in which faces are drawn
RUNS = {"smoke": 2, "quick": 2, "paper": 5}  # from the same noise, to see how far they part
PAIRS = {"smoke": 10, "quick": 0, "paper": 200}  # of noises, whose faces halfway are scored
NOISES = {"smoke": 2, "quick": 2, "paper": 10}  # whose faces in few steps are compared with those in all
TRUE_STEPS = {"smoke": None, "quick": 200, "paper": None}  # in which the latter are drawn; None: all


def distance(a: Tensor, b: Tensor) -> Tensor:
    """Of images (N, C, H, W) one by one, (N,)."""
    return mean_squared_error(a, b).sqrt()


def mean_squared_error(a: Tensor, b: Tensor) -> Tensor:
    """Of images (N, C, H, W) one by one, (N,)."""
    return (a.double() - b.double()).square().mean((1, 2, 3))


# The effect of eta.


def repeated(
    denoiser: Denoiser, settings: SamplerSettings, noise: Tensor, etas: Sequence[float], runs: int
) -> dict[float, Tensor]:
    """For each eta in [0, 1] the faces of at least two runs from the same noise: uint8 (runs, N, 3, H, W).

    Runs differ in the noise that is added on the way. They are drawn in mixed bfloat16, all in the same batches.
    """
    if not (len(noise) and etas):
        raise UserError(f"{len(noise)} noises and {len(etas)} etas: give at least one of each")
    if runs < 2:
        raise UserError(f"{runs} runs: give at least 2, to compare them")
    ways = [replace(settings, eta=eta) for eta in etas]
    faces = [[min_max(draw(denoiser, way, noise, run, mixed=True)) for run in range(runs)] for way in ways]
    return dict(zip(etas, map(torch.stack, faces), strict=True))


def distances_between_runs(faces: Mapping[float, Tensor]) -> pd.DataFrame:
    """Each pair of runs of each noise: columns ``eta``, ``noise``, ``distance``."""
    frames = [
        pd.DataFrame({"eta": eta, "noise": range(len(a)), "distance": distance(a, b).tolist()})
        for eta, runs in faces.items()
        for a, b in combinations(runs, 2)
    ]
    return pd.concat(frames, ignore_index=True)


def distance_headline(frame: pd.DataFrame) -> dict[str, float]:
    """Mean distances for the text, such as ``distance_0_5`` for eta 0.5."""
    return {value_name("distance", f"{eta:g}"): mean for eta, mean in frame.groupby("eta")["distance"].mean().items()}


def distance_between_noises(images: Tensor) -> float:
    """The mean over all pairs of images (N, C, H, W): how far apart faces of different noise are."""
    if len(images) < 2:
        raise UserError(f"{len(images)} faces: give at least 2 noises, to compare them")
    return float(torch.cat([distance(a, b) for a, b in combinations(images.split(1), 2)]).mean())


# Ways from one noise to another.


def lerp(a: Tensor, b: Tensor, alpha: float) -> Tensor:
    """The straight line, (1 - alpha) a + alpha b, for alpha in [0, 1]; its norm halfway is 1/sqrt(2) of two noises'."""
    if not 0 <= alpha <= 1:
        raise UserError(f"alpha {alpha}: give 0 to 1")
    return (1 - alpha) * a + alpha * b


def slerp(a: Tensor, b: Tensor, alpha: float) -> Tensor:
    """The arc: sin((1 - alpha) theta) / sin(theta) a + sin(alpha theta) / sin(theta) b (Shoemake 1985).

    theta is the angle between the two. The line is taken where one is zero, and where both point the same or opposite
    ways. `UserError` for an alpha outside of [0, 1].
    """
    x, y = a.double().flatten(), b.double().flatten()
    cosine = torch.dot(x, y) / (x.norm() * y.norm())
    if not (0 <= alpha <= 1 and cosine.abs() < 1 - 1e-12):  # the angle may be NaN
        return lerp(a, b, alpha)
    theta = cosine.arccos()
    weights = ((1 - alpha) * theta).sin() / theta.sin(), (alpha * theta).sin() / theta.sin()
    return float(weights[0]) * a + float(weights[1]) * b


PATHS = {"slerp": slerp, "lerp": lerp}


def path(way: Callable[[Tensor, Tensor, float], Tensor], a: Tensor, b: Tensor, alphas: Sequence[float]) -> Tensor:
    """The noises on a way from a to b, (len(alphas), C, H, W); `UserError` for fewer than two alphas."""
    if len(alphas) < 2:
        raise UserError(f"{len(alphas)} alphas: give at least 2, the ends of the way")
    return torch.stack([way(a, b, alpha) for alpha in alphas])


def path_frame(noises: Mapping[str, Tensor], images: Mapping[str, Tensor], alphas: Sequence[float]) -> pd.DataFrame:
    """Each way over the alphas of its noises (N, C, H, W), and of the faces in about [-1, 1] that they lead to.

    Columns: ``way``, ``alpha``, ``norm`` of the noise; `sharpness` and `contrast` of the face. Faces are taken from -1
    to 1: `min_max` would hide a loss of contrast.
    """
    frames = []
    for way, faces in images.items():
        pixels = to_uint8(faces)
        columns = {
            "norm": [float(noise.norm()) for noise in noises[way]],
            "sharpness": [float(sharpness(image)) for image in pixels],
            "contrast": [contrast(image.expand(2, -1, -1, -1)) for image in pixels],  # it takes sets
        }
        frames.append(pd.DataFrame({"way": way, "alpha": alphas, **columns}))
    return pd.concat(frames, ignore_index=True)


def sharpness(image: Tensor) -> Tensor:
    """Root mean squared difference of neighbouring pixels, of an image (C, H, W) in its own unit."""
    image = image.double()
    return (image.diff(dim=1).square().mean() + image.diff(dim=2).square().mean()).sqrt()


def shell(noise: Tensor) -> float:
    """sqrt(d), near which the norm of normal noise of d numbers lies."""
    return math.sqrt(noise.numel())


def path_headline(frame: pd.DataFrame) -> dict[str, float]:
    """For the text: ``lerp_norm_half``, ``lerp_contrast_ends``, ``lerp_sharpness_half``, ..."""
    values = {}
    for way, rows in frame.groupby("way"):
        half = rows.loc[(rows["alpha"] - 0.5).abs().idxmin()]
        ends = rows[rows["alpha"].isin([rows["alpha"].min(), rows["alpha"].max()])]
        for name in ("norm", "contrast", "sharpness"):
            values |= {f"{way}_{name}_half": float(half[name]), f"{way}_{name}_ends": float(ends[name].mean())}
    return values


def halfway(pairs: int, size: int) -> dict[str, Tensor]:
    """The first noise of each of some pairs (``ends``), and the middle of each way of `PATHS` to the second.

    Each (pairs, 3, size, size). `UserError` for fewer than two pairs.
    """
    if pairs < 2:
        raise UserError(f"{pairs} pairs: give at least 2, whose faces are scored as a set")
    noise = ImageNoise(SEED, range(2 * pairs)).draw(3, size, size)
    both = list(zip(noise[::2], noise[1::2], strict=True))
    return {"ends": noise[::2]} | {name: torch.stack([way(a, b, 0.5) for a, b in both]) for name, way in PATHS.items()}


def halfway_table(faces: Mapping[str, Tensor], real: Reference) -> tuple[pd.DataFrame, dict[str, float]]:
    """Scores of faces in about [-1, 1] from the noises of `halfway`, and ``halfway_lerp_contrast`` and so on.

    The mean colour of a set is that of all its pixels, of 0 to 255; ``colour_cast`` is how far red lies above blue.
    """
    scores = {name: face_scores(to_uint8(images), real) for name, images in faces.items()}
    rows = []
    for name, images in faces.items():
        one, colour = scores[name], to_uint8(images).double().mean((0, 2, 3)).tolist()
        one["colour_cast"] = colour[0] - colour[2]
        rows.append({
            "faces from": name, "sliced Wasserstein x 1000": f"{one['sliced_wasserstein']:.1f}",
            "one face, %": f"{one['one_face']:.1f}", "contrast": f"{one['contrast']:.3f}",
            "mean red, green, blue": ", ".join(f"{level:.0f}" for level in colour),
        })  # fmt: skip
    shown = ("sliced_wasserstein", "contrast", "colour_cast")
    values = {value_name("halfway", name, key): one[key] for name, one in scores.items() for key in shown}
    return pd.DataFrame(rows), values


# Faces in fewer steps.


def truth(denoiser: Denoiser, noise: Tensor, folder: str, steps: int | None = None) -> Tensor:
    """What the faces of the first noises (N, 3, H, W) should be, uint8 (N, 3, H, W).

    They are the homework's ``00.png`` to ``09.png`` in a folder; if `folder` is empty, the denoiser draws them in
    `steps`, by default all, of DDIM. `UserError` if a file is missing, grey, or of another size than the noise.
    """
    if not folder:
        return min_max(draw(denoiser, SamplerSettings("ddim", steps, clip=False), noise, progress="the truth"))
    files = [Path(folder).expanduser() / f"{name}.png" for name in NAMES[: len(noise)]]
    images = [torch.tensor(read_png(file, noise.shape[-1])) for file in files]
    for file, image in zip(files, images, strict=True):
        used.note_file(file)
        if len(image) == 1:
            raise UserError(f"{file}: grey; give an image in colour")
    return torch.stack(images)


def way_name(way: SamplerSettings) -> str:
    """Such as ``DDIM, leading``."""
    return f"{way.name}, {way.spacing}"


def errors(
    denoiser: Denoiser, noise: Tensor, truth: Tensor, ways: Sequence[SamplerSettings], counts: Sequence[int]
) -> tuple[pd.DataFrame, dict[tuple[str, int], Tensor]]:
    """How far faces are from the truth, in columns ``way``, ``steps``, ``noise``, ``error``; and the faces.

    The faces uint8 (N, 3, H, W) are found by `way_name` and number of steps.
    """
    faces, frames = {}, []
    for way, steps in product(ways, counts):
        images = min_max(draw(denoiser, replace(way, steps=steps), noise))
        faces[way_name(way), steps] = images
        columns = {"way": way_name(way), "steps": steps, "noise": range(len(images))}
        frames.append(pd.DataFrame(columns | {"error": mean_squared_error(images, truth).tolist()}))
    return pd.concat(frames, ignore_index=True), faces


def error_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Mean error and spread over the noises, a row a way, a column a number of steps."""
    cells = frame.groupby(["way", "steps"], sort=False)["error"].agg(lambda errors: spread(list(errors))).unstack()
    cells = cells.loc[frame["way"].unique(), sorted(cells)].add_suffix(" steps")
    return cells.rename_axis("sampler, grid of steps").rename_axis(None, axis=1).reset_index()


def error_headline(frame: pd.DataFrame) -> dict[str, float]:
    """Mean errors for the text, such as ``ddim_leading_50``."""
    means = frame.groupby(["way", "steps"])["error"].mean()
    return {value_name(way, str(steps)): float(error) for (way, steps), error in means.items()}
