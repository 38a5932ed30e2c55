"""Training of the digit classifier: plain supervised learning on one domain."""

import math
from collections.abc import Callable
from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field

from hw2lib.data import DIGIT_DOMAINS
from hw2lib.data.augment import Augmentation
from hw2lib.data.prepare import Form, prepare
from hw2lib.metrics.accuracy import accuracy, outputs
from hw2lib.networks import build, names
from hw2lib.training.parallel import fabric_for, setup
from hw2lib.training.recipe import NetworkRecipe
from hw2lib.training.run_folder import RunFolder
from hw2lib.training.steps import MovingAverage, Steps, circumstances, draw, load_split, training


class Recipe(NetworkRecipe):
    """What defines one run on one domain."""

    task = "classifier"

    network: Literal[names("classifier")]
    domain: Literal[DIGIT_DOMAINS]
    learning_rate: float = Field(gt=0, description="at the first step; it falls along a half cosine to 0")
    weight_decay: float = Field(ge=0)
    augment: Augmentation = Augmentation()

    @property
    def domains(self) -> tuple[str, ...]:
        return (self.domain,)

    def learning_rate_at(self, step: int) -> float:
        """A half cosine that ends at 0."""
        return self.learning_rate * (1 + math.cos(math.pi * step / self.steps)) / 2


@training
def train(
    recipe: Recipe, images, folder: RunFolder, device: str, on_step: Callable[[int], None] | None
) -> dict[str, Any]:
    """Train on labelled digits.

    The card has the accuracies of the last step in percent (None for a split that is not there), and the val curve.
    """
    fabric = fabric_for(device)
    torch.manual_seed(recipe.seed)
    network = build(recipe.network).to(fabric.device, memory_format=torch.channels_last)
    form = Form(network.inputs.channels, network.inputs.size, "range")
    average = MovingAverage(network, recipe.ema_decay) if recipe.ema_decay else None
    result = average.module if average else network
    optimiser = torch.optim.AdamW(network.parameters(), weight_decay=recipe.weight_decay, fused=True)
    wrapped, optimiser = setup(fabric, network, optimiser)
    data = load_split(images, recipe.domain, "train", fabric.device, recipe.batch)
    held_out = {split: load_split(images, recipe.domain, split, fabric.device) for split in ("val", "test")}

    def accuracy_on(split: str) -> float | None:
        """In float32, as digits are graded later."""
        if held_out[split]:
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
