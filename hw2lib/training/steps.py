"""The steps of a training run: seeded, counted, saved, and continued after a stop.

Each draws its batch, augmentation and dropout from a seed made of (run seed, step). So a run that was stopped continues
bit for bit as if it had not been, with no random state to save.
"""

import functools
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from tqdm import tqdm

from hw2lib import environment
from hw2lib.data import FACES
from hw2lib.errors import UserError
from hw2lib.noise import PLACES
from hw2lib.training import parallel
from hw2lib.training.devices import bf16_is_fast
from hw2lib.training.run_folder import RunFolder

LOG_EVERY = 20  # steps


class Stopped(Exception):
    """Raised by an `on_step` to end a training behind the step that it was called for; the state is saved first."""


def training(train: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """Make a training run once, in one process at a time, and resume where it was stopped.

    The decorated function takes ``(recipe, images, folder, device="auto", on_step=None)`` and returns the run's card,
    at once if there is one. `images` are a `hw2lib.data.source`; `device` is ``auto``, ``cpu``, ``cuda`` or ``cuda:N``;
    `on_step` is called with the number of new steps, those of an earlier call included, and may raise `Stopped`;
    without it a bar is shown. A `UserError` is raised for bad settings, images or folder, or a loss that is not finite.
    In all but the first of several processes (`hw2lib.training.parallel`) it ends with `Stopped` behind the last step.
    """

    @functools.wraps(train)
    def whole(recipe, images, folder: RunFolder, device: str = "auto", on_step: Callable[[int], None] | None = None):
        if folder.card:
            return folder.card
        if parallel.rank():
            return train(recipe, images, folder, device, on_step)
        with folder.open():
            return folder.card or train(recipe, images, folder, device, on_step)

    return whole


class Steps:
    """Iterates over the steps that are left, and saves the state of `parts` behind each mark, and when it is stopped.

    `recipe` has `title`, `seed`, `steps`, and `evaluations`, the number of marks; `folder` is open. `parts` are all
    that the next step depends on, by name: networks, optimisers, averages; each is restored from the last state.
    Of several processes the first reads and writes the files, and its `on_step` alone may stop the training.
    """

    def __init__(self, recipe, folder: RunFolder, parts: dict[str, Any], on_step: Callable[[int], None] | None) -> None:
        self._recipe, self._folder, self._parts, self._on_step = recipe, folder, parts, on_step
        environment.code_version()  # that with which the run begins, or goes on
        state = parallel.of_first(folder.load_state() if not parallel.rank() else None) or {"step": 0, "seconds": 0.0}
        if state["step"]:
            if parts.keys() != state.keys() - {"step", "seconds"}:
                raise UserError(f"{folder.path}: its state.pt is of older code; remove the folder to begin anew")
            for name, part in parts.items():
                part.load_state_dict(state[name])
        self._done = self._saved = state["step"]
        self._losses: dict[int, Tensor] = {}  # of the steps since those that were looked at last
        self._networks: tuple[nn.Module, ...] = ()  # that have to be finite
        self._began = time.monotonic() - state["seconds"]
        self._marks = {round(recipe.steps * (i + 1) / recipe.evaluations) for i in range(recipe.evaluations)}

    def __iter__(self) -> Iterator[int]:
        on_step = self._on_step
        if not on_step:  # a bar has a lock, which a process that is killed would leave behind
            bar = tqdm(total=self._recipe.steps, desc=self._recipe.title, unit="step", disable=parallel.rank())
            on_step = bar.update
        if self._stops(on_step, self._done):
            raise Stopped
        for step in range(self._done, self._recipe.steps):
            torch.manual_seed(self._recipe.seed * PLACES + step + 1)
            yield step
            self._done = step + 1
            if self._done in self._marks:
                self._save()
            if self._stops(on_step, 1):
                if self._saved < self._done:
                    self._look_at_losses()
                    self._look_at_weights(step)
                    self._save()
                raise Stopped
        if parallel.rank():
            raise Stopped  # the first makes the result

    def _stops(self, on_step: Callable[[int], None], n: int) -> bool:
        try:
            on_step(n)
        except Stopped:
            return parallel.of_first(True)
        return parallel.of_first(False)

    def _save(self) -> None:
        if not parallel.rank():
            state = {name: part.state_dict() for name, part in self._parts.items()}
            self._folder.save_state({"step": self._done, "seconds": self.seconds, **state})
        self._saved = self._done

    def at_mark(self, step: int) -> bool:
        """Whether this process evaluates the network, and the state is saved, behind this step."""
        return not parallel.rank() and step + 1 in self._marks

    def at_log(self, step: int) -> bool:
        """Whether this process logs this step's losses."""
        return not parallel.rank() and self._looks(step)

    def _looks(self, step: int) -> bool:
        return (step + 1) % LOG_EVERY == 0 or step + 1 in self._marks

    def log(self, step: int, **values: float | None) -> None:
        """Append a line to the log, of the values that are not None."""
        self._folder.log(step=step + 1, **{key: round(value, 4) for key, value in values.items() if value is not None})

    @property
    def seconds(self) -> float:
        """How long the run has taken, earlier calls included."""
        return time.monotonic() - self._began

    def require_finite(self, loss: Tensor, step: int, *networks: nn.Module) -> None:
        """Stop a run that has diverged, before its state is saved; the last state is kept.

        Losses on a GPU are looked at where they are logged, since each look waits; weights of `networks` on marks.
        Both are looked at before a run that is stopped saves its state.
        """
        self._losses[step], self._networks = loss.detach(), networks
        if not loss.is_cuda or self._looks(step):
            self._look_at_losses()
        if step + 1 in self._marks:
            self._look_at_weights(step)

    def _look_at_losses(self) -> None:
        values = torch.stack(list(self._losses.values())).tolist() if self._losses else []
        for at, value in zip(self._losses, values, strict=True):
            if not math.isfinite(value):
                raise self._diverged(f"the loss is {value} at step {at + 1}")
        self._losses.clear()

    def _look_at_weights(self, step: int) -> None:
        tensors = (tensor for network in self._networks for tensor in network.state_dict().values())
        if not all(tensor.isfinite().all() for tensor in tensors):
            raise self._diverged(f"a weight is not finite at step {step + 1}")

    def _diverged(self, what: str) -> UserError:
        folder, kept = self._folder.path, "no state was saved before"
        if self._saved:
            kept = f"the last good state, of step {self._saved}, is in {folder / 'state.pt'}"
        return UserError(f"{folder}: {what}; {kept}; lower the learning rate")


def circumstances(images, domains: tuple[str, ...], device: torch.device, seconds: float) -> dict[str, Any]:
    """The part of a card that says from which images, on what, by which code and for how long."""
    return {
        "images": images.describe(domains),
        "origin": images.origin,
        "precision": "bf16-mixed" if bf16_is_fast(device) else "32-true",
        "devices": parallel.count(),
        "threads": torch.get_num_threads(),
        "seconds": round(seconds, 1),
        "hardware": environment.hardware(),
        **environment.code_version(),
        **environment.versions(),
    }


class MovingAverage(AveragedModel):
    """An average in evaluation mode, `module`, that follows a network at every ``update_parameters(network)``.

    Early on the decay is ``(1 + n) / (10 + n)`` after n updates, so that the random start is soon forgotten; n stays on
    the CPU, where no step has to wait for the GPU to read it.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        super().__init__(network, use_buffers=True)
        self.decay = decay
        self.eval()

    def _apply(self, function, recurse=True):
        updates = self.n_averaged
        super()._apply(function, recurse)
        self.n_averaged = updates
        return self

    @torch.no_grad()
    def update_parameters(self, network: nn.Module) -> None:
        """Move the average towards the weights and statistics of `network`; counters of batches are copied."""
        n = int(self.n_averaged)
        averages, values = ([*one.parameters(), *one.buffers()] for one in (self.module, network))
        averaged = [i for i, average in enumerate(averages) if n and average.is_floating_point()]
        copied = [i for i in range(len(averages)) if i not in averaged]
        weight = 1 - min(self.decay, (1 + n) / (10 + n))
        if averaged:
            torch._foreach_lerp_([averages[i] for i in averaged], [values[i] for i in averaged], weight)
        if copied:
            torch._foreach_copy_([averages[i] for i in copied], [values[i] for i in copied])
        self.n_averaged += 1


Labelled = tuple[Tensor, Tensor | None]


def load_split(
    images, domain: str, split: str, device: torch.device, batch: int = 0, labels_needed: bool = True
) -> Labelled | None:
    """Images (N, C, H, W) uint8 and labels (N,) or None; no result for a val or test split that is not there.

    `UserError` for images that cannot be read, fewer than `batch`, or digits without `labels_needed`.
    """
    if split != "train" and split not in images.splits(domain):
        return None
    data = images.load(domain, split)
    if len(data) < batch:
        raise UserError(f"{domain} {split}: a batch of {batch} is larger than its {len(data)} images")
    if data.labels is None and labels_needed and domain != FACES:
        raise UserError(f"{domain} {split}: has no labels, and they are needed; give a csv with image_name,label")
    labels = None if data.labels is None else torch.tensor(data.labels, device=device)
    return torch.tensor(data.images, device=device), labels


def require_val(images, domain: str) -> None:
    """Refuse, before anything is trained, faces without the split that their quality is measured against."""
    if domain == FACES and "val" not in images.splits(domain):
        raise UserError(f"{domain}: has no val split, which generated faces are compared with; give one")


def mirrored(images: Tensor) -> Tensor:
    """Images (N, C, H, W), of which half at random are mirrored."""
    return torch.where(torch.rand(len(images), 1, 1, 1, device=images.device) < 0.5, images.flip(3), images)


def draw(data: Labelled, batch: int) -> Labelled:
    """A batch drawn with replacement."""
    images, labels = data
    chosen = torch.randint(len(images), (batch,), device=images.device)
    return images[chosen], None if labels is None else labels[chosen]
