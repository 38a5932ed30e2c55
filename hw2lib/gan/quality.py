"""How good a generator's images are, as the curve over its training takes it."""

from hw2lib.data import FACES
from hw2lib.gan.networks import GAN
from hw2lib.gan.sampling import sample
from hw2lib.grader.scores import digit_scores, grader
from hw2lib.metrics.reference import face_scores, reference

OF_FACES = ("sliced_wasserstein", "face_rate", "brightness", "contrast", "diversity")


def of(gan: GAN, images, domain: str, count: int) -> dict[str, float]:
    """Scores of the first images of seed 0: of faces against the val split, of digits by the classifier.

    The classifier, and the digits of the Fréchet distance, are the real ones, whatever the generator learned from.
    """
    drawn, labels = sample(gan, gan.generator, seed=0, count=count)
    if domain == FACES:
        scores = face_scores(drawn, reference(images, FACES, "val"))
        return {name: round(scores[name], 4) for name in OF_FACES}
    scores = digit_scores(drawn, labels, grader())
    return {name: round(scores[name], 4) for name in ("accuracy", "frechet") if name in scores}
