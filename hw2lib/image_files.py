"""Drawn images as files, named as the homework asks.

``0000.png`` ... for faces, ``00.png`` to ``09.png`` for those of fixed noise, ``7_001.png`` ... for digits.

An image depends on the weights, the sampler, the seed, its number and its digit alone. Sums are rounded otherwise in a
batch of another size, so each image is always drawn in the same place of a full batch.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from hw2lib import used
from hw2lib.data.image_folder import Batch, write_images
from hw2lib.diffusion import faces
from hw2lib.diffusion.recipe import OF_FACES
from hw2lib.diffusion.sample import DenoiserDrawer, default_settings
from hw2lib.diffusion.samplers import SamplerSettings
from hw2lib.errors import UserError
from hw2lib.files import read_json
from hw2lib.gan.sample import GeneratorDrawer
from hw2lib.networks import names
from hw2lib.noise import LARGEST_SEED
from hw2lib.training.devices import check_device
from hw2lib.training.run_folder import shipped_weights
from hw2lib.weights import is_safetensors

MOST = 1_000_000  # images, as `ImageNoise` spaces seeds


class Drawer(Protocol):
    """A trained network, ready to draw."""

    batch: int  # how many images are drawn at a time
    digits: int  # how many there are to choose from; 0: images have no digit
    settings: dict[str, Any]  # what images depend on besides the weights, the seed, number and digit, as JSON data

    def draw(self, seed: int, digit: int | None, first: int) -> Tensor:
        """A batch of images of a seed and a digit, from number `first` on, uint8 (batch, C, H, W)."""


def write(
    network: str,
    folder: Path,
    count: int | None = None,  # of all images, by default 1,000, or 100 of each digit
    seed: int = 0,  # of the noise; the i-th image of each digit has the same noise
    digits: Sequence[int] = (),  # by default all; for networks with classes only
    weights: Path | None = None,
    device: str = "auto",
    overwrite: bool = False,  # replace an earlier set
    ema: bool = False,  # refuse weights that are not known to be a moving average
    sampler: SamplerSettings | None = None,  # of a denoiser; None: `default_settings`
    noise: Path | None = None,  # a folder of `faces.write_noise`, from which a denoiser of faces draws ten
    normalise: str | None = None,  # of a denoiser: range, or min-max, the default with `noise`, as the homework has it
) -> int:
    """Draw images and write them, and return how many there are; an interrupted set is completed.

    The weights are a file of a GAN's generator or a denoiser (`hw2lib.weights.load`), by default those that ship. The
    ``card.json`` beside it says how it was trained; without one, the recipe ``ours`` is assumed. Bad input is a
    `UserError`, and nothing is written.
    """
    known, denoises = names("gan", "diffusion"), network in names("diffusion")
    if network not in known:
        raise UserError(f"'{network}' is no network that draws images: choose one of {', '.join(known)}")
    if not 0 <= seed <= LARGEST_SEED:
        raise UserError(f"--seed {seed}: give 0 to {LARGEST_SEED}")
    if not denoises and (sampler or normalise):
        raise UserError(f"{network} is no denoiser: leave the options of denoisers out, such as --sampler and --steps")
    if noise and network not in OF_FACES:
        raise UserError(f"{network} draws no faces from noise of their size: leave --noise out")
    if noise and count not in (None, len(faces.NAMES)):
        raise UserError(f"--count {count}: --noise is of {len(faces.NAMES)} images; leave --count out")
    where = check_device(device)
    file = weights or shipped_weights(network).weights
    training = _training(network, file, ema)
    drawer: Drawer
    if denoises:
        start = partial(faces.read_noise, noise) if noise else None
        normalise = normalise or ("min-max" if noise else "range")
        drawer = DenoiserDrawer(network, file, where, sampler or default_settings(network), training, start, normalise)
    else:
        drawer = GeneratorDrawer(network, file, where)
    chosen = _chosen_digits(network, drawer.digits, digits)
    files = {None: [f"{name}.png" for name in faces.NAMES]} if noise else _names(count, chosen)
    total = sum(map(len, files.values()))
    settings = {"network": network, "weights": used.digest_of_file(file), "seed": seed, "count": total}
    settings |= {"digits": chosen} if drawer.digits else {}
    batches = [
        Batch(names_of_digit[first : first + drawer.batch], partial(drawer.draw, seed, digit, first))
        for digit, names_of_digit in files.items()
        for first in range(0, len(names_of_digit), drawer.batch)
    ]
    write_images(folder, batches, settings | drawer.settings, overwrite)
    return total


def _training(network: str, weights: Path, ema: bool) -> dict[str, Any] | None:
    """The settings of the run that made the weights, by the card beside them; None without a card."""
    if ema and not is_safetensors(weights):
        raise UserError(f"{weights}: a file of torch.save, not known to be a moving average; leave --ema out")
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
    if digits and not classes:
        raise UserError(f"{network} has no digits to choose from; leave --digit out")
    if wrong := [digit for digit in digits if not 0 <= digit < classes]:
        raise UserError(f"--digit {wrong[0]}: give 0 to {classes - 1}")
    return sorted(set(digits)) or list(range(classes)) or [None]


def _names(count: int | None, chosen: list[int | None]) -> dict[int | None, list[str]]:
    """Names of the files of each digit, `count` in all."""
    if count is None:
        count = 1000 if chosen == [None] else 100 * len(chosen)
    if not 0 < count <= MOST:
        raise UserError(f"--count {count}: give 1 to {MOST} images")
    if count % len(chosen):
        raise UserError(f"--count {count}: in all, of {len(chosen)} digits alike; give a multiple of {len(chosen)}")
    each = count // len(chosen)
    if chosen == [None]:
        return {None: [f"{i:0{max(4, len(str(each - 1)))}d}.png" for i in range(each)]}
    width = max(3, len(str(each)))
    return {digit: [f"{digit}_{i + 1:0{width}d}.png" for i in range(each)] for digit in chosen}
