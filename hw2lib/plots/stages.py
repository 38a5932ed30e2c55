"""A forward pass as a drawing shows it: the stages of a network and which reads which, or a denoiser's operations.

torchview loses layers with a parametrisation, takes self-attention to pieces, and needs the program dot.
"""

import inspect
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves
from torch.utils.hooks import RemovableHandle
from torch.utils.weak import WeakTensorKeyDictionary

from hw2lib.plots.describe import kind, layers, parametrisations, units

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
OPENING = ("convolution", "transposed convolution", "fully connected", "self-attention")  # each begins a stage
ON_MAPS = ("convolution", "transposed convolution", "pooling", "self-attention")  # each is an operation of a denoiser
SIGNS = {"add": "+", "mul": "×"}


@dataclass
class Stage:
    """An input, or a layer with many weights and what follows it up to the next such layer."""

    operations: list[tuple[str, str]]  # text and family: ("Conv 4/2/1", "convolution") with kernel/stride/padding
    shape: tuple[int, ...]  # of what it gives, without the batch
    sources: list[int] = field(default_factory=list)  # indices of the stages that it reads


def stages(module: nn.Module, inputs: tuple[Tensor, ...]) -> list[Stage]:
    """The inputs, named as `module.forward` names them, and the stages in the order of `module(*inputs)`."""
    named = inspect.signature(module.forward).bind(*inputs).arguments
    boxes = [Stage([(name, "input")], tuple(x.shape[1:])) for name, x in named.items()]
    steps = layers(module, inputs)
    stage_of: list[int] = list(range(len(inputs)))  # of each input and layer
    for step, read in zip(steps, _connections(module, inputs, {step.module for step in steps}), strict=True):
        operations = operations_of(step.module)
        if operations[0][1] in OPENING or read != {len(stage_of) - 1}:  # not the layer before alone
            boxes.append(Stage([], step.shape, sorted({stage_of[i] for i in read})))
        boxes[-1].operations += operations
        if not isinstance(step.module, nn.Flatten):  # maps stay maps for the eye
            boxes[-1].shape = step.shape
        stage_of.append(len(boxes) - 1)
    return boxes


class Origins(TorchFunctionMode):
    """Remembers for each tensor from which inputs and layers it comes, through whatever functions lie between."""

    def __init__(self) -> None:
        super().__init__()
        self._origins = WeakTensorKeyDictionary()

    def read(self, values: object) -> set[int]:
        return set().union(*(self._origins.get(x, ()) for x in tree_leaves(values) if isinstance(x, Tensor)))

    def mark(self, values: object, origins: set[int]) -> None:
        for x in tree_leaves(values):
            if isinstance(x, Tensor):
                self._origins[x] = origins

    def __torch_function__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        self.mark(result, self.read((args, kwargs)))
        return result

    def watch(self, module: nn.Module, inputs: tuple[Tensor, ...], hooks: list[RemovableHandle]) -> None:
        """Call `module(*inputs)` once in evaluation mode, and remove the hooks."""
        training = module.training
        try:
            with torch.no_grad(), self:
                module.eval()(*inputs)
        finally:
            module.train(training)
            for hook in hooks:
                hook.remove()


def _connections(module: nn.Module, inputs: tuple[Tensor, ...], steps: set[nn.Module]) -> list[set[int]]:
    """For each call of a layer what it reads: numbers of the inputs, and of layers counted on from there."""
    origins = Origins()
    read: list[set[int]] = []

    def before(layer, args, kwargs) -> None:
        read.append(origins.read((args, kwargs)))

    def after(layer, args, result) -> None:
        origins.mark(result, {len(inputs) + len(read) - 1})

    hooks = [layer.register_forward_pre_hook(before, with_kwargs=True) for layer in steps]
    hooks += [layer.register_forward_hook(after) for layer in steps]
    for i, x in enumerate(inputs):
        origins.mark(x, {i})
    origins.watch(module, inputs, hooks)
    return read


def operations_of(module: nn.Module) -> list[tuple[str, str]]:
    """What a layer does, as short text and family, and then what its weights pass through."""
    name, family = kind(module), _family(module)
    text = {"Unflatten": "reshape", "Flatten": "flatten"}.get(name, name.removesuffix("1d").removesuffix("2d"))
    if family == "self-attention":
        text = family
    elif "convolution" in family:
        numbers = [module.kernel_size, module.stride, module.padding]
        numbers += [module.output_padding] if any(module.output_padding) else []
        text = f"{text.replace('Transpose', 'T')} {'/'.join(str(n[0]) for n in numbers)}"
    elif family == "pooling":
        text += f" {module.output_size if 'Adaptive' in name else module.kernel_size}"
    elif isinstance(module, nn.LeakyReLU):
        text += f" {module.negative_slope}"
    return [(text, family), *((wrap, "other") for wrap in parametrisations(module))]


