"""Images from a generator: seeded one by one, and the same whatever is drawn beside them."""

import copy

import torch
from torch import Tensor, nn

from hw2lib.data.prepare import to_uint8
from hw2lib.gan.networks import GAN
from hw2lib.noise import ImageNoise

BATCH = 50  # images drawn at a time


@torch.inference_mode()
def generate(generator: nn.Module, noise: Tensor, labels: Tensor | None = None) -> Tensor:
    """Images (N, C, H, W) uint8 of noise (N, latent), and of labels (N,) if the generator takes them.

    In float32 whatever the device, so that an image does not depend on the batch it is drawn in.
    """
    device = next(generator.parameters()).device
    generator = generator.eval()
    parts = []
    for i in range(0, len(noise), BATCH):
        inputs = [noise[i : i + BATCH].to(device)]
        if labels is not None:
            inputs.append(labels[i : i + BATCH].to(device))
        parts.append(to_uint8(generator(*inputs)))
    return torch.cat(parts)


def sample(gan: GAN, generator: nn.Module, seed: int, count: int) -> tuple[Tensor, Tensor | None]:
    """The first `count` images of a seed, and their labels.

    With classes these take turns, 0 to 9, and each noise serves all of them. `generator` is that of `gan`, or an
    average of it.
    """
    if not gan.classes:
        return generate(generator, ImageNoise(seed, range(count)).draw(gan.latent)), None
    labels = torch.arange(count) % gan.classes
    noise = ImageNoise(seed, range(-(-count // gan.classes))).draw(gan.latent)
    return generate(generator, noise.repeat_interleave(gan.classes, 0)[:count], labels), labels


@torch.no_grad()
def with_standing_statistics(gan: GAN, generator: nn.Module, batch: int, batches: int = 16) -> nn.Module:
    """A copy of an averaged generator whose BatchNorm statistics are its own (Brock et al. 2019, section 3).

    Averaged weights pass on other activations than any of the weights that they are the mean of, so an average of
    those weights' statistics does not fit them, and the same holds for the vectors of spectral normalisation. The
    statistics are taken from `batches` batches of noise, drawn from torch's global generator, of the size `batch` that
    it learned with.
    """
    generator = copy.deepcopy(generator).train()
    norms = [layer for layer in generator.modules() if isinstance(layer, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over all batches
    device = next(generator.parameters()).device
    for _ in range(batches):
        inputs = [torch.randn(batch, gan.latent, device=device)]
        if gan.classes:
            inputs.append(torch.randint(gan.classes, (batch,), device=device))
        generator(*inputs)
    for norm in norms:
        norm.momentum = 0.1
    return generator.eval()
