"""Source-only, DANN and target-only training between two digit domains."""

import math
from collections.abc import Callable
from itertools import product
from typing import TYPE_CHECKING, Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field

from hw2lib.adaptation.losses import domain_loss
from hw2lib.adaptation.reversal import reversal_strength
from hw2lib.data import DIGIT_DOMAINS
from hw2lib.data.augment import Augmentation
from hw2lib.data.prepare import Normalisation, prepare
from hw2lib.errors import UserError
from hw2lib.metrics.accuracy import accuracy, outputs
from hw2lib.models import build
from hw2lib.training.batches import Labelled, draw, load_split
from hw2lib.training.devices import fabric_for
from hw2lib.training.ema import moving_average
from hw2lib.training.recipe import BaseRecipe, resolve
from hw2lib.training.run_folder import RunFolder
from hw2lib.training.steps import Steps, circumstances, to_the_end

if TYPE_CHECKING:
    from lightning_fabric import Fabric

NETWORKS = ("dann-compact", "dann-deep", "dann-wide", "dann-grey", "dann-grey-plus")
METHODS = ("source-only", "dann", "target-only")


class Recipe(BaseRecipe):
    """One run between two domains. Rates are per step."""

    network: Literal[NETWORKS]
    method: Literal[METHODS]
    source: str = Field(description="domain whose labels are used, but for target-only")
    target: str = Field(description="domain that is to be classified")

    learning_rate: float = Field(gt=0)
    optimiser: Literal["adam", "adamw"]
    weight_decay: float = Field(ge=0)
    warmup_steps: int = Field(ge=0, description="steps over which the learning rate rises from 0")
    schedule: Literal["constant", "cosine"]
    normalisation: Normalisation
    augment_source: Augmentation = Augmentation()
    augment_target: Augmentation = Augmentation()
    domain_weight: float = Field(ge=0)
    reversal_max: float = Field(ge=0)

    @property
    def title(self) -> str:
        """Such as ``dann-compact/ours/mnistm-svhn/dann/seed-0``; also the place of its run folder."""
        return f"{self.network}/{self.recipe}/{self.source}-{self.target}/{self.method}/seed-{self.seed}"

    @property
    def domains(self) -> tuple[str, ...]:
        return tuple(sorted({self.source, self.target}))

    def learning_rate_at(self, step: int) -> float:
        """Linear warm-up, then constant or a half cosine that ends at 0."""
        warm = min(1.0, (step + 1) / self.warmup_steps) if self.warmup_steps else 1.0
        fall = (1 + math.cos(math.pi * step / self.steps)) / 2 if self.schedule == "cosine" else 1.0
        return self.learning_rate * warm * fall


def recipe_for(
    network: str,
    recipe: str,
    source: str,
    target: str,
    method: str,
    seed: int,
    preset: str,
    override: dict[str, Any] | None = None,
) -> Recipe:
    """The checked recipe of one run; `override` replaces single keys of the file."""
    for domain in (source, target):
        if domain not in DIGIT_DOMAINS:
            raise UserError(f"unknown domain '{domain}': choose two of {', '.join(DIGIT_DOMAINS)}")
    if source == target:
        raise UserError(f"source and target are both '{source}': choose two domains")
    choice = {"network": network, "source": source, "target": target, "method": method, "seed": seed}
    names = {"network": NETWORKS, "method": METHODS}
    return resolve(Recipe, "dann", recipe, preset, override, names, pair=f"{source}-{target}", **choice)


