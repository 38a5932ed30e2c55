"""Finished runs that ship with the repository, found by what they are, whatever images are at hand."""

from hw2lib import paths
from hw2lib.errors import UserError
from hw2lib.training.run_folder import RunFolder, read_json


def shipped(network: str, recipe: str = "ours", seed: int = 0) -> RunFolder:
    """The run that ships with its weights, finished, whatever images are at hand.

    Raises:
        UserError: there is none, or more than one.
    """
    title = f"{network}/{recipe}/seed-{seed}"
    found = find(title, weights=True)
    if not found:
        others = sorted({file.parents[2].name for file in paths.TRAINED.glob(f"*/{recipe}/*/weights.safetensors")})
        raise UserError(
            f"{title}: no run ships with weights (those that do: {', '.join(others) or 'none'}); train it, hw2 train "
            f"{network} --preset paper, and give the weights.safetensors of its folder"
        )
    return found


def find(title: str, weights: bool) -> RunFolder | None:
    """The run of that title (`Recipe.title`) that ships, with `weights` only if they ship too; `UserError` for two."""
    what = "weights.safetensors" if weights else "card.json"
    found = [file.parent for file in sorted(paths.TRAINED.glob(f"{title}-*/{what}"))]
    if len(found) > 1:
        raise UserError(f"{found[0]} and {found[1].name} both ship; remove the one that is out of date")
    return RunFolder(found[0], read_json(found[0] / "card.json")["settings"]) if found else None
