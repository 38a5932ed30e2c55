"""One look for every figure: readable at the width of a page's text, and in colours that everybody can tell apart."""

import matplotlib.pyplot as plt
from cycler import cycler

WIDTH = 16 / 2.54  # inches: the width at which the report embeds a figure, so that its letters keep their size

# Okabe and Ito (2008), without the yellow, which is too light on white.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000")


def use_style() -> None:
    """Set matplotlib's defaults; call it once, at the head of a notebook."""
    plt.rcParams.update(plt.rcParamsDefault)
    plt.rcParams.update(
        {
            "figure.figsize": (WIDTH, WIDTH * 0.45),
            "figure.dpi": 100,
            "savefig.dpi": 200,
            "font.size": 9,
            "axes.titlesize": 9,
            "axes.prop_cycle": cycler(color=PALETTE),
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.axisbelow": True,
            "grid.color": "#e6e6e6",
            "grid.linewidth": 0.6,
            "lines.linewidth": 1.5,
            "legend.frameon": False,
        }
    )