def _family(module: nn.Module) -> str:
    if "Attention" in kind(module):
        return "self-attention"
    if isinstance(module, nn.ConvTranspose2d):
        return "transposed convolution"
    homes = (cls.__module__.partition("torch.nn.modules.")[2] for cls in type(module).__mro__)
    return FAMILIES.get(next(filter(None, homes), ""), "other")


@dataclass
class Operation:
    """One step of the image's way, or several of one kind that follow each other.

    `unit` is the part of the network that it belongs to, such as ``down 1``; what is done between two parts, or by a
    single layer, is of the next. `family` is one of `ON_MAPS`, ``interpolation``, ``concatenation``, or ``condition``,
    where another input enters.
    """

    unit: str
    text: str  # such as Conv 3/1/1: kernel/stride/padding
    family: str
    shapes: list[tuple[int, ...]]  # of the map that each step gives, without the batch
    skip: int | None = None  # of a concatenation: index of the earlier operation whose map it also reads

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the map in the end."""
        return self.shapes[-1]


def trace(module: nn.Module, inputs: tuple[Tensor, ...]) -> list[Operation]:
    """The operations on the first input in the order of `module(*inputs)`; the other inputs are conditions."""
    (_, image), *others = inspect.signature(module.forward).bind(*inputs).arguments.items()
    conditions = {name.removesuffix("s"): value for name, value in others}  # one image has one label
    noted = _Trace(list(conditions))
    steps, parts = {step.module for step in layers(module, inputs)}, units(module)
    # Those of layers first: a part may be a layer, which is noted before the part is left.
    hooks = [step.register_forward_hook(noted.layer) for step in steps]
    for name, part in parts.items():
        hooks.append(part.register_forward_pre_hook(lambda *_, name=name: setattr(noted, "unit", name)))
        hooks.append(part.register_forward_hook(lambda *_: setattr(noted, "unit", "")))
    for name, value in {-1: image, **conditions}.items():
        noted.mark(value, {name})
    noted.watch(module, inputs, hooks)
    between = {"", *(name for name, part in parts.items() if part in steps)}
    for following, operation in pairwise(reversed(noted.operations)):
        if operation.unit in between:
            operation.unit = following.unit
    return noted.operations


class _Trace(Origins):
    """Origins of a map are the numbers of operations that made it, those of a condition the names of inputs."""

    def __init__(self, conditions: list[str]) -> None:
        super().__init__()
        self.operations: list[Operation] = []
        self.unit = ""  # that the way is in
        self._conditions = conditions

    def layer(self, layer: nn.Module, args: tuple, result: object) -> None:
        text, family = operations_of(layer)[0]
        if family in ON_MAPS and _numbers(self.read(args)):
            self._note(text, family, result)

    def __torch_function__(self, function, types, args=(), kwargs=None):
        result = super().__torch_function__(function, types, args, kwargs)
        origins = [self.read(x) for x in tree_leaves((args, kwargs))]
        maps = [max(_numbers(origin)) for origin in origins if _numbers(origin)]
        entering = set().union(*(origin for origin in origins if not _numbers(origin)))
        name = getattr(function, "__name__", "")
        if maps and entering:
            conditions = " and ".join(condition for condition in self._conditions if condition in entering)
            self._note(f"{SIGNS.get(name, name)} {conditions}", "condition", result)
        elif maps and name == "interpolate":
            self._note(f"{kwargs['mode']} interpolation", "interpolation", result)
        elif maps and name == "cat":
            self._note("concatenate", "concatenation", result, min(maps))
        return result

    def _note(self, text: str, family: str, result: object, skip: int | None = None) -> None:
        last = self.operations[-1] if self.operations else None
        is_map = isinstance(result, Tensor) and result.ndim == 4  # attention sees a map as a row of positions
        shape = tuple(result.shape[1:]) if is_map else last.shape
        if last and (last.unit, last.text, last.shape[1:]) == (self.unit, text, shape[1:]):
            last.shapes.append(shape)
        else:
            self.operations.append(Operation(self.unit, text, family, [shape], skip))
        self.mark(result, {len(self.operations) - 1})


def _numbers(origins: set[int | str]) -> set[int]:
    return {origin for origin in origins if isinstance(origin, int)}
