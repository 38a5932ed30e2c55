"""Drawn images as files, named as the homework asks.

``0000.png`` ... for faces, ``00.png`` to ``09.png`` for those of fixed noise, ``7_001.png`` ... for digits.

An image depends on the weights, the seed, its number and its digit alone, and that of a denoiser on its sampler. Sums
may be rounded otherwise in a batch of another size, so each image is always drawn in the same place of a full batch,
whatever is asked for.
"""

import hashlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from hw2lib.data.image_folder import Batch, write_images
from hw2lib.diffusion import fixed_noise
from hw2lib.diffusion.drawer import DenoiserDrawer, default
from hw2lib.diffusion.recipe import OF_FACES
from hw2lib.diffusion.sampling import SamplerSettings
from hw2lib.errors import UserError
from hw2lib.files import read_json
from hw2lib.gan.sample import GeneratorDrawer
from hw2lib.networks import names
from hw2lib.noise import LARGEST_SEED
from hw2lib.training.devices import check_device
from hw2lib.training.run_folder import shipped_weights

MOST = 1_000_000  # images, as `ImageNoise` spaces seeds


class Drawer(Protocol):
    """A trained network, ready to draw.

    Attributes:
        batch: how many images are drawn at a time.
        digits: how many there are to choose from; 0: images have no digit.
        settings: what images depend on besides the weights, the seed, number and digit, as plain JSON data.
    """

    batch: int
    digits: int
    settings: dict[str, Any]

    def draw(self, seed: int, digit: int | None, first: int) -> Tensor:
        """A batch of images of a seed and a digit, from number `first` on, uint8 (batch, C, H, W)."""


def write(
    network: str,
    folder: Path,
    count: int | None = None,
    seed: int = 0,
    digits: Sequence[int] = (),
    weights: Path | None = None,
    device: str = "auto",
    overwrite: bool = False,
    ema: bool = False,
    sampler: SamplerSettings | None = None,
    noise: Path | None = None,
    normalise: str | None = None,
) -> int:
    """Draw images and write them; an interrupted set is completed.

    Args:
        network: the name of a GAN or a denoiser.
        folder: where to, see `write_images`.
        count: how many images in all, by default 1,000, or 100 of each digit.
        seed: of the noise. The i-th image of each digit has the same noise.
        digits: which digits, by default all; for networks with classes only.
        weights: a safetensors file of the generator or the denoiser, by default that of the run that ships. The
            ``card.json`` beside it says how it was trained; without one, a denoiser is taken for one of the recipe
            ``ours``.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        overwrite: replace an earlier set.
        ema: refuse weights that are not known to be a moving average. A run's ``weights.safetensors`` is the average
            wherever its recipe asks for one.
        sampler: of a denoiser, by default `hw2lib.diffusion.drawer.default`.
        noise: a folder of fixed noise, ``00.pt`` to ``09.pt`` (`hw2lib.diffusion.fixed_noise`), from which a denoiser
            of faces draws ten.
        normalise: of a denoiser: ``range`` or ``min-max`` (`hw2lib.diffusion.faces`), by default the second for fixed
            noise, as the homework has it, and else the first.

    Returns:
        How many images the set has.

    Raises:
        UserError: bad input; nothing is written then.
    """
    if network not in names("gan", "diffusion"):
        known = ", ".join(names("gan", "diffusion"))
        raise UserError(f"'{network}' is no network that draws images: choose one of {known}")
    if not 0 <= seed <= LARGEST_SEED:
        raise UserError(f"--seed {seed}: give 0 to {LARGEST_SEED}")
    if network in names("gan") and (sampler or normalise):
        raise UserError(f"{network} is no denoiser: leave the options of denoisers out, such as --sampler and --steps")
    if noise and network not in OF_FACES:
        raise UserError(f"{network} draws no faces from noise of their size: leave --noise out")
    if noise and count not in (None, len(fixed_noise.NAMES)):
        raise UserError(f"--count {count}: --noise is of {len(fixed_noise.NAMES)} images; leave --count out")
    where = check_device(device)
    file = weights or shipped_weights(network).weights
    training = _training(network, file, ema)
    drawer: Drawer
    if network in names("diffusion"):
        start = partial(fixed_noise.read, noise) if noise else None
        normalise = normalise or ("min-max" if noise else "range")
        drawer = DenoiserDrawer(network, file, where, sampler or default(network), training, start, normalise)
    else:
        drawer = GeneratorDrawer(network, file, where)
    chosen = _chosen_digits(network, drawer.digits, digits)
    files = {None: [f"{name}.png" for name in fixed_noise.NAMES]} if noise else _names(count, chosen)
    drawn = sum(map(len, files.values()))
    settings = {"network": network, "weights": _sha256(file), "seed": seed, "count": drawn}
    if drawer.digits:
        settings["digits"] = chosen
    batches = [
        Batch(names_of_digit[first : first + drawer.batch], partial(drawer.draw, seed, digit, first))
        for digit, names_of_digit in files.items()
        for first in range(0, len(names_of_digit), drawer.batch)
    ]
    write_images(folder, batches, settings | drawer.settings, overwrite)
    return drawn


def _training(network: str, weights: Path, ema: bool) -> dict[str, Any] | None:
    """The settings of the run that made the weights, by the card beside them; None without a card."""
    card = weights.parent / "card.json"
    if not card.exists():
        if ema:
            raise UserError(f"{weights}: no card.json beside it says whether this is a moving average; leave --ema out")
        return None
    settings = read_json(card).get("settings")
    if not isinstance(settings, dict) or "network" not in settings:
        raise UserError(f"{card}: not the card of a run; move the weights to where no such file is beside them")
    if settings["network"] != network:
        raise UserError(f"{weights}: weights of {settings['network']}, says the card.json beside it, not of {network}")
    if ema and not settings.get("ema_decay"):
        raise UserError(f"{weights}: no moving average, says the card.json beside it; leave --ema out")
    return settings


def _chosen_digits(network: str, classes: int, digits: Sequence[int]) -> list[int | None]:
    """The classes to draw in order; [None] for a network without."""
    if not classes:
        if digits:
            raise UserError(f"{network} has no digits to choose from; leave --digit out")
        return [None]
    if wrong := [digit for digit in digits if not 0 <= digit < classes]:
        raise UserError(f"--digit {wrong[0]}: give 0 to {classes - 1}")
    return sorted(set(digits)) or list(range(classes))


def _count_of_each(count: int | None, chosen: list[int | None]) -> int:
    if count is None:
        return 1000 if chosen == [None] else 100
    if not 0 < count <= MOST:
        raise UserError(f"--count {count}: give 1 to {MOST} images")
    if count % len(chosen):
        raise UserError(f"--count {count}: in all, of {len(chosen)} digits alike; give a multiple of {len(chosen)}")
    return count // len(chosen)


def _names(count: int | None, chosen: list[int | None]) -> dict[int | None, list[str]]:
    """Of each digit, `count` in all."""
    each = _count_of_each(count, chosen)
    return {digit: [_name(digit, i, each) for i in range(each)] for digit in chosen}


def _name(digit: int | None, i: int, each: int) -> str:
    if digit is None:
        return f"{i:0{max(4, len(str(each - 1)))}d}.png"
    return f"{digit}_{i + 1:0{max(3, len(str(each)))}d}.png"


def _sha256(file: Path) -> str:
    with open(file, "rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
