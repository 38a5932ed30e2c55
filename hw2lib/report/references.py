"""What the report cites: ``references.toml``, numbered in the order in which a document cites it.

The reports of students, S0 to S4, keep their names and are listed first.
"""

import functools
import tomllib

from hw2lib import paths
from hw2lib.errors import UserError


class References:
    """The citations of one document; `draft` holds those of an earlier filling, further below ones included."""

    def __init__(self, draft: "References | None" = None) -> None:
        self._known = _read(paths.ROOT / "references.toml")
        self._labels: dict[str, str] = dict(draft._labels) if draft else {}  # by key, in the order of citation

    def cite(self, *keys: str) -> str:
        """``[[7](#ref-7)]`` for a paper, ``[S2](#ref-S2)`` for a student's report; several keys are one bracket."""
        links = []
        for key in keys:
            if key not in self._known:
                raise UserError(f"references.toml has no {key}")
            numbered = sum("edition" not in self._known[cited] for cited in self._labels)
            label = self._labels.setdefault(key, key if "edition" in self._known[key] else str(numbered + 1))
            links.append(f"[{label}](#ref-{label})")
        plain = all("edition" in self._known[key] for key in keys)
        return ", ".join(links) if plain else f"[{', '.join(links)}]"

    def references(self) -> str:
        """The list of all that is cited, a paragraph each."""
        reports = sorted(key for key in self._labels if "edition" in self._known[key])
        papers = [key for key in self._labels if "edition" not in self._known[key]]
        return "\n\n".join(
            f'<span id="ref-{label}">[{label}]</span> {_describe(self._known[key])}'
            for key, label in ((key, self._labels[key]) for key in reports + papers)
        )


@functools.cache
def _read(file) -> dict[str, dict]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{file}: {error}") from None


def _describe(source: dict) -> str:
    if "edition" in source:
        return f"A student's report on the homework of {source['edition']}: {source['built']}."
    if lacking := {"authors", "title", "venue", "year"}.difference(source):
        raise UserError(f"references.toml: the entry {source} has no {min(lacking)}")
    address = f" <{source['url']}>" if "url" in source else ""
    return f"{source['authors']}. {source['title']}. *{source['venue']}*, {source['year']}.{address}"
