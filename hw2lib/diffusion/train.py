"""Training of a denoiser: a conditional one on digits, or one on faces."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from hw2lib.data.prepare import prepare
from hw2lib.diffusion import scores
from hw2lib.diffusion.recipe import Recipe
from hw2lib.diffusion.sample import Denoiser
from hw2lib.diffusion.schedule import cosine_steps, dropped, min_snr_weights, noised, velocity
from hw2lib.networks import build
from hw2lib.training.parallel import fabric_for, setup
from hw2lib.training.run_folder import RunFolder
from hw2lib.training.steps import MovingAverage, Steps, circumstances, draw, load_split, mirrored, require_val, training

LOSSES = {"mse": F.mse_loss, "smooth-l1": F.smooth_l1_loss}


@training
def train(
    recipe: Recipe, images, folder: RunFolder, device: str, on_step: Callable[[int], None] | None
) -> dict[str, Any]:
    """Train a denoiser to predict the noise in noised images (Ho et al. 2020, algorithm 1), or the velocity.

    Labels are dropped for guidance (Ho and Salimans 2022, algorithm 1). The card has the losses and the marks' scores.
    """
    # Device, network, optimiser, images.
    fabric = fabric_for(device)
    torch.manual_seed(recipe.seed)
    network = build(recipe.network).to(fabric.device, memory_format=torch.channels_last)
    average = MovingAverage(network, recipe.ema_decay) if recipe.ema_decay else None
    result = average.module if average else network
    kind = torch.optim.Adam if recipe.optimiser == "adam" else torch.optim.AdamW
    optimiser = kind(network.parameters(), lr=recipe.learning_rate, betas=(0.9, recipe.beta2), fused=True)
    learner, optimiser = setup(fabric, network, optimiser, rounded=False)  # the time has to stay exact
    data = load_split(images, recipe.domain, "train", fabric.device, recipe.batch)
    require_val(images, recipe.domain)
    schedule = recipe.schedule_table()

    parts = {"network": network, "optimiser": optimiser} | ({"average": average} if average else {})
    steps = Steps(recipe, folder, parts, on_step)
    for step in steps:
        network.train()
        for group in optimiser.param_groups:
            group["lr"] = recipe.learning_rate_at(step)
        x, labels = draw(data, recipe.batch)
        x = prepare(x, network.inputs.channels, recipe.size_at(step), "range", mirrored if recipe.flip else None)
        if recipe.times == "even":
            t = torch.randint(1, schedule.steps + 1, (len(x),), device=x.device)
        else:
            t = cosine_steps(len(x), schedule, x.device)
        noise = torch.randn_like(x)
        if (pooling := recipe.pooling_at(step)) > 1:
            x, noise = (F.avg_pool2d(part, pooling) for part in (x, noise))
        with fabric.autocast():
            known = torch.full_like(t, -1) if labels is None else dropped(labels, recipe.label_dropout)
            predicted = learner(noised(x, noise, t, schedule), t / schedule.steps, known)
        wanted = noise if recipe.prediction == "noise" else velocity(x, noise, t, schedule)
        losses = LOSSES[recipe.loss](predicted.float(), wanted, reduction="none").mean((1, 2, 3))
        if recipe.min_snr:
            losses = losses * min_snr_weights(t, schedule, recipe.min_snr)
        loss = losses.mean()
        fabric.backward(loss)
        if recipe.gradient_clip:
            torch.nn.utils.clip_grad_norm_(network.parameters(), recipe.gradient_clip)
        optimiser.step()
        optimiser.zero_grad()
        if average:
            average.update_parameters(network)

        # Log and evaluate. Scores take no part in training.
        steps.require_finite(loss, step, network)
        entry = {"loss": loss.item()} if steps.at_log(step) else {}
        if steps.at_mark(step) and (not recipe.guided or step + 1 == recipe.steps):
            denoiser = Denoiser.from_recipe(recipe, result)
            entry |= scores.quality(denoiser, images, recipe.domain, recipe.scored, recipe.scored_as)
        if entry:
            steps.log(step, **entry)

    # The result is that of the last step, whatever its quality.
    log = folder.history()
    marks = [{key: value for key, value in line.items() if key != "loss"} for line in log]
    card = {
        "losses": [(line["step"], line["loss"]) for line in log if "loss" in line],
        "curve": [mark for mark in marks if len(mark) > 1],
        **circumstances(images, recipe.domains, fabric.device, steps.seconds),
    }
    return folder.finish(result.state_dict(), card)
