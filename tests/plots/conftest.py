"""Figures in the report's style, closed after each test."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest

from hw2lib.plots import use_style


@pytest.fixture(autouse=True)
def _tidy():
    with mpl.rc_context():
        use_style()
        yield
        plt.close("all")
