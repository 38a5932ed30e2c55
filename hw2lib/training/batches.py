"""Whole splits as uint8 tensors on the device, from which batches are drawn: ten times as fast as single files."""

import torch
from torch import Tensor

from hw2lib.data import FACES
from hw2lib.errors import UserError

Labelled = tuple[Tensor, Tensor | None]


def load_split(
    images, domain: str, split: str, device: torch.device, batch: int = 0, labels_needed: bool = True
) -> Labelled | None:
    """Images (N, C, H, W) uint8 and labels (N,) or None; no result for a val or test split that is not there.

    Raises:
        UserError: images that cannot be read, or fewer than `batch`; digits without labels, unless those need not be.
    """
    if split != "train" and split not in images.splits(domain):
        return None
    data = images.load(domain, split)
    if len(data) < batch:
        raise UserError(f"{domain} {split}: a batch of {batch} is larger than its {len(data)} images")
    if data.labels is None and labels_needed and domain != FACES:
        raise UserError(f"{domain} {split}: has no labels, and they are needed; give a csv with image_name,label")
    labels = None if data.labels is None else torch.tensor(data.labels, device=device)
    return torch.tensor(data.images, device=device), labels


def require_val(images, domain: str) -> None:
    """Refuse, before anything is trained, faces without the split that their quality is measured against."""
    if domain == FACES and "val" not in images.splits(domain):
        raise UserError(f"{domain}: has no val split, which generated faces are compared with; give one")


def mirrored(images: Tensor) -> Tensor:
    """Images (N, C, H, W), of which half at random are mirrored."""
    return torch.where(torch.rand(len(images), 1, 1, 1, device=images.device) < 0.5, images.flip(3), images)


def draw(data: Labelled, batch: int) -> Labelled:
    """A batch drawn with replacement."""
    images, labels = data
    chosen = torch.randint(len(images), (batch,), device=images.device)
    return images[chosen], None if labels is None else labels[chosen]
