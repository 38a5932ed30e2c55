"""A network in words: its layers in a table, its parameters by part, and torch's own print without clutter.

A network has `parts` (`hw2lib.layers.Parts`). One of a single part, such as a denoiser, is told by its `units`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd
import torchinfo
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from hw2lib.layers import Parts, count_parameters

DEFAULTS = (
    "stride=(1, 1)", "eps=1e-05", "momentum=0.1", "affine=True", "track_running_stats=True", "padding=0",
    "dilation=1", "ceil_mode=False", "elementwise_affine=True", "bias=True", "inplace=False", "end_dim=-1",
    "start_dim=1", "approximate='none'",
)  # fmt: skip


@dataclass(frozen=True)
class Layer:
    """One step of a forward pass; shape without the batch, parameters 0 where a layer is used again."""

    module: nn.Module
    shape: tuple[int, ...]
    parameters: int


def layers(module: nn.Module, inputs: tuple[Tensor, ...]) -> list[Layer]:
    """The layers in the order in which `module(*inputs)` calls them.

    A layer is a module without children or with weights of its own besides theirs, such as self-attention.
    """
    steps: list[Layer] = []
    inside: set[nn.Module] = set()  # a layer that is noted
    for entry in torchinfo.summary(module, input_data=inputs, verbose=0).summary_list:
        if not entry.executed or entry.module in inside:
            continue
        if entry.is_leaf_layer or is_parametrized(entry.module) or entry.module._parameters:
            parameters = 0 if entry.is_recursive else entry.num_params
            steps.append(Layer(entry.module, tuple(entry.output_size[1:]), parameters))
            inside.update(*(child.modules() for child in entry.module.children()))
    return steps


def units(network: nn.Module) -> dict[str, nn.Module]:
    """What a network calls its own by name, those in lists numbered from 1: ``stem``, ``down 1``, ``up 1``."""
    named = {}
    for name, child in network.named_children():
        if isinstance(child, nn.ModuleList):
            named |= {f"{name} {i}": unit for i, unit in enumerate(child, 1)}
        else:
            named[re.sub(r"(?<=[a-z])(?=\d)", " ", name).replace("_", " ")] = child
    return named


def parameter_table(networks: Mapping[str, nn.Module]) -> pd.DataFrame:
    """One row a network: what it reads, the parameters of its parts or in its attention, and those of the whole.

    It reads images or noise of a width (`latent`). Where its last part reads features, their number is a column too.
    """
    rows = []
    for name, network in networks.items():
        total = count_parameters(network)
        read = [inputs[0].shape[1:] for _, inputs in network.parts.values()]
        row = {"network": name} | ({"input": _spelled_shape(read[0])} if len(read[0]) == 3 else {"latent": read[0][0]})
        if len(read[-1]) == 1:
            row["features"] = read[-1][0]
        if len(network.parts) > 1:
            row |= {title: f"{count_parameters(part):,}" for title, (part, _) in network.parts.items()}
        else:
            attention = sum(weight.numel() for key, weight in network.named_parameters() if ".attention." in key)
            row |= {"in attention": f"{attention:,}", "share, %": f"{100 * attention / total:.1f}"}
        rows.append({**row, "total": f"{total:,}"})
    return pd.DataFrame(rows)


def layer_table(network: nn.Module | Parts) -> pd.DataFrame:
    """The layers in the order in which data pass them, with output shapes (without the batch) and parameters."""
    rows = []
    for title, (module, inputs) in (network.parts if isinstance(network, nn.Module) else network).items():
        named = units(module) if module is network else {title: module}
        names = {layer: name for name, unit in named.items() for layer in unit.modules()}
        before = ""
        for layer in layers(module, inputs):
            part, count = names[layer.module], f"{layer.parameters:,}" if layer.parameters else ""
            rows.append([part if part != before else "", _spelled(layer.module), _spelled_shape(layer.shape), count])
            before = part
    return pd.DataFrame(rows, columns=["part", "layer", "output", "parameters"])


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


def _spelled(module: nn.Module) -> str:
    """A layer as torch prints it, without what is torch's default."""
    if isinstance(module, nn.MultiheadAttention):
        return f"MultiheadAttention({module.embed_dim}, heads={module.num_heads})"
    if not is_parametrized(module) and any(module.children()):
        return f"{kind(module)}({', '.join([*module._modules, *module._parameters])})"
    text = printed(module)
    for default in DEFAULTS:
        text = text.replace(f", {default}", "").replace(f"({default})", "()")
    return re.sub(r"\((\d+), \1\)", r"\1", text)  # square


def _spelled_shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape or (1,)))
