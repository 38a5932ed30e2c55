"""A network as stages: what a drawing shows as one box, and which stage reads which.

torchview finds who reads whom, too, but not which layer it is where a parametrisation such as spectral norm stands, it
takes self-attention to pieces, and drawing its graph needs the program dot.
"""

import inspect
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves
from torch.utils.hooks import RemovableHandle
from torch.utils.weak import WeakTensorKeyDictionary

from hw2lib.plots.describe import kind, layers, parametrisations

# Where torch itself keeps a class of layers, and what such layers are.
FAMILIES = {
    "conv": "convolution",
    "linear": "fully connected",
    "sparse": "fully connected",  # an embedding is a fully connected layer on a one-hot label
    "batchnorm": "normalisation",
    "normalization": "normalisation",
    "activation": "activation",
    "pooling": "pooling",
}
OPENING = ("convolution", "transposed convolution", "fully connected", "self-attention")


@dataclass
class Stage:
    """An input, or a layer with many weights and what follows it up to the next such layer.

    Attributes:
        operations: short text and family of each layer, e.g. ``("Conv 4/2/1", "convolution")``: kernel/stride/padding.
        shape: of what it gives, without the batch.
        sources: indices of the stages that it reads.
    """

    operations: list[tuple[str, str]]
    shape: tuple[int, ...]
    sources: list[int] = field(default_factory=list)


def stages(module: nn.Module, inputs: tuple[Tensor, ...]) -> list[Stage]:
    """The inputs, named as `module.forward` names them, and the stages in the order of `module(*inputs)`."""
    named = inspect.signature(module.forward).bind(*inputs).arguments
    found = [Stage([(name, "input")], tuple(x.shape[1:])) for name, x in named.items()]
    steps = layers(module, inputs)
    stage_of: list[int] = list(range(len(inputs)))  # of each input and layer
    for step, read in zip(steps, _connections(module, inputs, [step.module for step in steps]), strict=True):
        sources = sorted({stage_of[i] for i in read})
        operations = operations_of(step.module)
        follows = read == {len(stage_of) - 1}  # the layer before, and nothing else
        if operations[0][1] in OPENING or not follows:
            found.append(Stage([], step.shape, sources))
        found[-1].operations += operations
        if not isinstance(step.module, nn.Flatten):  # maps stay maps for the eye
            found[-1].shape = step.shape
        stage_of.append(len(found) - 1)
    return found


class Origins(TorchFunctionMode):
    """Remembers for each tensor from which inputs and layers it comes, through whatever functions lie between."""

    def __init__(self) -> None:
        super().__init__()
        self.of = WeakTensorKeyDictionary()

    def read(self, values: object) -> set[int]:
        return set().union(*(self.of.get(x, ()) for x in tree_leaves(values) if isinstance(x, Tensor)))

    def mark(self, values: object, origins: set[int]) -> None:
        for x in tree_leaves(values):
            if isinstance(x, Tensor):
                self.of[x] = origins

    def __torch_function__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        self.mark(result, self.read((args, kwargs)))
        return result


def _connections(module: nn.Module, inputs: tuple[Tensor, ...], steps: list[nn.Module]) -> list[set[int]]:
    """For each call of a layer what it reads: numbers of the inputs, and of layers counted on from there."""
    origins = Origins()
    read: list[set[int]] = []

    def before(layer, args, kwargs) -> None:
        read.append(origins.read((args, kwargs)))

    def after(layer, args, result) -> None:
        origins.mark(result, {len(inputs) + len(read) - 1})

    hooks = [layer.register_forward_pre_hook(before, with_kwargs=True) for layer in set(steps)]
    hooks += [layer.register_forward_hook(after) for layer in set(steps)]
    for i, x in enumerate(inputs):
        origins.mark(x, {i})
    watch(module, inputs, origins, hooks)
    return read


def watch(module: nn.Module, inputs: tuple[Tensor, ...], origins: Origins, hooks: list[RemovableHandle]) -> None:
    """Call `module(*inputs)` once in evaluation mode under `origins`, and remove the hooks."""
    training = module.training
    try:
        with torch.no_grad(), origins:
            module.eval()(*inputs)
    finally:
        module.train(training)
        for hook in hooks:
            hook.remove()


def operations_of(module: nn.Module) -> list[tuple[str, str]]:
    """What a layer does, as short text and family, and then what its weights pass through."""
    name, family = kind(module), _family(module)
    if family == "self-attention":
        text = "self-attention"
    elif "convolution" in family:
        numbers = [module.kernel_size, module.stride, module.padding]
        numbers += [module.output_padding] if any(module.output_padding) else []
        text = f"{name.removesuffix('2d').replace('Transpose', 'T')} {'/'.join(str(n[0]) for n in numbers)}"
    elif family == "pooling":
        size = module.output_size if "Adaptive" in name else module.kernel_size
        text = f"{name.removesuffix('2d')} {size}"
    elif isinstance(module, nn.LeakyReLU):
        text = f"LeakyReLU {module.negative_slope}"
    else:
        text = {"Unflatten": "reshape", "Flatten": "flatten"}.get(name, name.removesuffix("1d").removesuffix("2d"))
    return [(text, family), *((wrap, "other") for wrap in parametrisations(module))]


def _family(module: nn.Module) -> str:
    if "Attention" in kind(module):
        return "self-attention"
    if isinstance(module, nn.ConvTranspose2d):
        return "transposed convolution"
    for cls in type(module).__mro__:
        if cls.__module__.startswith("torch.nn.modules."):
            return FAMILIES.get(cls.__module__.rsplit(".", 1)[1], "other")
    return "other"
