"""Samplers: from noise to images by any model that predicts the noise. They know nothing of networks or training.

A model takes images (N, ...), times (N,) float32, t/T, and labels (N,), -1 for none, and returns the noise in them. A
sampler takes it and noise at the first step of a grid (`hw2lib.diffusion.schedule.grid`), and returns the images at the
last. A new sampler is a function that returns its rule for one step, and a line in `SAMPLERS`.

Example::

    noise = ImageNoise(seed=0, numbers=range(10))
    x = SAMPLERS["ddim"](model, noise.draw(3, 28, 28), torch.arange(10), cosine(1000), grid(1000, 20))
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from tqdm.auto import tqdm

from hw2lib.diffusion.schedule import SPACINGS, Schedule
from hw2lib.diffusion.schedule import grid as grid_of
from hw2lib.errors import UserError

WHOLE = (0.0, 1.0)  # the interval of t/T that has all steps
Model = Callable[[Tensor, Tensor, Tensor], Tensor]
Draw = Callable[..., Tensor]  # of the shape of one image to normal noise for all, such as `ImageNoise.draw`
# From the state at step t, the image and the noise that make it up, t and the next step s to the state at s.
Rule = Callable[[Tensor, Tensor, Tensor, int, int], Tensor]


def ddpm(schedule: Schedule, grid: Sequence[int], draw: Draw, variance: str = "beta") -> Rule:
    """Ancestral sampling (Ho et al. 2020, algorithm 2), on a coarse grid with the betas between its steps.

    The last step adds no noise. The variance is ``beta``, or ``posterior``, that of q(x_s | x_t, x_0) (equation 7).
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

    return rule


def ddim(schedule: Schedule, grid: Sequence[int], draw: Draw | None, eta: float) -> Rule:
    """Denoising diffusion implicit models (Song et al. 2021, equations 12 and 16).

    At eta 0 it is deterministic; at 1 it adds as much noise as `ddpm` with the posterior variance.
    """
    alpha_bar = schedule.alpha_bar.tolist()

    def rule(x: Tensor, image: Tensor, noise: Tensor, t: int, s: int) -> Tensor:
        sigma = eta * ((1 - alpha_bar[s]) / (1 - alpha_bar[t]) * (1 - alpha_bar[t] / alpha_bar[s])) ** 0.5
        x = alpha_bar[s] ** 0.5 * image + max(0.0, 1 - alpha_bar[s] - sigma**2) ** 0.5 * noise
        return x + sigma * draw(*x.shape[1:]).to(x) if sigma else x

    return rule


def dpm_solver(schedule: Schedule, grid: Sequence[int], draw: Draw | None, eta: float) -> Rule:
    """DPM-Solver++(2M) (Lu et al. 2022, algorithm 2); at eta 1 SDE-DPM-Solver++(2M) (their equation 19).

    A step also reads what the last one predicted. The first step is of first order. So is the last if it ends in the
    image itself, where the logarithm of the ratio of signal to noise is infinite.
    """
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

    return rule


@dataclass(frozen=True)
class Sampler:
    """A way from noise to images, step by step."""

    rule: Callable[..., Rule]  # of a walk: it takes the schedule, the grid, `draw`, and eta if it has one
    title: str  # in captions
    has_eta: bool = False  # whether a number in [0, 1] says how much noise is added on the way
    title_at_1: str = ""  # the title at eta 1, where that is another
    all_steps: bool = False  # whether it takes all steps of the schedule unless it is told how many

    @torch.inference_mode()
    def __call__(
        self,
        model: Model,
        x: Tensor,
        labels: Tensor,
        schedule: Schedule,
        grid: Sequence[int],
        eta: float = 0.0,  # how much noise is added on the way
        draw: Draw | None = None,  # that noise
        clip: bool = False,
        return_intermediates: bool = False,  # return the states at all steps of the grid and not the last alone
        progress: str = "",  # title of a bar; empty: none
    ) -> Tensor | list[Tensor]:
        """Walk along a grid of steps from the noise x; see the head of this file.

        With `clip`, the image that the model predicts at each step is kept within [-1, 1], and the noise is the one
        that goes with it: where hardly any of the image is left, a small error of the noise is a large one of it.
        """
        if not 0 <= eta <= 1:
            raise UserError(f"eta {eta}: give 0 to 1")
        if eta and draw is None:
            raise UserError(f"eta {eta} needs noise: give draw")
        if not all(0 <= s < t <= schedule.steps for t, s in pairwise(grid)) or len(grid) < 2:
            raise UserError(f"a grid falls from at most {schedule.steps} to at least 0, not {list(grid)}")
        rule = self.rule(schedule, grid, draw, **({"eta": eta} if self.has_eta or eta else {}))
        alpha_bar, states = schedule.alpha_bar.tolist(), [x]
        for t, s in tqdm(list(pairwise(grid)), desc=progress, unit="step", disable=not progress):
            noise = model(x, torch.full((len(x),), t / schedule.steps, device=x.device), labels)
            signal, rest = alpha_bar[t] ** 0.5, (1 - alpha_bar[t]) ** 0.5
            image = (x - rest * noise) / signal
            if clip:
                image = image.clamp(-1, 1)
                noise = (x - signal * image) / rest
            x = rule(x, image, noise, t, s)
            if return_intermediates:
                states.append(x)
        return states if return_intermediates else x


