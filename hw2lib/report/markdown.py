"""Markdown that GitHub, JupyterLab and pandoc all understand."""

import re

# A number, also one as text such as "41,040" or "72.1 ± 13.9", or nothing in the place of one; as in templates/fix.lua.
NUMBER = re.compile(r"[^A-Za-z/]*\d[^A-Za-z/]*|[–—X-]?")


def pipe_table(columns: list[str], rows: list[list], caption: str = "") -> str:
    """A pipe table and its caption, if any, which pandoc takes for one; columns of numbers are aligned to the right.

    Cells of `rows` are str, int, float, bool or None, which is shown as a dash.
    """
    shown = [[_cell(cell) for cell in row] for row in rows]
    dashes = ["---:" if all(NUMBER.fullmatch(row[i]) for row in shown) else "---" for i in range(len(columns))]
    lines = [_line(map(_cell, columns)), _line(dashes), *map(_line, shown)]
    return "\n".join(lines) + (f"\n\nTable: {plain(one_line(caption))}" if caption else "")


def plain(text: str) -> str:
    """``text``, which may be of others, such as a file's name, without what begins a tag, a link or an image.

    JupyterLab runs the scripts of what a trusted notebook shows, and many brackets cost pandoc minutes.
    """
    return re.sub(r"<(?=[A-Za-z/!?])", "&lt;", text).replace("[", "&#91;")


def one_line(text: str) -> str:
    """``text`` with every run of white space as one space, as captions need it."""
    return " ".join(text.split())


def _line(cells) -> str:
    return "| " + " | ".join(cells) + " |"


def _cell(value) -> str:
    if value is None:
        return "–"
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return plain(one_line(text)).replace("|", r"\|")
