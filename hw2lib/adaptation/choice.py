"""Choosing between runs without labels of the target, and how far that is from what the labels would choose."""

import pandas as pd
from scipy.stats import spearmanr

from hw2lib.adaptation.tables import ABLATION, CANDIDATES
from hw2lib.training.cards import UNKNOWN, value_name

# Criterion of a card to its title, and whether more of it is better.
CRITERIA = {
    "source val": ("accuracy on source val, %", True),
    "entropy": ("entropy, nats", False),
    "information": ("mutual information, nats", True),
    "density": ("neighbourhood density, nats", True),
}


def candidates(frame: pd.DataFrame) -> pd.DataFrame:
    """Of runs between which is chosen, their name, target test accuracy and criteria, a column each.

    The seed is named where there are several.

    Runs without a target test accuracy or from before there were criteria are left out.
    """
    titles, several = ABLATION | CANDIDATES, frame["seed"].nunique() > 1
    rows = [
        {"run": titles.get(row.recipe, row.recipe) + (f", seed {row.seed}" if several else ""), "test": row.test}
        | {name: row.criteria[name] for name in CRITERIA}
        for row in frame.itertuples()
        if pd.notna(row.test) and all(row.criteria.get(name) is not None for name in CRITERIA)
    ]
    return pd.DataFrame(rows, columns=["run", "test", *CRITERIA])


def candidate_table(runs: pd.DataFrame) -> pd.DataFrame:
    """Runs between which is chosen, numbered as in the figure, with their accuracy and criteria."""
    columns = {"run": runs["run"], "target test": runs["test"].map("{:.1f}".format)}
    columns |= {name: runs[name].map("{:.3g}".format) for name in CRITERIA}
    return pd.DataFrame({"number": [str(i + 1) for i in range(len(runs))], **columns})


def rank_correlation(runs: pd.DataFrame, criterion: str, accuracy: str = "test") -> float:
    """Spearman's, of a criterion, turned so that more is better, and a column of accuracies; nan below three runs."""
    if len(runs) < 3 or runs[criterion].nunique() < 2 or runs[accuracy].nunique() < 2:
        return float("nan")
    sign = 1 if CRITERIA[criterion][1] else -1
    return float(spearmanr(sign * runs[criterion], runs[accuracy]).statistic)


def chosen(runs: pd.DataFrame, criterion: str) -> pd.Series:
    """The run that a criterion likes best."""
    column = runs[criterion]
    return runs.loc[column.idxmax() if CRITERIA[criterion][1] else column.idxmin()]


def choice_table(runs: pd.DataFrame) -> pd.DataFrame:
    """What each criterion chooses, how good that is, and how well it ranks; the last row, the oracle, sees labels."""
    rows = []
    for criterion, (title, _) in CRITERIA.items():
        rank = rank_correlation(runs, criterion)
        best = chosen(runs, criterion) if len(runs) else None
        rows.append(
            {
                "criterion": title.partition(",")[0],
                "its choice": UNKNOWN if best is None else best["run"],
                "target test": UNKNOWN if best is None else f"{best['test']:.1f}",
                "rank correlation": UNKNOWN if rank != rank else f"{rank:.2f}",
            }
        )
    best = runs.loc[runs["test"].idxmax()] if len(runs) else None
    rows.append(
        {
            "criterion": "oracle",
            "its choice": UNKNOWN if best is None else best["run"],
            "target test": UNKNOWN if best is None else f"{best['test']:.1f}",
            "rank correlation": UNKNOWN if best is None else "1",
        }
    )
    return pd.DataFrame(rows)


def headline(runs: pd.DataFrame) -> dict[str, float]:
    """For the text of the report: of each criterion its rank correlation and the accuracy of its choice."""
    values = {}
    for criterion in CRITERIA if len(runs) else ():
        values[value_name(criterion, "choice")] = float(chosen(runs, criterion)["test"])
        if (rank := rank_correlation(runs, criterion)) == rank:
            values[value_name(criterion, "rank")] = round(rank, 2)
    return values | ({"oracle_choice": float(runs["test"].max())} if len(runs) else {})
