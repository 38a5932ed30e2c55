"""FID, IS and KID: closed forms, an independent implementation, torch-fidelity's own command, and Inception's file."""

import hashlib
from importlib.util import find_spec
from urllib.error import URLError

import numpy as np
import pytest
import scipy.linalg
import torch
import torch_fidelity
from torch_fidelity.feature_extractor_base import FeatureExtractorBase
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from hw2lib.data import ImageSet
from hw2lib.data.standins import faces
from hw2lib.errors import UserError
from hw2lib.metrics import fidelity
from hw2lib.metrics.fidelity import (
    Extractor,
    Features,
    Unavailable,
    extract,
    face_descriptors,
    frechet_distance,
    scores,
    stored_features,
)


def random_features(n: int, seed: int = 0, dimensions: int = 6) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return torch.tensor(rng.normal(size=(n, dimensions)) @ rng.normal(size=(dimensions, dimensions)) + rng.normal())


def random_images(n: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, (n, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


class Tiny(torch.nn.Module):
    """Five features and three logits of an image; counts the images that it has seen."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.randn(5, 3 * 64, generator=torch.Generator().manual_seed(0)) / 8
        self.seen = 0

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.seen += len(images)
        features = (images.flatten(1).float() / 255) @ self.weight.T
        return features, 3 * features[:, :3]


class Registered(FeatureExtractorBase):
    """The same network, as torch-fidelity asks for it."""

    def __init__(self, name, features_list, **_) -> None:
        super().__init__(name, features_list)
        self.tiny = Tiny()

    @staticmethod
    def get_provided_features_list():
        return "features", "logits"

    @staticmethod
    def get_default_feature_layer_for_metric(metric):
        return {"isc": "logits", "fid": "features", "kid": "features"}[metric]

    def forward(self, images):
        found = Features(*self.tiny(images))
        return tuple(getattr(found, name) for name in self.features_list)


@pytest.fixture
def tiny() -> Extractor:
    return Extractor(Tiny(), "tiny")


def test_with_equal_covariances_it_is_the_squared_distance_of_the_means():
    features, shift = random_features(500), torch.tensor([3.0, 0, -1, 0.5, 0, 2])
    assert frechet_distance(features, features + shift) == pytest.approx(shift.square().sum().item(), rel=1e-6)


def test_it_is_0_between_a_set_and_itself():
    features = random_features(300)
    assert frechet_distance(features, features) == pytest.approx(0, abs=1e-6)


def test_of_two_scaled_gaussians():
    features = random_features(400) - random_features(400).mean(0)
    variance = np.trace(np.cov(features.numpy(), rowvar=False))
    assert frechet_distance(features, 3 * features) == pytest.approx((3 - 1) ** 2 * variance, rel=1e-6)


@pytest.mark.parametrize("n", [4, 200])  # 4: fewer images than dimensions, as with Inception's 2,048
def test_it_agrees_with_an_independent_implementation(n):
    a, b = random_features(n, 1).numpy(), random_features(n + 50, 2).numpy()
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = scipy.linalg.sqrtm(cov_a)  # tr (AB)^½ = tr (A^½ B A^½)^½, whose argument is symmetric
    cross = scipy.linalg.sqrtm(root @ cov_b @ root).real
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(cov_a + cov_b - 2 * cross)
    assert frechet_distance(torch.tensor(a), torch.tensor(b)) == pytest.approx(expected, rel=1e-5)


def test_a_large_common_offset_does_not_spoil_it():
    """Float32 features are averaged in float64."""
    a, b = random_features(3000, 1), random_features(3000, 2)
    a, b = (x.float() + 1000 for x in (a, b))
    exact = frechet_distance(a.double() - 1000, b.double() - 1000)
    assert frechet_distance(a, b) == pytest.approx(exact, rel=1e-6)


@pytest.mark.parametrize("batch", [1, 7, 60, 1000])
def test_no_score_depends_on_the_batch(tiny, batch):
    generated, real = random_images(60), extract(random_images(60, 1), tiny)
    expected = scores(extract(generated, tiny), real)
    assert scores(extract(generated, tiny, batch), real) == pytest.approx(expected, rel=1e-4)


def test_the_scores_are_torch_fidelitys(tiny, tmp_path):
    torch_fidelity.register_feature_extractor("tiny-for-tests", Registered)
    generated, real = random_images(80), random_images(90, 1) // 2
    expected = torch_fidelity.calculate_metrics(
        input1=_Images(generated),
        input2=_Images(real),
        feature_extractor="tiny-for-tests",
        isc=True,
        fid=True,
        kid=True,
        kid_subset_size=80,
        cuda=False,
        save_cpu_ram=True,
        cache=False,
        verbose=False,
    )
    found = scores(extract(generated, tiny), extract(real, tiny))
    assert found == pytest.approx(
        {
            "fid": expected["frechet_inception_distance"],
            "is": expected["inception_score_mean"],
            "is_deviation": expected["inception_score_std"],
            "kid": expected["kernel_inception_distance_mean"],
        },
        rel=1e-3,  # theirs are in float32
    )


class _Images(torch.utils.data.Dataset):
    def __init__(self, images: torch.Tensor) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.images[index]


def test_the_inception_score_of_certain_and_of_blind_logits():
    real = Features(random_features(100), torch.zeros(100, 4))
    certain = 1000.0 * torch.eye(4).repeat(250, 1)
    assert scores(Features(random_features(1000), certain), real)["is"] == pytest.approx(4, rel=0.02)
    assert scores(Features(random_features(1000), torch.ones(1000, 4)), real)["is"] == pytest.approx(1)


def test_fewer_than_two_images_are_refused(tiny):
    for n in (0, 1):
        with pytest.raises(UserError, match=rf"^{n} image.* at least two"):
            extract(random_images(n), tiny)


def test_other_images_are_refused(tiny):
    for images in (torch.rand(4, 3, 8, 8), random_images(4)[:, :1], random_images(4)[0]):
        with pytest.raises(UserError, match="cannot be scored"):
            extract(images, tiny)


class Source:
    """Ten grey images, or ten others."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def load(self, domain: str, split: str) -> ImageSet:
        return ImageSet(random_images(10, self.seed)[:, :1].numpy(), None, domain, split, "stand-in")

    def fingerprint(self, domain: str) -> str:
        return hashlib.sha256(bytes([self.seed])).hexdigest()


def test_features_of_stored_images_are_computed_once(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("HW2_BUILD", str(tmp_path))
    expected = extract(random_images(10)[:, :1].expand(-1, 3, -1, -1), tiny)
    tiny.network.seen = 0
    for _ in range(2):
        found = stored_features(Source(), "usps", "val", tiny)
        assert torch.equal(found.features, expected.features)
        assert torch.equal(found.logits, expected.logits)
    assert tiny.network.seen == 10
    (file,) = (tmp_path / "cache" / "features").iterdir()

    for others in (
        lambda: stored_features(Source(1), "usps", "val", tiny),
        lambda: stored_features(Source(), "usps", "test", tiny),
        lambda: stored_features(Source(), "usps", "val", tiny, count=10 - 1),
        lambda: stored_features(Source(), "usps", "val", Extractor(tiny.network, "another")),
    ):
        before = tiny.network.seen
        others()
        assert tiny.network.seen > before

    file.write_bytes(file.read_bytes()[:50])
    assert torch.equal(stored_features(Source(), "usps", "val", tiny).features, expected.features)
    assert len(list(file.parent.iterdir())) == 5


def test_a_count_is_spread_over_the_split(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("HW2_BUILD", str(tmp_path))
    found = stored_features(Source(), "usps", "val", tiny, count=5)
    expected = extract(random_images(10)[::2, :1].expand(-1, 3, -1, -1), tiny)
    assert torch.equal(found.features, expected.features)


@pytest.fixture
def no_inception(tmp_path, monkeypatch):
    """A torch hub without Inception, where nothing can be downloaded."""

    def no_network(*_, **__):
        raise URLError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    monkeypatch.delenv("HW2_INCEPTION", raising=False)
    return tmp_path / "hub" / "checkpoints"


def test_without_weights_one_line_says_so(no_inception):
    with pytest.raises(
        Unavailable, match=r"^Inception's weights cannot be downloaded \(no network\); set HW2_INCEPTION"
    ):
        fidelity.inception()


def test_a_hub_that_cannot_be_written(no_inception):
    no_inception.parent.write_text("a file in the way")
    with pytest.raises(Unavailable, match="cannot be downloaded"):
        fidelity.inception()


@pytest.mark.parametrize("named", ["argument", "environment", "hub"])
def test_corrupt_weights_are_an_error_of_one_line(named, no_inception, tmp_path, monkeypatch):
    file = no_inception / fidelity.INCEPTION if named == "hub" else tmp_path / fidelity.INCEPTION
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"<html>rate limit exceeded</html>")
    if named == "environment":
        monkeypatch.setenv("HW2_INCEPTION", str(file))
    with pytest.raises(UserError, match=r"6726825d\.pth: damaged.* get it again$") as error:
        fidelity.inception(str(file) if named == "argument" else "")
    assert not isinstance(error.value, Unavailable)


def test_a_named_file_that_is_not_there_is_an_error(no_inception, tmp_path):
    with pytest.raises(UserError, match=r"cannot be read: No such file"):
        fidelity.inception(str(tmp_path / "none.pth"))


def test_without_weights_of_the_face_network_one_line_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("HW2_BUILD", str(tmp_path))
    monkeypatch.setattr(fidelity, "find_spec", lambda _: None)
    with pytest.raises(Unavailable, match=r"weights of dlib's face network .*; pip install -e '\.\[faces\]'"):
        face_descriptors(random_images(2))


@pytest.mark.skipif(not find_spec("face_recognition_models"), reason="the extra faces is not installed")
def test_descriptors_tell_people_apart(tmp_path, monkeypatch):
    monkeypatch.setenv("HW2_BUILD", str(tmp_path))
    people = (faces.faces(4, np.random.default_rng(0)) * 255).round().byte()
    blank = torch.full((1, 3, 64, 64), 128, dtype=torch.uint8)
    found = face_descriptors(torch.cat([people, (people * 0.9).byte(), blank]))
    assert (found.shape, found.dtype) == ((9, 128), torch.float64)
    distances = torch.cdist(found[:4], found[4:8])
    assert (distances.argmin(1) == torch.arange(4)).all(), "the same face in less light is the nearest"
    assert found.norm(dim=1).tolist() == pytest.approx([1.4] * 9, abs=0.2)


def test_inception_computes_in_float64_whatever_the_batch(no_inception, tmp_path, monkeypatch):
    """With random weights under the published name; torch-fidelity 0.4.0 itself would compute in float32."""
    torch.manual_seed(0)
    file = tmp_path / fidelity.INCEPTION
    with monkeypatch.context() as patched:
        patched.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        patched.setattr(torch, "load", lambda *_, **__: {})
        weights = FeatureExtractorInceptionV3("random", ["2048"], "").state_dict()
    torch.save(weights, file)
    monkeypatch.setattr(fidelity, "INCEPTION_SHA256", hashlib.sha256(file.read_bytes()).hexdigest())
    extractor = fidelity.inception(str(file))
    inside = []
    extractor.network.Mixed_7c.register_forward_hook(lambda *call: inside.append(call[2].dtype))
    found = extract(random_images(3), extractor, batch=3)
    assert set(inside) == {torch.float64}
    assert found.features.shape == (3, 2048)
    assert found.logits.shape == (3, 1008)
    torch.testing.assert_close(
        extract(random_images(3), extractor, batch=2).features, found.features, rtol=1e-6, atol=0
    )
