"""The classifier of digits by which generated digits are graded: the network of the course's ``Classifier.pth``."""

from torch import Tensor, nn

from hw2lib.layers import Inputs


class DigitClassifier(nn.Module):
    """44,674 parameters; two convolutions and three linear layers, named as in the course's file."""

    inputs = Inputs(3, 28)

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 5)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(256, 128)
        self.fc2 = nn.Linear(128, 64)
        self.fc3 = nn.Linear(64, 10)
        self.pool = nn.MaxPool2d(2)
        self.relu = nn.ReLU()

    def features(self, images: Tensor) -> Tensor:
        """Outputs (N, 64) of the layer before the last, of images (N, 3, 28, 28) in [-1, 1]."""
        x = self.pool(self.relu(self.conv1(images)))
        x = self.pool(self.relu(self.conv2(x)))
        x = self.relu(self.fc1(x.flatten(1)))
        return self.relu(self.fc2(x))

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, 10) of images (N, 3, 28, 28) in [-1, 1]."""
        return self.fc3(self.features(images))
