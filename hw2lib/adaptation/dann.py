"""Source-only, DANN and target-only training between two digit domains."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from hw2lib.adaptation.networks import reversal_strength
from hw2lib.adaptation.pairs import accuracy_of, batch_of, evaluation, evaluation_split, evenly, train_split
from hw2lib.adaptation.recipe import DANNRecipe
from hw2lib.data.prepare import Form
from hw2lib.networks import build
from hw2lib.training.parallel import count, fabric_for, setup
from hw2lib.training.run_folder import RunFolder
from hw2lib.training.steps import MovingAverage, Steps, circumstances, load_split, training


@training
def train(
    recipe: DANNRecipe, images, folder: RunFolder, device: str, on_step: Callable[[int], None] | None
) -> dict[str, Any]:
    """Train between two domains; how the card judges the run says `hw2lib.adaptation.pairs.evaluation`."""
    # Device, network, optimiser.
    fabric = fabric_for(device)
    torch.manual_seed(recipe.seed)
    network = build(recipe.network).to(memory_format=torch.channels_last)
    form = Form(network.inputs.channels, network.inputs.size, recipe.normalisation)
    average = MovingAverage(network, recipe.ema_decay).to(fabric.device) if recipe.ema_decay else None
    result = average.module if average else network
    wrapped, optimiser = setup(fabric, network, recipe.optimiser_of(network))

    # Whole splits as uint8 tensors on the device. A recipe that paints the source onto patches of the target does so
    # without the domain loss too.
    adapts = recipe.method == "dann"
    source = target = others = None
    if recipe.method != "target-only":
        source = evenly(train_split(images, recipe.source, fabric.device, recipe.batch), recipe.source_images)
    if recipe.method != "source-only":
        target = train_split(images, recipe.target, fabric.device, recipe.batch, learn_labels=not adapts)
    if source and recipe.augment_source.backgrounds:
        others, _ = target or load_split(images, recipe.target, "train", fabric.device, labels_needed=False)
    test = evaluation_split(recipe, images, recipe.target, "test", fabric.device)

    parts = {"network": network, "optimiser": optimiser} | ({"average": average} if average else {})
    steps = Steps(recipe, folder, parts, on_step)
    for step in steps:
        for group in optimiser.param_groups:
            group["lr"] = recipe.learning_rate_at(step)

        # A batch of each domain that the method uses; `labels` are those that it learns from.
        if source:
            x, labels = batch_of(source, recipe.batch, form, recipe.augment_source, others)
        if target:
            xt, target_labels = batch_of(target, recipe.batch, form, recipe.augment_target, None)
            x, labels = (torch.cat([x, xt]), labels) if adapts else (xt, target_labels)

        # Label loss, and, for DANN, the domain loss behind the gradient reversal (Ganin et al. 2016, equation 9).
        wrapped.train()
        strength = reversal_strength(step / recipe.steps, recipe.reversal_max)
        if adapts:
            logits, domains = wrapped(x, labelled=recipe.batch // count(), reversal=strength)
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
        if steps.at_log(step):
            entry = {"label_loss": loss_of_label.item(), "domain_loss": loss_of_domain.item(), "reversal": strength}
            percent = accuracy_of(result, test, form, fabric) if steps.at_mark(step) else None
            steps.log(step, **entry, **{"target test": percent})

    # The result is that of the last step, whatever its accuracy.
    card = evaluation(result, recipe, images, folder.history(), form, fabric)
    card |= circumstances(images, (recipe.source, recipe.target), fabric.device, steps.seconds)
    return folder.finish(result.state_dict(), card)


def domain_loss(output: Tensor, is_target: Tensor, is_probability: bool = False) -> Tensor:
    """Cross-entropy of the domain classifier (Ganin et al. 2016, equation 9), in nats; `is_target` is (N,) bool.

    `output` is (N, 2) logits of source and target, (N, 1) logit of target, or, if `is_probability`, its probability.
    """
    # Three digits of a bf16 logit are enough to predict, but not to sum a loss.
    with torch.autocast(output.device.type, enabled=False):
        output = output.float()
        if output.shape[1] == 2:
            return F.cross_entropy(output, is_target.long())
        loss = F.binary_cross_entropy if is_probability else F.binary_cross_entropy_with_logits
        return loss(output.squeeze(1), is_target.float())
