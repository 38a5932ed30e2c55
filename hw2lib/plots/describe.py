"""A network in words: its layers in a table, its parameters by part, and torch's own print without clutter."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd
import torch
import torchinfo
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from hw2lib.adaptation.networks import DANN
from hw2lib.diffusion.networks.context_unet import ContextUNet
from hw2lib.diffusion.networks.unet import MapAttention, UNet
from hw2lib.gan.networks import GAN
from hw2lib.layers import count_parameters

AnyUNet = UNet | ContextUNet
Network = DANN | GAN | AnyUNet

# Title of each part of a network to the part and an example of what its forward takes.
Parts = Mapping[str, tuple[nn.Module, tuple[Tensor, ...]]]


@dataclass(frozen=True)
class Layer:
    """One step of a forward pass; shape without the batch, parameters 0 where a layer is used again."""

    module: nn.Module
    shape: tuple[int, ...]
    parameters: int


def parts(network: Network) -> Parts:
    """The parts of a network by title, each with an example batch of one. A denoiser is one part."""
    images = torch.zeros(1, network.inputs.channels, network.inputs.size, network.inputs.size)
    if isinstance(network, GAN):
        labels = (torch.zeros(1, dtype=torch.int64),) if network.classes else ()
        return {
            "generator": (network.generator, (torch.zeros(1, network.latent), *labels)),
            "discriminator": (network.discriminator, (images,)),
        }
    if isinstance(network, AnyUNet):
        return {"denoiser": (network, (images, torch.ones(1), torch.zeros(1, dtype=torch.int64)))}
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
    inside: set[nn.Module] = set()  # a layer that has been found
    for entry in torchinfo.summary(module, input_data=inputs, verbose=0).summary_list:
        if not entry.executed or entry.module in inside:
            continue
        if entry.is_leaf_layer or is_parametrized(entry.module) or _own_weights(entry.module):
            found.append(
                Layer(entry.module, tuple(entry.output_size[1:]), 0 if entry.is_recursive else entry.num_params)
            )
            inside.update(*(child.modules() for child in entry.module.children()))
    return found


def units(network: nn.Module) -> dict[str, nn.Module]:
    """What a network calls its own by name, those in lists numbered from 1: ``stem``, ``down 1``, ``up 1``."""
    found = {}
    for name, child in network.named_children():
        if isinstance(child, nn.ModuleList):
            found |= {f"{name} {i}": unit for i, unit in enumerate(child, 1)}
        else:
            found[re.sub(r"(?<=[a-z])(?=\d)", " ", name).replace("_", " ")] = child
    return found


def parameter_table(networks: Mapping[str, Network]) -> pd.DataFrame:
    """One row a network: what it reads, the parameters of its parts or in its attention, and those of the whole.

    It reads noise of a width (`latent`) or images; for adaptation there is also the number of its features.
    """
    rows = []
    for name, network in networks.items():
        row: dict[str, object] = {"network": name}
        its = parts(network)
        total = count_parameters(network)
        if isinstance(network, GAN):
            row["latent"] = network.latent
        else:
            images = next(iter(its.values()))[1][0]
            row["input"] = _spelled_shape(images.shape[1:])
        if isinstance(network, DANN):
            row["features"] = its["label predictor"][1][0].shape[1]
        if isinstance(network, AnyUNet):
            attention = sum(count_parameters(part) for part in network.modules() if isinstance(part, MapAttention))
            row["in attention"] = f"{attention:,}"
            row["share, %"] = f"{100 * attention / total:.1f}"
        else:
            row |= {title: f"{count_parameters(part):,}" for title, (part, _) in its.items()}
        rows.append({**row, "total": f"{total:,}"})
    return pd.DataFrame(rows)


def layer_table(network: Network | Parts) -> pd.DataFrame:
    """The layers in the order in which data pass them, with output shapes (without the batch) and parameters.

    A denoiser, which is one part of many layers, is told by its levels.
    """
    rows = []
    for title, (module, inputs) in (parts(network) if isinstance(network, nn.Module) else network).items():
        levels = units(module) if isinstance(module, AnyUNet) else {title: module}
        names = {layer: name for name, level in levels.items() for layer in level.modules()}
        shown = ""
        for layer in layers(module, inputs):
            before, shown = shown, names[layer.module]
            rows.append(
                {
                    "part": shown if shown != before else "",
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
    if isinstance(module, nn.MultiheadAttention):
        return f"MultiheadAttention({module.embed_dim}, heads={module.num_heads})"
    if not is_parametrized(module) and any(module.children()):
        names = [name for name, _ in module.named_children()] + _own_weights(module)
        return f"{kind(module)}({', '.join(names)})"
    text = printed(module)
    for default in (
        "stride=(1, 1)", "eps=1e-05", "momentum=0.1", "affine=True", "track_running_stats=True", "padding=0",
        "dilation=1", "ceil_mode=False", "elementwise_affine=True", "bias=True", "inplace=False", "end_dim=-1",
        "start_dim=1", "approximate='none'",
    ):  # fmt: skip
        text = text.replace(f", {default}", "").replace(f"({default})", "()")
    return re.sub(r"\((\d+), \1\)", r"\1", text)  # square


def _spelled_shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape or (1,)))