@to_the_end
def train(
    recipe: Recipe, images, folder: RunFolder, device: str, on_step: Callable[[int], None] | None
) -> dict[str, Any]:
    """Train between two domains.

    The card has the accuracies of the last step in percent (``{"target test": 72.4, ...}``), the curve of the target's
    test accuracy over the steps, and its maximum, the oracle.
    """
    # Device, network, optimiser.
    fabric = fabric_for(device)
    torch.manual_seed(recipe.seed)
    network = build(recipe.network).to(memory_format=torch.channels_last)
    form = (network.inputs.channels, network.inputs.size, recipe.normalisation)
    average = moving_average(network, recipe.ema_decay).to(fabric.device) if recipe.ema_decay else None
    result = average.module if average else network
    kind = torch.optim.AdamW if recipe.optimiser == "adamw" else torch.optim.Adam
    optimiser = kind(network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True)
    wrapped, optimiser = fabric.setup(network, optimiser)

    # Whole splits as uint8 tensors on the device.
    adapts = recipe.method == "dann"
    source = target = None
    if recipe.method != "target-only":
        source = load_split(images, recipe.source, "train", fabric.device, recipe.batch)
    if recipe.method != "source-only":
        target = load_split(images, recipe.target, "train", fabric.device, recipe.batch)
    test = load_split(images, recipe.target, "test", fabric.device)

    parts = {"network": network, "optimiser": optimiser} | ({"average": average} if average else {})
    steps = Steps(recipe, folder, parts, on_step)
    for step in steps:
        for group in optimiser.param_groups:
            group["lr"] = recipe.learning_rate_at(step)

        # A batch of each domain that the method uses; `labels` are those that it learns from.
        if source:
            x, labels = draw(source, recipe.batch)
            x = prepare(x, *form, recipe.augment_source)
        if target:
            xt, target_labels = draw(target, recipe.batch)
            xt = prepare(xt, *form, recipe.augment_target)
            x, labels = (torch.cat([x, xt]), labels) if adapts else (xt, target_labels)

        # Label loss, and, for DANN, the domain loss behind the gradient reversal (Ganin et al. 2016, equation 9).
        wrapped.train()
        strength = reversal_strength(step / recipe.steps, recipe.reversal_max)
        if adapts:
            logits, domains = wrapped(x, labelled=recipe.batch, reversal=strength)
            is_target = torch.arange(2 * recipe.batch, device=x.device) >= recipe.batch
            loss_of_domain = domain_loss(domains, is_target, network.domain_is_probability)
        else:
            logits, loss_of_domain = wrapped(x), torch.zeros((), device=x.device)
        loss_of_label = F.cross_entropy(logits.float(), labels)
        loss = loss_of_label + recipe.domain_weight * loss_of_domain
        fabric.backward(loss)
        optimiser.step()
        optimiser.zero_grad()
        if average:
            average.update_parameters(network)

        # Log and evaluate.
        steps.require_finite(loss, step, network)
        entry: dict[str, float] = {}
        if steps.at_log(step):
            entry |= {"label_loss": loss_of_label.item(), "domain_loss": loss_of_domain.item(), "reversal": strength}
        if steps.at_mark(step) and test:
            entry["target test"] = _accuracy(result, test, form, fabric)
        if entry:
            steps.log(step, **entry)

    # The result is that of the last step, whatever its accuracy.
    accuracies = {}
    for role, split in product(("source", "target"), ("val", "test")):
        part = load_split(images, getattr(recipe, role), split, fabric.device)
        accuracies[f"{role} {split}"] = round(_accuracy(result, part, form, fabric), 3) if part else None
    curve = [(line["step"], line["target test"]) for line in folder.history() if "target test" in line]
    card = {
        "accuracy": accuracies,
        "oracle": max((accuracy for _, accuracy in curve), default=None),
        "curve": curve,
        **circumstances(images, (recipe.source, recipe.target), fabric.device, steps.seconds),
    }
    return folder.finish(result.state_dict(), card)


def result_of(card: dict[str, Any]) -> str:
    """Such as ``71.0 % of target test``."""
    accuracy = card["accuracy"]["target test"]
    return "no target test split" if accuracy is None else f"{accuracy} % of target test"


def _accuracy(network: torch.nn.Module, data: Labelled, form: tuple, fabric: "Fabric") -> float:
    with fabric.autocast():
        return accuracy(outputs(network.eval(), data[0], *form), data[1])
