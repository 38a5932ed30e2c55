"""A network that begins as a narrower one which is trained already."""

import torch
from torch import Tensor, nn

from hw2lib.errors import UserError


@torch.no_grad()
def widen(narrow: nn.Module, wide: nn.Module) -> None:
    """Fill `wide` so that it computes what `narrow` does (Net2WiderNet of Chen et al. 2016, section 2.2).

    Channels are repeated, neighbours first; what reads them gives each copy a share of the weight. The shares are drawn
    from torch's global generator, since equal ones would get equal gradients and the copies would stay copies. Layers
    that normalise groups see a repeated channel more than once, and where it is not every channel as often, the
    function is kept but for their statistics.

    Args:
        narrow: the trained network.
        wide: of the same layers, all as wide as those of `narrow` or wider, by one and the same ratio.

    Raises:
        UserError: the networks differ in more than their width; nothing is changed then.
    """
    values = {}
    layers = dict(narrow.named_modules())
    for name, layer in wide.named_modules():
        targets = _tensors(layer)
        sources = _tensors(layers[name]) if name in layers else {}
        if type(layer) is not type(layers.get(name)) or targets.keys() != sources.keys():
            raise UserError(f"networks that differ at '{name}' in more than width: one cannot begin as the other")
        reads = 0 if isinstance(layer, nn.ConvTranspose2d) else 1
        values |= {target: _widened(sources[key], target, reads) for key, target in targets.items()}
    for target, value in values.items():
        target.copy_(value)


def _tensors(layer: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers of a layer itself, by name."""
    return dict([*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)])


def _widened(value: Tensor, target: Tensor, reads: int) -> Tensor:
    """`value` in the shape of `target`; `reads` is the dimension of a matrix that stands for the channels it reads."""
    before, after = value.shape, target.shape
    if any(new < old for old, new in zip(before, after, strict=True)):
        raise UserError(f"a layer of {tuple(after)} cannot begin as one of {tuple(before)}, which is wider")
    if before[2:] != after[2:]:
        raise UserError(f"a layer of {tuple(after)} cannot begin as one of {tuple(before)}: their kernels differ")
    origins = [torch.arange(new) * old // new for old, new in zip(before, after, strict=True)]
    for dim, origin in enumerate(origins):
        value = value.index_select(dim, origin)
    if value.ndim < 2 or before[reads] == after[reads]:
        return value
    shares = torch.rand(after) + 0.5
    sums = torch.zeros([*after[:reads], before[reads], *after[reads + 1 :]]).index_add(reads, origins[reads], shares)
    return value * shares / sums.index_select(reads, origins[reads])
