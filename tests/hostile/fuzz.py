"""Hostile inputs, drawn by hypothesis, the same in each run."""

import copy
import pickle
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

COMMON = {
    "derandomize": True,
    "database": None,
    "deadline": None,  # the guard has one
    "suppress_health_check": list(HealthCheck),
}


def fuzz(cases: int, **strategies: st.SearchStrategy) -> Callable:
    """Run a test, which takes the fixture ``guard``, on so many inputs."""

    def decorate(test: Callable) -> Callable:
        run = settings(max_examples=cases, **COMMON)(given(**strategies)(test))
        run.cases = cases
        return pytest.mark.slow(run)

    return decorate


# Text that means something to a shell, a template, a page, Python, TOML, or a file system.
NASTY = (
    "",
    " ",
    "\n",
    "\r\n",
    "\0",
    "'",
    '"',
    "'''",
    '"""',
    "\\",
    "-",
    "--",
    "-rf",
    "..",
    "../../marker",
    "/etc/passwd",
    "~",
    "$(touch marker)",
    "`touch marker`",
    "; touch marker;",
    "| touch marker",
    "&& touch marker",
    "%s%n",
    "{}",
    "{0}",
    "{{ 7 * 7 }}",
    "{% raw %}",
    "{{ cycler.__init__.__globals__.os.system('touch marker') }}",
    "${x}",
    "$x$",
    "\\input{x}",
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[a](javascript:alert(1))",
    "![](/etc/passwd)",
    '#import "/etc/passwd"',
    '#read("/etc/passwd")',
    "---\ntitle: x\n---",
    "```",
    "<!--",
    "|",
    "__import__('os')",
    "!!python/object/apply:os.system ['touch marker']",
    "1e999",
    "nan",
    "-0",
    "1_000",
    "٣",
    "\ud800",
    "\u202e",
    "\ufeff",
    "𝕏",
    "a" * 300,
    "9" * 5000,
    "[" * 3000,
    "con",
    "NUL",
    ".",
    "=",
    "a=b",
    "true",
    "null",
    "[1, 2]",
    '{"a": 1}',
)
WORDS = st.one_of(
    st.sampled_from(NASTY), st.text(max_size=30), st.lists(st.sampled_from(NASTY), max_size=3).map("".join)
)
NUMBERS = st.one_of(st.integers(), st.floats(), st.sampled_from([0, -1, 2**31, 2**63, 10**400, 1e308]))
SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, WORDS)
JSON = st.recursive(SCALARS, lambda x: st.one_of(st.lists(x, max_size=4), st.dictionaries(WORDS, x, max_size=4)))


@st.composite
def mutated(draw: st.DrawFn, *originals: bytes) -> bytes:
    """A file with bytes changed, taken out, put in twice, or cut off."""
    content = bytearray(draw(st.sampled_from(originals)))
    for _ in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, max(0, len(content) - 1)))
        end = min(len(content), start + draw(st.one_of(st.integers(0, 8), st.integers(0, 500))))
        match draw(st.sampled_from(["flip", "set", "cut", "repeat", "insert", "end"])):
            case "flip" if content:
                content[start] ^= 1 << draw(st.integers(0, 7))
            case "set":
                content[start:end] = draw(st.binary(min_size=end - start, max_size=end - start))
            case "cut":
                del content[start:end]
            case "repeat":
                content[start:start] = content[start:end]
            case "insert":
                content[start:start] = draw(st.sampled_from([b"\0" * 8, b"\xff" * 8, b"\x7f\xff\xff\xff", b"\n", b'"']))
            case "end":
                del content[end:]
    return bytes(content)


@st.composite
def changed_json(draw: st.DrawFn, original: Any) -> Any:
    """JSON data of which some parts are something else, or not there."""
    content = {"": copy.deepcopy(original)}
    places = list(_places(content))
    for holder, key in draw(st.lists(st.sampled_from(places), min_size=1, max_size=3)):
        if draw(st.integers(0, 2)):
            holder[key] = draw(JSON)
        elif isinstance(holder, dict) and key:
            holder.pop(key, None)
    return content[""]


def _places(content: Any) -> Iterator[tuple[Any, Any]]:
    """Where values are: each in a dict or list, by a key."""
    for key, value in content.items() if isinstance(content, dict) else enumerate(content):
        yield content, key
        if isinstance(value, dict | list):
            yield from _places(value)


class Exploit:
    """What runs code, which makes a file, wherever it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self) -> tuple:
        return Path.touch, (self._marker,)


def exploits(marker: Path) -> dict[str, Any]:
    """Ways in which a pickle may run code; each makes the file `marker`."""
    make = f"__import__('pathlib').Path({str(marker)!r}).touch()"
    return {
        "reduce": Exploit(marker),
        "eval": _Call(eval, make),
        "exec": _Call(exec, make),
        "system": _Call(__import__("os").system, f"touch '{marker}'"),
        "in a list": [1, {"state_dict": Exploit(marker)}],
    }


class _Call:
    def __init__(self, function: Callable, argument: str) -> None:
        self._reduced = function, (argument,)

    def __reduce__(self) -> tuple:
        return self._reduced


def chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG file."""
    return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")


def works(content: Any, marker: Path) -> None:
    """Assert that a pickle is an exploit indeed."""
    pickle.loads(pickle.dumps(content))
    assert marker.exists()
    marker.unlink()
