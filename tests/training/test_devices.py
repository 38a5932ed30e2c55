"""Which device a name stands for, and its precision."""

import pytest
import torch

from hw2lib.errors import UserError
from hw2lib.training import devices
from hw2lib.training.devices import bf16_is_fast, check_device, fabric_for


@pytest.mark.parametrize("name", ["gpu", "", "cpu:0", "cuda:", "cuda:x", "cuda:-1", "cuda:²", "mps", "CPU"])
def test_an_unknown_device_is_refused_with_those_there_are(name):
    with pytest.raises(UserError, match=f"unknown device '{name}': choose auto, cpu, cuda or cuda:N"):
        check_device(name)


@pytest.fixture
def gpus(monkeypatch):
    """Pretends that there are so many GPUs."""

    def gpus(count: int) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)

    return gpus


def test_without_a_gpu(gpus):
    gpus(0)
    assert check_device("auto") == check_device("cpu") == torch.device("cpu")
    for name in ("cuda", "cuda:1"):
        with pytest.raises(UserError, match=f"device '{name}': no CUDA device is available here"):
            check_device(name)


def test_with_two_gpus(gpus):
    gpus(2)
    assert check_device("auto") == torch.device("cuda")
    assert check_device("cuda:1") == torch.device("cuda:1")
    assert check_device("cpu") == torch.device("cpu")
    with pytest.raises(UserError, match="device 'cuda:2': there are 2 CUDA devices, counted from 0"):
        check_device("cuda:2")


@pytest.mark.parametrize(
    ("flags", "fast"), [("fpu avx512f avx512_bf16", True), ("fpu amx_bf16", True), ("fpu avx2 avx512f", False)]
)
def test_bfloat16_is_used_where_the_processor_multiplies_it(tmp_path, monkeypatch, flags, fast):
    (tmp_path / "cpuinfo").write_text(f"flags : {flags}\n")
    monkeypatch.setattr(devices, "Path", lambda path: {"/proc/cpuinfo": tmp_path / "cpuinfo"}[path])
    assert bf16_is_fast(torch.device("cpu")) is fast
    with fabric_for("cpu").autocast():
        assert torch.is_autocast_enabled("cpu") is fast


def test_a_processor_that_does_not_tell_gets_float32(tmp_path, monkeypatch):
    monkeypatch.setattr(devices, "Path", lambda path: tmp_path / "nothing")
    assert not bf16_is_fast(torch.device("cpu"))
