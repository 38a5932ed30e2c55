"""One training by several processes, each with a device of its own: Lightning Fabric's DDP.

All processes run the same loop. Each draws the whole batch and all that is random from the seed of (run seed, step); a
network from `setup` reads the process's part of it and returns the outputs of all parts. So each process computes the
losses, class thresholds and averages of the whole batch; DDP averages the gradients, and batch normalisation and
dropout treat all parts as one batch. A step is that of one process up to rounding, and a run can go on with another
number of devices. Only dropout on a GPU may draw other masks. Each process holds all images.

Torchrun's variables say that a process is one of several; `on_devices` sets them too. The first evaluates and writes.
"""

import atexit
import contextlib
import gc
import multiprocessing
import os
import socket
import threading
import traceback
from collections.abc import Callable, Iterable
from datetime import timedelta
from itertools import product
from multiprocessing import connection
from typing import TYPE_CHECKING, Any, TypeVar

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

from hw2lib.environment import cores
from hw2lib.errors import UserError
from hw2lib.training import devices
from hw2lib.training.recipe import BaseRecipe

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Value = TypeVar("Value")
REFUSED = 2  # exit status of a process with a `UserError`
PATIENCE = timedelta(days=1)  # the others wait while the first evaluates; that one has died is seen without it


def count() -> int:
    """How many processes train together; 1 without others."""
    return int(os.environ.get("WORLD_SIZE", 1))


def rank() -> int:
    """The number of this process; 0 evaluates and writes files."""
    return int(os.environ.get("RANK", 0))


def check(device: str, many: int, jobs: int, recipes: Iterable[BaseRecipe]) -> None:
    """`UserError` unless so `many` devices, or those of torchrun, can train each of the recipes."""
    where, there = devices.check_device(device), torch.cuda.device_count()
    if many > 1 and count() > 1:
        raise UserError("torchrun says how many devices there are: leave --devices out")
    if many > 1 and (where.index is not None or (where.type == "cuda" and there < many)):
        raise UserError(f"--devices {many}: they count from cuda:0, and {there} are here; choose --device cuda or cpu")
    many = max(many, count())
    if many > 1 and jobs > 1:
        raise UserError(f"{many} devices train one run at a time: leave --jobs out")
    for recipe, name in product(recipes, ("batch", "target_batch")):
        if (size := getattr(recipe, name, 0)) % many:
            raise UserError(f"{recipe.title}: {name} = {size} cannot be divided evenly among {many} devices")


def on_devices(many: int, work: Callable[[Callable[[int], Any]], None], report: Callable[[int], Any]) -> None:
    """Call ``work(report)``, and with several devices do so in a process for each device of this machine.

    It ends when the first of them does, or one fails. `UserError` for one that was killed, and that of a process.
    """
    if many == 1:
        return work(report)
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # DDP warns where every weight has a gradient
    context = multiprocessing.get_context("spawn")
    steps, why = context.RawArray("q", 1), context.RawArray("c", 4096)
    with socket.create_server(("localhost", 0)) as server:
        port = server.getsockname()[1]
    group = [context.Process(target=_work, args=(i, many, port, work, steps, why), daemon=True) for i in range(many)]
    try:
        for process in group:
            process.start()
        reported = 0
        while group[0].exitcode is None and not any(process.exitcode for process in group):
            connection.wait([process.sentinel for process in group if process.exitcode is None], timeout=1)
            report(steps[0] - reported)
            reported = steps[0]
        ends = [process.exitcode for process in group]
    finally:
        for process in filter(lambda process: process.pid, group):
            process.kill()  # one that waits for another hears of nothing else
            process.join()
    if ends[0] == 0:
        return None
    if any(code and code < 0 for code in ends):
        raise UserError("a process was killed, perhaps for want of memory; the same command goes on")
    raise (UserError if REFUSED in ends else RuntimeError)(why.value.decode(errors="replace"))


def _work(number: int, many: int, port: int, work, steps, why) -> None:
    begin_worker(max(1, cores() // many))
    numbers = {"RANK": number, "LOCAL_RANK": number, "GROUP_RANK": 0, "WORLD_SIZE": many, "LOCAL_WORLD_SIZE": many}
    os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port)} | {k: str(v) for k, v in numbers.items()}

    def report(n: int) -> None:
        steps[0] += 0 if rank() else n

    code = 0
    try:
        work(report)
        atexit._run_exitfuncs()
    except UserError as error:
        code, why.value = REFUSED, str(error).encode()[:4095]
    except BaseException:
        code, why.value = 1, traceback.format_exc().encode()[-4095:]
    os._exit(code)  # an interpreter that ends with a process group now and then aborts


def begin_worker(threads: int) -> None:
    """Begin a process that computes on so many threads and ends with its parent."""
    torch.set_num_threads(threads)
    # A worker must not outlive a parent that was killed: it would hold the lock of its run folder.
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)


def leave() -> None:
    """Wait until all processes of torchrun are done, and end all but the first."""
    if dist.is_initialized():
        gc.collect()  # networks that know the process group
        dist.barrier()
        dist.destroy_process_group()
    if rank():
        os._exit(0)


