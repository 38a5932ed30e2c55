"""Accuracy in percent, and outputs that do not depend on the batch."""

import pytest
import torch

from hw2lib.data.prepare import prepare
from hw2lib.metrics.accuracy import accuracy, outputs
from hw2lib.networks import build


def test_the_share_of_rows_whose_largest_entry_is_at_the_label():
    logits = torch.tensor([[2.0, 1, 0], [0, 3, 1], [1, 0, 5], [-1, -2, -3]])
    assert accuracy(logits, torch.tensor([0, 1, 2, 0])) == 100
    assert accuracy(logits, torch.tensor([0, 1, 0, 1])) == 50
    assert accuracy(logits, torch.tensor([1, 2, 0, 2])) == 0
    assert accuracy(logits, torch.tensor([0, 0, 0, 1])) == 25


@pytest.mark.parametrize("name", ["dann-compact", "dann-grey"])
def test_outputs_are_those_of_the_prepared_images_whatever_the_batch(name):
    network = build(name).eval()
    form = (network.inputs.channels, network.inputs.size, "instance")
    images = torch.randint(0, 256, (23, 3, 28, 28), dtype=torch.uint8)
    with torch.inference_mode():
        expected = network(prepare(images, *form))
    for batch in (1, 7, 23, 1000):
        torch.testing.assert_close(outputs(network, images, *form, batch=batch), expected, atol=1e-5, rtol=1e-4)


def test_outputs_are_float32_and_keep_no_graph():
    def half(x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3)).bfloat16()

    found = outputs(half, torch.zeros(5, 1, 28, 28, dtype=torch.uint8), 3, 28, "range")
    assert found.shape == (5, 3)
    assert found.dtype == torch.float32
    assert not found.requires_grad
    assert torch.equal(found, torch.full((5, 3), -1.0))
