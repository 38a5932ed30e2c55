"""The improved model: a domain-adversarial network that also learns from its own labels of the target."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from hw2lib.adaptation.dann import domain_loss
from hw2lib.adaptation.networks import DANN, reversal_strength
from hw2lib.adaptation.pairs import CLASSES, accuracy_of, batch_of, evaluation, evaluation_split, train_split
from hw2lib.adaptation.recipe import ImprovedRecipe
from hw2lib.data.prepare import Form, prepare
from hw2lib.networks import build
from hw2lib.training.parallel import fabric_for, part, setup, whole
from hw2lib.training.run_folder import RunFolder
from hw2lib.training.steps import MovingAverage, Steps, circumstances, draw, training


@training
def train(
    recipe: ImprovedRecipe, images, folder: RunFolder, device: str, on_step: Callable[[int], None] | None
) -> dict[str, Any]:
    """Train with a teacher, the moving average of the network (Tarvainen and Valpola 2017, section 2).

    Three losses: of the source's labels, of the domain behind a gradient reversal (Ganin et al. 2016, equation 9), and
    of labels that the teacher, where it is confident, gives to a weakly changed image of the target, learned from a
    strongly changed one (Sohn et al. 2020, equation 4). A recipe may ask that it gives all labels as often, or put the
    true ones in their place. Source and target pass the feature extractor by themselves: batch normalisation takes each
    by its own statistics and keeps those of the target (French et al. 2018, 3.1).
    """
    # Device, network, optimiser.
    fabric = fabric_for(device)
    torch.manual_seed(recipe.seed)
    network = build(recipe.network).to(fabric.device, memory_format=torch.channels_last)
    form = Form(network.inputs.channels, network.inputs.size, recipe.normalisation)
    average = MovingAverage(network, recipe.ema_decay)
    teacher = average.module
    shares, thresholds = EqualShares().to(fabric.device), ClassThresholds().to(fabric.device)
    learner, optimiser = setup(fabric, Apart(network), recipe.optimiser_of(network), rounded=False)

    # Whole splits as uint8 tensors on the device.
    source = train_split(images, recipe.source, fabric.device, recipe.batch)
    target = train_split(images, recipe.target, fabric.device, recipe.target_batch, recipe.target_labels)
    test = evaluation_split(recipe, images, recipe.target, "test", fabric.device)
    is_target = torch.arange(recipe.batch + recipe.target_batch, device=fabric.device) >= recipe.batch

    averages = {"average": average, "shares": shares, "thresholds": thresholds}
    steps = Steps(recipe, folder, {"network": network, "optimiser": optimiser} | averages, on_step)
    for step in steps:
        for group in optimiser.param_groups:
            group["lr"] = recipe.learning_rate_at(step)

        # A batch of the source, and two views of one of the target; the teacher labels the weak one.
        x, labels = batch_of(source, recipe.batch, form, recipe.augment_source, target[0])
        drawn, truth = draw(target, recipe.target_batch)
        strong = prepare(drawn, *form, recipe.augment_strong)
        weight = recipe.pseudo_weight_at(step)
        if weight:
            if truth is not None:
                given = F.one_hot(truth, CLASSES).float()
            else:
                with torch.no_grad(), fabric.autocast():
                    guessed = teacher(part(prepare(drawn, *form, recipe.augment_target)))
                given = whole(guessed.float()).softmax(1)
                given = shares.update(given) if recipe.equal_shares else given

        network.train()
        strength = reversal_strength(step / recipe.steps, recipe.reversal_max)
        with fabric.autocast():
            logits, logits_strong, domains = learner(x, strong, strength)
        loss_of_label = F.cross_entropy(logits.float(), labels)
        loss_of_domain = domain_loss(domains, is_target)
        loss_of_pseudo, kept = torch.zeros((), device=x.device), 0.0
        if weight:
            at_least = recipe.confidence_at(step)
            minimum = thresholds.update(given, at_least) if recipe.class_thresholds else at_least
            loss_of_pseudo, kept = pseudo_label_loss(logits_strong, given, minimum)
        loss = loss_of_label + recipe.domain_weight * loss_of_domain + weight * loss_of_pseudo
        fabric.backward(loss)
        nn.utils.clip_grad_norm_(network.parameters(), recipe.gradient_clip)
        optimiser.step()
        optimiser.zero_grad()
        average.update_parameters(network)

        # Log and evaluate.
        steps.require_finite(loss, step, network)
        if steps.at_log(step):
            entry = {"label_loss": loss_of_label.item(), "domain_loss": loss_of_domain.item()}
            entry |= {"pseudo_loss": loss_of_pseudo.item(), "kept": kept}
            percent = accuracy_of(teacher, test, form, fabric) if steps.at_mark(step) else None
            steps.log(step, **entry, **{"target test": percent})

    # The result is the teacher of the last step, whatever its accuracy.
    card = evaluation(teacher, recipe, images, folder.history(), form, fabric)
    card |= circumstances(images, (recipe.source, recipe.target), fabric.device, steps.seconds)
    return folder.finish(teacher.state_dict(), card)


class Apart(nn.Module):
    """A network that reads source and target by themselves: class logits (N, 10) of each, domain outputs of both."""

    def __init__(self, network: DANN) -> None:
        super().__init__()
        self.network = network

    def forward(self, source: Tensor, target: Tensor, reversal: float) -> tuple[Tensor, Tensor, Tensor]:
        network = self.network
        with statistics_kept(network):
            of_source = network.features(source)
        of_target = network.features(target)
        logits, logits_target = network.label(of_source), network.label(of_target)
        return logits, logits_target, network.domain_of(torch.cat([of_source, of_target]), reversal)


@contextlib.contextmanager
def statistics_kept(network: nn.Module) -> Iterator[None]:
    """Inside, batch normalisation in training leaves its running statistics as they are."""
    layers = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    for layer in layers:
        layer.track_running_stats = False
    try:
        yield
    finally:
        for layer in layers:
            layer.track_running_stats = True


def pseudo_label_loss(logits: Tensor, given: Tensor, minimum: float | Tensor) -> tuple[Tensor, float]:
    """Cross-entropy with a teacher's labels where it is confident (Sohn et al. 2020, equation 4), and how often it is.

    Logits (N, C) are of strongly changed images, probabilities `given` (N, C) of the teacher for weakly changed ones.
    Rows count whose largest is `minimum`, of each class by itself if (C,). The loss is their sum divided by N, in nats.
    """
    probability, label = given.max(1)
    counts = probability >= (minimum[label] if isinstance(minimum, Tensor) else minimum)
    losses = F.cross_entropy(logits.float(), label, reduction="none") * counts
    return losses.mean(), counts.float().mean().item()


class ClassThresholds(nn.Module):
    """A minimum of confidence for each class, lower where few images pass it (Zhang et al. 2021, sections 3.1 and 3.3).

    With b the share of confident images among those that are given a class, by the largest such share, the minimum is
    confidence * b / (2 - b). The paper counts the confident images themselves, over the whole set, and has a warm-up
    (section 3.2); here a rare class is not taken for a hard one, and counts are moving averages over batches.
    """

    def __init__(self, classes: int = 10, decay: float = 0.99) -> None:
        super().__init__()
        self.decay = decay
        self.register_buffer("given", torch.ones(classes))  # images a batch that are given each class,
        self.register_buffer("passed", torch.ones(classes))  # and those of them that are confident

    @torch.no_grad()
    def update(self, given: Tensor, confidence: float) -> Tensor:
        """Count a batch of probabilities (N, C), and return the minimum of each class, (C,), at most `confidence`."""
        probability, label = given.max(1)
        for share, chosen in ((self.given, label), (self.passed, label[probability >= confidence])):
            share.lerp_(torch.bincount(chosen, minlength=len(share)).to(share), 1 - self.decay)
        share = self.passed / self.given.clamp(min=1e-6)
        beta = share / share.max().clamp(min=1e-6)
        return confidence * beta / (2 - beta)


class EqualShares(nn.Module):
    """A teacher's probabilities, changed so that it gives each class as often (Berthelot et al. 2020, section 3.1).

    Those of each class are divided by their moving average over batches, and every row is scaled back to a sum of 1.
    The paper aims at the frequencies of the labelled images, this at equal ones.
    """

    def __init__(self, classes: int = 10, decay: float = 0.99) -> None:
        super().__init__()
        self.decay = decay
        self.register_buffer("mean", torch.full((classes,), 1 / classes))

    @torch.no_grad()
    def update(self, given: Tensor) -> Tensor:
        """Count a batch of probabilities (N, C), and return them changed, rows of sum 1."""
        self.mean.lerp_(given.mean(0), 1 - self.decay)
        return F.normalize(given / self.mean.clamp(min=1e-6), p=1, dim=1)