SAMPLERS = {
    "ddpm": Sampler(ddpm, "DDPM", all_steps=True),
    "ddim": Sampler(ddim, "DDIM", has_eta=True),
    "dpm-solver": Sampler(dpm_solver, "DPM-Solver++", has_eta=True, title_at_1="SDE-DPM-Solver++"),
}


@dataclass(frozen=True)
class SamplerSettings:
    """A sampler, and how it draws; `UserError` for other values."""

    sampler: str = "dpm-solver"  # a key of `SAMPLERS`
    steps: int | None = 20  # on the way, each with one call of the network or, with guidance, two; None: all steps
    guidance_weight: float = 0.0  # w of Ho and Salimans 2022, 0: none; the scale of other code is w + 1
    eta: float = 0.0  # in [0, 1], how much noise is added on the way; 0 for a sampler that has no eta
    spacing: str = "trailing"  # see `hw2lib.diffusion.schedule.grid`
    clip: bool = True  # keep predicted images within [-1, 1] on the way
    guidance_interval: tuple[float, float] = WHOLE  # the shares t/T that are guided; see `guided`

    def __post_init__(self) -> None:
        if self.sampler not in SAMPLERS:
            raise UserError(f"unknown sampler '{self.sampler}': choose one of {', '.join(SAMPLERS)}")
        if self.steps is not None and self.steps < 1:
            raise UserError(f"{self.steps} steps: give at least 1")
        if not 0 <= self.guidance_weight < math.inf:
            raise UserError(f"guidance weight {self.guidance_weight}: give 0 or more")
        low, high = self.guidance_interval
        if not 0 <= low < high <= 1:
            raise UserError(f"guidance interval {low:g} to {high:g}: give two shares of T from 0 to 1, the lower first")
        if self.guidance_interval != WHOLE and not self.guidance_weight:
            given = f"guidance interval {low:g} to {high:g} of the guidance weight 0"
            raise UserError(f"{given}: give a weight above 0, or the interval 0 to 1")
        if not 0 <= self.eta <= 1:
            raise UserError(f"eta {self.eta}: give 0 to 1")
        if self.eta and not SAMPLERS[self.sampler].has_eta:
            others = " or ".join(name for name, sampler in SAMPLERS.items() if sampler.has_eta)
            raise UserError(f"eta {self.eta}: {self.sampler} has none; choose {others}")
        if self.spacing not in SPACINGS:
            raise UserError(f"unknown spacing '{self.spacing}': choose one of {', '.join(SPACINGS)}")

    @property
    def name(self) -> str:
        """The sampler with its noise: ``DDIM, η = 1`` or ``SDE-DPM-Solver++``."""
        sampler = SAMPLERS[self.sampler]
        if self.eta == 1 and sampler.title_at_1:
            return sampler.title_at_1
        return sampler.title + (f", η = {self.eta:g}" if self.eta else "")

    @property
    def guided(self) -> str:
        """Which t/T are guided: ``all``, ``none`` or such as ``0.2 to 0.8``."""
        low, high = self.guidance_interval
        whole = "all" if self.guidance_weight else "none"
        return whole if self.guidance_interval == WHOLE else f"{low:g} to {high:g}"

    @property
    def short_title(self) -> str:
        """``20 steps of DPM-Solver++``."""
        return f"{'all' if self.steps is None else self.steps} steps of {self.name}"

    @property
    def title(self) -> str:
        """For a caption: ``20 steps of DPM-Solver++, w = 0.5`` or, with an interval, ``… at t/T of 0.2 to 0.8``."""
        where = "" if self.guidance_interval == WHOLE else f" at t/T of {self.guided}"
        return f"{self.short_title}, w = {self.guidance_weight:g}{where}"

    def calls(self, total: int) -> int:
        """How often the network is called for an image, with a schedule of `total` steps."""
        times = torch.tensor(grid_of(total, self.steps or total, self.spacing)[:-1]) / total
        return len(times) + (int(_within(times, self.guidance_interval).sum()) if self.guidance_weight else 0)


def _within(times: Tensor, interval: tuple[float, float]) -> Tensor:
    """Which t/T are guided: those above the lower end of the interval and up to the upper one."""
    return (times > interval[0]) & (times <= interval[1])


def guided(model: Model, weight: float, interval: tuple[float, float] = WHOLE, together: bool = False) -> Model:
    """A model with classifier-free guidance: (1 + w) c - w u (Ho and Salimans 2022, equation 6); at w = 0 the model.

    c is the prediction with the label, u the one without. Above the lower end of the interval of t/T and up to the
    upper one the model is guided (Kynkäänniemi et al. 2024, section 3); elsewhere it is called once, for c. A batch is
    of one time. `together` predicts both in one doubled batch, for GPUs.
    """
    if not 0 <= weight < math.inf:
        raise UserError(f"guidance weight {weight}: give 0 or more")
    if weight == 0:
        return model

    def with_guidance(x: Tensor, time: Tensor, labels: Tensor) -> Tensor:
        if not _within(time, interval).all():
            return model(x, time, labels)
        none = torch.full_like(labels, -1)
        if together:
            conditional, free = model(torch.cat([x, x]), time.repeat(2), torch.cat([labels, none])).chunk(2)
        else:
            conditional, free = model(x, time, labels), model(x, time, none)
        return free + (weight + 1) * (conditional - free)

    return with_guidance
