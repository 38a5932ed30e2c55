"""Weights, states and noise that somebody brings: damaged, of another kind, or made to run code."""

import copy
import io
import json
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from fuzz import JSON, WORDS, exploits, fuzz, mutated, works
from hypothesis import example
from hypothesis import strategies as st
from safetensors.torch import save
from torch import nn

from hw2lib import paths, weights
from hw2lib.classifier.scores import grader
from hw2lib.data import cache
from hw2lib.diffusion.faces import NAMES, read_noise
from hw2lib.diffusion.sample import load_course
from hw2lib.errors import UserError
from hw2lib.kept import kept
from hw2lib.metrics.reference import SHIPPED
from hw2lib.metrics.reference import read as read_reference
from hw2lib.training.run_folder import RunFolder


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))


def torch_file(content: object, old: bool = False) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=not old)
    return file.getvalue()


def safetensors(header: object, content: bytes = bytes(200), length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode(errors="surrogatepass")
    return struct.pack("<Q", len(text) if length is None else length) + text + content


TENSORS = {name: torch.full_like(tensor, 1) for name, tensor in network().state_dict().items()}
SAVED = save(TENSORS, {"a": "b"})
FORMS = [torch_file(TENSORS), torch_file({"state_dict": TENSORS, "epoch": 3}), torch_file(TENSORS, old=True)]
ENTRIES = st.fixed_dictionaries(
    {
        "dtype": st.one_of(st.sampled_from(["F32", "F64", "I64", "BOOL", "F8_E4M3", "U8", "X"]), JSON),
        "shape": st.one_of(st.lists(st.sampled_from([0, 1, 3, 4, -1, 2**31, 2**63, 2**64]), max_size=3), JSON),
        "data_offsets": st.one_of(st.lists(st.sampled_from([0, 12, 48, 64, 200, -1, 2**63]), max_size=3), JSON),
    }
)
HEADERS = st.dictionaries(st.one_of(st.sampled_from(list(TENSORS)), WORDS), st.one_of(ENTRIES, JSON), max_size=4)
LENGTHS = st.sampled_from([None, None, 0, 1, 7, 2**20, 2**31, 2**63, 2**64 - 1])
SAFE = st.one_of(
    mutated(SAVED),
    st.builds(safetensors, st.one_of(HEADERS, JSON), st.binary(max_size=100), LENGTHS),
    st.just(safetensors(b'{"a":' * 10_000)),
)
with zipfile.ZipFile(io.BytesIO(FORMS[1])) as made:
    ARCHIVE = {name: made.read(name) for name in made.namelist()}
PICKLED = pickle.dumps({"weight": [1, 2.5, "x", None, (1,)], "n": {"m": b"1"}}, protocol=2)
OBJECTS = st.recursive(
    st.one_of(
        st.none(),
        st.integers(),
        st.floats(),
        st.text(max_size=5),
        st.binary(max_size=5),
        st.sampled_from(
            [
                torch.zeros(3),
                torch.zeros(2, 3).to_sparse(),
                torch.empty(5, device="meta"),
                torch.float32,
                nn.Parameter(torch.ones(2)),
                torch.zeros(2, dtype=torch.complex64),
                torch.zeros(()),
                torch.Size([3]),
                torch.zeros(1).expand(10**9),
            ]
        ),
    ),
    lambda x: st.one_of(
        st.lists(x, max_size=3),
        st.dictionaries(
            st.one_of(st.sampled_from([*TENSORS, "state_dict", "ema", "step"]), st.integers()), x, max_size=3
        ),
    ),
    max_leaves=6,
)
TORCH = st.one_of(
    mutated(*FORMS),
    st.builds(torch_file, OBJECTS, st.booleans()),
    mutated(PICKLED),
    st.binary(max_size=100),
    st.one_of(mutated(ARCHIVE["archive/data.pkl"]), st.binary(max_size=60).map(lambda code: b"\x80\x02" + code)).map(
        lambda code: zipped(ARCHIVE | {"archive/data.pkl": code})  # whose checksum is right
    ),
)


def zipped(files: dict[str, bytes], packed: int = zipfile.ZIP_STORED) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", packed) as made:
        for name, part in files.items():
            made.writestr(name, part)
    return content.getvalue()


def load_weights(file: Path) -> None:
    """Fill a network, which a refusal leaves as it was."""
    loaded = network()
    before = copy.deepcopy(loaded.state_dict())
    try:
        weights.load(loaded, file)
    except UserError:
        assert all(torch.equal(tensor, before[name]) for name, tensor in loaded.state_dict().items())
        raise
    assert all(tensor.isfinite().all() for tensor in loaded.state_dict().values())


@fuzz(800, content=SAFE)
def test_safetensors(guard, content):
    file = guard.home / "weights.safetensors"
    file.write_bytes(content)
    guard(load_weights, file)


@fuzz(800, content=TORCH)
def test_a_file_of_torch(guard, content):
    file = guard.home / "weights.pt"
    file.write_bytes(content)
    guard(load_weights, file)


@fuzz(150, content=mutated((SHIPPED / "face-val.safetensors").read_bytes()[:3000], SAVED))
def test_a_reference(guard, content):
    file = guard.home / "reference.safetensors"
    file.write_bytes(content)
    guard(read_reference, file)


STATE = torch_file({"step": 3, "seconds": 1.5, "tensors": TENSORS})


LONG = b"\x80\x02X" + struct.pack("<I", 2**32 - 1)  # a pickle of a text of 4 GiB, which is not there


@fuzz(
    450,
    content=st.one_of(
        mutated(STATE), TORCH, st.builds(lambda step, x: torch_file({"step": step, "seconds": x}), OBJECTS, OBJECTS)
    ),
    log=st.one_of(st.lists(JSON.map(json.dumps), max_size=3).map("\n".join), WORDS, st.just('{"step": 2}\n')),
)
@example(content=LONG, log="")
@example(content=torch_file({"step": None, "seconds": 1.0}), log='{"step": 2}\n')
@example(content=STATE, log="{}\n")
def test_the_state_of_a_training(guard, content, log):
    (path := guard.home / f"{guard.cases}").mkdir()
    (path / "state.pt").write_bytes(content)
    (path / "log.jsonl").write_bytes(log.encode(errors="surrogatepass"))
    folder = RunFolder(path, {})

    def go_on() -> None:
        steps, seconds = folder.progress()
        assert type(steps) is int
        assert type(seconds) in (int, float)
        folder.load_state()
        folder.history()

    guard(go_on)


@kept
def doubled(number: int) -> dict[str, int | np.ndarray]:
    return {"two": 2 * number, "array": np.arange(number)}


STORED = torch_file(
    {"result": {"kept": "dict", "items": [["a", {"kept": "tuple", "items": [1]}]]}, "used": {"a: b": "c"}}
)


@fuzz(
    350,
    content=st.one_of(
        mutated(STORED),
        TORCH,
        st.builds(
            lambda kind, x: torch_file({"result": {"kept": kind, "content": x, "items": x}, "used": x}),
            st.sampled_from(["array", "tuple", "dict", "other"]),
            OBJECTS,
        ),
    ),
)
@example(content=LONG)
def test_a_kept_result(guard, content):
    """What cannot be read is computed anew."""
    guard(doubled, 3)
    file = next((paths.cache_dir() / "results").glob("doubled-*.pt"))
    file.write_bytes(content)
    assert not isinstance(guard(doubled, 3), UserError)


@fuzz(
    250,
    content=st.one_of(
        mutated(torch_file(torch.ones(1, 3, 4, 4))),
        st.builds(torch_file, OBJECTS),
        TORCH,
        st.sampled_from([torch_file(torch.full((1, 3, 4, 4), x, dtype=torch.float64)) for x in (torch.nan, 1e300, 1)]),
    ),
)
def test_noise(guard, content):
    for name in NAMES:
        (guard.home / f"{name}.pt").write_bytes(content)
    noise = guard(read_noise, guard.home, 4)
    assert isinstance(noise, UserError) or (noise.shape == (10, 3, 4, 4) and noise.isfinite().all())


def npy(content: object) -> bytes:
    file = io.BytesIO()
    np.save(file, content, allow_pickle=True)
    return file.getvalue()


@fuzz(150, images=mutated(npy(np.zeros((2, 1, 2, 2), np.uint8))), labels=mutated(npy(np.arange(2))))
@example(images=b"\x93NUMPY\x01\x00\x76\x00{'descr': ", labels=b"")  # and no more
def test_cached_images(guard, images, labels):
    (guard.home / "images.npy").write_bytes(images)
    (guard.home / "labels.npy").write_bytes(labels)
    (guard.home / "sha256").write_text("0")
    cached = guard(cache.read, guard.home)
    assert cached is None or cached.images.dtype == np.uint8


# Code in a file


def read_cached(file: Path) -> None:
    (file.parent / "images.npy").write_bytes(file.read_bytes())
    (file.parent / "labels.npy").write_bytes(file.read_bytes())
    (file.parent / "sha256").write_text("0")
    assert cache.read(file.parent) is None


def read_kept(file: Path) -> None:
    doubled(3)
    next((paths.cache_dir() / "results").glob("doubled-*.pt")).write_bytes(file.read_bytes())
    assert doubled(3)["two"] == 6


def read_state(file: Path) -> None:
    (file.parent / "state.pt").write_bytes(file.read_bytes())
    folder = RunFolder(file.parent, {})
    assert folder.progress() == (0, 0.0)
    folder.load_state()


def read_noises(file: Path) -> None:
    for name in NAMES:
        (file.parent / f"{name}.pt").write_bytes(file.read_bytes())
    read_noise(file.parent, 4)


LOADERS = {
    "weights": load_weights,
    "Classifier.pth": lambda file: grader(str(file)),
    "UNet.pt": lambda file: load_course(file, "cpu"),
    "state.pt": read_state,
    "kept": read_kept,
    "noise": read_noises,
    "cached images": read_cached,
}


CONTAINERS = {
    "torch.save": torch_file,
    "old torch.save": lambda content: torch_file(content, old=True),
    "pickle": pickle.dumps,
    "pickle 2": lambda content: pickle.dumps(content, protocol=2),
    "zip": lambda content: zipped({"archive/data.pkl": pickle.dumps(content, protocol=2), "archive/version": b"3"}),
    "TorchScript": lambda content: zipped(
        {
            "archive/data.pkl": pickle.dumps(content, protocol=2),
            "archive/constants.pkl": b"\x80\x02).",
            "archive/code/__torch__.py": b"import os\nos.system('touch marker')\n",
            "archive/version": b"3",
        }
    ),
    "npy": lambda content: npy(np.array([content], dtype=object)),
}


@pytest.mark.slow
@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("loader", LOADERS)
def test_code_in_a_file_is_never_run(guard, loader, container):
    for name, content in exploits(guard.marker).items():
        works(content, guard.marker)
        (folder := guard.home / name).mkdir()
        (folder / "file.pt").write_bytes(CONTAINERS[container](content))
        guard(LOADERS[loader], folder / "file.pt")
        assert not guard.marker.exists()


@pytest.mark.slow
@pytest.mark.parametrize("loader", ["weights", "state.pt", "kept", "noise"])
def test_a_zip_that_grows(guard, loader):
    """Half a MB that become 512 MiB."""
    with zipfile.ZipFile(io.BytesIO(torch_file(torch.zeros(2**27)))) as made:
        files = {name: made.read(name) for name in made.namelist()}
    (guard.home / "file.pt").write_bytes(zipped(files, zipfile.ZIP_DEFLATED))
    del files
    assert guard.peak(LOADERS[loader], guard.home / "file.pt") < 100 * 2**20
