"""Samplers: from noise to images by any model that predicts the noise. They know nothing of networks or training.

A model takes images (N, ...), times (N,) float32, t/T, and labels (N,), and returns the noise in them. A sampler takes
it and noise at the first step of its grid (`hw2lib.diffusion.schedule.grid`), and returns the images at the last, or
all states.

Example::

    noise = ImageNoise(seed=0, numbers=range(10))
    x = ddim(model, noise.draw(3, 28, 28), torch.arange(10), cosine(1000), grid(1000, 20))
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor
from tqdm.auto import tqdm

from hw2lib.diffusion.guidance import Model
from hw2lib.diffusion.schedule import Schedule
from hw2lib.errors import UserError

Draw = Callable[..., Tensor]  # of the shape of one image to noise for all, such as `ImageNoise.draw`
# From the state at step t, the image and the noise that make it up, t and the next step s to the state at s.
Rule = Callable[[Tensor, Tensor, Tensor, int, int], Tensor]


def ddpm(
    model: Model,
    x: Tensor,
    labels: Tensor,
    schedule: Schedule,
    grid: Sequence[int],
    draw: Draw,
    variance: str = "beta",
    **options,
) -> Tensor | list[Tensor]:
    """Ancestral sampling (Ho et al. 2020, algorithm 2); on a coarse grid with the betas between its steps.

    Args:
        model, x, labels, schedule, grid: see the head of this file.
        draw: the noise of each step but the last.
        variance: of that noise: ``beta``, or ``posterior``, that of q(x_s | x_t, x_0) (equation 7), which is less.
        options: `clip`, `return_intermediates`, `progress`.

    Raises:
        UserError: an unknown variance.
    """
    if variance not in ("beta", "posterior"):
        raise UserError(f"unknown variance '{variance}': choose beta or posterior")
    alpha_bar = schedule.alpha_bar.tolist()

    def rule(x: Tensor, image: Tensor, noise: Tensor, t: int, s: int) -> Tensor:
        alpha = alpha_bar[t] / alpha_bar[s]
        x = (x - (1 - alpha) / (1 - alpha_bar[t]) ** 0.5 * noise) / alpha**0.5
        if s == grid[-1]:
            return x
        scale = (1 - alpha_bar[s]) / (1 - alpha_bar[t]) if variance == "posterior" else 1.0
        return x + (scale * (1 - alpha)) ** 0.5 * draw(*x.shape[1:]).to(x)

    return _walk(model, rule, x, labels, schedule, grid, **options)


def ddim(
    model: Model,
    x: Tensor,
    labels: Tensor,
    schedule: Schedule,
    grid: Sequence[int],
    eta: float = 0.0,
    draw: Draw | None = None,
    **options,
) -> Tensor | list[Tensor]:
    """Denoising diffusion implicit models (Song et al. 2021, equations 12 and 16).

    Args:
        model, x, labels, schedule, grid: see the head of this file.
        eta: 0: deterministic, 1: as much noise as `ddpm` with the posterior variance.
        draw: the noise of each step, where eta is not 0.
        options: `clip`, `return_intermediates`, `progress`.

    Raises:
        UserError: eta outside of [0, 1], or above 0 without `draw`.
    """
    _check_eta(eta, draw)
    alpha_bar = schedule.alpha_bar.tolist()

    def rule(x: Tensor, image: Tensor, noise: Tensor, t: int, s: int) -> Tensor:
        sigma = eta * ((1 - alpha_bar[s]) / (1 - alpha_bar[t]) * (1 - alpha_bar[t] / alpha_bar[s])) ** 0.5
        x = alpha_bar[s] ** 0.5 * image + max(0.0, 1 - alpha_bar[s] - sigma**2) ** 0.5 * noise
        return x + sigma * draw(*x.shape[1:]).to(x) if sigma else x

    return _walk(model, rule, x, labels, schedule, grid, **options)


def dpm_solver(
    model: Model,
    x: Tensor,
    labels: Tensor,
    schedule: Schedule,
    grid: Sequence[int],
    eta: float = 0.0,
    draw: Draw | None = None,
    **options,
) -> Tensor | list[Tensor]:
    """DPM-Solver++(2M) (Lu et al. 2022, algorithm 2), and SDE-DPM-Solver++(2M) (their equation 19) with noise.

    A step also reads what the last one predicted. The first step is of first order, and so is the last if it ends in
    the image itself, where the logarithm of the ratio of signal to noise is infinite.

    Args:
        model, x, labels, schedule, grid: see the head of this file.
        eta: 0: deterministic, 1: the whole noise of the stochastic differential equation; between them, less of it.
        draw: the noise of each step, where eta is not 0.
        options: `clip`, `return_intermediates`, `progress`.

    Raises:
        UserError: eta outside of [0, 1], or above 0 without `draw`.
    """
    _check_eta(eta, draw)
    alpha, sigma = schedule.alpha_bar.sqrt().tolist(), (1 - schedule.alpha_bar).sqrt().tolist()
    half_log_snr = (schedule.alpha_bar / (1 - schedule.alpha_bar)).log().div(2).tolist()
    before: tuple[Tensor, float] | None = None  # the image predicted at the last step, and that step's length

    def rule(x: Tensor, image: Tensor, noise: Tensor, t: int, s: int) -> Tensor:
        nonlocal before
        if s == 0:
            return image
        length = half_log_snr[s] - half_log_snr[t]
        slope = 0.0 if before is None else (image - before[0]) * (length / (2 * before[1]))
        before = image, length
        x = sigma[s] / sigma[t] * math.exp(-eta * length) * x
        x = x - alpha[s] * math.expm1(-(1 + eta) * length) * (image + slope)
        return x + sigma[s] * (-math.expm1(-2 * eta * length)) ** 0.5 * draw(*x.shape[1:]).to(x) if eta else x

    return _walk(model, rule, x, labels, schedule, grid, **options)


def _check_eta(eta: float, draw: Draw | None) -> None:
    if not 0 <= eta <= 1:
        raise UserError(f"eta {eta}: give 0 to 1")
    if eta and draw is None:
        raise UserError(f"eta {eta} needs noise: give draw")


@torch.inference_mode()
def _walk(
    model: Model,
    rule: Rule,
    x: Tensor,
    labels: Tensor,
    schedule: Schedule,
    grid: Sequence[int],
    clip: bool = False,
    return_intermediates: bool = False,
    progress: str = "",
) -> Tensor | list[Tensor]:
    """Apply a rule along a grid.

    Args:
        clip: keep the image that the model predicts at each step within [-1, 1], and take the noise that goes with it.
            Where hardly any of the image is left, a small error of the predicted noise is a large one of the image.
        return_intermediates: return the states at all steps of the grid, in its order, and not the last alone.
        progress: title of a bar; empty: none.
    """
    if not all(0 <= s < t <= schedule.steps for t, s in pairwise(grid)) or len(grid) < 2:
        raise UserError(f"a grid falls from at most {schedule.steps} to at least 0, not {list(grid)}")
    alpha_bar, states = schedule.alpha_bar.tolist(), [x]
    for t, s in tqdm(list(pairwise(grid)), desc=progress, unit="step", disable=not progress):
        time = torch.full((len(x),), t / schedule.steps, device=x.device)
        noise = model(x, time, labels)
        signal, rest = alpha_bar[t] ** 0.5, (1 - alpha_bar[t]) ** 0.5
        image = (x - rest * noise) / signal
        if clip:
            image = image.clamp(-1, 1)
            noise = (x - signal * image) / rest
        x = rule(x, image, noise, t, s)
        if return_intermediates:
            states.append(x)
    return states if return_intermediates else x
