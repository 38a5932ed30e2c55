"""Faces from given noise: the noise 00 to 09 of the homework, the denoisers, and the faces that they draw."""

import io
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from hw2lib import paths, used, weights
from hw2lib.data import FACES
from hw2lib.data.folders import images_dir
from hw2lib.diffusion.sample import Denoiser, draw_images, load, load_course, sample
from hw2lib.diffusion.samplers import SamplerSettings
from hw2lib.errors import UserError
from hw2lib.files import whole
from hw2lib.kept import kept
from hw2lib.noise import ImageNoise
from hw2lib.training import cards
from hw2lib.training.recipe import Trainings
from hw2lib.training.run_folder import RunFolder

SEED = 0  # of the named noise
LARGEST = 1024  # pixels
NAMES = tuple(f"{number:02d}" for number in range(10))
BATCH = 10  # images drawn at a time

TRAININGS = Trainings(["face-pyramid"], with_weights=True)
NOTEBOOKS = ("12_gan_scores", "40_ddim_eta", "41_ddim_interpolation", "42_ddim_consistency")
REPORT = {notebook: [TRAININGS] for notebook in NOTEBOOKS}


def named_noise(size: int) -> Tensor:
    """(10, 3, size, size) float32, normal: the first ten of seed 0, with which faces 0000 to 0009 begin as well."""
    return ImageNoise(SEED, range(len(NAMES))).draw(3, size, size)


def write_noise(folder: Path, size: int, overwrite: bool = False) -> None:
    """Write `named_noise` as ``00.pt`` to ``09.pt``, float32 (1, 3, size, size) each, as the homework has them.

    `UserError` for a size out of range, files that are there, and a bad disk; what was there stays then.
    """
    if not 1 <= size <= LARGEST:
        raise UserError(f"size {size}: give 1 to {LARGEST} pixels")
    if not overwrite and (there := [name for name in NAMES if (folder / f"{name}.pt").exists()]):
        raise UserError(f"{folder}: has {there[0]}.pt already; choose another folder, or add --overwrite")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as files:  # all ten are written before the first replaces an earlier one
            for name, noise in zip(NAMES, named_noise(size).split(1), strict=True):
                content = io.BytesIO()
                torch.save(noise.clone(), content)  # a view would bring all ten along
                files.enter_context(whole(folder / f"{name}.pt")).write_bytes(content.getvalue())
    except OSError as error:
        raise UserError(f"{error.filename or folder}: {error.strerror}; choose a folder that can be written") from None


def read_noise(folder: Path, size: int) -> Tensor:
    """The noise in ``00.pt`` to ``09.pt``, (10, 3, size, size) float32.

    `UserError` for a file that is missing or damaged, and for anything but one finite noise of that size.
    """
    give = f"a tensor (1, 3, {size}, {size}) of floats in a file of torch.save; hw2 noise --size {size} writes such"
    noises = []
    for file in (folder / f"{name}.pt" for name in NAMES):
        noise = weights.read_torch(file, give)
        if not weights.is_plain(noise):
            raise UserError(f"{file}: holds a {type(noise).__name__} that is no plain tensor; give {give}")
        if noise.shape not in ((1, 3, size, size), (3, size, size)) or not noise.is_floating_point():
            kind = str(noise.dtype).removeprefix("torch.")
            raise UserError(f"{file}: holds {tuple(noise.shape)} {kind}; give {give}")
        noise = noise.detach().float().reshape(1, 3, size, size)
        if not noise.isfinite().all():
            raise UserError(f"{file}: holds numbers that are not finite; give {give}")
        noises.append(noise)
    return torch.cat(noises)


class Homework(NamedTuple):
    """What the homework of 2023 hands out for DDIM, as paths; "" for what is ours."""

    unet: str
    noise_dir: str
    truth_dir: str


def homework(unet: str, noise_dir: str, truth_dir: str, data_dir: str = "") -> Homework:
    """The homework's network, noise and truth: those given, else with the network those below ``face/``.

    They are ``UNet.pt``, ``noise`` and ``GT`` in the folder of `hw2lib.data.folders.images_dir`. No network is looked
    for where `unet` is ``ours``, and without one neither noise nor truth.
    """

    def found(name: str) -> str:
        path = images_dir(data_dir) / FACES / name
        if path.exists():
            return str(path)
        used.note("absent", f"{FACES}/{name}", "none")  # so that a record is out of date once it is there
        return ""

    unet = unet or found("UNet.pt")
    if unet in ("", paths.OURS):
        return Homework("", noise_dir, truth_dir)
    return Homework(unet, noise_dir or found("noise"), truth_dir or found("GT"))


def fixed_noise(folder: str, size: int) -> Tensor:
    """Noise 00 to 09, (10, 3, size, size): that of a folder, or, where `folder` is empty, `named_noise`."""
    return read_noise(Path(folder).expanduser(), size) if folder else named_noise(size)


def denoisers(unet: str, folders: Sequence[RunFolder], device: torch.device | str) -> dict[str, Denoiser]:
    """Name to denoiser: the homework's, if `unet` names its file, else those of finished runs."""
    if not unet:
        return {folder.settings["network"]: load(folder, device) for folder in folders}
    file = Path(unet).expanduser()
    return {file.name: load_course(file, device)}


def provenance(unet: str, folders: Sequence[RunFolder]) -> str:
    """Whose weights those of `denoisers` are, for a caption."""
    return f"weights of {Path(unet).name}, the homework's network" if unet else cards.provenance(folders)


@kept
def draw(
    denoiser: Denoiser, settings: SamplerSettings, noise: Tensor, seed: int = 0, mixed: bool = False, progress: str = ""
) -> Tensor:
    """The faces that noise (N, 3, H, W) leads to, (N, 3, H, W) float32 in about [-1, 1], on the CPU.

    `seed` is of the noise that is added on the way, another for each face. For the others see `draw_images`.
    """
    parts = []
    for numbers in torch.arange(len(noise)).split(BATCH):
        start, labels = noise[numbers], torch.full_like(numbers, -1)
        batch = draw_images(denoiser, settings, seed, numbers.tolist(), labels, mixed, start, progress=progress)
        parts.append(batch.cpu())
    return torch.cat(parts)


@kept
def draw_set(folder: RunFolder, seed: int, count: int, settings: SamplerSettings, device: torch.device | str) -> Tensor:
    """The first faces of a seed from a finished run, uint8 (count, 3, H, W) on the CPU, in mixed precision."""
    return sample(load(folder, device), settings, seed, count, mixed=True)[0]
