"""The forward process from an image to noise: how much of the image each step leaves, and which steps a sampler visits.

Steps t count from 1, the least noise, to T; step 0 is the image itself. Code that counts from 0 calls step t t - 1.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from hw2lib.errors import UserError


@dataclass(frozen=True, eq=False)
class Schedule:
    """A noise schedule: the share of the image's variance that is left at steps 0 to T, (T + 1,) float64, from 1 down.

    `UserError` if it rises or stands still, leaves (0, 1], or does not begin at 1.
    """

    alpha_bar: Tensor

    def __post_init__(self) -> None:
        table = self.alpha_bar
        if table.ndim != 1 or len(table) < 2 or table.dtype != torch.float64 or table[0] != 1:
            raise UserError("a schedule is float64 and has alpha-bar of steps 0 to T, 1 at step 0")
        rising = ((table[1:] >= table[:-1]) | ~table[1:].isfinite()).nonzero()
        if len(rising):
            step = int(rising[0]) + 1
            change = f"alpha-bar goes from {float(table[step - 1]):.6g} to {float(table[step]):.6g} at step {step}"
            raise UserError(f"{change}: it has to fall; give betas above 0 and below 1")
        if table[-1] <= 0:
            raise UserError(f"alpha-bar is {float(table[-1]):.6g} at step {len(table) - 1}: it has to stay above 0")

    @property
    def steps(self) -> int:
        """T."""
        return len(self.alpha_bar) - 1

    @property
    def beta(self) -> Tensor:
        """(T,) float64: the share of noise that each of the steps 1 to T adds."""
        return 1 - self.alpha_bar[1:] / self.alpha_bar[:-1]


def linear(steps: int, first: float = 1e-4, last: float = 2e-2) -> Schedule:
    """Betas evenly from `first` to `last` (Ho et al. 2020, section 4)."""
    alphas = 1 - torch.linspace(first, last, _checked(steps), dtype=torch.float64)
    return Schedule(torch.cat([torch.ones(1, dtype=torch.float64), alphas.cumprod(0)]))


def cosine(steps: int, offset: float = 0.008) -> Schedule:
    """A squared cosine (Nichol and Dhariwal 2021, equation 17), T + 1 in place of T, so that no beta needs clipping."""
    t = torch.arange(_checked(steps) + 1, dtype=torch.float64)
    f = (math.pi / 2 * (t / (steps + 1) + offset) / (1 + offset)).cos().square()
    return Schedule(f / f[0])


def karras(steps: int, lowest: float = 0.02, highest: float = 50.0, rho: float = 5.0) -> Schedule:
    """Noise for 1 of signal, from `lowest` to `highest`, evenly in its `rho`-th root (Karras et al. 2022, equation 5).

    Ours for faces of 64x64: on the way to them, fifty evenly spread steps of it err less than of the other schedules.
    """
    ratio = torch.linspace(lowest ** (1 / rho), highest ** (1 / rho), _checked(steps), dtype=torch.float64) ** rho
    return Schedule(torch.cat([torch.ones(1, dtype=torch.float64), 1 / (1 + ratio.square())]))


SCHEDULES = {"linear": linear, "cosine": cosine, "karras": karras}


def _checked(steps: int) -> int:
    if steps < 1:
        raise UserError(f"a schedule of {steps} steps: give at least 1")
    return steps


SPACINGS = ("trailing", "leading", "leading-offset")


def grid(total: int, count: int, spacing: str = "trailing") -> list[int]:
    """The steps that a sampler visits, from noise to image: `count` steps, and where the last one ends.

    With T = 1,000 and 50 steps, ``trailing`` is 1000, 980, ..., 20, 0. It begins at T itself. The other two come from
    public DDIM code: ``leading`` is 981, 961, ..., 1, 0, and ``leading-offset`` is 982, 962, ..., 2, 1, whose last
    step leaves a trace of noise. Both take whole strides, so they begin far from T where `count` is above T / 2.
    `UserError` for no steps, more than T or than a spacing has room for, and an unknown spacing.
    """
    if not 1 <= count <= total:
        raise UserError(f"{count} steps: give 1 to {total}, the number of steps that the network was trained for")
    if spacing == "trailing":
        return [round(total * (count - i) / count) for i in range(count + 1)]
    stride = total // count
    if spacing == "leading" and (stride > 1 or count == total):
        return [stride * i + 1 for i in reversed(range(count))] + [0]
    if spacing == "leading-offset" and stride > 1:
        return [stride * i + 2 for i in reversed(range(count))] + [1]
    if spacing in SPACINGS:
        most = f"{total // 2} at most" + (f", or all {total}" if spacing == "leading" else "")
        raise UserError(f"{count} steps: the spacing {spacing} takes {most}")
    raise UserError(f"unknown spacing '{spacing}': choose one of {', '.join(SPACINGS)}")


def noised(images: Tensor, noise: Tensor, t: Tensor, schedule: Schedule) -> Tensor:
    """Images (N, ...) at steps t (N,): sqrt(alpha_bar) x + sqrt(1 - alpha_bar) noise (Ho et al. 2020, equation 4)."""
    alpha_bar = schedule.alpha_bar.to(t.device)[t].reshape(-1, *[1] * (images.ndim - 1))
    return alpha_bar.sqrt().to(images.dtype) * images + (1 - alpha_bar).sqrt().to(images.dtype) * noise


def velocity(images: Tensor, noise: Tensor, t: Tensor, schedule: Schedule) -> Tensor:
    """What a network may predict in place of the noise: sqrt(alpha_bar) noise - sqrt(1 - alpha_bar) images.

    Of images (N, ...) at steps t (N,) (Salimans and Ho 2022, appendix D). Where there is much noise, it is the image.
    """
    return noised(noise, -images, t, schedule)


def noise_of(velocity: Tensor, noisy: Tensor, t: Tensor, schedule: Schedule) -> Tensor:
    """The noise in images at steps t, by `velocity`: sqrt(alpha_bar) velocity + sqrt(1 - alpha_bar) noisy."""
    return noised(velocity, noisy, t, schedule)


def min_snr_weights(t: Tensor, schedule: Schedule, cap: float) -> Tensor:
    """Weights (N,) of the loss of noise at steps t (N,): min(SNR, cap) / SNR (Hang et al. 2023, section 3.4).

    The signal-to-noise ratio is alpha_bar / (1 - alpha_bar). Where there is little noise, the loss is large and says
    little about what the image shows.
    """
    alpha_bar = schedule.alpha_bar.to(t.device)[t]
    return (cap * (1 - alpha_bar) / alpha_bar).clamp(max=1).float()


def cosine_steps(count: int, schedule: Schedule, device: torch.device) -> Tensor:
    """Steps (count,) of any schedule, as noisy as steps that are drawn evenly from the cosine schedule.

    A schedule whose steps suit a sampler visits much noise more often than there is to be learned about it.
    """
    alpha_bar = (math.pi / 2 * torch.rand(count, dtype=torch.float64, device=device)).cos().square()
    return torch.searchsorted(-schedule.alpha_bar.to(device), -alpha_bar).clamp(1, schedule.steps)


def dropped(labels: Tensor, probability: float) -> Tensor:
    """Labels (N,), each replaced by -1, no label, with that probability (Ho and Salimans 2022)."""
    return labels.masked_fill(torch.rand(labels.shape, device=labels.device) < probability, -1)
