"""Images as every score takes them, uint8 tensors (N, 3, H, W), and how bright, contrasted and diverse they are."""

import cv2
import numpy as np
import torch
from torch import Tensor

from hw2lib.data import ImageSource
from hw2lib.errors import UserError

PAIRS = 10_000  # of images whose difference is measured


def check_images(images: Tensor, size: int = 0) -> None:
    """Raise `UserError` unless they are uint8 (N, 3, H, W), N of at least 2, and of this height and width if given."""
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
        raise UserError(f"images of {images.dtype} {tuple(images.shape)} cannot be scored; give uint8 (N, 3, H, W)")
    if len(images) < 2:
        raise UserError(f"{len(images)} image(s) cannot be scored; give at least two, the homework asks for 1,000")
    if size and images.shape[2:] != (size, size):
        raise UserError(f"images of {images.shape[3]}x{images.shape[2]} pixels cannot be scored; give {size}x{size}")


def stored_images(source: ImageSource, domain: str, split: str, count: int = 0) -> Tensor:
    """`count` images spread evenly over a split, or all where `count` is 0 or too many; grey becomes RGB."""
    images = source.load(domain, split).images
    if 0 < count < len(images):
        images = images[np.arange(count) * len(images) // count]
    return torch.tensor(images).expand(-1, 3, -1, -1)


def brightness(images: Tensor) -> float:
    """Mean value of the uint8 images (N, 3, H, W), in [0, 1]."""
    check_images(images)
    return images.double().mean().item() / 255


def contrast(images: Tensor) -> float:
    """Standard deviation of grey values (the mean of the channels) within an image, mean over images, in [0, 1]."""
    check_images(images)
    return images.float().mean(1).flatten(1).std(1, correction=0).mean().item() / 255


def diversity(images: Tensor, seed: int = 0) -> float:
    """Root mean square difference of pixels between two images, mean over random pairs, in [0, 1]; 0: all alike."""
    check_images(images)
    generator = torch.Generator().manual_seed(seed)
    first = torch.randint(len(images), (PAIRS,), generator=generator)
    second = (first + torch.randint(1, len(images), (PAIRS,), generator=generator)) % len(images)  # never the same one
    pixels, parts = images.flatten(1), zip(first.split(500), second.split(500), strict=True)
    distances = [(pixels[a].float() - pixels[b].float()).square().mean(1).sqrt() for a, b in parts]
    return torch.cat(distances).mean().item() / 255


def diversity_within(images: Tensor, labels: Tensor) -> float:
    """`diversity` of the images of one digit, mean over the digits; at least two images of each, labels (N,)."""
    return torch.tensor([diversity(images[labels == digit]) for digit in labels.unique()]).mean().item()


BORDER = 4  # pixels repeated around a close crop, since the detector wants something around a face
ENLARGE = 2
SMALLEST = 40  # pixels of the image: faces of the homework are 42 to 62 wide
SCALE_STEP = 1.05
NEIGHBOURS = 3  # agreeing detections that make a face


def count_faces(images: Tensor) -> Tensor:
    """How many faces are found in each of the uint8 images (N, 3, 64, 64): (N,) int64."""
    check_images(images)
    detector = cv2.CascadeClassifier(f"{cv2.data.haarcascades}haarcascade_frontalface_alt.xml")
    smallest = (SMALLEST * ENLARGE, SMALLEST * ENLARGE)
    counts = []
    for image in images.permute(0, 2, 3, 1).cpu().numpy():
        grey = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)
        grey = cv2.copyMakeBorder(grey, BORDER, BORDER, BORDER, BORDER, cv2.BORDER_REPLICATE)
        grey = cv2.resize(grey, None, fx=ENLARGE, fy=ENLARGE, interpolation=cv2.INTER_LINEAR)
        counts.append(len(detector.detectMultiScale(grey, SCALE_STEP, NEIGHBOURS, minSize=smallest)))
    return torch.tensor(counts)


def face_rate(images: Tensor) -> float:
    """Percentage of the uint8 images (N, 3, 64, 64) with exactly one face."""
    return 100 * (count_faces(images) == 1).double().mean().item()
