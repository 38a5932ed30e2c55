"""How far apart two domains lie in a feature space."""

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def proxy_a_distance(source: np.ndarray, target: np.ndarray) -> float:
    """2 (1 - 2 e), where e is the balanced error of a linear classifier that tells the domains apart (Ben-David 2010).

    Args:
        source: features (N, D).
        target: features (M, D).

    Returns:
        0 where the domains cannot be told apart, 2 where they always can. The error is cross-validated in five folds,
        so chance may give a number a little below 0, which is returned as 0.
    """
    features = np.concatenate([source, target])
    is_target = np.repeat([0, 1], [len(source), len(target)])
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000, class_weight="balanced"))
    wrong = cross_val_predict(classifier, features, is_target, cv=5) != is_target
    error = (wrong[is_target == 0].mean() + wrong[is_target == 1].mean()) / 2
    return float(max(0.0, 2 * (1 - 2 * error)))
