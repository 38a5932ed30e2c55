"""What makes a notebook out of date, and what does not."""

import json

import pytest

from hw2lib import data, paths
from hw2lib import sources as imports
from hw2lib.errors import UserError
from hw2lib.report import dependencies, parameters, record

LIBRARY = {
    "__init__.py": "",
    "data/__init__.py": "",
    "models/__init__.py": "from hw2lib.networks import dann\n",
    "models/dann.py": "def build():\n    from ..layers import reversal\n",
    "models/gan.py": "",
    "layers/__init__.py": "",
    "layers/reversal.py": "import hw2lib.paths\nfrom . import sibling as other\n",
    "layers/sibling.py": "X = 7 \\\n    % 2\n",
    "paths.py": "",
    "training/__init__.py": "",
    "training/uda.py": 'RECIPES = "adaptation"\n',
    "recipes/dann.toml": "",
    "recipes/gan.toml": "",
    "recipes/adaptation.toml": "",
}
VALUES = {"preset": "smoke", "seed": 0, "device": "auto"}


class Images:
    """Stands for a data source with two domains."""

    def __init__(self):
        self.contents = {"mnistm": "m1", "usps": "u1"}

    def fingerprint(self, domain):
        if domain not in self.contents:
            raise UserError(f"no images of {domain}")
        return self.contents[domain]


@pytest.fixture
def images(monkeypatch):
    found = Images()
    monkeypatch.setattr(data, "source", lambda preset, data_dir: found)
    return found


@pytest.fixture
def library(home, images):
    for name, source in LIBRARY.items():
        file = home / "hw2lib" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(source)
    imports._imports.cache_clear()
    return home / "hw2lib"


def of(name="10_some", **values):
    return dependencies.inputs(name, "smoke", VALUES | values)


def after_change(before, change):
    change()
    return dependencies.changes(before, of())


@pytest.mark.parametrize(
    ("code", "modules"),
    [
        ("import math", []),
        ("import hw2lib.gan.networks as gan", ["__init__", "models/__init__", "models/dann", "models/gan", *"LS"]),
        ("%matplotlib inline\nfrom hw2lib import paths\n!ls\npaths?", ["__init__", "paths"]),
        ("def f():\n    from hw2lib.layers.reversal import X", ["__init__", *"LS"]),
    ],
)
def test_modules_are_followed(library, code, modules):
    layers = ["layers/__init__", "layers/reversal", "layers/sibling", "paths"]
    expected = {name for name in modules if len(name) > 1} | (set(layers) if "L" in modules else set())
    assert {file.relative_to(library).with_suffix("").as_posix() for file in imports.modules(code)} == expected


def test_everything_that_a_notebook_depends_on_and_nothing_else(library, write_notebook):
    write_notebook("10_some", "from hw2lib.training import uda\npair = 'mnistm-svhn'", "dann.train(surface=1)")
    assert set(of()) == {
        "notebooks/10_some.ipynb",
        "parameters",
        "hw2lib/__init__.py",
        "hw2lib/training/__init__.py",
        "hw2lib/training/uda.py",
        "hw2lib/recipes/adaptation.toml",  # quoted by the module
        "hw2lib/recipes/dann.toml",  # named by the notebook
        "data: mnistm",  # svhn is named but is not there
    }


def test_what_changes_is_named(library, images, write_notebook):
    def write(text="usps"):
        write_notebook("10_some", f"from hw2lib.training import uda\npair = '{text}'")

    write()
    before = of()
    assert after_change(before, write) == []  # a new time stamp
    assert after_change(before, lambda: (library / "models/gan.py").write_text("X = 1")) == []
    assert after_change(before, lambda: images.contents.update(mnistm="m2")) == []
    assert after_change(before, lambda: images.contents.update(usps="u2")) == ["data: usps"]
    assert after_change(before, images.contents.clear) == []  # images that are not here cannot have changed
    images.contents["usps"] = "u1"
    assert dependencies.changes(before, of(seed=1)) == ["parameters"]
    assert dependencies.changes(before, of(device="cpu", other=3)) == []  # the same question elsewhere
    (library / "training/uda.py").write_text('RECIPES = "none"')
    assert dependencies.changes(before, of()) == ["hw2lib/recipes/adaptation.toml", "hw2lib/training/uda.py"]
    write("usps, once more")
    assert "notebooks/10_some.ipynb" in dependencies.changes(before, of())


