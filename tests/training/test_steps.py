"""The steps of a training: when a run that has diverged is stopped."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from hw2lib.errors import UserError
from hw2lib.training.run_folder import RunFolder
from hw2lib.training.steps import LOG_EVERY, Steps


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
