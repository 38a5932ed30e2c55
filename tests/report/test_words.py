"""What people read is spelt right, in British English, and its links lead somewhere."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import codespell_lib
import nbformat
import pytest

from hw2lib import paths

DOCUMENTS = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "data/README.md", "report.md", "report.md.jinja")
DOCUMENTS += ("supplement.md", "supplement.md.jinja")
THERE = [name for name in DOCUMENTS if (paths.ROOT / name).is_file()]
FENCED = re.compile(r"^ *(```+|~~~+).*?^ *\1", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"(?s)(`+).+?\1|\$\$.+?\$\$|\$[^$]+\$|\{[{%#].*?[}%#]\}|<!--.*?-->|<[^<>]+>|\]\([^)]*\)|\S+://\S+")
TITLES = re.compile(r"^#+ References$(?:\n(?!#).*)*", re.MULTILINE)  # of papers, which are spelt as their authors did
# Words of British English too, in another sense.
BOTH = {"biased", "license", "licensed", "licenses", "licensing"} | {
    "practice",
    "practices",
    "program",
    "stories",
    "story",
}


def without(pattern: re.Pattern, text: str) -> str:
    """Text in which a passage leaves nothing but its line ends, so that lines keep their numbers."""
    return pattern.sub(lambda found: " " + "\n" * found[0].count("\n"), text)


def docstrings(source: str) -> str:
    """The docstrings of a module, each at its line."""
    lines = [""] * (source.count("\n") + 2)
    for node in ast.walk(ast.parse(source)):
        kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        if isinstance(node, kinds) and ast.get_docstring(node):
            first = node.body[0].lineno - 1
            for number, line in enumerate(node.body[0].value.value.splitlines(), start=first):
                lines[number] = line
    return "\n".join(lines)


def markdown(file: Path) -> str:
    if file.suffix != ".ipynb":
        return file.read_text(encoding="utf-8")
    return "\n\n".join(cell.source for cell in nbformat.read(file, 4).cells if cell.cell_type == "markdown")


@pytest.fixture(scope="module")
def british(tmp_path_factory) -> Path:
    """codespell's dictionary of British and American forms the other way round: it finds the American ones."""
    forms = Path(codespell_lib.__file__).with_name("data") / "dictionary_en-GB_to_en-US.txt"
    pairs = [line.split("->") for line in forms.read_text(encoding="utf-8").splitlines()]
    lines = [f"{american}->{word}" for word, found in pairs for american in found.split(",") if american not in BOTH]
    file = tmp_path_factory.mktemp("words") / "british.txt"
    file.write_text("\n".join(lines), encoding="utf-8")
    return file


def misspelt(text: dict[str, str], british: Path, folder: Path) -> list[str]:
    """What codespell says about the prose of these files."""
    for name, words in text.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(without(CODE, without(TITLES, without(FENCED, words))), encoding="utf-8")
    command = [sys.executable, "-m", "codespell_lib", "--builtin", "clear,rare", "--dictionary", "-"]
    done = subprocess.run([*command, "--dictionary", british], cwd=folder, capture_output=True, text=True)
    assert not done.stderr
    return done.stdout.splitlines()


def test_words_are_spelt_right_and_british(british, tmp_path):
    notebooks = {file: markdown(file) for file in paths.NOTEBOOKS.glob("*.ipynb")}
    modules = {file: docstrings(file.read_text(encoding="utf-8")) for file in (paths.ROOT / "hw2lib").rglob("*.py")}
    text = {str(file.relative_to(paths.ROOT)): words for file, words in (notebooks | modules).items()}
    assert misspelt(text | {name: markdown(paths.ROOT / name) for name in THERE}, british, tmp_path) == []


def test_a_wrong_word_is_found_where_it_stands_and_code_is_left_alone(british, tmp_path):
    text = "A colour.\n```\ncolor\n```\nThe color `color` of $color$ [here](color.md),\nand teh normalization."
    found = misspelt({"a/b.md": text, "m.py": docstrings('x = 1\n\n\ndef f():\n    """Gray."""\n')}, british, tmp_path)
    assert sorted(found) == [
        "./a/b.md:5: color ==> colour",
        "./a/b.md:6: normalization ==> normalisation",
        "./a/b.md:6: teh ==> the",
        "./m.py:5: Gray ==> Grey",
    ]


def anchors(text: str) -> set[str]:
    """The anchors that GitHub gives a document, and those that it has itself."""
    text = without(re.compile("<!--.*?-->", re.DOTALL), without(FENCED, text))
    found, count = set(re.findall(r'<\w+ [^>]*?\bid="([^"]+)"', text)), {}
    for heading in re.findall(r"^#+ +(.*?)(?: +#+)?$", text, re.MULTILINE):
        heading = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)
        name = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        found.add(f"{name}-{count[name]}" if name in count else name)
        count[name] = count.get(name, 0) + 1
    return found


def dead_links(file: Path) -> list[str]:
    """The links of a document to other files of the project, and into these and itself, that lead nowhere."""
    text, dead = re.sub(r"(`+).+?\1", "", without(FENCED, markdown(file))), []
    text = re.sub("<!--.*?-->", "", text, flags=re.DOTALL)
    for link in [*re.findall(r"\]\(<?([^)>\s]+)>?\)", text), *re.findall(r'(?:href|src)="([^"]+)"', text)]:
        path, _, anchor = link.partition("#")
        target = file.parent / path if path else file
        if not re.match(r"\w+:", link) and not (
            target.exists() and (not anchor or target.suffix == ".ipynb" or anchor in anchors(markdown(target)))
        ):
            dead.append(link)
    return dead


@pytest.mark.parametrize("name", [name for name in THERE if name.endswith(".md")])
def test_links_lead_somewhere(name):
    assert dead_links(paths.ROOT / name) == []


def test_a_dead_link_is_found(tmp_path):
    (tmp_path / "other.md").write_text("# Other\n\n# `code`, and *more*: why?\n\n# Other\n")
    (tmp_path / "a.md").write_text(
        '<a id="x"></a>\n\n# T\n\n`[no](#link)` [a](#x) [b](#t) [c](other.md#other-1) [d](other.md#code-and-more-why) '
        '[e](https://example.org#f) [g](#y) [h](none.md) [i](other.md#none) <img src="none.png">\n'
    )
    assert dead_links(tmp_path / "a.md") == ["#y", "none.md", "other.md#none", "none.png"]