def test_files_of_the_user_count_by_their_content(library, write_notebook, tmp_path):
    (tmp_path / "noise").mkdir()
    (tmp_path / "noise/00.pt").write_text("1")
    (tmp_path / "UNet.pt").write_text("2")
    (tmp_path / "noise/notes.txt").write_text("3")
    named = {"unet": str(tmp_path / "UNet.pt"), "noise_dir": str(tmp_path / "noise"), "truth_dir": ""}
    write_notebook("10_some", parameters="\n".join(f"{name} = ''" for name in ("preset", *named)))
    before = of(**named)
    assert {name for name in before if name.startswith("file: ")} == {"file: unet", "file: noise_dir/00.pt"}
    (tmp_path / "noise/00.pt").write_text("other")
    assert dependencies.changes(before, of(**named)) == ["file: noise_dir/00.pt"]
    assert not [name for name in of(unet="", noise_dir="", truth_dir="") if name.startswith("file: ")]


@pytest.mark.parametrize(
    ("name", "value"),
    [("pairs", ["usps-mnist"]), ("domains", ["usps", "mnist"]), ("source", "mnist"), ("target", "mnist"), ("seed", 0)],
)
def test_a_domain_that_only_the_parameters_name_counts(library, images, write_notebook, name, value):
    images.contents |= {"mnist": "1", "other": "2"}
    write_notebook("10_some", parameters=f"preset = 'smoke'\n{name} = {value!r}")
    found = dependencies.data_fingerprints(dependencies.inputs("10_some", "smoke", {"preset": "smoke", name: value}))
    assert ("mnist" in found) == (name != "seed")
    assert "other" not in found


def test_finished_runs_that_ship_count_for_who_reads_them(library, home, write_notebook, monkeypatch):
    monkeypatch.setattr(paths, "TRAINED", home / "data/trained")
    (library / "training/runs.py").write_text("")
    cards = {name: home / f"data/trained/{name}/ours/pair/card.json" for name in ("dann-wide", "dann-grey")}
    for card in cards.values():
        card.parent.mkdir(parents=True)
        card.write_text("1")

    def found(network="dann-wide", preset="paper"):
        values = {"preset": preset, "network": network}
        return dependencies.inputs("10_some", preset, values)

    parameters = "preset = 'paper'\nnetwork = ''"
    write_notebook("10_some", "from hw2lib.training import runs", parameters=parameters)
    before = found()
    cards["dann-grey"].write_text("2")
    assert dependencies.changes(before, found()) == []
    cards["dann-wide"].with_name("weights.safetensors").write_text("2")
    assert dependencies.changes(before, found()) == []
    cards["dann-wide"].write_text("2")
    assert dependencies.changes(before, found()) == ["data/trained/dann-wide"]
    assert "data/trained/dann-wide" not in found(preset="smoke")  # none of its runs ships
    write_notebook("10_some", "from hw2lib.training import uda", parameters=parameters)
    assert "data/trained/dann-wide" not in found()


def test_runs_count_that_a_module_of_the_notebook_shows_by_default(library, home, write_notebook, monkeypatch):
    monkeypatch.setattr(paths, "TRAINED", home / "data/trained")
    (library / "training/runs.py").write_text("from hw2lib.networks import gan")
    (library / "models/gan.py").write_text('ALL = ["acgan", "dcgan"]')
    (library / "models/dann.py").write_text('SHOWN = {"quick": ["dcgan"]}')
    for name in ("acgan", "dcgan"):
        card = home / f"data/trained/{name}/card.json"
        card.parent.mkdir(parents=True)
        card.write_text("1")
    write_notebook(
        "10_some", "from hw2lib.networks import dann\nfrom hw2lib.training import runs", parameters="preset = 'paper'"
    )
    found = dependencies.inputs("10_some", "paper", {"preset": "paper"})
    assert "data/trained/dcgan" in found
    assert "data/trained/acgan" not in found, "named by a module further off"


def test_results_of_another_notebook_count_where_they_are_declared(library, write_notebook):
    write_notebook("10_some")
    write_notebook("20_after", after=["10_some"])
    before = of("20_after")
    file = record.path("smoke", "10_some")
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"completed": True}))
    assert dependencies.changes(before, of("20_after")) == ["build/smoke/figures/10_some/record.json"]


@pytest.mark.parametrize("file", sorted((paths.ROOT / "notebooks").glob("*.ipynb")), ids=lambda file: file.stem)
def test_the_projects_notebooks_have_inputs(file):
    defaults = {name: parameter.default for name, parameter in parameters.read(file).items()}
    found = dependencies.inputs(file.stem, "smoke", defaults)
    assert f"notebooks/{file.name}" in found
    assert not [name for name in found if name.startswith("file: ")], "no files of a user's by default"


def test_a_notebook_that_is_no_python_is_named(library, write_notebook):
    write_notebook("10_some", "1 +")
    with pytest.raises(UserError, match="10_some: it, or a module that it imports, is not Python"):
        of()
