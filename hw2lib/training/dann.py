"""Source-only, DANN and target-only training between two digit domains.

Every step draws its batch, augmentation and dropout from a seed made of (run seed, step). So a run that was stopped
goes on bit for bit as if it had not been, with no random state to save.
"""

import math
import time
from collections.abc import Callable
from itertools import product
from typing import Any, Literal

import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from pydantic import BaseModel, ConfigDict, Field, field_validator
from torch import Tensor
from tqdm import tqdm

from hw2lib import recipes
from hw2lib.adaptation.losses import domain_loss
from hw2lib.adaptation.reversal import reversal_strength
from hw2lib.data import DIGIT_DOMAINS
from hw2lib.data.augment import Augmentation
from hw2lib.data.prepare import Normalisation, prepare
from hw2lib.errors import UserError
from hw2lib.metrics.accuracy import accuracy, outputs
from hw2lib.models import NETWORKS, build
from hw2lib.paths import PRESETS, check_preset
from hw2lib.report import record
from hw2lib.training.devices import bf16_is_fast, fabric_for
from hw2lib.training.ema import moving_average
from hw2lib.training.run_folder import RunFolder

METHODS = ("source-only", "dann", "target-only")
LOG_EVERY = 20  # steps


class Recipe(BaseModel):
    """Everything that defines a run but its images. Lengths are in optimiser steps; rates are per step."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    recipe: str
    network: str
    method: Literal["source-only", "dann", "target-only"]
    source: str = Field(description="domain whose labels are used, but for target-only")
    target: str = Field(description="domain that is to be classified")
    seed: int = Field(ge=0, lt=2**32)

    steps: int = Field(gt=0)
    batch: int = Field(gt=1, description="images of each domain a step")
    learning_rate: float = Field(gt=0)
    optimiser: Literal["adam", "adamw"]
    weight_decay: float = Field(ge=0)
    warmup_steps: int = Field(ge=0, description="steps over which the learning rate rises from 0")
    schedule: Literal["constant", "cosine"]
    ema_decay: float = Field(ge=0, lt=1, description="0: no moving average")
    normalisation: Normalisation
    augment_source: Augmentation = Augmentation()
    augment_target: Augmentation = Augmentation()
    domain_weight: float = Field(ge=0)
    reversal_max: float = Field(ge=0)
    evaluations: int = Field(gt=0, description="how often the target's accuracy is taken in training, for the curve")

    @field_validator("network")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in NETWORKS:
            raise ValueError(f"choose one of {', '.join(NETWORKS)}")
        return name

    @property
    def title(self) -> str:
        """Such as ``dann-compact/ours/mnistm-svhn/dann/seed-0``; also the place of its run folder."""
        return f"{self.network}/{self.recipe}/{self.source}-{self.target}/{self.method}/seed-{self.seed}"

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
    override = override or {}
    for domain in (source, target):
        if domain not in DIGIT_DOMAINS:
            raise UserError(f"unknown domain '{domain}': choose two of {', '.join(DIGIT_DOMAINS)}")
    if source == target:
        raise UserError(f"source and target are both '{source}': choose two domains")
    check_preset(preset)
    choice = {"network": network, "source": source, "target": target, "method": method, "seed": seed}
    for key in override.keys() & {"recipe", *choice}:
        raise UserError(f"'{key}' is not a key of the recipe's file: choose it by its own option")
    names = {"network": NETWORKS, "method": METHODS, "preset": PRESETS}
    return recipes.resolve(Recipe, "dann", recipe, override, names, pair=f"{source}-{target}", preset=preset, **choice)


def train(
    recipe: Recipe, images, folder: RunFolder, device: str = "auto", on_step: Callable[[int], None] | None = None
) -> dict[str, Any]:
    """Train to the end, going on from where an earlier call was stopped, and return the run's card.

    Args:
        recipe: what to do.
        images: where the images come from, `hw2lib.data.source(...)`.
        folder: the run's files. A finished run is not touched.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        on_step: told how many steps are newly done, those of an earlier call included; without it a bar is shown.

    Returns:
        The card: settings, environment, accuracies in percent of the last step (``{"target test": 72.4, ...}``), the
        curve of the target's test accuracy over the steps, and its maximum, the oracle.

    Raises:
        UserError: bad settings, images or folder, or a loss that is not finite.
    """
    if folder.card:
        return folder.card
    with folder.open():
        return folder.card or _train(recipe, images, folder, device, on_step)


def _train(recipe: Recipe, images, folder: RunFolder, device: str, on_step: Callable[[int], None] | None) -> dict:
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
        source = _load(images, recipe.source, "train", fabric.device, recipe.batch)
    if recipe.method != "source-only":
        target = _load(images, recipe.target, "train", fabric.device, recipe.batch)
    test = _load(images, recipe.target, "test", fabric.device)

    # Go on from the last saved state.
    state = folder.load_state() or {"step": 0, "seconds": 0.0}
    if state["step"]:
        network.load_state_dict(state["network"])
        optimiser.load_state_dict(state["optimiser"])
        if average:
            average.load_state_dict(state["average"])
    began = time.monotonic() - state["seconds"]
    bar = tqdm(total=recipe.steps, desc=recipe.title, unit="step", disable=on_step is not None)
    on_step = on_step or bar.update
    on_step(state["step"])
    marks = {round(recipe.steps * (i + 1) / recipe.evaluations) for i in range(recipe.evaluations)}

    for step in range(state["step"], recipe.steps):
        torch.manual_seed(recipe.seed * 1_000_003 + step + 1)
        for group in optimiser.param_groups:
            group["lr"] = recipe.learning_rate_at(step)

        # A batch of each domain that the method uses; `labels` are those that it learns from.
        if source:
            x, labels = _draw(source, recipe.batch)
            x = prepare(x, *form, recipe.augment_source)
        if target:
            xt, target_labels = _draw(target, recipe.batch)
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
        if not loss.isfinite():
            raise _diverged(folder, f"the loss is {loss.item()} at step {step + 1}", state["step"])
        fabric.backward(loss)
        optimiser.step()
        optimiser.zero_grad()
        if average:
            average.update_parameters(network)

        # Log, evaluate, save.
        done = step + 1
        if done in marks and not all(tensor.isfinite().all() for tensor in network.state_dict().values()):
            raise _diverged(folder, f"a weight is not finite at step {done}", state["step"])
        entry: dict[str, float] = {}
        if done % LOG_EVERY == 0 or done in marks:
            entry |= {"label_loss": loss_of_label.item(), "domain_loss": loss_of_domain.item(), "reversal": strength}
        if done in marks and test:
            entry["target test"] = _accuracy(result, test, form, fabric)
        if entry:
            folder.log(step=done, **{key: round(value, 4) for key, value in entry.items()})
        if done in marks:
            state = {"step": done, "seconds": time.monotonic() - began, "network": network.state_dict()}
            state |= {"optimiser": optimiser.state_dict(), "average": average.state_dict() if average else {}}
            folder.save_state(state)
        on_step(1)
    bar.close()

    # The result is that of the last step, whatever its accuracy.
    accuracies = {}
    for role, split in product(("source", "target"), ("val", "test")):
        part = _load(images, getattr(recipe, role), split, fabric.device)
        accuracies[f"{role} {split}"] = round(_accuracy(result, part, form, fabric), 3) if part else None
    curve = [(line["step"], line["target test"]) for line in folder.history() if "target test" in line]
    card = {
        "accuracy": accuracies,
        "oracle": max((accuracy for _, accuracy in curve), default=None),
        "curve": curve,
        "images": images.describe((recipe.source, recipe.target)),
        "origin": images.origin,
        "precision": "bf16-mixed" if bf16_is_fast(fabric.device) else "32-true",
        "threads": torch.get_num_threads(),
        "seconds": round(time.monotonic() - began, 1),
        "hardware": record.hardware(),
        **record.code_version(),
        **record.versions(),
    }
    return folder.finish(result.state_dict(), card)


Labelled = tuple[Tensor, Tensor]


def _load(images, domain: str, split: str, device: torch.device, batch: int = 0) -> Labelled | None:
    """Images (N, C, H, W) uint8 and labels (N,) on the device; None for a val or test split that is not there."""
    if split != "train" and split not in images.splits(domain):
        return None
    data = images.load(domain, split)
    if len(data) < batch:
        raise UserError(f"{domain} {split}: a batch of {batch} is larger than its {len(data)} images")
    return torch.tensor(data.images, device=device), torch.tensor(data.labels, device=device)


def _diverged(folder: RunFolder, what: str, good: int) -> UserError:
    file = folder.path / "state.pt"
    kept = f"the last good state, of step {good}, is in {file}" if good else "no state was saved before"
    return UserError(f"{folder.path}: {what}; {kept}; lower the learning rate")


def _draw(data: Labelled, batch: int) -> Labelled:
    chosen = torch.randint(len(data[0]), (batch,), device=data[0].device)
    return data[0][chosen], data[1][chosen]


def _accuracy(network: torch.nn.Module, data: Labelled, form: tuple, fabric: Fabric) -> float:
    with fabric.autocast():
        return accuracy(outputs(network.eval(), data[0], *form), data[1])
