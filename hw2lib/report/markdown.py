"""Markdown that GitHub, JupyterLab and pandoc all understand."""


def pipe_table(columns: list[str], rows: list[list], caption: str) -> str:
    """A pipe table with pandoc's caption line under it; columns of numbers are aligned to the right.

    Args:
        columns: the header.
        rows: cells of str, int, float, bool or None, shown as they are; None is shown as a dash.
        caption: one line.
    """
    numeric = [all(isinstance(row[i], int | float) for row in rows) for i in range(len(columns))]
    lines = [_line(columns), _line("---:" if right else "---" for right in numeric), *map(_line, rows)]
    return "\n".join(lines) + f"\n\n: {one_line(caption)}"


def one_line(text: str) -> str:
    """``text`` with every run of white space as one space, as captions need it."""
    return " ".join(text.split())


def _line(cells) -> str:
    return "| " + " | ".join(map(_cell, cells)) + " |"


def _cell(value) -> str:
    if value is None:
        return "–"
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return one_line(text).replace("|", r"\|")
