"""Grading as the course does: what each edition of the homework asks, and its baselines, from ``grading.toml``."""

import tomllib
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from hw2lib import used
from hw2lib.data import SPLITS
from hw2lib.errors import UserError
from hw2lib.recipes import validate

RULES = Path(__file__).parent.parent / "grading.toml"


class Measure(NamedTuple):
    """What images are scored by; digits of a csv have an accuracy for each pair of domains."""

    kind: str  # of the problems that it is for
    title: str
    less: bool = False  # whether less is better


MEASURES = {
    "fid": Measure("faces", "FID", less=True),
    "inception_score": Measure("faces", "Inception score"),
    "one_face": Measure("faces", "exactly one face, %"),
    "accuracy": Measure("digits", "accuracy, %"),
    "mse": Measure("truth", "mean squared error, 0 to 255", less=True),
}


class Problem(BaseModel):
    """One problem of an edition."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    edition: str
    number: str
    title: str
    kind: Literal["faces", "digits", "truth", "labels"]
    count: int = Field(0, ge=0, description="images; of digits, of each digit; of labels none")
    size: int = Field(0, ge=0, description="height and width of an image")
    split: Literal[SPLITS] = Field("val", description="of the real images that count")
    above: str = Field("", description="of labels: the problem whose accuracy has to be exceeded")
    baselines: dict[str, list[float]] = Field(description="of each measure, or pair of domains: simple, strong")

    @field_validator("baselines")
    @classmethod
    def _fits_its_kind(cls, baselines: dict[str, list[float]], info: ValidationInfo) -> dict[str, list[float]]:
        kind = info.data.get("kind", "labels")
        if not baselines:
            raise ValueError("give one for each measure or pair, such as accuracy = [80]")
        for name, values in baselines.items():
            if kind == "labels" and [bool(domain) for domain in name.split("-")] != [True, True]:
                raise ValueError(f"'{name}' is no pair of domains, such as mnistm-svhn")
            if kind != "labels" and name not in (fitting := [key for key, x in MEASURES.items() if x.kind == kind]):
                raise ValueError(f"'{name}' is no measure of {kind}; choose of {', '.join(fitting)}")
            if len(values) > 2 or values != sorted(values, reverse=name in MEASURES and MEASURES[name].less):
                raise ValueError(f"{name}: give the simple and then the strong baseline, the first alone, or none")
        if kind != "labels" and not (info.data.get("count") and info.data.get("size")):
            raise ValueError(f"{kind} need a count and a size")
        return baselines

    @property
    def names(self) -> list[str]:
        """The names of the images that are asked for; empty where any do."""
        if self.kind == "digits":
            return [f"{digit}_{number:03d}.png" for digit in range(10) for number in range(1, self.count + 1)]
        return [f"{number:02d}.png" for number in range(self.count)] if self.kind == "truth" else []

    @property
    def asked(self) -> str:
        """In words, for a line."""
        if self.kind == "labels":
            return f"a csv image_name,label for the {self.split} images of the target: {', '.join(self.baselines)}"
        names = f" {self.names[0]} to {self.names[-1]}" if self.names else " of faces"
        return f"{len(self.names) or self.count:,} PNG images{names}, {self.size}x{self.size} RGB"

    @property
    def full_title(self) -> str:
        """Such as ``2022, problem 2, diffusion``."""
        return f"{self.edition}, problem {self.number}, {self.title}"


def problems(rules: Path | None = None) -> dict[str, dict[str, Problem]]:
    """The problems of each edition by number: those of the homework, and those of a file of the same form.

    Raises `UserError` for a file that cannot be read, and a key or value that is not as it should be.
    """
    found: dict[str, dict[str, Problem]] = {}
    for file in (RULES, rules) if rules else (RULES,):
        try:
            editions = tomllib.loads(file.read_text(encoding="utf-8"))
        except OSError as error:
            raise UserError(f"{file}: cannot be read: {error.strerror}; name a file like {RULES}") from None
        except (ValueError, RecursionError) as error:
            raise UserError(f"{file}: not valid TOML: {error}") from None
        used.note_file(file)
        for edition, tables in editions.items():
            if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
                raise UserError(f"{file}: {edition} holds no tables [{edition}.PROBLEM]; see {RULES}")
            own = {number: table | {"edition": edition, "number": number} for number, table in tables.items()}
            found.setdefault(edition, {}).update(
                {number: validate(Problem, keys, f"{file}, [{edition}.{number}]") for number, keys in own.items()}
            )
            for number, one in found[edition].items():
                if one.above and (one.kind != "labels" or one.above not in found[edition]):
                    known = ", ".join(other for other, x in found[edition].items() if x.kind == "labels")
                    raise UserError(f"{file}, [{edition}.{number}]: above: '{one.above}': of labels there are {known}")
    return found


def problem(edition: str, number: str, rules: Path | None = None) -> Problem:
    """One problem of `problems`; `UserError` for an unknown one, which names those that there are."""
    known = problems(rules)
    if edition not in known:
        raise UserError(f"no edition '{edition}': there are {', '.join(known)}; --rules adds others")
    if number not in known[edition]:
        raise UserError(f"edition {edition} has no problem '{number}': it has {', '.join(known[edition])}")
    return known[edition][number]
