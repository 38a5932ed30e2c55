"""How good a denoiser's digits are, as the curve over its training takes it."""

from hw2lib.diffusion.sampling import Denoiser, SamplerSettings, sample
from hw2lib.metrics.digits import digit_scores, grader

SETTINGS = SamplerSettings(
    "dpm-solver", 10
)  # short, and without guidance, which would hide how much of a digit was learned


def of(denoiser: Denoiser, count: int) -> dict[str, float]:
    """Scores of the first digits of seed 0 by the classifier that ships, beside real test digits."""
    drawn, labels = sample(denoiser, SETTINGS, seed=0, count=count, mixed=True)
    scores = digit_scores(drawn, labels, grader())
    return {name: round(scores[name], 4) for name in ("accuracy", "frechet") if name in scores}
