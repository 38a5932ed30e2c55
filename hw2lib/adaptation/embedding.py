"""Feature spaces of trained networks, drawn in the plane and measured."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.manifold import TSNE
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from hw2lib.adaptation.networks import load
from hw2lib.adaptation.tables import method_title, pair_title
from hw2lib.data import TITLES
from hw2lib.kept import kept
from hw2lib.metrics.accuracy import outputs
from hw2lib.training.cards import MISSING, value_name
from hw2lib.training.run_folder import RunFolder


@dataclass(frozen=True)
class FeatureSpace:
    """The same N images of both domains of a pair, in the features of several runs, by title, which is their method."""

    domains: tuple[str, str]  # titles of source and target
    labels: np.ndarray  # (N,) digits 0 to 9, or -1 where they are not known
    is_target: np.ndarray  # (N,) bool
    points: dict[str, np.ndarray]  # t-SNE coordinates (N, 2)
    distance: dict[str, float]  # proxy A-distance
    accuracy: dict[str, float | None]  # on the whole target test split, percent
    read: dict[str, np.ndarray]  # (N,) the digits that each run takes them for

    @property
    def confusions(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """For each run the labels of the images of the target that have one, and the digits that they are read as."""
        known = self.is_target & (self.labels >= 0)
        return {title: (self.labels[known], read[known]) for title, read in self.read.items()} if known.any() else {}


def feature_spaces(folders: Sequence[RunFolder], images, count: int, seed: int) -> dict[str, FeatureSpace]:
    """For each pair among the runs, up to `count` images of each domain's test split in the features of its runs.

    The title of a run is its method, with network, recipe or seed where runs of one method differ in these.
    """
    spaces: dict[str, FeatureSpace] = {}
    for folder in folders:
        like = [other.settings for other in folders if other.settings["method"] == folder.settings["method"]]
        differ = [key for key in ("network", "recipe", "seed") if len({settings[key] for settings in like}) > 1]
        settings, embedded = folder.settings, embed_run(folder, images, count, seed)
        titles = tuple(TITLES.get(settings[role], settings[role]) for role in ("source", "target"))
        empty = FeatureSpace(titles, embedded["labels"], embedded["is_target"], {}, {}, {}, {})
        space = spaces.setdefault("{source}-{target}".format(**settings), empty)
        title = ", ".join([method_title(settings["method"]), *(f"{settings[key]}" for key in differ)])
        space.points[title] = embedded["points"]
        space.distance[title] = embedded["distance"]
        space.read[title] = embedded["read"]
        space.accuracy[title] = folder.card["accuracy"]["target test"]
    return spaces


@kept
@torch.inference_mode()
def embed_run(folder: RunFolder, images, count: int, seed: int) -> dict[str, Any]:
    """Up to `count` images of each domain's test split, chosen by `seed`, in the features of a finished run.

    The result has ``points`` (N, 2) by t-SNE, ``labels``, ``is_target`` and ``read`` (N,), and ``distance``: see
    `FeatureSpace`.
    """
    network, form = load(folder)
    features, labels, read = [], [], []
    for role in ("source", "target"):
        data = images.load(folder.settings[role], "test")
        chosen = np.sort(np.random.default_rng(seed).permutation(len(data))[:count])
        seen = outputs(network.features, torch.from_numpy(data.images[chosen]), *form)
        features.append(seen.numpy())
        read.append(network.label(seen).argmax(1).numpy())
        labels.append(np.full(len(chosen), -1) if data.labels is None else data.labels[chosen])
    return {
        "points": embed(np.concatenate(features), seed),
        "labels": np.concatenate(labels),
        "read": np.concatenate(read),
        "is_target": np.repeat([False, True], list(map(len, labels))),
        "distance": proxy_a_distance(*features),
    }


def embed(features: np.ndarray, seed: int) -> np.ndarray:
    """Two coordinates (N, 2) by t-SNE (van der Maaten and Hinton 2008) of features (N, D)."""
    perplexity = min(30.0, (len(features) - 1) / 3)
    return TSNE(perplexity=perplexity, init="pca", random_state=seed, n_jobs=-1).fit_transform(features)


def proxy_a_distance(source: np.ndarray, target: np.ndarray) -> float:
    """2 (1 - 2 e), where e is the balanced error of a linear classifier that tells the domains apart (Ben-David 2010).

    The features are (N, D) and (M, D). 0: the domains cannot be told apart; 2: they always can. The error is
    cross-validated in five folds; where chance brings it above a half, 0 is returned.
    """
    features = np.concatenate([source, target])
    is_target = np.repeat([0, 1], [len(source), len(target)])
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000, class_weight="balanced"))
    wrong = cross_val_predict(classifier, features, is_target, cv=5) != is_target
    return float(max(0.0, 2 * (1 - (wrong[is_target == 0].mean() + wrong[is_target == 1].mean()))))


def distance_table(spaces: dict[str, FeatureSpace]) -> pd.DataFrame:
    """One row a pair and run: proxy A-distance (0 to 2) and target test accuracy (percent)."""
    return pd.DataFrame(
        {
            "pair": pair_title(pair),
            "method": title,
            "proxy A-distance": round(distance, 2),
            "target test": MISSING if space.accuracy[title] is None else f"{space.accuracy[title]:.1f}",
        }
        for pair, space in spaces.items()
        for title, distance in space.distance.items()
    )


def headline(spaces: dict[str, FeatureSpace]) -> dict[str, float]:
    """Proxy A-distances for the text of the report, such as ``mnistm_svhn_dann_distance``."""
    return {
        value_name(pair, title, "distance"): round(distance, 2)
        for pair, space in spaces.items()
        for title, distance in space.distance.items()
    }
