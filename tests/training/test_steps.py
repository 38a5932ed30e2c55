"""The steps of a training: when a run that has diverged is stopped."""

from types import SimpleNamespace

import pytest
import torch
from synthetic import Portraits, Synthetic
from torch import nn

from hw2lib import networks, runs
from hw2lib.data import FACES
from hw2lib.errors import UserError
from hw2lib.training.run_folder import RunFolder
from hw2lib.training.steps import LOG_EVERY, Steps, Stopped


class OnGPU(torch.Tensor):
    """A loss that takes itself for one on a GPU."""

    is_cuda = True


@pytest.fixture
def stopped_at(tmp_path):
    """The step at which a run is stopped whose loss is NaN from one step on."""

    def stopped_at(kind: type, nan_from: int, steps: int = 50) -> tuple[int, str]:
        recipe = SimpleNamespace(title="a/run", seed=0, steps=steps, evaluations=2)
        folder, network = RunFolder(tmp_path / f"{kind.__name__}-{nan_from}", {}), nn.Linear(1, 1)
        with folder.open():
            loop = Steps(recipe, folder, {"network": network}, lambda n: None)
            for step in loop:
                loss = torch.tensor(torch.nan if step + 1 >= nan_from else 1.0).as_subclass(kind)
                try:
                    loop.require_finite(loss, step, network)
                except UserError as error:
                    return step + 1, str(error)
        raise AssertionError("it went on to the end")

    return stopped_at


def test_on_a_cpu_a_run_stops_at_once(stopped_at):
    step, message = stopped_at(torch.Tensor, 7)
    assert step == 7
    assert "the loss is nan at step 7; no state was saved before; lower the learning rate" in message


@pytest.mark.parametrize(("nan_from", "seen"), [(7, LOG_EVERY), (LOG_EVERY, LOG_EVERY), (21, 25), (26, 40), (49, 50)])
def test_on_a_gpu_it_stops_at_the_next_log_and_names_the_step(stopped_at, nan_from, seen):
    """Marks are at 25 and 50: the state of none of them is saved after the loss was lost."""
    step, message = stopped_at(OnGPU, nan_from)
    assert step == seen
    assert f"the loss is nan at step {nan_from}; " in message
    assert ("the last good state, of step 25, is in" in message) == (nan_from > 25)


@pytest.mark.parametrize("kind", [torch.Tensor, OnGPU])
@pytest.mark.parametrize("broken", ["", "loss", "weight"])
def test_a_run_that_is_stopped_saves_its_state_unless_it_has_diverged(tmp_path, kind, broken):
    recipe = SimpleNamespace(title="a/run", seed=0, steps=50, evaluations=1)
    folder, network = RunFolder(tmp_path, {}), nn.Linear(1, 1)
    done = 0

    def on_step(n: int) -> None:
        nonlocal done
        done += n
        if done == 7:
            raise Stopped

    def train() -> None:
        loop = Steps(recipe, folder, {"network": network}, on_step)
        for step in loop:
            lost = step + 1 == 7
            if lost and broken == "weight":
                nn.init.constant_(network.weight, torch.inf)
            value = torch.nan if lost and broken == "loss" else 1.0
            loop.require_finite(torch.tensor(value).as_subclass(kind), step, network)

    with folder.open(), pytest.raises(UserError if broken else Stopped) as told:
        train()
    assert folder.progress()[0] == (0 if broken else 7)
    if broken:
        what = "the loss is nan" if broken == "loss" else "a weight is not finite"
        assert f"{what} at step 7; no state was saved before" in str(told.value)


FAMILIES = {
    "dcgan": {}, "acgan": {}, "unet-two-level": {}, "face-pyramid": {}, "digit-classifier": {},
    "dann-compact": {"pairs": ["mnistm-usps"], "methods": ["dann"]}, "uda-cnn": {"pairs": ["mnistm-usps"]},
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_stopped_between_marks_and_resumed_every_kind_of_run_ends_bit_for_bit_the_same(tmp_path, name):
    settings = ["steps=5", "evaluations=1", "batch=8"]
    (recipe,) = runs.recipes_for([name], ["ours"], [0], "smoke", settings=settings, **FAMILIES[name])
    whole, parts = (RunFolder(tmp_path / part, {}) for part in ("whole", "parts"))
    train = networks.training_of(name)
    images = Portraits() if recipe.domains == (FACES,) else Synthetic()
    cards = [train(recipe, images, whole, "cpu", lambda n: None)]
    for stop in (2, 3):
        done = 0

        def on_step(n: int, stop: int = stop) -> None:
            nonlocal done
            done += n
            if done == stop:
                raise Stopped

        with pytest.raises(Stopped):
            train(recipe, images, parts, "cpu", on_step)
        assert parts.progress()[0] == stop
    cards.append(train(recipe, images, parts, "cpu", lambda n: None))
    assert whole.weights.read_bytes() == parts.weights.read_bytes()
    assert whole.history() == parts.history()
    for card in cards:
        del card["seconds"]
    assert cards[0] == cards[1]
