"""A run's files: one process at a time, one kind of settings, nothing half-written, nothing executed."""

import argparse
import os
import pickle
import resource
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from hw2lib.errors import UserError
from hw2lib.files import read_json
from hw2lib.training.run_folder import RunFolder
from hw2lib.weights import load as load_weights
from hw2lib.weights import save as save_weights

SETTINGS = {"steps": 10, "data": {"usps": "ab"}, "scale": (1.0, 2.0)}


@pytest.fixture
def folder(tmp_path) -> RunFolder:
    return RunFolder(tmp_path / "a/run", SETTINGS)


def refused(what: str, call) -> str:
    with pytest.raises(UserError, match=what) as error:
        call()
    assert "\n" not in str(error.value)
    return str(error.value)


def opened(folder: RunFolder) -> None:
    with folder.open():
        pass


# Whose it is


def test_it_is_made_when_it_is_opened_and_holds_the_settings(folder):
    assert not folder.path.exists()
    opened(folder)
    assert read_json(folder.path / "settings.json") == SETTINGS | {"scale": [1.0, 2.0]}
    opened(folder)


def test_other_settings_are_refused_and_the_difference_is_shown(folder):
    opened(folder)
    before = (folder.path / "settings.json").read_bytes()
    other = RunFolder(folder.path, {"steps": 20, "data": {"usps": "ab"}, "batch": 8})
    message = refused("the run has other settings", lambda: opened(other))
    assert "steps is 10 there and 20 here" in message
    assert "batch is None there and 8 here" in message
    assert "data" not in message
    assert (folder.path / "settings.json").read_bytes() == before


def test_a_second_process_is_refused_until_the_first_is_killed(folder):
    hold = (
        "import sys, time; from hw2lib.training.run_folder import RunFolder\n"
        f"with RunFolder({str(folder.path)!r}, {SETTINGS!r}).open(): print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", hold], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        refused("another process is training here", lambda: opened(folder))
        holder.kill()
    opened(folder)


def test_an_error_inside_lets_go(folder):
    with pytest.raises(ZeroDivisionError), folder.open():
        raise ZeroDivisionError
    opened(folder)


def test_a_path_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    refused(
        "file/run: Not a directory; mend that, and the same command goes on",
        lambda: opened(RunFolder(tmp_path / "file/run", {})),
    )


def test_a_folder_without_permission_is_refused(tmp_path):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)  # root may write anywhere
    try:
        refused(
            "Permission denied; mend that, and the same command goes on", lambda: opened(RunFolder(locked / "run", {}))
        )
        refused("Permission denied; mend that, and the same command goes on", lambda: opened(RunFolder(locked, {})))
    finally:
        if root:
            os.seteuid(0)
    assert not list(locked.iterdir())


@pytest.mark.parametrize("name", ["settings.json", "card.json"])
def test_a_torn_file_is_named(folder, name):
    opened(folder)
    (folder.path / name).write_text('{"steps": 1')
    refused(f"{name}: damaged; remove the folder to begin anew", lambda: folder.card or opened(folder))


# State and log


def test_the_state_comes_back_and_the_log_is_cut_to_it(folder):
    opened(folder)
    for step in (20, 40, 60):
        folder.log(step=step, loss=1 / step)
        if step == 40:
            folder.save_state({"step": 40, "network": {"weight": torch.arange(3.0)}})
    with open(folder.path / "log.jsonl", "a") as log:
        log.write('{"step": 80, "lo')  # killed as it wrote
    state = folder.load_state()
    assert state["step"] == 40
    assert torch.equal(state["network"]["weight"], torch.arange(3.0))
    assert folder.history() == [{"step": 20, "loss": 0.05}, {"step": 40, "loss": 0.025}]


def test_without_a_state_the_log_begins_anew(folder):
    opened(folder)
    folder.log(step=20)
    assert folder.load_state() is None
    assert folder.history() == []


def test_a_state_whose_log_was_removed_is_good(folder):
    opened(folder)
    folder.save_state({"step": 40})
    assert folder.load_state() == {"step": 40}


