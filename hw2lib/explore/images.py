"""Explorers of denoisers and of generators: how their images follow from noise, label and sampler."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import ipywidgets as widgets
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from hw2lib.data.prepare import to_uint8
from hw2lib.diffusion import faces
from hw2lib.diffusion.face_experiments import PATHS, distance, path, shell, slerp
from hw2lib.diffusion.sample import DEFAULT, HOMEWORK, Denoiser, default_settings, draw_images, load, min_max, scaled
from hw2lib.diffusion.samplers import SAMPLERS, SamplerSettings, guided
from hw2lib.explore import Explorer, check_any, choice, int_slider, slider, stoppable, with_weights
from hw2lib.gan.networks import GAN
from hw2lib.gan.sample import generate
from hw2lib.gan.sample import load as load_gan
from hw2lib.noise import ImageNoise
from hw2lib.plots import PALETTE
from hw2lib.plots.grids import image_grid
from hw2lib.training.devices import check_device
from hw2lib.training.run_folder import RunFolder

SAMPLERS_SHOWN = sorted(SAMPLERS, key=lambda name: name != DEFAULT.sampler)  # the usual one first
LAST = 99  # seed, or number of a noise, on a slider
WAY = 20  # steps from noise to a digit
FACE_STEPS = 20
ALPHAS = np.linspace(0, 1, 41)


def denoiser(folders: Sequence[RunFolder] | None = None, device: str = "auto") -> Explorer:
    """Digits from noise: which digit, how strongly guided, by which sampler, in how many steps.

    Args:
        folders: finished runs of denoisers of digits; by default the one that ships.
        device: see `hw2lib.training.devices.check_device`.
    """
    names, loaded = _digits(folders, device)

    def draw(network, digit, guidance_weight, sampler, steps, images, seed) -> tuple[Figure, str]:
        check_any(names)
        settings = default_settings(network, sampler=sampler, steps=steps, guidance_weight=guidance_weight)
        one = loaded(network)
        drawn = draw_images(one, settings, seed, range(images), torch.full((images,), digit), mixed=True)
        pixels = to_uint8(scaled(drawn, one.network.inputs.size).cpu())
        figure = _row(pixels, [f"noise {number}" for number in range(images)], min(1.4, 9 / images))
        calls = settings.calls(one.schedule.steps)
        return figure, f"Digit {digit} by {settings.title}: {calls} calls of the network an image."

    controls = {
        "network": choice("network", names),
        "digit": int_slider("digit", 3, 0, 9),
        "guidance_weight": slider("guidance weight", DEFAULT.guidance_weight, 0, 6, 0.25),
        "sampler": choice("sampler", [(SAMPLERS[name].title, name) for name in SAMPLERS_SHOWN]),
        "steps": int_slider("steps", DEFAULT.steps, 1, 50),
        "images": int_slider("images", 3, 1, 10),
        "seed": int_slider("seed", 0, 0, LAST),
    }
    return Explorer(draw, controls)


def reverse_process(folders: Sequence[RunFolder] | None = None, device: str = "auto") -> Explorer:
    """A digit on its way from noise, and beside each state the clean image that the network predicts from it.

    Arguments as of `denoiser`.
    """
    names, loaded = _digits(folders, device)

    @functools.cache
    def way(network: str, digit: int, guidance_weight: float, seed: int) -> tuple[Tensor, Tensor, list[int]]:
        settings = default_settings(network, steps=WAY, guidance_weight=guidance_weight)
        return _way(loaded(network), settings, digit, seed)

    def draw(network, digit, guidance_weight, seed, step) -> tuple[Figure, str]:
        check_any(names)
        states, images, times = way(network, digit, guidance_weight, seed)
        total = loaded(network).schedule.steps
        pair = to_uint8(torch.stack([states[step], images[step]]))
        figure = _row(pair, [f"state, t = {times[step]:,}", "predicted clean image"], 1.8)
        return figure, f"Digit {digit} at t = {times[step]:,} of {total:,}, after {step} of {WAY} steps."

    controls = {
        "network": choice("network", names),
        "digit": int_slider("digit", 3, 0, 9),
        "guidance_weight": slider("guidance weight", DEFAULT.guidance_weight, 0, 6, 0.25),
        "seed": int_slider("seed", 0, 0, LAST),
        "step": int_slider("steps taken", WAY // 2, 0, WAY),
    }
    play = widgets.Play(min=0, max=WAY, value=WAY // 2, interval=300, description="play")
    widgets.link((play, "value"), (controls["step"], "value"))
    return Explorer(draw, controls, [play])


def _way(denoiser: Denoiser, settings: SamplerSettings, digit: int, seed: int) -> tuple[Tensor, Tensor, list[int]]:
    """The states of one digit at all steps of its way, the image predicted in each, and which steps t these are.

    Both are (steps + 1, 3, H, W) in about [-1, 1]. The last state, at t = 0, is its own prediction.
    """
    model = guided(denoiser.model(mixed=True), settings.guidance_weight, settings.guidance_interval)
    schedule, times, predicted = denoiser.schedule, denoiser.grid(settings), []

    def watched(x: Tensor, time: Tensor, labels: Tensor) -> Tensor:
        noise = model(x, time, labels)
        alpha_bar = float(schedule.alpha_bar[round(float(time) * schedule.steps)])
        predicted.append(((x - (1 - alpha_bar) ** 0.5 * noise) / alpha_bar**0.5).clamp(-1, 1))
        return noise

    noise = ImageNoise(seed, [0])
    start = noise.draw(3, denoiser.size, denoiser.size).to(denoiser.device, memory_format=torch.channels_last)
    label = torch.tensor([digit], device=denoiser.device)
    options = {"eta": settings.eta, "draw": noise.draw, "clip": settings.clip, "return_intermediates": True}
    states = SAMPLERS[settings.sampler](watched, start, label, schedule, times, **options)
    size = denoiser.network.inputs.size
    return *(scaled(torch.cat(some), size).cpu() for some in (states, [*predicted, states[-1]])), times


def eta(
    folders: Sequence[RunFolder] | None = None, device: str = "auto", unet: str = "", noise_dir: str = ""
) -> Explorer:
    """Two runs of DDIM from one noise, and how far apart their faces are.

    Args:
        folders: finished runs of denoisers of faces; by default the one that ships.
        device: see `hw2lib.training.devices.check_device`.
        unet, noise_dir: the homework's network and noise, see `hw2lib.diffusion.faces`; empty: ours.
    """
    names, loaded = _faces(folders, device, unet)

    def draw(network, eta, noise, steps) -> tuple[Figure, str]:
        check_any(names)
        one = loaded(network)
        start = faces.fixed_noise(noise_dir, one.size)[[noise, noise]]
        settings = replace(HOMEWORK, eta=eta, steps=steps)
        runs = min_max(_drawn(one, settings, start))
        apart = float(distance(runs[:1], runs[1:]))
        difference = (runs[0].int() - runs[1].int()).abs().to(torch.uint8)
        figure = _row(torch.stack([*runs, difference]), ["run 1", "run 2", "difference"], 1.8)
        return figure, f"{settings.short_title} from noise {noise:02d}: the runs differ by {apart:.1f} grey levels."

    controls = {
        "network": choice("network", names),
        "eta": slider("η", 0.5, 0, 1),
        "noise": int_slider("noise", 0, 0, len(faces.NAMES) - 1),
        "steps": int_slider("steps", FACE_STEPS, 2, 50),
    }
    return Explorer(draw, controls)


def interpolation(
    folders: Sequence[RunFolder] | None = None, device: str = "auto", unet: str = "", noise_dir: str = ""
) -> Explorer:
    """A face between those of two noises, along the arc and along the line, and the norm of its noise.

    Arguments as of `eta`.
    """
    names, loaded = _faces(folders, device, unet)

    def draw(network, alpha, first, second, steps) -> tuple[Figure, str]:
        check_any(names)
        one = loaded(network)
        a, b = faces.fixed_noise(noise_dir, one.size)[[first, second]]
        points = torch.stack([way(a, b, alpha) for way in PATHS.values()])
        images = min_max(_drawn(one, replace(HOMEWORK, steps=steps), points))
        figure, panels = plt.subplots(1, 3, figsize=(6.3, 2.2), layout="constrained", width_ratios=(1, 1, 1.6))
        for axes, image, name in zip(panels, images, PATHS, strict=False):
            axes.imshow(image.permute(1, 2, 0).numpy())
            axes.set(title=f"{name}, α = {alpha:g}", xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
        for (name, way), point, colour, marker in zip(PATHS.items(), points, PALETTE, "os", strict=False):
            panels[2].plot(ALPHAS, path(way, a, b, ALPHAS).flatten(1).norm(dim=1), color=colour, label=name)
            panels[2].plot(alpha, point.norm(), marker, ms=8, color=colour)
        panels[2].axhline(shell(a), ls="--", lw=0.9, color="black", label="shell of noise")
        panels[2].set(xlabel="α", title="norm of the noise", ylim=(0.65 * shell(a), 1.1 * shell(a)))
        panels[2].legend(loc="center", fontsize="small")
        norms = ", ".join(f"{name} {float(point.norm()):.1f}" for name, point in zip(PATHS, points, strict=True))
        return figure, f"Between noise {first:02d} and {second:02d} at α = {alpha:g}; norm of the noise: {norms}."

    controls = {
        "network": choice("network", names),
        "alpha": slider("α", 0.5, 0, 1),
        "first": int_slider("from noise", 0, 0, len(faces.NAMES) - 1),
        "second": int_slider("to noise", 1, 0, len(faces.NAMES) - 1),
        "steps": int_slider("steps", FACE_STEPS, 2, 50),
    }
    return Explorer(draw, controls)


Loader = Callable[[str], Denoiser]


def _digits(folders: Sequence[RunFolder] | None, device: str) -> tuple[list[str], Loader]:
    """The names of denoisers of digits, and what loads one by its name."""
    found = with_weights(folders, "context-unet-64")
    return list(found), _loader(lambda: {name: load(run, check_device(device)) for name, run in found.items()})


def _faces(folders: Sequence[RunFolder] | None, device: str, unet: str) -> tuple[list[str], Loader]:
    """The same for faces; for `unet` see `eta`."""
    found = with_weights(folders, "face-pyramid")
    names = [Path(unet).name] if unet else list(found)
    return names, _loader(lambda: faces.denoisers(unet, list(found.values()), check_device(device)))


def _loader(load_all: Callable[[], Mapping[str, Denoiser]]) -> Loader:
    """Loads all at the first call, in the drawing, where a `UserError` is shown."""
    denoisers = functools.cache(load_all)

    @functools.cache
    def loaded(name: str) -> Denoiser:
        stoppable(denoisers()[name].network)
        return denoisers()[name]

    return loaded


def _drawn(denoiser: Denoiser, settings: SamplerSettings, start: Tensor) -> Tensor:
    """Faces from noise (N, 3, H, W), the same shape in about [-1, 1]; what is added on the way differs between them."""
    labels = torch.full((len(start),), -1)
    return draw_images(denoiser, settings, 0, range(len(start)), labels, mixed=True, start=start).cpu()


def _row(images: Tensor, titles: Sequence[str], each: float) -> Figure:
    """Images (N, C, H, W) uint8 side by side, each so many inches wide."""
    return image_grid([images.numpy()], column_titles=titles, width=each * len(titles))


# Generators.


def gans(folders: Sequence[RunFolder] | None = None, device: str = "auto") -> Explorer:
    """A walk on the arc between two noises, by each generator of faces.

    Args:
        folders: finished runs of GANs on faces; by default those of A and B that ship.
        device: see `hw2lib.training.devices.check_device`.
    """
    loaded = _generators(folders, device, "gan-plain", "dcgan")

    def draw(first, second, alpha) -> tuple[Figure, str]:
        rows = [generate(gan.generator, _walk(gan, first, second, alpha)).cpu().numpy() for gan in loaded().values()]
        figure = image_grid(rows, list(loaded()), [f"noise {first}", f"α = {alpha:g}", f"noise {second}"], width=5)
        return figure, f"From noise {first} to noise {second} at α = {alpha:g}."

    return Explorer(draw, _walk_controls(0.5))


def acgan(folders: Sequence[RunFolder] | None = None, device: str = "auto") -> Explorer:
    """All ten digits of one noise, on the arc between two.

    Args:
        folders: a finished run of an ACGAN; by default the one that ships.
        device: see `hw2lib.training.devices.check_device`.
    """
    loaded = _generators(folders, device, "acgan")
    digits = torch.arange(10)

    def draw(first, second, alpha) -> tuple[Figure, str]:
        noises = [_walk(gan, first, second, alpha)[[1]].expand(10, -1) for gan in loaded().values()]
        drawn = [generate(gan.generator, noise, digits) for gan, noise in zip(loaded().values(), noises, strict=True)]
        figure = image_grid([images.cpu().numpy() for images in drawn], list(loaded()), list(map(str, range(10))))
        return figure, f"The same noise for all ten digits: from {first} to {second} at α = {alpha:g}."

    return Explorer(draw, _walk_controls(0.0))


def _generators(folders: Sequence[RunFolder] | None, device: str, *shipped: str) -> Callable[[], dict[str, GAN]]:
    """What loads GANs, by name."""
    found = with_weights(folders, *shipped)

    @functools.cache
    def loaded() -> dict[str, GAN]:
        check_any(found)
        gans = {name: load_gan(name, folder.weights, check_device(device)) for name, folder in found.items()}
        for gan in gans.values():
            stoppable(gan.generator)
        return gans

    return loaded


def _walk_controls(alpha: float) -> dict[str, widgets.ValueWidget]:
    ends = {"first": int_slider("from noise", 0, 0, LAST), "second": int_slider("to noise", 1, 0, LAST)}
    return ends | {"alpha": slider("α", alpha, 0, 1)}


def _walk(gan: GAN, first: int, second: int, alpha: float) -> Tensor:
    """The first noise, the one at alpha on the arc, and the second: (3, latent)."""
    a, b = ImageNoise(0, [first, second]).draw(gan.latent)
    return torch.stack([a, slerp(a, b, alpha), b])
