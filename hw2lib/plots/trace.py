"""What a denoiser does to its image, step by step, as a forward pass shows it: layers, skip connections, conditions."""

import inspect
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from hw2lib.plots.describe import layers, units
from hw2lib.plots.stages import Origins, operations_of, watch

FAMILIES = ("convolution", "transposed convolution", "pooling", "self-attention")  # of layers; others change less
SIGNS = {"add": "+", "mul": "×"}


@dataclass
class Operation:
    """One step of the image's way.

    Attributes:
        unit: the part of the network that it belongs to, such as ``down 1``. What is done between two parts, or by a
            single layer, is of the next.
        text: such as ``Conv 3/1/1``: kernel/stride/padding.
        family: one of `FAMILIES`, ``interpolation``, ``concatenation``, or ``condition``: another input enters here.
        shapes: of the map that it gives, without the batch; several of one kind that follow each other are one.
        skip: of a concatenation: index of the earlier operation whose map it also reads.
    """

    unit: str
    text: str
    family: str
    shapes: list[tuple[int, ...]]
    skip: int | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the map in the end."""
        return self.shapes[-1]


def trace(module: nn.Module, inputs: tuple[Tensor, ...]) -> list[Operation]:
    """The operations on the first input in the order of `module(*inputs)`; the other inputs are conditions."""
    image, *conditions = inspect.signature(module.forward).bind(*inputs).arguments.items()
    names = [name.removesuffix("s") for name, _ in conditions]  # one image has one label
    found = _Trace(names)
    steps, parts = {step.module for step in layers(module, inputs)}, units(module)
    # Those of layers first: a part may be a layer, which is noted before the part is left.
    hooks = [step.register_forward_hook(found.layer) for step in steps]
    for name, part in parts.items():
        hooks.append(part.register_forward_pre_hook(lambda *_, name=name: found.enter(name)))
        hooks.append(part.register_forward_hook(lambda *_: found.enter("")))
    found.mark(image[1], {-1})
    for name, (_, value) in zip(names, conditions, strict=True):
        found.mark(value, {name})
    watch(module, inputs, found, hooks)
    between = {"", *(name for name, part in parts.items() if part in steps)}
    for following, operation in pairwise(reversed(found.operations)):
        if operation.unit in between:
            operation.unit = following.unit
    return found.operations


class _Trace(Origins):
    """Origins of a map are the numbers of operations that made it, those of a condition the names of inputs."""

    def __init__(self, conditions: list[str]) -> None:
        super().__init__()
        self.operations: list[Operation] = []
        self._conditions = conditions
        self._unit = ""

    def enter(self, unit: str) -> None:
        self._unit = unit

    def layer(self, layer: nn.Module, args: tuple, result: object) -> None:
        text, family = operations_of(layer)[0]
        if family in FAMILIES and _numbers(self.read(args)):
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
        if last and (last.unit, last.text, last.shape[1:]) == (self._unit, text, shape[1:]):
            last.shapes.append(shape)
        else:
            self.operations.append(Operation(self._unit, text, family, [shape], skip))
        self.mark(result, {len(self.operations) - 1})


def _numbers(origins: set[int | str]) -> set[int]:
    return {origin for origin in origins if isinstance(origin, int)}