@contextmanager
def full_disk():
    """No file grows beyond a kilobyte."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_on_a_disk_that_fills_the_last_state_stays_and_nothing_half_written(folder):
    opened(folder)
    folder.save_state({"step": 1})
    much = torch.zeros(10_000)

    def saved():
        with folder.open():
            folder.save_state({"step": 2, "much": much})

    with full_disk():
        refused("File too large; mend that, and the same command goes on", saved)
        refused("weights.safetensors: cannot be written", lambda: folder.finish({"much": much}, {}))
    assert folder.load_state() == {"step": 1}
    assert not folder.card
    assert not list(folder.path.glob("*partial*"))


class Evil:
    """What it is unpickled to is the file that this makes."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


@pytest.mark.parametrize("how", [torch.save, lambda value, file: file.write_bytes(pickle.dumps(value, protocol=2))])
def test_a_state_that_is_a_pickle_with_code_is_refused_and_not_run(folder, tmp_path, how):
    opened(folder)
    marker = tmp_path / "marker"
    how({"step": Evil(marker)}, folder.path / "state.pt")
    refused("state.pt: damaged, or no training state of this project; remove it to begin anew", folder.load_state)
    assert not marker.exists()
    torch.load(folder.path / "state.pt", weights_only=False) if how is torch.save else pickle.loads(
        (folder.path / "state.pt").read_bytes()
    )
    assert marker.exists()  # it would have


@pytest.mark.parametrize("content", [b"", b"nonsense", b"PK\x03\x04nonsense"])
def test_a_broken_state_is_refused(folder, content):
    opened(folder)
    (folder.path / "state.pt").write_bytes(content)
    refused("state.pt: damaged, or no training state of this project", folder.load_state)


def test_a_truncated_state_is_refused(folder):
    opened(folder)
    folder.save_state({"step": 1, "network": {"weight": torch.randn(1000)}})
    whole = (folder.path / "state.pt").read_bytes()
    (folder.path / "state.pt").write_bytes(whole[: len(whole) // 2])
    refused("state.pt: damaged, or no training state of this project", folder.load_state)


def test_a_finished_run_has_a_card_and_no_state(folder):
    opened(folder)
    folder.save_state({"step": 10})
    assert folder.card is None
    card = folder.finish({"weight": torch.ones(2)}, {"accuracy": 50})
    assert card == folder.card == {"settings": folder.settings, "accuracy": 50}
    assert not (folder.path / "state.pt").exists()
    assert RunFolder(folder.path, SETTINGS | {"steps": 11}).card is None  # the card of another run


# Weights


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))


def state_of(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


@pytest.fixture
def trained() -> dict[str, torch.Tensor]:
    return {name: tensor + 1 for name, tensor in state_of(network()).items()}


def test_weights_come_back(tmp_path, trained):
    save_weights(trained, tmp_path / "w.safetensors")
    module = network()
    load_weights(module, tmp_path / "w.safetensors")
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, trained[name])
    assert [file.name for file in tmp_path.iterdir()] == ["w.safetensors"]


def test_half_precision_is_widened(tmp_path, trained):
    half = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in trained.items()}
    save_weights(half, tmp_path / "w.safetensors")
    module = network()
    load_weights(module, tmp_path / "w.safetensors")
    assert module[0].weight.dtype == torch.float32
    assert torch.equal(module[0].weight, half["0.weight"].float())


def truncated(weights, file):
    save_file(weights, file)
    file.write_bytes(file.read_bytes()[:-5])


def of_another_shape(weights, file):
    save_file(weights | {"0.weight": torch.zeros(3, 5)}, file)


def of_a_smaller_network(weights, file):
    save_file({name: tensor for name, tensor in weights.items() if name != "0.bias"}, file)


def of_a_larger_network(weights, file):
    save_file(weights | {"2.weight": torch.zeros(1)}, file)


def a_pickle(weights, file):
    torch.save(weights | {"arguments": argparse.Namespace()}, file)


def nothing(weights, file):
    pass


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (truncated, "not a whole safetensors file"),
        (a_pickle, r"holds code \(argparse.Namespace\), which is never run"),
        (of_another_shape, "weights of another network: 1 tensors differ; of another shape: '0.weight'"),
        (of_a_smaller_network, "weights of another network: 1 tensors differ; missing: '0.bias'"),
        (of_a_larger_network, "weights of another network: 1 tensors differ; not expected: '2.weight'"),
        (nothing, "no such weights file"),
    ],
)
def test_other_files_are_refused_and_the_network_is_unchanged(tmp_path, trained, make, what):
    file = tmp_path / "w.safetensors"
    make(trained, file)
    module = network()
    before = state_of(module)
    assert str(file) in refused(what, lambda: load_weights(module, file))
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, before[name])
