"""The digit classifier: the names and shapes of the course's file, and features that its last layer reads."""

import torch

from hw2lib.layers import count_parameters
from hw2lib.networks import build

# Names and shapes of Classifier.pth's 'state_dict', in order.
COURSE = {
    "conv1.weight": (6, 3, 5, 5),
    "conv1.bias": (6,),
    "conv2.weight": (16, 6, 5, 5),
    "conv2.bias": (16,),
    "fc1.weight": (128, 256),
    "fc1.bias": (128,),
    "fc2.weight": (64, 128),
    "fc2.bias": (64,),
    "fc3.weight": (10, 64),
    "fc3.bias": (10,),
}


def test_names_and_shapes_are_those_of_the_courses_file():
    found = {name: tuple(tensor.shape) for name, tensor in build("digit-classifier").state_dict().items()}
    assert list(found.items()) == list(COURSE.items())
    assert count_parameters(build("digit-classifier")) == 44_674


def test_it_computes_what_its_rows_say():
    """Conv, ReLU, pool; conv, ReLU, pool; three linear layers with ReLU between."""
    network = build("digit-classifier").double()
    x = torch.rand(3, 3, 28, 28, dtype=torch.float64) * 2 - 1
    w = network.state_dict()
    maps = x
    for layer in ("conv1", "conv2"):
        patches = maps.unfold(2, 5, 1).unfold(3, 5, 1)  # (N, C, H, W, 5, 5)
        maps = torch.einsum("nchwij,ocij->nohw", patches, w[f"{layer}.weight"]) + w[f"{layer}.bias"][:, None, None]
        maps = maps.clamp(min=0).unfold(2, 2, 2).unfold(3, 2, 2).amax((4, 5))
    flat = maps.flatten(1)
    assert flat.shape == (3, 256)
    for layer in ("fc1", "fc2"):
        flat = (flat @ w[f"{layer}.weight"].T + w[f"{layer}.bias"]).clamp(min=0)
    assert flat.shape == (3, 64)
    torch.testing.assert_close(network.features(x), flat)
    torch.testing.assert_close(network(x), flat @ w["fc3.weight"].T + w["fc3.bias"])
