"""What defines the training of a generator against its discriminator."""

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from hw2lib.data import FACES
from hw2lib.networks import names
from hw2lib.training.recipe import NetworkRecipe

Loss = Literal["bce", "hinge", "wasserstein"]
Change = Literal["colour", "translation", "cutout"]  # of what the discriminator sees
SCORING = ("wgan-gp-sn", "sagan")  # discriminators without a sigmoid
OF_DIGITS = ("acgan", "acgan-convolutional")
Decay = Annotated[float, Field(ge=0, lt=1)]


class Recipe(NetworkRecipe):
    """One run. A step is an update of the generator, and of the discriminator `critic_steps` before it."""

    task = "gan"

    network: Literal[names("gan")]
    domain: Literal["face", "mnistm"]
    loss: Loss
    critic_steps: int = Field(gt=0)
    gradient_penalty: float = Field(ge=0, description="weight; 0: none")
    generator_rate: float = Field(gt=0)
    discriminator_rate: float = Field(gt=0)
    discriminator_optimiser: Literal["adam", "sgd"]
    betas: tuple[Decay, Decay] = Field(strict=False, description="of Adam")
    label_smoothing: float = Field(ge=0, lt=1, description="for the loss bce only")
    flip: bool = Field(description="mirror half of the real images")
    augment: tuple[Change, ...] = Field(strict=False, description="differentiable augmentation")
    class_weight: float = Field(default=1.0, ge=0, description="of the class loss for the generator")
    fake_class_weight: float = Field(default=1.0, ge=0, description="of that of generated images for the discriminator")
    scored: int = Field(default=1000, gt=1, description="images that are scored for each evaluation")

    @field_validator("domain", "loss", "label_smoothing")
    @classmethod
    def _fitting(cls, value: Any, info: ValidationInfo) -> Any:
        network = info.data.get("network")
        if info.field_name == "domain" and (value == FACES) == (network in OF_DIGITS):
            raise ValueError(f"{', '.join(OF_DIGITS)} draw digits, the others draw faces")
        if info.field_name == "loss" and (value == "bce") == (network in SCORING):
            raise ValueError(f"{', '.join(SCORING)} give scores, the others a probability, for which there is bce")
        if info.field_name == "label_smoothing" and value and info.data.get("loss") != "bce":
            raise ValueError("only the loss bce has labels that can be smoothed")
        return value

    @property
    def domains(self) -> tuple[str, ...]:
        return (self.domain,)
