"""Generative adversarial networks: pairs of a generator and a discriminator, for 64x64 faces and 28x28 digits.

Noise enters as (N, latent) and images leave in [-1, 1]. All but SAGAN start from the weights of DCGAN (Radford et al.
2016): N(0, 0.02) for convolutions, N(1, 0.02) for the scale of batch normalisation. Parameters are counted as those
of the generator + those of the discriminator.
"""

from collections.abc import Callable
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from hw2lib.layers import Inputs, Parts, Sigmoid

_LEAKY = partial(nn.LeakyReLU, 0.2)


class Generator(nn.Sequential):
    """Noise (N, latent) to images (N, 3, 64, 64) in [-1, 1]."""

    def forward(self, noise: Tensor) -> Tensor:
        return super().forward(noise[:, :, None, None])


class Discriminator(nn.Sequential):
    """Images (N, 3, 64, 64) in [-1, 1] to (N,): the probability of being real, or, without a last sigmoid, a score."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images).flatten()


class GAN(nn.Module):
    """A generator and its discriminator.

    The generator maps noise (N, latent), and with `classes` also labels (N,), to images (N, C, size, size) in [-1, 1];
    the discriminator maps images to (N,), and with `classes` also to class logits (N, classes).
    """

    def __init__(
        self, generator: nn.Module, discriminator: nn.Module, latent: int, inputs: Inputs, classes: int = 0
    ) -> None:
        super().__init__()
        self.generator, self.discriminator = generator, discriminator
        self.latent, self.inputs, self.classes = latent, inputs, classes

    @property
    def parts(self) -> Parts:
        """For tables and drawings: both networks by title, each with an example of its inputs."""
        inputs = (torch.zeros(1, self.latent), torch.zeros(1, dtype=torch.int64))[: 2 if self.classes else 1]
        images = torch.zeros(1, self.inputs.channels, self.inputs.size, self.inputs.size)
        return {"generator": (self.generator, inputs), "discriminator": (self.discriminator, (images,))}


def _initialised(gan: GAN) -> GAN:
    for layer in gan.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, 0.0, 0.02)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1.0, 0.02)
    return gan


def _generator(width: int, kernel: int, norm: bool = True) -> Generator:
    """Four doublings: `width` channels at 4x4, then half as many at each size, and images at 64x64."""
    double = (kernel, 2, (kernel - 1) // 2, kernel % 2)  # kernel, stride, padding and output padding
    layers: list[nn.Module] = []
    for i, o in pairwise([100, width, width // 2, width // 4, width // 8]):
        layers.append(nn.ConvTranspose2d(i, o, *(double if layers else (4, 1, 0)), bias=False))
        layers += [nn.BatchNorm2d(o), nn.ReLU()] if norm else [nn.ReLU()]
    return Generator(*layers, nn.ConvTranspose2d(o, 3, *double, bias=False), nn.Tanh())


def _discriminator(
    norm: Callable[[int, int], list[nn.Module]], activation: Callable[[], nn.Module], *last: nn.Module
) -> Discriminator:
    """Four halvings and a last convolution; `norm` makes the layers for (channels, size) behind three."""
    layers: list[nn.Module] = [nn.Conv2d(3, 64, 4, 2, 1, bias=False), activation()]
    for i, o, size in [(64, 128, 16), (128, 256, 8), (256, 512, 4)]:
        layers += [nn.Conv2d(i, o, 4, 2, 1, bias=False), *norm(o, size), activation()]
    return Discriminator(*layers, nn.Conv2d(512, 1, 4, 1, 0, bias=False), *last)


def plain() -> GAN:
    """DCGAN without normalisation and with ReLU in both networks: the weak baseline. 3,574,784 + 2,763,776."""
    discriminator = _discriminator(lambda channels, size: [], nn.ReLU, Sigmoid())
    return _initialised(GAN(_generator(512, 4, norm=False), discriminator, 100, Inputs(3, 64)))


def dcgan(width: int = 512, kernel: int = 4) -> GAN:
    """DCGAN (Radford et al. 2016). 3,576,704 + 2,765,568 parameters."""
    discriminator = _discriminator(lambda channels, size: [nn.BatchNorm2d(channels)], _LEAKY, Sigmoid())
    return _initialised(GAN(_generator(width, kernel), discriminator, 100, Inputs(3, 64)))


def dcgan_wide() -> GAN:
    """A generator of twice the width with 5x5 kernels, against DCGAN's discriminator. 18,855,040 + 2,765,568."""
    return dcgan(1024, 5)


def wgan_gp_sn() -> GAN:
    """The wide generator against a critic with spectral normalisation (Miyato et al. 2018) on each convolution.

    Layer instead of batch normalisation, since a gradient penalty (Gulrajani et al. 2017) is of each image on its own.
    18,855,040 + 2,878,464 parameters.
    """
    critic = _discriminator(lambda channels, size: [nn.LayerNorm((channels, size, size))], _LEAKY)
    gan = _initialised(GAN(_generator(1024, 5), critic, 100, Inputs(3, 64)))
    for layer in critic:
        if isinstance(layer, nn.Conv2d):
            spectral_norm(layer)
    return gan


