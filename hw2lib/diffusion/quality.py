"""How good a denoiser's images are, as the curve over its training takes it."""

from hw2lib.data import FACES
from hw2lib.diffusion.sampling import Denoiser, SamplerSettings, sample
from hw2lib.grader.scores import digit_scores, grader
from hw2lib.metrics.images import diversity_within
from hw2lib.metrics.reference import face_scores, reference

# Short, and without guidance, which would hide how much of a digit was learned.
SETTINGS = SamplerSettings("dpm-solver", 10)
# As digits are drawn in the end. Without it, networks that learned for minutes all draw none.
GUIDED = SamplerSettings("ddim", 20, guidance_weight=2.0, eta=1.0)
OF_FACES = ("sliced_wasserstein", "face_rate", "contrast")


def of(denoiser: Denoiser, images, domain: str, count: int, guided: bool = False) -> dict[str, float]:
    """Scores of the first images of seed 0, drawn as `GUIDED` or `SETTINGS` says.

    Faces are scored against the val split, digits by the classifier that ships. It, and the digits of the Fréchet
    distance, are the real ones, whatever the denoiser learned from. Guided digits get their diversity too, as the last
    word on weights that may not be kept.
    """
    drawn, labels = sample(denoiser, GUIDED if guided else SETTINGS, seed=0, count=count, mixed=True)
    if domain == FACES:
        scores = face_scores(drawn, reference(images, FACES, "val"))
        return {name: round(scores[name], 4) for name in OF_FACES}
    scores = digit_scores(drawn, labels, grader())
    kept = {name: scores[name] for name in ("accuracy", "frechet") if name in scores}
    if guided:
        kept["diversity"] = diversity_within(drawn, labels)
    return {name: round(value, 4) for name, value in kept.items()}
