"""A network in words: its layers in a table, its parameters by part, and torch's own print without clutter."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd
import torch
import torchinfo
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from hw2lib.models import count_parameters
from hw2lib.models.dann import DANN
from hw2lib.models.gan import GAN

# Title of each part of a network to the part and an example of what its forward takes.
Parts = Mapping[str, tuple[nn.Module, tuple[Tensor, ...]]]


@dataclass(frozen=True)
class Layer:
    """One step of a forward pass; shape without the batch, parameters 0 where a layer is used again."""

    module: nn.Module
    shape: tuple[int, ...]
    parameters: int


def parts(network: DANN | GAN) -> Parts:
    """The parts of a network by title, each with an example batch of one."""
    images = torch.zeros(1, network.inputs.channels, network.inputs.size, network.inputs.size)
    if isinstance(network, GAN):
        labels = (torch.zeros(1, dtype=torch.int64),) if network.classes else ()
        return {
            "generator": (network.generator, (torch.zeros(1, network.latent), *labels)),
            "discriminator": (network.discriminator, (images,)),
        }
    features = torch.zeros(1, *layers(network.features, (images,))[-1].shape)
    return {
        "feature extractor": (network.features, (images,)),
        "label predictor": (network.label, (features,)),
        "domain classifier": (network.domain, (features,)),
    }


def layers(module: nn.Module, inputs: tuple[Tensor, ...]) -> list[Layer]:
    """The layers in the order in which `module(*inputs)` calls them.

    A layer is a module without children or with weights of its own besides theirs, such as self-attention.
    """
    found: list[Layer] = []
    inside = None
    for entry in torchinfo.summary(module, input_data=inputs, verbose=0).summary_list:
        if not entry.executed or (inside is not None and entry.depth > inside):
            continue
        inside = None
        if entry.is_leaf_layer or is_parametrized(entry.module) or _own_weights(entry.module):
            found.append(
                Layer(entry.module, tuple(entry.output_size[1:]), 0 if entry.is_recursive else entry.num_params)
            )
            inside = entry.depth
    return found


def parameter_table(networks: Mapping[str, DANN | GAN]) -> pd.DataFrame:
    """One row a network: the width of its noise, or its input and features, and the parameters of its parts."""
    rows = []
    for name, network in networks.items():
        row: dict[str, object] = {"network": name}
        its = parts(network)
        if isinstance(network, GAN):
            row["latent"] = network.latent
        else:
            row["input"] = _spelled_shape(its["feature extractor"][1][0].shape[1:])
            row["features"] = its["label predictor"][1][0].shape[1]
        row.update({title: f"{count_parameters(part):,}" for title, (part, _) in its.items()})
        rows.append({**row, "total": f"{count_parameters(network):,}"})
    return pd.DataFrame(rows)


def layer_table(network: DANN | GAN | Parts) -> pd.DataFrame:
    """The layers in the order in which data pass them, with output shapes (without the batch) and parameters."""
    rows = []
    for title, (module, inputs) in (parts(network) if isinstance(network, nn.Module) else network).items():
        for i, layer in enumerate(layers(module, inputs)):
            rows.append(
                {
                    "part": "" if i else title,
                    "layer": _spelled(layer.module),
                    "output": _spelled_shape(layer.shape),
                    "parameters": f"{layer.parameters:,}" if layer.parameters else "",
                }
            )
    return pd.DataFrame(rows)


def printed(module: nn.Module) -> str:
    """What ``print(module)`` shows, but ``Conv2d(...), spectral norm`` for a layer and its parametrisation."""
    if is_parametrized(module):
        return f"{kind(module)}({module.extra_repr()}), {', '.join(parametrisations(module))}"
    children = [f"({name}): {printed(child)}".replace("\n", "\n  ") for name, child in module.named_children()]
    extra = module.extra_repr()
    if not children:
        return f"{kind(module)}({extra})"
    return "\n  ".join([f"{kind(module)}(", *([extra] if extra else []), *children]) + "\n)"


def kind(module: nn.Module) -> str:
    """Name of the class, also of a layer whose class a parametrisation has replaced."""
    return (type(module).__mro__[1] if is_parametrized(module) else type(module)).__name__


def parametrisations(module: nn.Module) -> list[str]:
    """What its weights pass through, in words: ``["spectral norm"]``."""
    if not is_parametrized(module):
        return []
    steps = [step for chain in module.parametrizations.values() for step in chain]
    return [" ".join(re.findall("[A-Z][a-z]+", type(step).__name__)).lower() for step in steps]


def _own_weights(module: nn.Module) -> list[str]:
    return [name for name, _ in module.named_parameters(recurse=False)]


def _spelled(module: nn.Module) -> str:
    """A layer as torch prints it, without what is torch's default."""
    if not is_parametrized(module) and any(module.children()):
        names = [name for name, _ in module.named_children()] + _own_weights(module)
        return f"{kind(module)}({', '.join(names)})"
    text = printed(module)
    for default in (
        "stride=(1, 1)", "eps=1e-05", "momentum=0.1", "affine=True", "track_running_stats=True", "padding=0",
        "dilation=1", "ceil_mode=False", "elementwise_affine=True", "bias=True", "inplace=False", "end_dim=-1",
        "start_dim=1",
    ):  # fmt: skip
        text = text.replace(f", {default}", "").replace(f"({default})", "()")
    return re.sub(r"\((\d+), \1\)", r"\1", text)  # square


def _spelled_shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape or (1,)))
