"""Feature spaces of trained networks, drawn in the plane and measured."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from sklearn.manifold import TSNE

from hw2lib.adaptation.networks import load
from hw2lib.adaptation.tables import METHOD_TITLES, pair_title
from hw2lib.data import TITLES
from hw2lib.metrics.accuracy import outputs
from hw2lib.metrics.domains import proxy_a_distance
from hw2lib.training.cards import MISSING, value_name
from hw2lib.training.run_folder import RunFolder


@dataclass(frozen=True)
class FeatureSpace:
    """The same N images of both domains of a pair, in the features of several runs.

    Attributes:
        domains: titles of source and target.
        points: title of the method to t-SNE coordinates (N, 2).
        labels: (N,) digits 0 to 9, or -1 where they are not known.
        is_target: (N,) bool.
        distance: title of the method to the proxy A-distance.
        accuracy: title of the method to the run's accuracy on the whole target test split, percent.
    """

    domains: tuple[str, str]
    points: dict[str, np.ndarray]
    labels: np.ndarray
    is_target: np.ndarray
    distance: dict[str, float]
    accuracy: dict[str, float | None]

    @property
    def panels(self) -> dict[str, np.ndarray]:
        """The points by what a figure writes above them: the method, and how far apart the domains lie in it."""
        return {f"{title}: proxy A-distance {self.distance[title]:.2f}": xy for title, xy in self.points.items()}


def feature_spaces(folders: Sequence[RunFolder], images, count: int, seed: int) -> dict[str, FeatureSpace]:
    """For each pair among the runs, up to `count` images of each domain's test split in the features of its runs."""
    spaces: dict[str, FeatureSpace] = {}
    pictures: dict[str, list[np.ndarray]] = {}
    for folder in folders:
        settings = folder.settings
        domains = (settings["source"], settings["target"])
        pair = "-".join(domains)
        if pair not in spaces:
            sets = [_sample(images.load(domain, "test"), count, seed) for domain in domains]
            pictures[pair] = [pixels for pixels, _ in sets]
            spaces[pair] = FeatureSpace(
                domains=tuple(TITLES.get(domain, domain) for domain in domains),
                points={},
                labels=np.concatenate([labels for _, labels in sets]),
                is_target=np.repeat([False, True], [len(labels) for _, labels in sets]),
                distance={},
                accuracy={},
            )
        space = spaces[pair]
        network, form = load(folder)
        features = np.concatenate(
            [outputs(network.features, torch.from_numpy(x), *form).numpy() for x in pictures[pair]]
        )
        title = METHOD_TITLES[settings["method"]]
        space.points[title] = embed(features, seed)
        space.distance[title] = proxy_a_distance(features[~space.is_target], features[space.is_target])
        space.accuracy[title] = folder.card["accuracy"]["target test"]
    return spaces


def embed(features: np.ndarray, seed: int) -> np.ndarray:
    """Two coordinates (N, 2) by t-SNE (van der Maaten and Hinton 2008) of features (N, D)."""
    perplexity = min(30.0, (len(features) - 1) / 3)
    return TSNE(perplexity=perplexity, init="pca", random_state=seed, n_jobs=-1).fit_transform(features)


def distance_table(spaces: dict[str, FeatureSpace]) -> pd.DataFrame:
    """One row a pair and method: proxy A-distance (0 to 2) and target test accuracy (percent)."""
    rows = [
        {
            "pair": pair_title(pair),
            "method": method,
            "proxy A-distance": round(space.distance[method], 2),
            "target test": MISSING if space.accuracy[method] is None else f"{space.accuracy[method]:.1f}",
        }
        for pair, space in spaces.items()
        for method in space.points
    ]
    return pd.DataFrame(rows)


def headline(spaces: dict[str, FeatureSpace]) -> dict[str, float]:
    """Proxy A-distances for the text of the report, such as ``mnistm_svhn_dann_distance``."""
    return {
        value_name(pair, method, "distance"): round(distance, 2)
        for pair, space in spaces.items()
        for method, distance in space.distance.items()
    }


def _sample(images, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    chosen = np.sort(np.random.default_rng(seed).permutation(len(images))[:count])
    labels = np.full(len(images), -1) if images.labels is None else images.labels
    return np.ascontiguousarray(images.images[chosen]), labels[chosen]
