"""What defines the training of the digit classifier."""

import math
from typing import Literal

from pydantic import Field

from hw2lib.data import DIGIT_DOMAINS
from hw2lib.data.augment import Augmentation
from hw2lib.networks import names
from hw2lib.training.recipe import NetworkRecipe


class Recipe(NetworkRecipe):
    """One run on one domain."""

    task = "classifier"

    network: Literal[names("classifier")]
    domain: Literal[DIGIT_DOMAINS]
    learning_rate: float = Field(gt=0, description="at the first step; it falls along a half cosine to 0")
    weight_decay: float = Field(ge=0)
    augment: Augmentation = Augmentation()

    @property
    def domains(self) -> tuple[str, ...]:
        return (self.domain,)

    def learning_rate_at(self, step: int) -> float:
        """A half cosine that ends at 0."""
        return self.learning_rate * (1 + math.cos(math.pi * step / self.steps)) / 2
