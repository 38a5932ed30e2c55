"""Training of a generator against its discriminator."""

import os
import shutil
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from hw2lib.data.prepare import prepare
from hw2lib.gan import quality
from hw2lib.gan.augment import augment
from hw2lib.gan.losses import discriminator_loss, generator_loss, gradient_penalty
from hw2lib.gan.networks import GAN
from hw2lib.gan.recipe import Recipe
from hw2lib.gan.sampling import sample, with_standing_statistics
from hw2lib.networks import build
from hw2lib.training.batches import draw, load_split, mirrored, require_val
from hw2lib.training.devices import fabric_for
from hw2lib.training.ema import moving_average
from hw2lib.training.run_folder import RunFolder
from hw2lib.training.steps import Steps, circumstances, training
from hw2lib.weights import load as load_weights
from hw2lib.weights import save as save_weights

STRIP = 10  # images of fixed noise that are drawn at each mark
LOGGED = ("discriminator", "generator", "real", "fake")  # both losses, and what the discriminator says on average


@training
def train(
    recipe: Recipe, images, folder: RunFolder, device: str, on_step: Callable[[int], None] | None
) -> dict[str, Any]:
    """Train a generator against its discriminator.

    The folder gets the averaged generator's weights at each mark, until they are scored, and a row of images from the
    same noise (``strip/``). The card has the losses over the steps, and the quality of the images at each mark.
    """
    # Device, networks, optimisers.
    fabric = fabric_for(device)
    torch.manual_seed(recipe.seed)
    gan = build(recipe.network).to(fabric.device, memory_format=torch.channels_last)
    average = moving_average(gan.generator, recipe.ema_decay) if recipe.ema_decay else None
    adam = {"betas": recipe.betas, "fused": True}
    for_generator = torch.optim.Adam(gan.generator.parameters(), lr=recipe.generator_rate, **adam)
    weights, rate = gan.discriminator.parameters(), recipe.discriminator_rate
    if recipe.discriminator_optimiser == "sgd":
        for_discriminator = torch.optim.SGD(weights, lr=rate, momentum=0.9)
    else:
        for_discriminator = torch.optim.Adam(weights, lr=rate, **adam)
    generator, for_generator = fabric.setup(gan.generator, for_generator)
    discriminator, for_discriminator = fabric.setup(gan.discriminator, for_discriminator)
    data = load_split(images, recipe.domain, "train", fabric.device, recipe.batch)
    require_val(images, recipe.domain)

    def judge(x: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor]:
        """The discriminator's output on augmented images, and how far it is from telling their class."""
        judged = discriminator(augment(x, recipe.augment))
        if not gan.classes:
            return judged, torch.zeros((), device=x.device)
        return judged[0], F.cross_entropy(judged[1].float(), labels)

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
            noise = [torch.randn(recipe.batch, gan.latent, device=x.device)]
            wanted = torch.randint(gan.classes, (recipe.batch,), device=x.device) if gan.classes else None
            with torch.set_grad_enabled(turn == recipe.critic_steps - 1):  # the last images serve the generator too
                fake = generator(*noise, wanted) if gan.classes else generator(*noise)
            (real_judged, real_class), (fake_judged, fake_class) = judge(x, labels), judge(fake.detach(), wanted)
            loss_d = discriminator_loss(recipe.loss, real_judged, fake_judged, recipe.label_smoothing)
            total = loss_d + real_class + recipe.fake_class_weight * fake_class
            if recipe.gradient_penalty:
                total = total + recipe.gradient_penalty * gradient_penalty(gan.discriminator, x, fake)
            fabric.backward(total)
            for_discriminator.step()
            for_discriminator.zero_grad()

        # The generator learns to be taken for real; the discriminator's weights need no gradient here.
        gan.discriminator.requires_grad_(False)
        judged, class_loss = judge(fake, wanted)
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
            _keep(result, gan, folder, step + 1)

    # The result is that of the last step, whatever its quality. Scores take no part in training, nor in its time.
    seconds = steps.seconds
    snapshots = sorted((folder.path / "snapshots").iterdir())
    curve = []
    for file in snapshots:
        load_weights(gan.generator, file)
        curve.append({"step": int(file.stem), **quality.of(gan, images, recipe.domain, recipe.scored)})
    card = {
        "losses": [[line[key] for key in ("step", *LOGGED)] for line in folder.history()],
        "curve": curve,
        **circumstances(images, recipe.domains, fabric.device, seconds),
    }
    card = folder.finish(gan.generator.state_dict(), card)
    shutil.rmtree(folder.path / "snapshots")  # sixteen times the weights, and all that is wanted of them is known
    return card


def _keep(generator: nn.Module, gan: GAN, folder: RunFolder, step: int) -> None:
    for name in ("snapshots", "strip"):
        (folder.path / name).mkdir(exist_ok=True)
    save_weights(generator.state_dict(), folder.path / "snapshots" / f"{step:06d}.safetensors")
    row = torch.cat(list(sample(gan, generator, seed=0, count=STRIP)[0].cpu()), dim=2)  # side by side
    temporary = folder.path / "strip" / f"{step:06d}.png.partial"
    Image.fromarray(row.permute(1, 2, 0).numpy()).save(temporary, "PNG")
    os.replace(temporary, temporary.with_suffix(""))