class SelfAttention(nn.Module):
    """Each position attends to all others (Zhang et al. 2019, equations 1 to 3): (N, C, H, W) to the same shape.

    `gamma` starts at 0, so that the block starts as the identity. The energies are not scaled by the width of the keys.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query = nn.Conv2d(channels, channels // 8, 1)
        self.key = nn.Conv2d(channels, channels // 8, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        # (N, width, positions). Two products take a CPU a third of the time of fused attention if keys are narrow.
        query, key, value = (layer(x).flatten(2) for layer in (self.query, self.key, self.value))
        attention = torch.bmm(query.transpose(1, 2), key).softmax(-1)  # a row for each position that asks
        return self.gamma * torch.bmm(value, attention.transpose(1, 2)).reshape(x.shape) + x


def sagan() -> GAN:
    """Self-attention GAN (Zhang et al. 2019), scores for a hinge loss. 3,832,885 + 3,175,299 parameters."""
    up: list[nn.Module] = []
    for stage, (i, o) in enumerate(pairwise([128, 512, 256, 128, 64])):
        convolution = nn.ConvTranspose2d(i, o, 4, 2 if stage else 1, 1 if stage else 0)
        up += [spectral_norm(convolution), nn.BatchNorm2d(o), nn.ReLU(), *([SelfAttention(o)] if stage >= 2 else [])]
    down: list[nn.Module] = []
    for stage, (i, o) in enumerate(pairwise([3, 64, 128, 256, 512])):
        down += [spectral_norm(nn.Conv2d(i, o, 4, 2, 1)), nn.LeakyReLU(0.1)]
        down += [SelfAttention(o)] if stage >= 2 else []
    generator = Generator(*up, nn.ConvTranspose2d(64, 3, 4, 2, 1), nn.Tanh())
    return GAN(generator, Discriminator(*down, nn.Conv2d(512, 1, 4)), 128, Inputs(3, 64))


class DigitGenerator(nn.Module):
    """Noise (N, 100) and digits (N,) to images (N, 3, 28, 28) in [-1, 1]: the digit's embedding scales the noise.

    `project` makes the layer from the scaled noise to (N, 8192), 128 maps of 8x8.
    """

    def __init__(self, project: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.embedding = nn.Embedding(10, 100)
        self.project = project()
        self.layers = nn.Sequential(
            nn.Unflatten(1, (128, 8, 8)), nn.BatchNorm2d(128), nn.ReLU(),
            nn.ConvTranspose2d(128, 256, 3, 1, 1, bias=False), nn.BatchNorm2d(256), nn.ReLU(),
            nn.ConvTranspose2d(256, 128, 3, 2, 1, bias=False), nn.BatchNorm2d(128), nn.ReLU(),
            nn.ConvTranspose2d(128, 64, 3, 2, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU(),
            nn.ConvTranspose2d(64, 3, 4, 1, 2, bias=False), nn.Tanh(),
        )  # fmt: skip

    def forward(self, noise: Tensor, labels: Tensor) -> Tensor:
        return self.layers(self.project(noise * self.embedding(labels)))


class DigitDiscriminator(nn.Module):
    """Images (N, 3, 28, 28) in [-1, 1] to the probability of being real (N,) and class logits (N, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 32, 3, 2, 1, bias=False), nn.LeakyReLU(0.2),
            nn.Conv2d(32, 64, 3, 2, 1, bias=False), nn.BatchNorm2d(64), nn.LeakyReLU(0.2),
            nn.Conv2d(64, 128, 3, 2, 1, bias=False), nn.BatchNorm2d(128), nn.LeakyReLU(0.2),
            nn.Conv2d(128, 256, 3, bias=False), nn.Flatten(),
        )  # fmt: skip
        self.real = nn.Sequential(nn.Linear(1024, 1), Sigmoid())
        self.digit = nn.Linear(1024, 10)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = self.layers(images)
        return self.real(features).flatten(), self.digit(features)


def acgan() -> GAN:
    """Auxiliary classifier GAN (Odena et al. 2017) on digits. 1,496,168 + 399,595 parameters."""
    return _acgan(partial(nn.Linear, 100, 128 * 8 * 8))


def acgan_convolutional() -> GAN:
    """`acgan` without its linear layer: noise grows to 4x4 and to 8x8 as in DCGAN. 1,135,976 + 399,595 parameters."""
    return _acgan(
        lambda: nn.Sequential(
            nn.Unflatten(1, (100, 1, 1)),
            nn.ConvTranspose2d(100, 128, 4, bias=False), nn.BatchNorm2d(128), nn.ReLU(),
            nn.ConvTranspose2d(128, 128, 4, 2, 1, bias=False), nn.Flatten(),
        )
    )  # fmt: skip


def _acgan(project: Callable[[], nn.Module]) -> GAN:
    return _initialised(GAN(DigitGenerator(project), DigitDiscriminator(), 100, Inputs(3, 28), classes=10))
