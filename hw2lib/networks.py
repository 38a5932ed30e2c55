"""The index of networks and of what trains them: a new network is one line. Modules are imported on first use.

A task is a kind of training: a file of recipes (``recipes/TASK.toml``), the class that checks them, and the function
that trains. Several networks share it.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple

from torch import nn

from hw2lib.errors import UserError


class Task(NamedTuple):
    """One kind of training; objects are named as ``module:name`` below hw2lib.

    Attributes:
        recipe: the class of its recipes, a `hw2lib.training.recipe.BaseRecipe`.
        train: the function that trains, made by `hw2lib.training.steps.training`.
        networks: name to the function that makes the network.
    """

    recipe: str
    train: str
    networks: dict[str, str]


TASKS = {
    "gan": Task(
        "gan.recipe:Recipe",
        "gan.train:train",
        {
            "gan-plain": "gan.networks:plain",
            "dcgan": "gan.networks:dcgan",
            "dcgan-wide": "gan.networks:dcgan_wide",
            "wgan-gp-sn": "gan.networks:wgan_gp_sn",
            "sagan": "gan.networks:sagan",
            "acgan": "gan.networks:acgan",
        },
    ),
    "diffusion": Task(
        "diffusion.recipe:Recipe",
        "diffusion.train:train",
        {
            "unet-two-level": "diffusion.networks.unet:two_level",
            "unet-two-level-plain": "diffusion.networks.unet:two_level_plain",
            "unet-three-level": "diffusion.networks.unet:three_level",
            "unet-wide-bottleneck": "diffusion.networks.unet:wide_bottleneck",
            "context-unet": "diffusion.networks.context_unet:wide",
            "context-unet-128": "diffusion.networks.context_unet:narrow",
            "context-unet-64": "diffusion.networks.context_unet:narrower",
            "context-unet-32": "diffusion.networks.context_unet:narrowest",
            "face-unet": "diffusion.networks.face_unet:small",
        },
    ),
    "dann": Task(
        "adaptation.recipe:DANNRecipe",
        "adaptation.dann:train",
        {
            "dann-wide": "adaptation.networks:wide",
            "dann-deep": "adaptation.networks:deep",
            "dann-compact": "adaptation.networks:compact",
            "dann-grey": "adaptation.networks:grey",
            "dann-grey-plus": "adaptation.networks:grey_plus",
        },
    ),
    "uda": Task(
        "adaptation.recipe:ImprovedRecipe",
        "adaptation.uda:train",
        {"uda-cnn": "adaptation.networks:improved", "uda-cnn-wide": "adaptation.networks:improved_wide"},
    ),
    "classifier": Task(
        "grader.train:Recipe", "grader.train:train", {"digit-classifier": "grader.network:DigitClassifier"}
    ),
}


def build(name: str) -> nn.Module:
    """A new network, its weights drawn from torch's global generator.

    Raises:
        UserError: an unknown name.
    """
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
