"""Files of weights that people have: wrapped, bare, below any name, of any suffix; and what is said of the others."""

import argparse
import re
import zipfile

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.optim.swa_utils import AveragedModel

from hw2lib import weights
from hw2lib.errors import UserError


def network(width: int = 4) -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, width), nn.BatchNorm1d(width), nn.Linear(width, 2))


@pytest.fixture
def trained() -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return network().state_dict()


def prefixed(prefix: str, tensors: dict) -> dict:
    return {f"{prefix}{name}": tensor for name, tensor in tensors.items()}


def assert_loaded(file, trained) -> None:
    found = network()
    weights.load(found, file)
    for name, tensor in found.state_dict().items():
        assert torch.equal(tensor, trained[name]), name


def refused(file) -> str:
    found = network()
    before = {name: tensor.clone() for name, tensor in found.state_dict().items()}
    with pytest.raises(UserError) as error:
        weights.load(found, file)
    assert all(torch.equal(tensor, before[name]) for name, tensor in found.state_dict().items())
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("entry", ["", "state_dict", "model", "ema", "model_state_dict", "net", "ema.state_dict"])
@pytest.mark.parametrize("wrapper", ["", "module.", "_orig_mod.", "module._orig_mod.", "classifier."])
def test_wrapped_weights_below_any_name(tmp_path, trained, entry, wrapper):
    content = prefixed(wrapper, trained)
    optimiser = torch.optim.Adam(network().parameters())
    for name in reversed(entry.split(".") if entry else []):
        content = {"epoch": 3, name: content, "optimizer": optimiser.state_dict()}
    torch.save(content, tmp_path / "w.pth")
    assert_loaded(tmp_path / "w.pth", trained)


@pytest.mark.parametrize("name", ["w.pth.tar", "w.ckpt", "W.PTH", "W.PT", "weights", "w.bin"])
def test_any_suffix(tmp_path, trained, name):
    torch.save({"state_dict": trained}, tmp_path / name)
    assert_loaded(tmp_path / name, trained)
    save_file(prefixed("module.", trained), tmp_path / name)
    assert_loaded(tmp_path / name, trained)


def test_an_old_file_of_torch(tmp_path, trained):
    torch.save(trained, tmp_path / "w.pth", _use_new_zipfile_serialization=False)
    assert_loaded(tmp_path / "w.pth", trained)


def test_an_averaged_model_and_its_counter(tmp_path, trained):
    average = AveragedModel(network())
    average.module.load_state_dict(trained)
    torch.save(average.state_dict(), tmp_path / "w.pth")
    assert_loaded(tmp_path / "w.pth", trained)


def test_the_average_goes_before_all_others(tmp_path, trained):
    torch.save({"model": network().state_dict(), "model_ema": trained}, tmp_path / "w.pth")
    assert_loaded(tmp_path / "w.pth", trained)


def test_an_average_that_does_not_fit_is_not_replaced_by_raw_weights(tmp_path, trained):
    torch.save({"model": trained, "ema": network(5).state_dict()}, tmp_path / "w.pth")
    assert "w.pth, 'ema': weights of another network: 7 tensors differ; of another shape: '0.weight', (5, 3) and not " \
        "(4, 3)" in refused(tmp_path / "w.pth")  # fmt: skip


def test_an_average_of_something_else_hides_no_weights(tmp_path, trained):
    torch.save({"model": trained, "ema": {"loss": torch.zeros(1)}}, tmp_path / "w.pth")
    assert_loaded(tmp_path / "w.pth", trained)


@pytest.mark.parametrize("entry", ["", "ema"])
def test_an_average_as_ema_pytorch_saves_it(tmp_path, trained, entry):
    content = prefixed("online_model.", network().state_dict()) | prefixed("ema_model.", trained)
    content |= {"initted": torch.tensor(True), "step": torch.tensor(7)}
    if entry:
        content = {"step": 7, "model": network().state_dict(), entry: content}
    torch.save(content, tmp_path / "w.pt")
    assert_loaded(tmp_path / "w.pt", trained)


@pytest.mark.parametrize("new", [True, False])
def test_a_file_of_torch_by_another_name(tmp_path, trained, new):
    torch.save(trained, tmp_path / "w.safetensors", _use_new_zipfile_serialization=new)
    assert_loaded(tmp_path / "w.safetensors", trained)


def test_of_which_network_a_file_rather_is(tmp_path, trained):
    others = nn.Sequential(nn.Identity(), nn.Linear(3, 2))
    networks = [others, network()]
    torch.save({"state_dict": prefixed("module.", trained)}, tmp_path / "w.pth")
    assert weights.nearest(tmp_path / "w.pth", networks) is networks[1]
    torch.save(prefixed("module.", others.state_dict()), tmp_path / "w.pth")
    assert weights.nearest(tmp_path / "w.pth", networks) is others


def test_of_several_networks_the_one_that_fits_is_taken(tmp_path, trained):
    torch.save({"discriminator": network(5).state_dict(), "generator": trained}, tmp_path / "w.pth")
    assert_loaded(tmp_path / "w.pth", trained)


def test_several_that_fit_are_named(tmp_path, trained):
    torch.save({"first": trained, "best": trained}, tmp_path / "w.pth")
    assert "holds several weights of this network: first, best; give a file of one" in refused(tmp_path / "w.pth")


def test_what_differs_is_said_key_by_key(tmp_path, trained):
    changed = {"a.0": torch.zeros(1), **trained}
    del changed["0.bias"], changed["2.bias"]
    changed["0.weight"] = torch.zeros(5, 3)
    torch.save({"model": prefixed("module.", changed)}, tmp_path / "w.pth")
    assert refused(tmp_path / "w.pth") == (
        f"{tmp_path}/w.pth, 'model': weights of another network: 4 tensors differ; missing: '0.bias', '2.bias'; "
        "not expected: 'a.0'; of another shape: '0.weight', (5, 3) and not (4, 3)"
    )


def test_a_file_without_weights_says_what_it_has(tmp_path, trained):
    torch.save({**trained, "epoch": 3}, tmp_path / "w.pth")
    assert "no names and tensors by themselves: it has epoch (int), 0.weight (Tensor), 0.bias (Tensor) and 7 more" in (
        refused(tmp_path / "w.pth")
    )
    torch.save([trained["0.weight"]], tmp_path / "w.pth")
    assert "holds no names and tensors by themselves: it is a list; give one of torch.save" in refused(
        tmp_path / "w.pth"
    )


def test_code_beside_the_weights_is_named_and_not_run(tmp_path, trained):
    torch.save({"state_dict": trained, "args": argparse.Namespace(lr=1)}, tmp_path / "w.pth")
    assert "holds code (argparse.Namespace), which is never run" in refused(tmp_path / "w.pth")


def test_a_tensor_whose_storage_is_something_else(tmp_path, trained):
    torch.save(trained, tmp_path / "w.pth")
    with zipfile.ZipFile(tmp_path / "w.pth") as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(tmp_path / "w.pth", "w") as archive:
        for name, content in parts.items():
            # A pickle's opcode Q makes a storage of its id, a tuple; N leaves the tuple and puts None beside it.
            spoiled = re.sub(rb"(tq.)Q", rb"\1N", content, count=1, flags=re.DOTALL)
            archive.writestr(name, spoiled if name.endswith(".pkl") else content)
    assert "damaged, or no file of torch.save" in refused(tmp_path / "w.pth")


def test_a_dict_that_holds_itself_ends(tmp_path):
    content: dict = {}
    content["model"] = content
    torch.save(content, tmp_path / "w.pth")
    assert "it has model (dict)" in refused(tmp_path / "w.pth")
