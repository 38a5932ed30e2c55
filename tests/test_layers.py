"""Layers that are torch's own in another dress."""

import pytest
import torch
from torch import nn

from hw2lib.layers import GroupNorm


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_group_norm_is_torchs_in_value_gradient_and_order(layout, dtype):
    torch.manual_seed(0)
    ours, theirs = GroupNorm(4, 8, dtype=dtype), nn.GroupNorm(4, 8, dtype=dtype)
    nn.init.normal_(ours.weight)
    theirs.load_state_dict(ours.state_dict())
    images = torch.randn(3, 8, 5, 6, dtype=dtype).contiguous(memory_format=layout)
    wanted = torch.randn(3, 8, 5, 6, dtype=dtype)
    results = []
    for layer in (ours, theirs):
        x = images.clone().requires_grad_()
        y = layer(x)
        assert y.is_contiguous(memory_format=layout)
        results.append((y, *torch.autograd.grad((y * wanted).sum(), [x, layer.weight, layer.bias])))
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected)