def fabric_for(device: str) -> "Fabric":
    """`hw2lib.training.devices.fabric_for`, and for one of several processes a Fabric that has joined the others."""
    alone = devices.fabric_for(device)
    if count() == 1:
        return alone
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments import TorchElasticEnvironment
    from lightning_fabric.strategies import DDPStrategy

    kind, here = alone.device.type, int(os.environ["LOCAL_WORLD_SIZE"])
    backend = "gloo" if kind == "cpu" else "cpu:gloo,cuda:nccl"  # `of_first` has no need to wait for a GPU
    # Not every loss reaches every weight: without adaptation none does those of the domain classifier.
    strategy = DDPStrategy(process_group_backend=backend, timeout=PATIENCE, find_unused_parameters=True)
    options = {"devices": here, "num_nodes": count() // here, "plugins": [TorchElasticEnvironment()]}
    precision = "bf16-mixed" if devices.bf16_is_fast(alone.device) else "32-true"
    fabric = Fabric(accelerator=kind, strategy=strategy, precision=precision, **options)
    fabric.launch()
    return fabric


def of_first(value: Value) -> Value:
    """In every process the value that the first one has."""
    values = [value]
    if count() > 1:
        dist.broadcast_object_list(values, device=torch.device("cpu"))
    return values[0]


def setup(fabric: "Fabric", network: nn.Module, optimiser: torch.optim.Optimizer, rounded: bool = True) -> tuple:
    """A network to call with whole batches, and its optimiser.

    On one device they are those of ``fabric.setup``, which rounds inputs to bfloat16 where that is the precision;
    not `rounded`, the network itself, to be called within ``fabric.autocast()``.
    """
    if count() > 1:
        return _OverDevices(fabric, network), fabric.setup_optimizers(optimiser)
    wrapped, optimiser = fabric.setup(network, optimiser)
    return wrapped if rounded else network, optimiser


class _OverDevices(nn.Module):
    """Reads this process's part of a whole batch, and returns the outputs of all parts in float32."""

    def __init__(self, fabric: "Fabric", network: nn.Module) -> None:
        super().__init__()
        self._autocast, self._ddp = fabric.autocast, fabric.strategy.setup_module(network.to(fabric.device))

    def forward(self, *inputs: Any, **options: Any) -> Any:
        with self._autocast(), as_one_batch():
            outputs = self._ddp(*map(part, inputs), **options)
        return tree_map(lambda output: whole(output.float()), outputs)


def part(batch: Value) -> Value:
    """The rows of a tensor (N, ...) that are this process's, every `count()`-th one; other values stay.

    Of two batches that are joined it has as many rows of each.
    """
    return batch[rank() :: count()] if isinstance(batch, Tensor) and count() > 1 else batch


def whole(rows: Tensor) -> Tensor:
    """Rows (n, ...) of all processes in the order of the whole batch, (N, ...); the gradient is that of all, too."""
    if count() == 1:
        return rows
    batch = rows.new_zeros(count() * len(rows), *rows.shape[1:])
    batch[rank() :: count()] = rows
    return _Sum.apply(batch)


class _Sum(torch.autograd.Function):
    """The sum over all processes. Its gradient, of the sum of all their losses, is such a sum itself."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        total = tensor.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _Sum.apply(gradient)


def as_one_batch() -> contextlib.AbstractContextManager:
    """Inside, batch normalisation in training and dropout treat the parts of all processes as one batch.

    Another layer that mixes a batch or draws at random needs a case here.
    """
    return _AsOneBatch() if count() > 1 else contextlib.nullcontext()


class _AsOneBatch(TorchFunctionMode):
    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is F.batch_norm:
            function = _batch_norm
        elif function in (F.dropout, F.dropout2d):
            function, args = _dropout, (function, *args)
        return function(*args, **kwargs or {})


def _batch_norm(x, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5):
    """`F.batch_norm`; torch's SyncBatchNorm is for GPUs alone, and has no second derivative for a gradient penalty."""
    if not training:
        return F.batch_norm(x, running_mean, running_var, weight, bias, False, momentum, eps)
    y, axes = x.float(), [0, *range(2, x.ndim)]
    means, variances = whole(torch.stack([y.mean(axes), y.var(axes, correction=0)])[None]).unbind(1)
    mean, variance = means.mean(0), variances.mean(0) + means.var(0, correction=0)
    if running_mean is not None:
        n = count() * x.numel() / len(mean)
        running_mean.lerp_(mean.detach(), momentum)
        running_var.lerp_(variance.detach() * n / (n - 1), momentum)
    scale = (variance + eps).rsqrt() * weight
    scale, shift = (z.reshape(1, -1, *[1] * (x.ndim - 2)) for z in (scale, bias - mean * scale))
    return torch.addcmul(shift, y, scale).to(x.dtype)


def _dropout(function, x, p=0.5, training=True, inplace=False):
    """`F.dropout` or `F.dropout2d`: its draws are those of the whole batch, which keeps all processes in step."""
    return x * part(function(torch.cat([torch.ones_like(x)] * count()), p)) if training else x
