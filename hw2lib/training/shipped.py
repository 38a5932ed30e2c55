"""Finished runs that ship with the repository, found by what they are, whatever images are at hand."""

from typing import Any

from hw2lib import paths
from hw2lib.errors import UserError
from hw2lib.files import read_json
from hw2lib.training.run_folder import RunFolder


def shipped_weights(network: str, recipe: str = "ours", seed: int = 0) -> RunFolder:
    """The run that ships with its weights, finished, whatever images are at hand.

    Raises:
        UserError: there is none, or more than one.
    """
    title = f"{network}/{recipe}/seed-{seed}"
    run = shipped_run(title, None, with_weights=True)
    if not run:
        others = sorted({file.parents[2].name for file in paths.TRAINED.glob(f"*/{recipe}/*/weights.safetensors")})
        raise UserError(
            f"{title}: no run ships with weights (those that do: {', '.join(others) or 'none'}); train it, hw2 train "
            f"{network} --preset paper, and give the weights.safetensors of its folder"
        )
    return run


def shipped_run(title: str, settings: dict[str, Any] | None, with_weights: bool) -> RunFolder | None:
    """The finished run of a title (`BaseRecipe.title`) that ships.

    Args:
        title: such as ``dcgan/ours/seed-0``.
        settings: the run has exactly these; None: whatever it has.
        with_weights: only if its weights ship too.

    Raises:
        UserError: there are two.
    """
    what = "weights.safetensors" if with_weights else "card.json"
    folders = [file.parent for file in sorted(paths.TRAINED.glob(f"{title}-*/{what}"))]
    runs = [RunFolder(folder, settings or read_json(folder / "card.json")["settings"]) for folder in folders]
    runs = [run for run in runs if run.card]
    if len(runs) > 1:
        raise UserError(f"{runs[0].path} and {runs[1].path.name} both ship; remove the one that is out of date")
    return runs[0] if runs else None
