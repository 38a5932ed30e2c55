"""How good a denoiser's digits are, as the curve over its training takes it."""

from torch import nn

from hw2lib.diffusion.sampling import SamplerSettings, sample
from hw2lib.diffusion.schedule import Schedule
from hw2lib.metrics.digits import digit_scores, grader

SETTINGS = SamplerSettings(
    "dpm-solver", 10
)  # short, and without guidance, which would hide how much of a digit was learned


def of(network: nn.Module, schedule: Schedule, size: int, count: int) -> dict[str, float]:
    """Scores of the first digits of seed 0 by the classifier that ships, beside real test digits."""
    drawn, labels = sample(network, schedule, SETTINGS, seed=0, count=count, size=size, mixed=True)
    scores = digit_scores(drawn, labels, grader())
    return {name: round(scores[name], 4) for name in ("accuracy", "frechet") if name in scores}
