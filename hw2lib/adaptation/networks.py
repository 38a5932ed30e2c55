"""Domain-adversarial networks (Ganin et al. 2016): one feature extractor, a label predictor and a domain classifier.

Five networks are of the reports, and two, of the improved model, are ours. The grey ones read 1x32x32, because five
halvings need 32 pixels, all others 3x28x28.
"""

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hw2lib import networks, weights
from hw2lib.data.prepare import Form
from hw2lib.errors import UserError
from hw2lib.layers import Inputs, Parts, Sigmoid
from hw2lib.training.run_folder import RunFolder


class _GradientReversal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, strength: float) -> Tensor:
        ctx.strength = strength
        return features.view_as(features)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return -ctx.strength * gradient, None


def reverse_gradient(features: Tensor, strength: float) -> Tensor:
    """The identity; the gradient that flows back is multiplied by ``-strength`` (Ganin et al. 2016, equation 16)."""
    return _GradientReversal.apply(features, strength)


def reversal_strength(progress: float, maximum: float = 1.0) -> float:
    """Strength of the reversal after a fraction `progress` in [0, 1] of training: 0 to `maximum` (section 5.2.2)."""
    return maximum * (2 / (1 + math.exp(-10 * progress)) - 1)


class DANN(nn.Module):
    """Features shared by a label predictor and, behind a gradient reversal, a domain classifier of 1 or 2 outputs."""

    def __init__(self, features: nn.Module, label: nn.Module, domain: nn.Module, inputs: Inputs) -> None:
        super().__init__()
        self.features, self.label, self.domain, self.inputs = features, label, domain, inputs

    @property
    def domain_is_probability(self) -> bool:
        """Whether the domain output is a probability of the target, not a logit or two."""
        return isinstance(self.domain[-1], Sigmoid)

    @property
    def parts(self) -> Parts:
        """For tables and drawings: the parts by title, each with an example of its inputs."""
        images = torch.zeros(1, self.inputs.channels, self.inputs.size, self.inputs.size)
        features = torch.zeros(1, self.domain[0].in_features)
        return {
            "feature extractor": (self.features, (images,)),
            "label predictor": (self.label, (features,)),
            "domain classifier": (self.domain, (features,)),
        }

    def forward(
        self, images: Tensor, labelled: int | None = None, reversal: float | None = None
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Class logits (10 each) of images (N, C, H, W), of all or the first `labelled`.

        With `reversal` also the domain output (N, 1 or 2), whose gradient reaches the features times -reversal.
        """
        features = self.features(images)
        logits = self.label(features[:labelled])
        return logits if reversal is None else (logits, self.domain_of(features, reversal))

    def domain_of(self, features: Tensor, reversal: float) -> Tensor:
        """The domain output of features (N, ...), whose gradient reaches them times -reversal."""
        return self.domain(reverse_gradient(features, reversal))


def _linear_bn_relu(width_in: int, width_out: int) -> list[nn.Module]:
    return [nn.Linear(width_in, width_out), nn.BatchNorm1d(width_out), nn.ReLU()]


def wide() -> DANN:
    """631,888 parameters; pooling comes before the activation, and dropout of whole maps after the second stage."""
    features = nn.Sequential(
        nn.Conv2d(3, 64, 5), nn.BatchNorm2d(64), nn.MaxPool2d(2), nn.ReLU(),
        nn.Conv2d(64, 128, 5), nn.BatchNorm2d(128), nn.Dropout2d(0.5), nn.MaxPool2d(2), nn.ReLU(), nn.Flatten(),
    )  # fmt: skip
    label = nn.Sequential(*_linear_bn_relu(2048, 100), *_linear_bn_relu(100, 100), nn.Linear(100, 10))
    domain = nn.Sequential(*_linear_bn_relu(2048, 100), nn.Linear(100, 2))
    return DANN(features, label, domain, Inputs(3, 28))


def deep() -> DANN:
    """976,651 parameters; three convolutions down to one pixel, heads of 1024 and 256 units."""
    features = nn.Sequential(
        nn.Conv2d(3, 64, 4), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(64, 64, 5), nn.BatchNorm2d(64), nn.Dropout2d(0.5), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(64, 128, 3), nn.Flatten(),
    )  # fmt: skip
    label = nn.Sequential(*_linear_bn_relu(128, 1024), *_linear_bn_relu(1024, 256), nn.Linear(256, 10))
    domain = nn.Sequential(*_linear_bn_relu(128, 1024), *_linear_bn_relu(1024, 256), nn.Linear(256, 1))
    return DANN(features, label, domain, Inputs(3, 28))


def compact() -> DANN:
    """710,172 parameters, of which 41,040 are in the feature extractor."""
    features = nn.Sequential(
        nn.Conv2d(3, 32, 5), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 48, 5), nn.BatchNorm2d(48), nn.Dropout2d(0.5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
    )  # fmt: skip
    label = nn.Sequential(*_linear_bn_relu(768, 384), *_linear_bn_relu(384, 192), nn.Linear(192, 10))
    domain = nn.Sequential(*_linear_bn_relu(768, 384), nn.Linear(384, 2))
    return DANN(features, label, domain, Inputs(3, 28))


def _conv_bn_relu(
    channels_in: int, channels_out: int, activation: Callable[[], nn.Module] = nn.ReLU, stride: int = 1
) -> list[nn.Module]:
    convolution = nn.Conv2d(channels_in, channels_out, 3, stride, padding=1)
    return [convolution, nn.BatchNorm2d(channels_out), activation()]


def grey(
    *, extra: bool = False, activation: Callable[[], nn.Module] = nn.ReLU, pooling: bool = True, dropout: float = 0.0
) -> DANN:
    """3,728,011 parameters; five 3x3 stages on grey images of 32 pixels, a domain classifier of five layers.

    The features can have another convolution of 64 maps after the first halving, another activation, steps of two in
    place of pooling, and dropout of whole maps after the second halving.
    """
    stages: list[nn.Module] = []
    for channels_in, channels_out in [(1, 64), (64, 128), (128, 256), (256, 256), (256, 512)]:
        stages += _conv_bn_relu(channels_in, channels_out, activation, stride=1 if pooling else 2)
        stages += [nn.MaxPool2d(2)] if pooling else []
        stages += _conv_bn_relu(64, 64, activation) if extra and channels_in == 1 else []
        stages += [nn.Dropout2d(dropout)] if dropout and channels_in == 64 else []
    label = nn.Sequential(nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10))
    layers = [layer for _ in range(4) for layer in (nn.Linear(512, 512), nn.BatchNorm1d(512), nn.LeakyReLU(0.2))]
    domain = nn.Sequential(*layers, nn.Linear(512, 1), Sigmoid())
    return DANN(nn.Sequential(*stages, nn.Flatten()), label, domain, Inputs(1, 32))


def grey_plus() -> DANN:
    """3,765,067 parameters; `grey` with one more convolution of 64 maps after the first pooling."""
    return grey(extra=True)


def grey_strided() -> DANN:
    """`grey` with convolutions in steps of two in place of pooling."""
    return grey(pooling=False)


def grey_leaky() -> DANN:
    """`grey` with LeakyReLU of slope 0.2 in the features."""
    return grey(activation=partial(nn.LeakyReLU, 0.2))


def grey_dropout() -> DANN:
    """`grey` with dropout of half of the maps behind the second stage, as the networks of other reports have it."""
    return grey(dropout=0.5)


def improved(channels: int = 32) -> DANN:
    """Five convolutions and an average over positions, the first of `channels` maps; 298,444 parameters with 32."""
    few, more, most = channels, 2 * channels, 4 * channels
    features = nn.Sequential(
        nn.Conv2d(3, few, 5), nn.BatchNorm2d(few), nn.ReLU(), nn.MaxPool2d(2),
        *_conv_bn_relu(few, more), *_conv_bn_relu(more, more), nn.MaxPool2d(2), nn.Dropout(0.2),
        *_conv_bn_relu(more, most), *_conv_bn_relu(most, most), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.3),
    )  # fmt: skip
    domain = nn.Sequential(*_linear_bn_relu(most, 128), nn.Linear(128, 2))
    return DANN(features, nn.Linear(most, 10), domain, Inputs(3, 28))


def improved_wide() -> DANN:
    """654,700 parameters; `improved` with half as many maps again in each layer."""
    return improved(48)


def load(folder: RunFolder) -> tuple[DANN, Form]:
    """The trained network of a run, and the form of its input; `UserError` if it is not finished or has no weights."""
    if not folder.card:
        raise UserError(f"{folder.path}: the run is not finished; train it with hw2 train")
    return with_weights(folder.settings, folder.weights)


def with_weights(settings: dict[str, Any], file: Path) -> tuple[DANN, Form]:
    """The network of a run's settings with the weights of a file, in evaluation mode, and the form of its input."""
    network = networks.build(settings["network"])
    weights.load(network, file)
    return network.eval(), Form(network.inputs.channels, network.inputs.size, settings["normalisation"])
