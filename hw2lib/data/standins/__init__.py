"""The embedded stand-ins: images that need neither network nor file, so that everything can be tried at once.

Three digit domains are drawn from the real handwriting inside scikit-learn, and faces from geometry. They are made in
memory, the same ones each time. Numbers measured on them are never compared with anybody's.
"""

import hashlib
import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from hw2lib import used
from hw2lib.data import DIGIT_DOMAINS, FACES, SPLITS, TITLES, ImageSet, ImageSource
from hw2lib.errors import UserError

# Raise it whenever an image changes: caches and records know the stand-ins by it.
VERSION = 1
COUNTS = {"train": 4000, "val": 500, "test": 1000}


class StandIns(ImageSource):
    """The source of stand-in images. Faces have no test split."""

    origin = "stand-in"

    def domains(self) -> tuple[str, ...]:
        return (*DIGIT_DOMAINS, FACES)

    def load(self, domain: str, split: str) -> ImageSet:
        """One split, drawn once in a process."""
        if split not in self.splits(domain):
            raise UserError(f"stand-ins: {domain} has no split {split!r}; there are {', '.join(self.splits(domain))}")
        self.fingerprint(domain)  # notes what is used
        return _draw(domain, split)

    def splits(self, domain: str) -> tuple[str, ...]:
        if domain not in self.domains():
            raise UserError(f"stand-ins: unknown domain {domain!r}; there are {', '.join(self.domains())}")
        return SPLITS[:2] if domain == FACES else SPLITS

    def fingerprint(self, domain: str) -> str:
        counts = {split: COUNTS[split] for split in self.splits(domain)}
        recipe = {"version": VERSION, "domain": domain, "counts": counts}
        digest = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()
        used.note("stand-ins", domain, digest)
        return digest

    def kept_key(self) -> dict[str, Any]:
        return {"version": VERSION, "counts": COUNTS}

    def describe(self, domains: Sequence[str] = ()) -> str:
        """One line for a caption: the domains that it shows, by default all, and whose work is in them."""
        domains = domains or self.domains()
        made_of = {
            "handwriting of scikit-learn's load_digits": DIGIT_DOMAINS,
            "parts of photographs by danielbuechele and vultilion (CC BY 2.0)": ("mnistm",),
            "drawn portraits of nobody": (FACES,),
        }
        titles = ", ".join(TITLES[domain] for domain in domains)
        parts = ", ".join(part for part, users in made_of.items() if set(users) & set(domains))
        return f"embedded stand-ins (version {VERSION}) of {titles}: {parts}"


@lru_cache
def _draw(domain: str, split: str) -> ImageSet:
    from hw2lib.data.standins import digits, faces  # only here: nothing else needs scikit-learn

    count = COUNTS[split]
    rng = np.random.default_rng([VERSION, (*DIGIT_DOMAINS, FACES).index(domain), SPLITS.index(split)])
    if domain == FACES:
        labels, images = None, faces.faces(count, rng)
    else:
        labels = rng.permutation(np.arange(count) % 10)
        images = getattr(digits, domain)(split, labels, rng)
        labels.setflags(write=False)
    images = (images.clamp(0, 1) * 255).round().to(torch.uint8).numpy()
    images.setflags(write=False)
    return ImageSet(images, labels, domain, split, StandIns.origin)
