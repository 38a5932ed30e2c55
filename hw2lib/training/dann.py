"""Source-only, DANN and target-only training between two digit domains.

Every step draws its batch, augmentation and dropout from a seed made of (run seed, step). So a run that was stopped
goes on bit for bit as if it had not been, with no random state to save.
"""

import math
import time
from collections.abc import Callable
from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field, field_validator
from torch import Tensor
from tqdm import tqdm

from hw2lib import recipes
from hw2lib.adaptation.losses import domain_loss
from hw2lib.adaptation.reversal import reversal_strength
from hw2lib.data.augment import Augmentation
from hw2lib.data.image_set import ImageSet
from hw2lib.data.prepare import Normalisation, prepare
from hw2lib.errors import UserError
from hw2lib.metrics.accuracy import accuracy, outputs
from hw2lib.models import NETWORKS, build
from hw2lib.report import record
from hw2lib.training.devices import fabric_for
from hw2lib.training.ema import moving_average
from hw2lib.training.run_folder import RunFolder

METHODS = ("source-only", "dann", "target-only")
LOG_EVERY = 20  # steps


class Recipe(BaseModel):
    """Everything that defines a run but its images. Lengths are in optimiser steps; rates are per step."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    recipe: str
    network: str
    method: Literal["source-only", "dann", "target-only"]
    source: str = Field(description="domain whose labels are used, but for target-only")
    target: str = Field(description="domain that is to be classified")
    seed: int = Field(ge=0)

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
    network: str, recipe: str, source: str, target: str, method: str, seed: int, preset: str, **override: Any
) -> Recipe:
    """The checked recipe of one run; `override` replaces single keys of the file."""
    if source == target:
        raise UserError(f"source and target are both '{source}': choose two domains")
    choice = dict(network=network, source=source, target=target, method=method, seed=seed, preset=preset)
    return recipes.resolve(Recipe, "dann", recipe, pair=f"{source}-{target}", **choice, **override)


def train(recipe: Recipe, images, folder: RunFolder, device: str = "auto", on_step: Callable[[], None] | None = None):
    """Train to the end, going on from where an earlier call was stopped, and return the run's card.

    Args:
        recipe: what to do.
        images: where the images come from, `hw2lib.data.source(...)`.
        folder: the run's files. A finished run is not touched.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        on_step: called after each step; without it a progress bar is shown.

    Returns:
        The card: settings, data, environment, accuracies in percent (``{"target test": ..., ...}``), the oracle and
        the history of the target's test accuracy.

    Raises:
        UserError: bad settings, images or folder, or a loss that is not finite.
    """
    if folder.card:
        return folder.card
    with folder.open():
        return folder.card or _train(recipe, images, folder, device, on_step)


def _train(recipe: Recipe, images, folder: RunFolder, device: str, on_step: Callable[[], None] | None) -> dict:
    # Devices, images and network.
    fabric = fabric_for(device)
    adapts, uses_source = recipe.method == "dann", recipe.method != "target-only"
    source = _on_device(images.load(recipe.source, "train"), recipe, fabric.device) if uses_source else None
    target = _on_device(images.load(recipe.target, "train"), recipe, fabric.device) if recipe.method != "source-only" else None
    torch.manual_seed(recipe.seed)
    network = build(recipe.network).to(memory_format=torch.channels_last)
    shape = (network.inputs.channels, network.inputs.size, recipe.normalisation)
    average = moving_average(network, recipe.ema_decay).to(fabric.device) if recipe.ema_decay else None
    kind = torch.optim.AdamW if recipe.optimiser == "adamw" else torch.optim.Adam
    optimiser = kind(network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True)
    wrapped, optimiser = fabric.setup(network, optimiser)

    # Go on from the last saved state.
    first, seconds = 0, 0.0
    if state := folder.load_state():
        first, seconds = state["step"], state["seconds"]
        network.load_state_dict(state["network"])
        optimiser.load_state_dict(state["optimiser"])
        if average:
            average.load_state_dict(state["average"])
    began = time.monotonic() - seconds
    bar = tqdm(total=recipe.steps, initial=first, desc=recipe.title, unit="step", disable=on_step is not None)
    marks = {round(recipe.steps * (i + 1) / recipe.evaluations) for i in range(recipe.evaluations)}
    final = average.module if average else network
    test = _evaluation_set(images, recipe.target, "test", recipe, fabric.device)

    for step in range(first, recipe.steps):
        torch.manual_seed(recipe.seed * 1_000_003 + step + 1)
        for group in optimiser.param_groups:
            group["lr"] = recipe.learning_rate_at(step)

        # One batch of each domain that the method uses.
        if uses_source:
            x, y = _draw(source, recipe.batch)
            x = prepare(x, *shape, recipe.augment_source)
        if target:
            xt, yt = _draw(target, recipe.batch)
            xt = prepare(xt, *shape, recipe.augment_target)
            x, y = (torch.cat([x, xt]), y) if adapts else (xt, yt)

        # Label loss, and, for DANN, the domain loss behind the gradient reversal (Ganin et al. 2016, equation 9).
        wrapped.train()
        strength = reversal_strength(step / recipe.steps, recipe.reversal_max)
        if adapts:
            logits, domains = wrapped(x, labelled=recipe.batch, reversal=strength)
            is_target = torch.arange(2 * recipe.batch, device=x.device) >= recipe.batch
            loss_of_domain = domain_loss(domains, is_target, network.domain_is_probability)
        else:
            logits, loss_of_domain = wrapped(x), torch.zeros((), device=x.device)
        loss_of_label = F.cross_entropy(logits.float(), y)
        loss = loss_of_label + recipe.domain_weight * loss_of_domain
        if not loss.isfinite():
            raise UserError(
                f"{folder.path}: the loss is {loss.item()} at step {step + 1}; the last good state is that of step "
                f"{_saved_step(folder)} in {folder.path / 'state.pt'}; lower the learning rate"
            )
        fabric.backward(loss)
        optimiser.step()
        optimiser.zero_grad()
        if average:
            average.update_parameters(network)

        # Log, evaluate, save.
        done = step + 1
        entry: dict[str, float] = {}
        if done % LOG_EVERY == 0 or done == recipe.steps:
            entry |= {"label_loss": loss_of_label.item(), "domain_loss": loss_of_domain.item(), "reversal": strength}
        if done in marks and test:
            entry["target test"] = _accuracy(final, test, shape, fabric)
        if entry:
            folder.log(step=done, **{key: round(value, 4) for key, value in entry.items()})
        if done in marks:
            state = {"step": done, "seconds": time.monotonic() - began, "network": network.state_dict()}
            state |= {"optimiser": optimiser.state_dict(), **({"average": average.state_dict()} if average else {})}
            folder.save_state(state)
        (on_step or bar.update)()
    bar.close()

    # The result: the last step, whatever its accuracy.
    accuracies: dict[str, float | None] = {}
    for domain, split in ((recipe.source, "val"), (recipe.source, "test"), (recipe.target, "val"), (recipe.target, "test")):
        role = "source" if domain == recipe.source else "target"
        part = _evaluation_set(images, domain, split, recipe, fabric.device)
        accuracies[f"{role} {split}"] = round(_accuracy(final, part, shape, fabric), 3) if part else None
    curve = [(line["step"], line["target test"]) for line in folder.history() if "target test" in line]
    return folder.finish(
        final.state_dict(),
        {
            "accuracy": accuracies,
            "oracle": max(value for _, value in curve) if curve else None,
            "curve": curve,
            "images": images.describe(),
            "origin": images.origin,
            "precision": fabric._precision.precision,
            "seconds": round(time.monotonic() - began, 1),
            "threads": torch.get_num_threads(),
            "hardware": record.hardware(),
            **record.code_version(),
            **record.versions(),
        },
    )


Labelled = tuple[Tensor, Tensor]


def _on_device(data: ImageSet, recipe: Recipe, device: torch.device) -> Labelled:
    """A whole split as tensors on the device: images (N, C, H, W) uint8, labels (N,)."""
    if len(data) < recipe.batch:
        raise UserError(f"{data.domain} {data.split}: a batch of {recipe.batch} is larger than its {len(data)} images")
    return torch.tensor(data.images, device=device), torch.tensor(data.labels, device=device)


def _draw(data: Labelled, batch: int) -> Labelled:
    chosen = torch.randint(len(data[0]), (batch,), device=data[0].device)
    return data[0][chosen], data[1][chosen]


def _evaluation_set(images, domain: str, split: str, recipe: Recipe, device: torch.device) -> Labelled | None:
    """A split as tensors, or None where it is not there: a missing test split is shown as missing."""
    if split not in images.splits(domain):
        return None
    data = images.load(domain, split)
    return torch.tensor(data.images, device=device), torch.tensor(data.labels, device=device)


def _accuracy(network: torch.nn.Module, data: Labelled, shape: tuple, fabric) -> float:
    with fabric.autocast():
        return accuracy(outputs(network.eval(), data[0], *shape), data[1])


def _saved_step(folder: RunFolder) -> int:
    state = folder.load_state()
    return state["step"] if state else 0
