"""The embedded stand-ins: the same each time, distinct, balanced, and no handwriting used twice."""

import itertools

import numpy as np
import pytest
from sklearn.datasets import load_digits
from torch.nn.functional import avg_pool2d

from hw2lib.data import DIGIT_DOMAINS, FACES, SPLITS, source
from hw2lib.data.standins import StandIns, _draw
from hw2lib.data.standins.digits import enlarge, pool
from hw2lib.errors import UserError

STANDINS = StandIns()
ALL = [(domain, split) for domain in (*DIGIT_DOMAINS, FACES) for split in STANDINS.splits(domain)]


def test_the_quick_preset_works_on_them():
    assert isinstance(source("quick"), StandIns)


@pytest.mark.parametrize(("domain", "split"), ALL)
def test_shapes_types_and_counts(domain, split):
    images = STANDINS.load(domain, split)
    count = {"train": 4000, "val": 500, "test": 1000}[split]
    shape = {"usps": (1, 28, 28), "face": (3, 64, 64)}.get(domain, (3, 28, 28))
    assert images.images.shape == (count, *shape)
    assert images.images.dtype == np.uint8
    assert not images.images.flags.writeable
    assert (images.domain, images.split, images.origin) == (domain, split, "stand-in")
    if domain == FACES:
        assert images.labels is None
    else:
        assert images.labels.dtype == np.int64
        assert np.bincount(images.labels).tolist() == [count // 10] * 10


@pytest.mark.parametrize("domain", [*DIGIT_DOMAINS, FACES])
def test_no_image_occurs_twice(domain):
    images = np.concatenate([STANDINS.load(domain, split).images for split in STANDINS.splits(domain)])
    assert len({image.tobytes() for image in images}) == len(images)


@pytest.mark.parametrize("domain", [*DIGIT_DOMAINS, FACES])
def test_drawn_again_they_are_the_same_bytes(domain):
    first = STANDINS.load(domain, "val")
    _draw.cache_clear()
    again = STANDINS.load(domain, "val")
    assert again is not first
    assert again.images.tobytes() == first.images.tobytes()


# Mean grey level of the first four images. Rounding differs by a level between processors and versions; a drawing that
# changed moves these by much more, and asks for a new VERSION.
GOLDEN = {
    "mnistm": [194.7, 156.1, 96.6, 192.9],
    "svhn": [109.0, 192.4, 75.0, 103.2],
    "usps": [52.3, 71.0, 80.7, 88.0],
    "face": [86.1, 90.2, 91.2, 154.0],
}


@pytest.mark.parametrize("domain", GOLDEN)
def test_golden_means(domain):
    first = STANDINS.load(domain, "val").images[:4]
    assert first.mean((1, 2, 3)) == pytest.approx(GOLDEN[domain], abs=0.2)


def test_no_handwriting_is_shared_between_domains_or_splits():
    pools = [np.concatenate(pool(domain, split)) for domain in DIGIT_DOMAINS for split in SPLITS]
    for one, other in itertools.combinations(pools, 2):
        assert not set(one) & set(other)
    assert sorted(np.concatenate(pools)) == list(range(len(load_digits().target)))


def test_every_pool_holds_every_digit():
    target = load_digits().target
    for domain, split in itertools.product(DIGIT_DOMAINS, SPLITS):
        for label, members in enumerate(pool(domain, split)):
            assert len(members) >= 4
            assert (target[members] == label).all()


def test_enlarged_handwriting_is_the_handwriting():
    original = load_digits().images / 16
    means = avg_pool2d(enlarge(), 4)[:, 0].numpy()
    assert np.abs(means - original).mean() < 0.01


def test_domains_look_different():
    sets = {domain: STANDINS.load(domain, "val").images for domain in DIGIT_DOMAINS}
    colourful = {d: (x.max(1).astype(int) - x.min(1)).mean() for d, x in sets.items()}
    # USPS is grey, and bright ink on black: its border is dark; the others' borders are any lightness.
    assert colourful["usps"] == 0
    assert min(colourful["mnistm"], colourful["svhn"]) > 15
    edge = {d: np.median(x[:, :, :, [0, -1]]) for d, x in sets.items()}
    assert edge["usps"] == 0
    assert min(edge["mnistm"], edge["svhn"]) > 40
    # A photographed number is blurred, a blended one has the hard edge of its stroke.
    step = {d: np.median(np.abs(np.diff(x.astype(int), axis=3)).max((1, 2, 3))) for d, x in sets.items()}
    assert step["mnistm"] > 1.5 * step["svhn"]


def test_labels_match_the_digit_that_is_drawn():
    """On USPS the mean image of each class, made of other handwriting, finds most of the labels."""
    train, test = STANDINS.load("usps", "train"), STANDINS.load("usps", "test")
    means = np.stack([train.images[train.labels == label].mean(0).ravel() for label in range(10)])
    distance = ((test.images.reshape(len(test), 1, -1) - means) ** 2).sum(-1)
    assert (distance.argmin(1) == test.labels).mean() > 0.7


def test_faces_vary_everywhere():
    faces = STANDINS.load(FACES, "val").images.astype(np.float64)
    assert faces.std(0).min() > 20
    assert faces.std(0).mean() > 50
    # They are no noise around one face either: the closest pair is far apart.
    small = faces.reshape(len(faces), 3, 16, 4, 16, 4).mean((3, 5)).reshape(len(faces), -1)
    distance = ((small[:, None] - small[None, :200]) ** 2).mean(-1) ** 0.5
    assert np.sort(distance, axis=0)[1].min() > 8


def test_fingerprints_tell_domains_apart():
    fingerprints = [STANDINS.fingerprint(domain) for domain in (*DIGIT_DOMAINS, FACES)]
    assert len(set(fingerprints)) == 4
    assert fingerprints == [StandIns().fingerprint(domain) for domain in (*DIGIT_DOMAINS, FACES)]


def test_the_description_names_what_is_shown_and_whose_it_is():
    drawn = "embedded stand-ins (version 1) of "
    digits = "handwriting of scikit-learn's load_digits"
    photographs = "parts of photographs by danielbuechele and vultilion (CC BY 2.0)"
    assert STANDINS.describe(["face"]) == drawn + "Faces: drawn portraits of nobody"
    assert STANDINS.describe(["usps"]) == drawn + f"USPS: {digits}"
    assert STANDINS.describe(["mnistm", "usps"]) == drawn + f"MNIST-M, USPS: {digits}, {photographs}"
    assert STANDINS.describe() == STANDINS.describe(STANDINS.domains())
    assert STANDINS.describe().startswith(drawn + "MNIST-M, SVHN, USPS, Faces: ")
    assert photographs in STANDINS.describe()


def test_what_is_not_there_is_named():
    with pytest.raises(UserError, match="unknown domain 'mnist'; there are mnistm, svhn, usps, face"):
        STANDINS.load("mnist", "train")
    with pytest.raises(UserError, match="face has no split 'test'; there are train, val"):
        STANDINS.load("face", "test")
