"""Training that is stopped; tests/faults kills it."""

from collections.abc import Callable

import pytest


def stopped(train: Callable[[Callable[[int], None]], object], step: int) -> None:
    """Call `train` with an `on_step` that interrupts it, as Ctrl-C does, once that many steps are done."""
    done = 0

    def on_step(n: int) -> None:
        nonlocal done
        done += n
        if done == step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(on_step)
