"""One look for every figure: readable at the width of a page's text, and in colours that everybody can tell apart."""

import matplotlib.pyplot as plt
from cycler import cycler

WIDTH = 16 / 2.54  # inches: the width at which the report embeds a figure, so that its letters keep their size

# Okabe and Ito (2008), without the yellow, which is too light on white.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000")


def use_style() -> None:
    """Set matplotlib's defaults; call it once, at the head of a notebook."""
    plt.rcParams.update(plt.rcParamsDefault)
    plt.rc("figure", figsize=(WIDTH, WIDTH * 0.45), dpi=100)
    plt.rc("savefig", dpi=170)
    plt.rc("font", size=9)
    plt.rc("axes", titlesize=9, prop_cycle=cycler(color=PALETTE), grid=True, axisbelow=True)
    plt.rc("axes.spines", top=False, right=False)
    plt.rc("grid", color="#e6e6e6", linewidth=0.6)
    plt.rc("lines", linewidth=1.5)
    plt.rc("legend", frameon=False)
