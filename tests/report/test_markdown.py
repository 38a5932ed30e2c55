"""Pipe tables: what is a column of numbers."""

import pytest

from hw2lib.report.markdown import pipe_table


@pytest.mark.parametrize(
    ("cells", "dashes"),
    [
        ([1, 2.5], "---:"),
        (["41,040", ""], "---:"),
        (["72.1 ± 13.9", None], "---:"),
        (["-3 %", "–"], "---:"),
        (["44.5 (1 of 2 seeds)", "89.7"], "---"),
        (["3x28x28", "768"], "---"),
        (["ours", "as-reported"], "---"),
        ([True, False], "---"),
    ],
)
def test_columns_of_numbers_are_aligned_to_the_right(cells, dashes):
    table = pipe_table(["a", "b"], [["text", cell] for cell in cells], "C")
    assert table.splitlines()[1] == f"| --- | {dashes} |"
