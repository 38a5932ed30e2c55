"""A network as a table."""

import pandas as pd
import torch
import torchinfo

from hw2lib.models import count_parameters
from hw2lib.models.dann import DANN

PARTS = {"features": "feature extractor", "label": "label predictor", "domain": "domain classifier"}


def parameter_table(networks: dict[str, DANN]) -> pd.DataFrame:
    """One row a network: its input, the width of its features, and the parameters of its parts."""
    rows = []
    for name, network in networks.items():
        inputs = network.inputs
        width = network.eval().features(torch.zeros(1, inputs.channels, inputs.size, inputs.size)).shape[1]
        parts = {title: f"{count_parameters(getattr(network, part)):,}" for part, title in PARTS.items()}
        size = f"{inputs.channels}x{inputs.size}x{inputs.size}"
        rows.append(
            {"network": name, "input": size, "features": width, **parts, "total": f"{count_parameters(network):,}"}
        )
    return pd.DataFrame(rows)


def layer_table(network: DANN) -> pd.DataFrame:
    """The layers in the order in which an image passes them, with output shapes (without the batch) and parameters."""
    rows = []
    shape = (1, network.inputs.channels, network.inputs.size, network.inputs.size)
    for part, title in PARTS.items():
        module = getattr(network, part).eval()
        summary = torchinfo.summary(module, input_size=shape, verbose=0)
        if part == "features":
            shape = tuple(summary.summary_list[0].output_size)
        for i, layer in enumerate(entry for entry in summary.summary_list if entry.is_leaf_layer):
            rows.append(
                {
                    "part": "" if i else title,
                    "layer": _spelled(layer.module),
                    "output": "x".join(str(n) for n in layer.output_size[1:]),
                    "parameters": f"{layer.num_params:,}" if layer.num_params else "",
                }
            )
    return pd.DataFrame(rows)


def _spelled(module: torch.nn.Module) -> str:
    """A layer as torch prints it, without what is torch's default."""
    text = str(module)
    for default in (
        "stride=(1, 1)", "eps=1e-05", "momentum=0.1", "affine=True", "track_running_stats=True", "padding=0",
        "dilation=1", "ceil_mode=False", "bias=True", "inplace=False", "start_dim=1", "end_dim=-1",
    ):  # fmt: skip
        text = text.replace(f", {default}", "").replace(f"({default})", "()")
    return text
