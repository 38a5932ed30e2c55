"""Feature spaces of runs of any method, and the proxy A-distance: 0 where domains are one, 2 where they are apart."""

import subprocess
import sys
from statistics import NormalDist

import numpy as np
import pytest
import torch
from synthetic import Synthetic

from hw2lib.adaptation.embedding import distance_table, feature_spaces, headline, proxy_a_distance
from hw2lib.adaptation.networks import load
from hw2lib.metrics.accuracy import outputs
from hw2lib.networks import build
from hw2lib.training.run_folder import RunFolder


def gaussian(n: int, shift: float = 0.0, seed: int = 0) -> np.ndarray:
    features = np.random.default_rng(seed).normal(size=(n, 8))
    features[:, 0] += shift
    return features


def test_one_distribution():
    assert proxy_a_distance(gaussian(1000), gaussian(1000, seed=1)) == pytest.approx(0, abs=0.12)


def test_the_same_features_give_no_less_than_0():
    assert proxy_a_distance(gaussian(100), gaussian(100)) == 0


def test_separable_domains():
    assert proxy_a_distance(gaussian(200), gaussian(200, shift=20, seed=1)) == 2


@pytest.mark.parametrize("shift", [1.0, 2.0])
def test_two_gaussians_have_the_error_of_the_best_linear_rule(shift):
    error = NormalDist().cdf(-shift / 2)
    found = proxy_a_distance(gaussian(2000), gaussian(2000, shift=shift, seed=1))
    assert found == pytest.approx(2 * (1 - 2 * error), abs=0.1)


def test_a_domain_of_few_images_counts_as_much_as_one_of_many():
    error = NormalDist().cdf(-1)
    found = proxy_a_distance(gaussian(3000), gaussian(300, shift=2, seed=1))
    assert found == pytest.approx(2 * (1 - 2 * error), abs=0.15)


def test_the_scale_of_a_feature_does_not_count():
    scale = np.array([1, 1e3, 1e-3, 1, 1, 1, 1, 1])
    source, target = gaussian(500), gaussian(500, shift=1, seed=1)
    assert proxy_a_distance(source * scale, target * scale) == pytest.approx(proxy_a_distance(source, target), abs=1e-6)


def finished(path, network: str, method: str) -> RunFolder:
    """A finished run from MNIST-M to USPS, not trained."""
    settings = {"network": network, "recipe": "ours", "source": "mnistm", "target": "usps", "method": method}
    folder = RunFolder(path / network / method, settings | {"normalisation": "range", "seed": 0})
    folder.path.mkdir(parents=True)
    folder.finish(build(network).state_dict(), {"accuracy": {"target test": 50.0}})
    return folder


def test_runs_of_any_method_have_a_feature_space(tmp_path):
    runs = [finished(tmp_path, "dann-compact", "dann"), finished(tmp_path, "uda-cnn", "improved")]
    (space,) = feature_spaces(runs, Synthetic(), 20, 0).values()
    assert list(space.points) == ["DANN", "improved"]
    assert all(points.shape == (40, 2) for points in space.points.values())
    assert space.labels.shape == space.is_target.shape == (40,)
    (space,) = feature_spaces([*runs, finished(tmp_path, "dann-deep", "dann")], Synthetic(), 20, 0).values()
    assert list(space.points) == ["DANN, dann-compact", "improved", "DANN, dann-deep"]
    spaces = feature_spaces(runs[1:], Synthetic(), 20, 0)
    assert distance_table(spaces).loc[0, ["method", "target test"]].tolist() == ["improved", "50.0"]
    assert list(headline(spaces)) == ["mnistm_usps_improved_distance"]


def test_a_confusion_has_what_the_network_reads_in_the_target(tmp_path):
    folder, source = finished(tmp_path, "dann-compact", "dann"), Synthetic()
    target = source.load("usps", "test")
    (space,) = feature_spaces([folder], source, len(target), 0).values()
    ((labels, read),) = space.confusions.values()
    assert labels.tolist() == target.labels.tolist()
    network, form = load(folder)
    assert read.tolist() == outputs(network, torch.from_numpy(target.images), *form).argmax(1).tolist()


def test_reading_runs_loads_no_training():
    code = """
import sys
from hw2lib.adaptation import choice, embedding, figures, tables
trainings = ("hw2lib.adaptation.dann", "hw2lib.adaptation.uda", "lightning_fabric")
print([name for name in sys.modules if name in (*trainings, "seaborn")])
print([name for name in sys.modules if name.startswith(("hw2lib.gan", "hw2lib.diffusion", "hw2lib.runs"))])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n[]\n"
