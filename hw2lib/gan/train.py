"""Training of a generator against its discriminator."""

import shutil
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from hw2lib import weights
from hw2lib.data.prepare import prepare
from hw2lib.gan.recipe import Change, Loss, Recipe
from hw2lib.gan.sample import STRIP, random_inputs, sample, with_standing_statistics, write_strip
from hw2lib.gan.scores import mark_scores
from hw2lib.networks import build
from hw2lib.training.parallel import as_one_batch, fabric_for, part, setup, whole
from hw2lib.training.run_folder import RunFolder
from hw2lib.training.steps import MovingAverage, Steps, circumstances, draw, load_split, mirrored, require_val, training

LOGGED = ("discriminator", "generator", "real", "fake")  # both losses, and what the discriminator says on average


@training
def train(
    recipe: Recipe, images, folder: RunFolder, device: str, on_step: Callable[[int], None] | None
) -> dict[str, Any]:
    """Train both networks.

    The folder gets the averaged generator's weights at each mark (``snapshots/``), until they are scored, and a row of
    images from the same noise (``strip/``). The card has the losses over the steps and the scores of each mark.
    """
    fabric = fabric_for(device)
    torch.manual_seed(recipe.seed)
    gan = build(recipe.network).to(fabric.device, memory_format=torch.channels_last)
    average = MovingAverage(gan.generator, recipe.ema_decay) if recipe.ema_decay else None
    adam = partial(torch.optim.Adam, betas=recipe.betas, fused=True)
    other = adam if recipe.discriminator_optimiser == "adam" else partial(torch.optim.SGD, momentum=0.9)
    for_generator = adam(gan.generator.parameters(), lr=recipe.generator_rate)
    for_discriminator = other(gan.discriminator.parameters(), lr=recipe.discriminator_rate)
    generator, for_generator = setup(fabric, gan.generator, for_generator)
    discriminator, for_discriminator = setup(fabric, gan.discriminator, for_discriminator)
    data = load_split(images, recipe.domain, "train", fabric.device, recipe.batch)
    require_val(images, recipe.domain)

    def judge(x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The discriminator's output on augmented images, and with classes how far it is from telling theirs."""
        judged = discriminator(augment(x, recipe.augment))
        if gan.classes:
            return judged[0], F.cross_entropy(judged[1].float(), labels)
        return judged, torch.zeros((), device=x.device)

    parts = {"gan": gan, "for_generator": for_generator, "for_discriminator": for_discriminator}
    steps = Steps(recipe, folder, parts | ({"average": average} if average else {}), on_step)
    for step in steps:
        # The discriminator learns to tell real from generated, and with classes also the class.
        gan.train()
        for turn in range(recipe.critic_steps):
            x, labels = draw(data, recipe.batch)
            x = prepare(x, gan.inputs.channels, gan.inputs.size, "range")
            if recipe.flip:
                x = mirrored(x)
            inputs = random_inputs(gan, recipe.batch, x.device)
            with torch.set_grad_enabled(turn == recipe.critic_steps - 1):  # the last images serve the generator too
                fake = generator(*inputs)
            (real_judged, real_class), (fake_judged, fake_class) = judge(x, labels), judge(fake.detach(), inputs[-1])
            loss_d = discriminator_loss(recipe.loss, real_judged, fake_judged, recipe.label_smoothing)
            total = loss_d + real_class + recipe.fake_class_weight * fake_class
            if recipe.gradient_penalty:
                total = total + recipe.gradient_penalty * gradient_penalty(gan.discriminator, x, fake)
            fabric.backward(total)
            for_discriminator.step()
            for_discriminator.zero_grad()

        # The generator learns to be taken for real; the discriminator's weights need no gradient here.
        gan.discriminator.requires_grad_(False)
        judged, class_loss = judge(fake, inputs[-1])
        loss_g = generator_loss(recipe.loss, judged)
        fabric.backward(loss_g + recipe.class_weight * class_loss)
        gan.discriminator.requires_grad_(True)
        for_generator.step()
        for_generator.zero_grad()
        if average:
            average.update_parameters(gan.generator)

        # Log, and keep the generator of the mark.
        steps.require_finite(total.detach() + loss_g.detach(), step, gan)
        if steps.at_log(step):
            values = (loss_d, loss_g, real_judged.mean(), fake_judged.mean())
            steps.log(step, **dict(zip(LOGGED, (value.item() for value in values), strict=True)))
        if steps.at_mark(step):
            result = with_standing_statistics(gan, average.module if average else gan.generator, recipe.batch)
            weights.save(result.state_dict(), folder.path / "snapshots" / f"{step + 1:06d}.safetensors")
            write_strip(folder, step + 1, sample(gan, result, seed=0, count=STRIP)[0])

    # The result is that of the last step, whatever its quality. Scores take no part in training, nor in its time.
    seconds = steps.seconds
    curve = []
    for file in sorted((folder.path / "snapshots").glob("[0-9]*.safetensors")):  # no half of one that a kill left
        weights.load(gan.generator, file)
        curve.append({"step": int(file.stem), **mark_scores(gan, images, recipe.domain, recipe.scored)})
    losses = [[line[key] for key in ("step", *LOGGED)] for line in folder.history()]
    card = {"losses": losses, "curve": curve, **circumstances(images, recipe.domains, fabric.device, seconds)}
    card = folder.finish(gan.generator.state_dict(), card)
    shutil.rmtree(folder.path / "snapshots")  # sixteen times the weights, and all that is wanted of them is known
    return card


def discriminator_loss(kind: Loss, real: Tensor, fake: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """The loss of a discriminator from its outputs (N,) on real and on generated images.

    Outputs are probabilities for ``bce`` (Goodfellow et al. 2014, equation 1), whose real label is one minus
    `label_smoothing` (Salimans et al. 2016, section 3.4), and scores for ``hinge`` (Lim and Ye 2017; Zhang et al. 2019,
    equation 4) and ``wasserstein`` (Arjovsky et al. 2017, equation 2), to be used with `gradient_penalty`.
    """
    real, fake = real.float(), fake.float()
    if kind == "bce":
        return _cross_entropy(real, 1 - label_smoothing) + _cross_entropy(fake, 0.0)
    if kind == "hinge":
        return F.relu(1 - real).mean() + F.relu(1 + fake).mean()
    return fake.mean() - real.mean()


def generator_loss(kind: Loss, fake: Tensor) -> Tensor:
    """The loss of a generator from the discriminator's outputs (N,) on its images; non-saturating for ``bce``."""
    fake = fake.float()
    return _cross_entropy(fake, 1.0) if kind == "bce" else -fake.mean()


def _cross_entropy(probability: Tensor, label: float) -> Tensor:
    """The binary cross-entropy, which is NaN where a probability is; torch's own ends a process on a GPU then."""
    known = probability.nan_to_num(0.5)
    return F.binary_cross_entropy(known, torch.full_like(known, label)) + 0 * probability.sum()


def gradient_penalty(critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor) -> Tensor:
    """Mean squared distance from 1 of the norm of the critic's gradient (Gulrajani et al. 2017, equation 3).

    The gradient is taken at points drawn uniformly between pairs of real and generated images (N, C, H, W), outside
    of autocast: a second derivative in bfloat16 is mostly noise. Of several processes each takes that of its part.
    """
    mix = torch.rand(len(real), 1, 1, 1, device=real.device)
    between = part(torch.lerp(fake.detach().float(), real.float(), mix)).requires_grad_()
    with as_one_batch():
        (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    return (whole(gradient.flatten(1).norm(dim=1)) - 1).square().mean()


def augment(images: Tensor, changes: tuple[Change, ...]) -> Tensor:
    """Differentiable augmentation (Zhao et al. 2020): random changes of each image (N, C, H, W) in [-1, 1].

    The generator learns through them, so that they do not leak into its images. ``colour`` moves brightness by up to
    0.5, saturation by up to a factor of 2 and contrast by 0.5 to 1.5; ``translation`` shifts by up to an eighth of the
    size, grey outside; ``cutout`` greys a square of half the size.
    """
    for change in changes:
        images = _CHANGES[change](images)
    return images


def _colour(images: Tensor) -> Tensor:
    def uniform(low: float, high: float) -> Tensor:
        return torch.empty(len(images), 1, 1, 1, device=images.device).uniform_(low, high)

    images = images + uniform(-0.5, 0.5)
    images = torch.lerp(images.mean(1, keepdim=True), images, uniform(0.0, 2.0))
    return torch.lerp(images.mean((1, 2, 3), keepdim=True), images, uniform(0.5, 1.5))


def _translation(images: Tensor) -> Tensor:
    n, _, height, width = images.shape
    most = max(1, height // 8)
    down, right = torch.randint(2 * most + 1, (2, n, 1), device=images.device)
    which, rows, columns = (torch.arange(size, device=images.device) for size in (n, height, width))
    # Memory that is laid out pixel by pixel stays so: (N, H, W, C).
    padded = F.pad(images, (most, most, most, most)).permute(0, 2, 3, 1)
    moved = padded[which[:, None, None], (rows + down)[:, :, None], (columns + right)[:, None, :]]
    return moved.permute(0, 3, 1, 2)


def _cutout(images: Tensor) -> Tensor:
    n, _, height, width = images.shape
    top = torch.randint(-(height // 4), height - height // 4 + 1, (n, 1, 1), device=images.device)
    left = torch.randint(-(width // 4), width - width // 4 + 1, (n, 1, 1), device=images.device)
    rows, columns = torch.arange(height, device=images.device)[:, None], torch.arange(width, device=images.device)
    hole = (rows >= top) & (rows < top + height // 2) & (columns >= left) & (columns < left + width // 2)
    return images.masked_fill(hole[:, None], 0.0)


_CHANGES = {"colour": _colour, "translation": _translation, "cutout": _cutout}
