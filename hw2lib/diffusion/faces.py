"""Faces from given noise: by which denoiser, and how the homework keeps them."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from hw2lib import weights as weights_files
from hw2lib.data.prepare import to_uint8
from hw2lib.diffusion.networks import face_unet
from hw2lib.diffusion.sampling import Denoiser, SamplerSettings, draw_images, sample
from hw2lib.diffusion.schedule import linear
from hw2lib.diffusion.tables import load
from hw2lib.errors import UserError
from hw2lib.training import cards
from hw2lib.training.run_folder import RunFolder
from hw2lib.weights import fill

BATCH = 10  # images drawn at a time


def course(file: Path) -> Denoiser:
    """The homework's denoiser, for 256x256, from its ``UNet.pt``: a state_dict, alone or as an entry of that name.

    Raises:
        UserError: the file is damaged, holds code, which is never run, lacks a tensor or has one more, or one holds
            anything but finite numbers; it is named.
    """
    give = "the homework's UNet.pt"
    content = weights_files.read_torch(file, give)
    if isinstance(content, dict):
        content = content.get("state_dict", content)
    tensors = weights_files.named_tensors(content)
    if not tensors:
        raise UserError(f"{file}: holds no names and tensors; give {give}")
    if bad := [name for name, x in tensors.items() if not x.is_floating_point() or not x.isfinite().all()]:
        raise UserError(f"{file}: '{bad[0]}' holds no finite numbers; give {give}")
    network = face_unet.course()
    fill(network, tensors, file)
    return Denoiser(network.eval(), linear(1000), network.inputs.size, guidable=False, classes=0)


def denoisers(unet: str, folders: Sequence[RunFolder], device: torch.device | str) -> dict[str, Denoiser]:
    """Name to denoiser: the course's, if `unet` names its file, else those of finished runs; or none."""
    if not unet:
        return {folder.settings["network"]: load(folder, device) for folder in folders}
    file = Path(unet).expanduser()
    denoiser = course(file)
    denoiser.network.to(device)
    return {file.name: denoiser}


def provenance(unet: str, folders: Sequence[RunFolder]) -> str:
    """Whose weights those of `denoisers` are, for a caption."""
    return f"weights of {Path(unet).name}, the homework's network" if unet else cards.provenance(folders)


def draw(
    denoiser: Denoiser, settings: SamplerSettings, noise: Tensor, seed: int = 0, mixed: bool = False, progress: str = ""
) -> Tensor:
    """The faces that noise (N, 3, H, W) leads to, (N, 3, H, W) float32 in about [-1, 1], on the CPU.

    `seed` is of the noise that is added on the way, another for each face; `progress` is the title of a bar; for
    `mixed` see `draw_images`.
    """
    parts = []
    for first in range(0, len(noise), BATCH):
        start = noise[first : first + BATCH]
        numbers, labels = range(first, first + len(start)), torch.full((len(start),), -1)
        parts.append(draw_images(denoiser, settings, seed, numbers, labels, mixed, start, progress=progress).cpu())
    return torch.cat(parts)


def draw_set(folder: RunFolder, seed: int, count: int, settings: SamplerSettings, device: torch.device | str) -> Tensor:
    """The first faces of a seed from a finished run, uint8 (count, 3, H, W) on the CPU, in mixed precision."""
    return sample(load(folder, device), settings, seed, count, mixed=True)[0]


def min_max(images: Tensor) -> Tensor:
    """Images (N, C, H, W) to 0 to 255, each from its own lowest value to its highest over all channels; flat ones to 0.

    So the homework saves them. It stretches the contrast of an image that lacks any.
    """
    low, high = images.amin((1, 2, 3), keepdim=True), images.amax((1, 2, 3), keepdim=True)
    return (255 * (images - low) / (high - low).clamp(min=1e-12)).round().to(torch.uint8)


NORMALISATIONS = {"min-max": min_max, "range": to_uint8}  # range: -1 to 1 for all images alike
