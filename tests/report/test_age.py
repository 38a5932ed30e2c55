"""What makes a record out of date, and what does not."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from hw2lib import data, networks, paths, used
from hw2lib.errors import UserError
from hw2lib.report import age, parameters
from hw2lib.training.recipe import digest_of

VALUES = {"preset": "smoke", "seed": 0, "device": "auto"}


@pytest.fixture(autouse=True)
def _nothing_used():
    used.forget()
    yield
    used.forget()


def record_of(inputs: dict[str, str]) -> dict:
    return {"inputs": inputs}


def test_code_and_parameters_count_but_not_comments_text_and_places(write_notebook):
    write_notebook("10_some", "x = 1  # one", "print( x )")
    record = record_of(age.notebook_inputs("10_some", VALUES))

    def changed(**values) -> list[str]:
        return age.age(record, "10_some", VALUES | values).changed

    write_notebook("10_some", "# another\nx = 1", "print(x)")
    assert changed() == []
    assert changed(device="cpu", other=3) == []  # the same question elsewhere
    assert changed(seed=1) == ["parameters"]
    write_notebook("10_some", "x = 2", "print(x)")
    assert changed() == ["cells"]
    write_notebook("10_some", "%matplotlib inline\nx = 2")
    assert changed() == ["cells"]


def test_an_explorer_behind_the_page_does_not_count(write_notebook):
    file = write_notebook("10_some", "x = 1", "explore(x)")
    before = age.notebook_inputs("10_some", VALUES)
    notebook = json.loads(file.read_text())
    notebook["cells"][2]["metadata"]["tags"] = ["explorer"]
    file.write_text(json.dumps(notebook))
    tagged = age.notebook_inputs("10_some", VALUES)
    assert tagged != before
    notebook["cells"].pop()
    file.write_text(json.dumps(notebook))
    assert age.notebook_inputs("10_some", VALUES) == tagged


def test_a_module_counts_without_comments_docstrings_and_layout(home, write_notebook):
    write_notebook("10_some")
    file = home / "hw2lib" / "some.py"
    file.parent.mkdir()

    def changed(source: str) -> list[str]:
        file.write_text(source)
        return age.age(record, "10_some", VALUES).changed

    source = 'def f(x):\n    """Add."""\n    return x + 1\n'
    record = record_of({"module: hw2lib/some.py": used.digest(source)})
    assert changed(source) == []
    assert changed('"""A module."""\n\n\ndef f( x ):  # adds\n    return x + 1\n') == []
    assert changed(source.replace("1", "2")) == ["module: hw2lib/some.py"]
    file.unlink()
    assert age.age(record, "10_some", VALUES).changed == ["module: hw2lib/some.py"]


def test_files_that_ship_count_and_those_of_a_build_are_unknown_once_they_are_gone(home, write_notebook):
    write_notebook("10_some")
    names = ["data/trained/card.json", "build/paper/runs/card.json"]
    for name in names:
        (home / name).parent.mkdir(parents=True)
        (home / name).write_text("1")
        used.note_file(home / name)
    outside = home.parent / "UNet.pt"
    outside.write_text("1")
    used.note_file(outside)
    record = record_of(used.notes())
    assert list(record["inputs"]) == [f"file: {name}" for name in (*names, outside)]
    assert age.age(record, "10_some", VALUES) == age.Age()

    (home / names[1]).write_text("22")
    assert age.age(record, "10_some", VALUES).changed == [f"file: {names[1]}"]
    for file in (home / names[0], home / names[1], outside):
        file.unlink()
    gone = age.age(record, "10_some", VALUES)
    assert gone.changed == [f"file: {names[0]}"]
    assert gone.unknown == [f"file: {names[1]}", f"file: {outside}"]


def test_recipes_count_by_their_values(write_notebook):
    write_notebook("10_some")
    recipe = networks.recipe_class("dcgan").choose("dcgan", "ours", 0, "paper")
    (name,) = used.notes()
    record = record_of(used.notes())
    assert record["inputs"] == {name: digest_of(recipe)}
    assert age.age(record, "10_some", VALUES) == age.Age()
    other = digest_of(recipe.model_copy(update={"steps": 1}))
    assert age.age(record_of({name: other}), "10_some", VALUES).changed == [name]
    unknown = name.replace('"ours"', '"theirs"')
    assert age.age(record_of({unknown: other}), "10_some", VALUES).changed == [unknown]


def test_images_count_where_they_are_at_hand(write_notebook, monkeypatch):
    class Images:
        def digest(self, domain: str, split: str) -> str:
            if (domain, split) != ("usps", "test"):
                raise UserError("no such split")
            return "1"

    write_notebook("10_some")
    monkeypatch.setattr(data, "source", lambda preset, data_dir: Images())
    record = record_of({"images: usps test": "1", "images: svhn test": "1"})
    found = age.age(record, "10_some", VALUES)
    assert (found.changed, found.unknown) == ([], ["images: svhn test"])
    assert age.age(record_of({"images: usps test": "2"}), "10_some", VALUES).changed == ["images: usps test"]

    def none(preset: str, data_dir: str):
        raise UserError("no images")

    monkeypatch.setattr(data, "source", none)
    assert age.age(record_of({"images: usps test": "2"}), "10_some", VALUES).unknown == ["images: usps test"]


def test_stand_ins_count(write_notebook):
    write_notebook("10_some")
    data.source("quick").load("usps", "test")
    record = record_of(used.notes())
    assert age.domains(record["inputs"]) == ["usps"]
    assert age.age(record, "10_some", VALUES) == age.Age()
    assert age.age(record_of({"stand-ins: usps": "old"}), "10_some", VALUES).changed == ["stand-ins: usps"]


def test_what_follows_from_the_library_alone_is_found_once(home, write_notebook, monkeypatch):
    write_notebook("10_some")
    file = home / "hw2lib" / "some.py"
    file.parent.mkdir()
    file.write_text("x = 1\n")
    networks.recipe_class("dcgan").choose("dcgan", "ours", 0, "paper")
    data.source("quick").fingerprint("usps")
    record = record_of({"module: hw2lib/some.py": used.digest("x = 1\n"), **used.notes()})
    assert [name.partition(": ")[0] for name in record["inputs"]] == ["module", "recipe", "stand-ins"]
    assert age.age(record, "10_some", VALUES) == age.Age()

    def look(*args):
        looked.append(args[0])
        return find(*args)

    looked, find = [], age._current
    monkeypatch.setattr(age, "_current", look)
    assert age.age(record, "10_some", VALUES) == age.Age()
    assert looked == [], "torch is not needed"
    file.write_text("x = 22\n")
    assert age.age(record, "10_some", VALUES).changed == ["module: hw2lib/some.py"]
    assert looked == ["module", "recipe", "stand-ins"]
    (home / "build/cache/inputs.json").write_text("[]")
    assert age.age(record, "10_some", VALUES).changed == ["module: hw2lib/some.py"]
    assert len(looked) == 6


IMPORTS = """
import json, sys
for file in sys.argv[1:]:
    for name in [name for name in sys.modules if name.partition(".")[0] == "hw2lib"]:
        del sys.modules[name]  # other libraries stay, which take seconds to load
    for cell in json.load(open(file))["cells"]:
        lines = "".join(cell["source"]).splitlines()
        exec("\\n".join(line for line in lines if line.startswith(("from hw2lib", "import hw2lib"))))
    print(*sorted({name.split(".")[1] for name in sys.modules if name.startswith("hw2lib.")}))
"""
FAMILIES = {
    "0": [],
    "1": ["gan"],
    "2": ["gan"],
    "3": ["diffusion"],
    "4": ["diffusion"],
    "5": ["adaptation"],
    "6": ["gan", "diffusion"],
}


def test_a_notebook_loads_its_own_family_alone():
    files = sorted((paths.ROOT / "notebooks").glob("[0-6]*.ipynb"))
    done = subprocess.run([sys.executable, "-c", IMPORTS, *map(str, files)], capture_output=True, text=True, check=True)
    for file, line in zip(files, done.stdout.splitlines(), strict=True):
        own = set(FAMILIES[file.stem[0]])
        if file.stem == "12_gan_scores":  # beside the faces of a denoiser
            own.add("diffusion")
        assert {"gan", "diffusion", "adaptation"}.intersection(line.split()) <= own, file.stem


@pytest.mark.parametrize("file", sorted((paths.ROOT / "notebooks").glob("*.ipynb")), ids=lambda file: file.stem)
def test_the_projects_notebooks_have_inputs(file: Path):
    defaults = {name: parameter.default for name, parameter in parameters.read(file).items()}
    assert set(age.notebook_inputs(file.stem, defaults)) == {"cells", "parameters"}
