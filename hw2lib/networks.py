"""The index of networks and of what trains them: a new network is one line. Modules are imported on first use."""

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from hw2lib.errors import UserError

if TYPE_CHECKING:  # whoever only looks up names need not wait for torch
    from torch import nn


class Task(NamedTuple):
    """A kind of training, with recipes in ``recipes/TASK.toml``; objects are ``module:name`` below hw2lib."""

    recipe: str  # the class of its recipes, a `hw2lib.training.recipe.BaseRecipe`
    train: str  # the function that trains, made by `hw2lib.training.steps.training`
    networks: dict[str, str]  # name to the function that makes the network


GENERATORS = {
    "gan-plain": "gan.networks:plain",
    "dcgan": "gan.networks:dcgan",
    "dcgan-wide": "gan.networks:dcgan_wide",
    "wgan-gp-sn": "gan.networks:wgan_gp_sn",
    "sagan": "gan.networks:sagan",
    "acgan": "gan.networks:acgan",
    "acgan-convolutional": "gan.networks:acgan_convolutional",
}
DENOISERS = {
    "unet-two-level": "diffusion.networks.unet:two_level",
    "unet-two-level-plain": "diffusion.networks.unet:two_level_plain",
    "unet-three-level": "diffusion.networks.unet:three_level",
    "unet-wide-bottleneck": "diffusion.networks.unet:wide_bottleneck",
    "context-unet": "diffusion.networks.context_unet:wide",
    "context-unet-128": "diffusion.networks.context_unet:narrow",
    "context-unet-64": "diffusion.networks.context_unet:narrower",
    "context-unet-32": "diffusion.networks.context_unet:narrowest",
    "face-pyramid": "diffusion.networks.face_pyramid:pyramid",
}
CLASSIFIERS = {
    "dann-wide": "adaptation.networks:wide",
    "dann-deep": "adaptation.networks:deep",
    "dann-compact": "adaptation.networks:compact",
    "dann-grey": "adaptation.networks:grey",
    "dann-grey-plus": "adaptation.networks:grey_plus",
    "dann-grey-strided": "adaptation.networks:grey_strided",
    "dann-grey-leaky": "adaptation.networks:grey_leaky",
    "dann-grey-dropout": "adaptation.networks:grey_dropout",
}
IMPROVED = {"uda-cnn": "adaptation.networks:improved", "uda-cnn-wide": "adaptation.networks:improved_wide"}
GRADERS = {"digit-classifier": "classifier.network:DigitClassifier"}

TASKS = {
    "gan": Task("gan.recipe:Recipe", "gan.train:train", GENERATORS),
    "diffusion": Task("diffusion.recipe:Recipe", "diffusion.train:train", DENOISERS),
    "dann": Task("adaptation.recipe:DANNRecipe", "adaptation.dann:train", CLASSIFIERS),
    "uda": Task("adaptation.recipe:ImprovedRecipe", "adaptation.uda:train", IMPROVED),
    "classifier": Task("classifier.train:Recipe", "classifier.train:train", GRADERS),
}


def build(name: str) -> "nn.Module":
    """A new network, its weights drawn from torch's global generator; `UserError` for an unknown name."""
    return _load(TASKS[task_of(name)].networks[name])()


def task_of(network: str) -> str:
    """The task that trains a network; `UserError` for an unknown name, which lists those that there are."""
    for task in TASKS:
        if network in TASKS[task].networks:
            return task
    raise UserError(f"unknown network '{network}': choose one of {', '.join(names(*TASKS))}")


def names(*tasks: str) -> tuple[str, ...]:
    """The networks of some tasks."""
    return tuple(name for task in tasks for name in TASKS[task].networks)


def recipe_class(network: str) -> type:
    """The class of a network's recipes."""
    return _load(TASKS[task_of(network)].recipe)


def training_of(network: str) -> Callable[..., dict[str, Any]]:
    """The function that trains a network (`hw2lib.training.steps.training`)."""
    return _load(TASKS[task_of(network)].train)


def _load(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(import_module(f"hw2lib.{module}"), name)
