"""How good a denoiser's images are, as the curve over its training takes it."""

from hw2lib.data import FACES
from hw2lib.diffusion.sampling import Denoiser, SamplerSettings, sample
from hw2lib.metrics.digits import digit_scores, grader
from hw2lib.metrics.reference import face_scores, reference

SETTINGS = SamplerSettings(
    "dpm-solver", 10
)  # short, and without guidance, which would hide how much of a digit was learned

OF_FACES = ("sliced_wasserstein", "face_rate", "contrast")


def of(denoiser: Denoiser, images, domain: str, count: int) -> dict[str, float]:
    """Scores of the first images of seed 0: of faces against the val split, of digits by the classifier.

    The classifier, and the digits of the Fréchet distance, are the real ones, whatever the denoiser learned from.
    """
    drawn, labels = sample(denoiser, SETTINGS, seed=0, count=count, mixed=True)
    if domain == FACES:
        scores = face_scores(drawn, reference(images, FACES, "val"))
        return {name: round(scores[name], 4) for name in OF_FACES}
    scores = digit_scores(drawn, labels, grader())
    return {name: round(scores[name], 4) for name in ("accuracy", "frechet") if name in scores}
