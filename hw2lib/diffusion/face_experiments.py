"""What the homework asks of DDIM on faces: the effect of eta, ways between two noises, and faces drawn in fewer steps.

Distances are root mean squared differences of pixels, and errors mean squared ones, both between images of 0 to 255.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations, product
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from hw2lib.data.png import read_png
from hw2lib.data.prepare import to_uint8
from hw2lib.diffusion import fixed_noise
from hw2lib.diffusion.faces import draw, min_max
from hw2lib.diffusion.interpolation import lerp, slerp
from hw2lib.diffusion.sampling import Denoiser, SamplerSettings
from hw2lib.errors import UserError
from hw2lib.metrics.images import contrast
from hw2lib.training.cards import spread, value_name

PATHS = {"slerp": slerp, "lerp": lerp}
RUNS = {"smoke": 2, "quick": 2, "paper": 5}  # from the same noise, to see how far they part
NOISES = {"smoke": 2, "quick": 4, "paper": 10}  # whose faces in few steps are compared with those in all


def repeated(
    denoiser: Denoiser, settings: SamplerSettings, noise: Tensor, etas: Sequence[float], runs: int
) -> dict[float, Tensor]:
    """For each eta the faces of several runs from the same noise: uint8 (runs, N, 3, H, W).

    Runs differ in the noise that is added on the way. They are drawn in mixed bfloat16, all in the same batches.

    Raises:
        UserError: no noise, no eta or one outside of [0, 1], or fewer than two runs.
    """
    if not (len(noise) and etas):
        raise UserError(f"{len(noise)} noises and {len(etas)} etas: give at least one of each")
    if runs < 2:
        raise UserError(f"{runs} runs: give at least 2, to compare them")
    ways = [replace(settings, eta=eta) for eta in etas]
    return {
        way.eta: torch.stack([min_max(draw(denoiser, way, noise, run, mixed=True)) for run in range(runs)])
        for way in ways
    }


def distance(a: Tensor, b: Tensor) -> Tensor:
    """Of images (N, C, H, W) one by one, (N,)."""
    return mean_squared_error(a, b).sqrt()


def mean_squared_error(a: Tensor, b: Tensor) -> Tensor:
    """Of images (N, C, H, W) one by one, (N,)."""
    return (a.double() - b.double()).square().mean((1, 2, 3))


def distances_between_runs(faces: Mapping[float, Tensor]) -> pd.DataFrame:
    """Each pair of runs of each noise: columns ``eta``, ``noise``, ``distance``."""
    rows = []
    for eta, images in faces.items():
        for first, second in combinations(images, 2):
            apart = distance(first, second)
            rows += [{"eta": eta, "noise": number, "distance": float(d)} for number, d in enumerate(apart)]
    return pd.DataFrame(rows)


def distance_headline(frame: pd.DataFrame) -> dict[str, float]:
    """Mean distances for the text, such as ``distance_0_5`` for eta 0.5."""
    return {value_name("distance", f"{eta:g}"): float(found.mean()) for eta, found in frame.groupby("eta")["distance"]}


def distance_between_noises(images: Tensor) -> float:
    """The mean over all pairs of images (N, C, H, W): how far apart faces of different noise are.

    Raises:
        UserError: there is only one.
    """
    pairs = list(combinations(images.split(1), 2))
    if not pairs:
        raise UserError(f"{len(images)} faces: give at least 2 noises, to compare them")
    return float(torch.cat([distance(a, b) for a, b in pairs]).mean())


def path(way: Callable[[Tensor, Tensor, float], Tensor], a: Tensor, b: Tensor, alphas: Sequence[float]) -> Tensor:
    """The noises on a way from a to b, (len(alphas), C, H, W).

    Raises:
        UserError: an alpha outside of [0, 1], or fewer than two, which are no way.
    """
    if len(alphas) < 2:
        raise UserError(f"{len(alphas)} alphas: give at least 2, the ends of the way")
    return torch.stack([way(a, b, alpha) for alpha in alphas])


def path_frame(noises: Mapping[str, Tensor], images: Mapping[str, Tensor], alphas: Sequence[float]) -> pd.DataFrame:
    """What happens on each way from one noise to another.

    Args:
        noises: name of the way to its noises (N, C, H, W).
        images: the faces in about [-1, 1] that they lead to.
        alphas: where on the way each is.

    Returns:
        Columns ``way``, ``alpha``, ``norm`` of the noise; of the face `sharpness`, ``contrast``
        (`hw2lib.metrics.images.contrast`), and ``step``, its distance from the face before (none for the first).
        Images are taken from -1 to 1: each from its own lowest to its highest value would hide a loss of contrast.
    """
    rows = []
    for way, faces in images.items():
        pixels = to_uint8(faces)
        steps = [None, *distance(pixels[1:], pixels[:-1]).tolist()]
        for i, alpha in enumerate(alphas):
            rows.append(
                {
                    "way": way,
                    "alpha": alpha,
                    "norm": float(noises[way][i].norm()),
                    "sharpness": float(sharpness(pixels[i])),
                    "contrast": contrast(pixels[[i, i]]),  # it is made for sets
                    "step": steps[i],
                }
            )
    return pd.DataFrame(rows)


def sharpness(image: Tensor) -> Tensor:
    """Root mean squared difference of neighbouring pixels, of an image (C, H, W) in its own unit."""
    image = image.double()
    down, across = image.diff(dim=1).square().mean(), image.diff(dim=2).square().mean()
    return (down + across).sqrt()


def shell(noise: Tensor) -> float:
    """sqrt(d), near which the norm of normal noise of d numbers lies."""
    return math.sqrt(noise.numel())


def path_headline(frame: pd.DataFrame) -> dict[str, float]:
    """For the text: of each way the norm halfway, the mean contrast and sharpness at the ends and halfway, and steps.

    Returns:
        Such as ``lerp_norm_half``, ``lerp_contrast_half``, ``lerp_sharpness_ends``, ``lerp_step_largest``.
    """
    values = {}
    for way, rows in frame.groupby("way"):
        half = rows.loc[(rows["alpha"] - 0.5).abs().idxmin()]
        ends = rows[rows["alpha"].isin([rows["alpha"].min(), rows["alpha"].max()])]
        values |= {f"{way}_{name}_half": float(half[name]) for name in ("norm", "contrast", "sharpness")}
        values |= {f"{way}_{name}_ends": float(ends[name].mean()) for name in ("norm", "contrast", "sharpness")}
        values[f"{way}_step_largest"] = float(rows["step"].max())
    return values


def truth(denoiser: Denoiser, noise: Tensor, folder: str) -> Tensor:
    """What the faces of the first noises should be, uint8 (N, 3, H, W).

    Args:
        denoiser: draws them in all of its steps, of DDIM without noise on the way, where there is no `folder`.
        noise: (N, 3, H, W).
        folder: with the homework's ``00.png`` to ``09.png``; or empty.

    Raises:
        UserError: a file is missing, grey, or of another size than the noise.
    """
    if not folder:
        return min_max(draw(denoiser, SamplerSettings("ddim", None, clip=False), noise, progress="all steps"))
    files = [Path(folder).expanduser() / f"{name}.png" for name in fixed_noise.NAMES[: len(noise)]]
    images = [torch.tensor(read_png(file, noise.shape[-1])) for file in files]
    if grey := [file for file, image in zip(files, images, strict=True) if len(image) == 1]:
        raise UserError(f"{grey[0]}: grey; give an image in colour")
    return torch.stack(images)


def errors(
    denoiser: Denoiser, noise: Tensor, truth: Tensor, ways: Sequence[SamplerSettings], counts: Sequence[int]
) -> tuple[pd.DataFrame, dict[tuple[str, int], Tensor]]:
    """How far the faces of each way and number of steps are from those they should be, and the faces.

    Returns:
        Columns ``way``, ``steps``, ``noise``, ``error``; and the faces uint8 by `way_name` and number of steps.
    """
    rows, faces = [], {}
    for way, steps in product(ways, counts):
        name = way_name(way)
        faces[name, steps] = min_max(draw(denoiser, replace(way, steps=steps), noise))
        found = mean_squared_error(faces[name, steps], truth).tolist()
        rows += [{"way": name, "steps": steps, "noise": n, "error": error} for n, error in enumerate(found)]
    return pd.DataFrame(rows), faces


def way_name(way: SamplerSettings) -> str:
    """Such as ``DDIM, leading``."""
    return f"{way.name}, {way.spacing}"


def error_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Mean error and spread over the noises, a row a way, a column a number of steps."""
    counts = sorted(frame["steps"].unique())
    rows = []
    for way, of_way in frame.groupby("way", sort=False):
        cells = {f"{n} steps": spread(list(of_way.loc[of_way["steps"] == n, "error"])) for n in counts}
        rows.append({"sampler, grid of steps": way} | cells)
    return pd.DataFrame(rows)


def error_headline(frame: pd.DataFrame) -> dict[str, float]:
    """Mean errors for the text, such as ``ddim_leading_50``."""
    means = frame.groupby(["way", "steps"])["error"].mean()
    return {value_name(way, str(steps)): float(error) for (way, steps), error in means.items()}
