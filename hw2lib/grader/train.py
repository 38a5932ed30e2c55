"""Training of the digit classifier: plain supervised learning on one domain."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from hw2lib.data.prepare import prepare
from hw2lib.grader.recipe import Recipe
from hw2lib.metrics.accuracy import accuracy, outputs
from hw2lib.networks import build
from hw2lib.training.batches import draw, load_split
from hw2lib.training.devices import fabric_for
from hw2lib.training.ema import moving_average
from hw2lib.training.run_folder import RunFolder
from hw2lib.training.steps import Steps, circumstances, training


@training
def train(
    recipe: Recipe, images, folder: RunFolder, device: str, on_step: Callable[[int], None] | None
) -> dict[str, Any]:
    """Train on labelled digits.

    The card has the accuracies of the last step in percent (``{"val": 98.0, "test": 97.4}``, None for a split
    that is not there), and the curve of the val
    accuracy over the steps.
    """
    # Device, network, optimiser, images.
    fabric = fabric_for(device)
    torch.manual_seed(recipe.seed)
    network = build(recipe.network).to(memory_format=torch.channels_last)
    form = (network.inputs.channels, network.inputs.size, "range")
    average = moving_average(network, recipe.ema_decay).to(fabric.device) if recipe.ema_decay else None
    result = average.module if average else network
    rates = {"lr": recipe.learning_rate, "weight_decay": recipe.weight_decay}
    optimiser = torch.optim.AdamW(network.parameters(), **rates, fused=True)
    wrapped, optimiser = fabric.setup(network, optimiser)
    data = load_split(images, recipe.domain, "train", fabric.device, recipe.batch)
    held_out = {split: load_split(images, recipe.domain, split, fabric.device) for split in ("val", "test")}

    def accuracy_on(split: str) -> float | None:
        """In float32, as digits are graded later."""
        if held_out[split] is None:
            return None
        digits, labels = held_out[split]
        return round(accuracy(outputs(result, digits, *form), labels), 3)

    parts = {"network": network, "optimiser": optimiser} | ({"average": average} if average else {})
    steps = Steps(recipe, folder, parts, on_step)
    for step in steps:
        for group in optimiser.param_groups:
            group["lr"] = recipe.learning_rate_at(step)
        x, labels = draw(data, recipe.batch)
        loss = F.cross_entropy(wrapped(prepare(x, *form, recipe.augment)).float(), labels)
        fabric.backward(loss)
        optimiser.step()
        optimiser.zero_grad()
        if average:
            average.update_parameters(network)

        # Log and evaluate.
        steps.require_finite(loss, step, network)
        entry = {"loss": loss.item()} if steps.at_log(step) else {}
        if steps.at_mark(step) and held_out["val"]:
            entry["val"] = accuracy_on("val")
        if entry:
            steps.log(step, **entry)

    # The result is that of the last step, whatever its accuracy.
    card = {
        "accuracy": {split: accuracy_on(split) for split in held_out},
        "curve": [(line["step"], line["val"]) for line in folder.history() if "val" in line],
        **circumstances(images, recipe.domains, fabric.device, steps.seconds),
    }
    return folder.finish(result.state_dict(), card)
