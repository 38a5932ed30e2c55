"""Every network of the project by name: ``build("dann-deep")``.

A network is built with fresh weights drawn from torch's global generator; seed it first for a reproducible start.
"""

from collections.abc import Callable

from torch import nn

from hw2lib.errors import UserError
from hw2lib.models import classifier, context_unet, dann, face_unet, gan, unet

NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "dann-wide": dann.wide,
    "dann-deep": dann.deep,
    "dann-compact": dann.compact,
    "dann-grey": dann.grey,
    "dann-grey-plus": dann.grey_plus,
    "uda-cnn": dann.improved,
    "uda-cnn-wide": dann.improved_wide,
    "gan-plain": gan.plain,
    "dcgan": gan.dcgan,
    "dcgan-wide": gan.dcgan_wide,
    "wgan-gp-sn": gan.wgan_gp_sn,
    "sagan": gan.sagan,
    "acgan": gan.acgan,
    "digit-classifier": classifier.DigitClassifier,
    "unet-two-level": unet.two_level,
    "unet-two-level-plain": unet.two_level_plain,
    "unet-three-level": unet.three_level,
    "unet-wide-bottleneck": unet.wide_bottleneck,
    "context-unet": context_unet.wide,
    "context-unet-128": context_unet.narrow,
    "context-unet-64": context_unet.narrower,
    "context-unet-32": context_unet.narrowest,
    "face-unet": face_unet.small,
    "face-unet-course": face_unet.course,
}


def build(name: str) -> nn.Module:
    """Return a new network of that name; an unknown name raises `UserError` and lists those that there are."""
    if name not in NETWORKS:
        raise UserError(f"unknown network '{name}': choose one of {', '.join(NETWORKS)}")
    return NETWORKS[name]()


def count_parameters(module: nn.Module) -> int:
    """Number of trainable elements."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)
