"""What defines the training of a generator against its discriminator."""

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from hw2lib.data import FACES
from hw2lib.gan.augment import Change
from hw2lib.gan.losses import Loss
from hw2lib.networks import names
from hw2lib.training.recipe import NetworkRecipe

SCORING = ("wgan-gp-sn", "sagan")  # discriminators without a sigmoid
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
    betas: tuple[Decay, Decay] = Field(description="of Adam")
    label_smoothing: float = Field(ge=0, lt=1, description="for the loss bce only")
    flip: bool = Field(description="mirror half of the real images")
    augment: tuple[Change, ...] = Field(description="differentiable augmentation")
    class_weight: float = Field(default=1.0, ge=0, description="of the class loss for the generator")
    fake_class_weight: float = Field(
        default=1.0, ge=0, description="of the class of generated images for the discriminator"
    )
    scored: int = Field(default=1000, gt=1, description="images that are scored for each evaluation")

    @model_validator(mode="before")
    @classmethod
    def _tuples(cls, values: dict[str, Any]) -> dict[str, Any]:
        """TOML has lists only."""
        return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}

    @field_validator("domain")
    @classmethod
    def _drawable(cls, domain: str, info: ValidationInfo) -> str:
        if (domain == FACES) == (info.data.get("network") == "acgan"):
            raise ValueError("acgan draws digits, the others draw faces")
        return domain

    @field_validator("loss")
    @classmethod
    def _fitting(cls, loss: Loss, info: ValidationInfo) -> Loss:
        if (loss == "bce") == (info.data.get("network") in SCORING):
            raise ValueError(f"{', '.join(SCORING)} give scores, the others a probability, for which there is bce")
        return loss

    @field_validator("label_smoothing")
    @classmethod
    def _smoothable(cls, smoothing: float, info: ValidationInfo) -> float:
        if smoothing and info.data.get("loss") != "bce":
            raise ValueError("only the loss bce has labels that can be smoothed")
        return smoothing

    @property
    def domains(self) -> tuple[str, ...]:
        return (self.domain,)
