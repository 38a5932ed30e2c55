"""Images as every score takes them, uint8 tensors (N, 3, H, W), and how bright, contrasted and diverse they are."""

import dlib
import numpy as np
import torch
from torch import Tensor

from hw2lib.data import ImageSource
from hw2lib.errors import UserError

PAIRS = 10_000  # of images whose difference is measured
LUMINANCE = 0.299, 0.587, 0.114  # shares of red, green and blue (ITU-R BT.601)
DOUBLED = 1  # how often the detector of faces doubles an image, since it looks for faces of 80 pixels


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


def lattice(images: Tensor) -> float:
    """Energy of a pattern of period two over that of slightly longer periods: about 1 where there is no such pattern.

    In the mean power spectrum of the luminance of uint8 images (N, 3, H, W), H and W even, the mean energy of the row
    and the column at the Nyquist frequency, over that of the rows and columns two and three frequencies below.
    """
    check_images(images)
    grey = torch.einsum("nchw,c->nhw", images.double(), images.new_tensor(LUMINANCE, dtype=torch.float64))
    energy = torch.fft.fft2(grey).abs().square().mean(0)
    lines = energy.mean(1), energy.mean(0)
    nyquist = sum(line[len(line) // 2] for line in lines)
    near = sum(line[len(line) // 2 - 3 : len(line) // 2 - 1].mean() for line in lines)
    return ((nyquist + 1) / (near + 1)).item()  # 1 where both are 0; rounding to whole numbers alone leaves hundreds


def as_arrays(images: Tensor) -> np.ndarray:
    """The uint8 images (N, 3, H, W) as dlib takes them, (N, H, W, 3)."""
    return images.permute(0, 2, 3, 1).contiguous().cpu().numpy()


def count_faces(images: Tensor) -> Tensor:
    """How many faces are found in each of the uint8 images (N, 3, H, W), as the homework counts: (N,) int64.

    The detector is dlib's, of histograms of oriented gradients (Dalal and Triggs 2005), on images of doubled size, as
    ``face_recognition.face_locations`` asks for it. 2 ms an image of 64x64 pixels.
    """
    check_images(images)
    detector = dlib.get_frontal_face_detector()
    return torch.tensor([len(detector(image, DOUBLED)) for image in as_arrays(images)])


def one_face(images: Tensor) -> float:
    """Percentage of the uint8 images (N, 3, H, W) with exactly one face."""
    return 100 * (count_faces(images) == 1).double().mean().item()
