"""Recipes: layers in order, every combination that ships, errors that name the file, the key and what is allowed."""

import itertools
import tomllib

import pytest

from hw2lib import networks, paths, recipes
from hw2lib.adaptation.recipe import DANNRecipe as Recipe
from hw2lib.data import DIGIT_DOMAINS
from hw2lib.errors import UserError
from hw2lib.runs import recipes_for

METHODS = ("source-only", "dann", "target-only")
PAIRS = {
    "as-reported": list(itertools.permutations(DIGIT_DOMAINS, 2)),
    "ours": [*itertools.permutations(DIGIT_DOMAINS, 2), ("usps", "mine")],
}


@pytest.mark.parametrize("recipe", ["as-reported", "ours"])
def test_every_combination_resolves(recipe):
    for network, pair, method, preset in itertools.product(
        networks.names("dann"), PAIRS[recipe], ("source-only", "dann", "target-only"), paths.PRESETS
    ):
        found = Recipe.choose(network, recipe, *pair, method, 1, preset)
        assert (found.network, found.recipe, found.source, found.target) == (network, recipe, *pair)
        assert (found.method, found.seed) == (method, 1)
        assert (preset == "smoke") == (found.steps < 10)


def test_every_layer_of_the_file_names_something_that_there_is():
    """A misspelt network or pair would be a layer that is never laid."""
    known = {
        "network": set(networks.names("dann")),
        "pair": {f"{source}-{target}" for source, target in PAIRS["as-reported"]},
        "method": set(METHODS),
        "preset": set(paths.PRESETS),
    }
    for table in tomllib.loads((recipes.FOLDER / "dann.toml").read_text()).values():
        for layer, names in known.items():
            assert set(table.get(layer, {})) <= names


def test_what_the_source_reports_state():
    stated = {"dann-wide": (64, 1e-4), "dann-deep": (1024, 3e-4), "dann-compact": (128, 1e-3), "dann-grey": (64, 1e-3)}
    for network, expected in stated.items():
        found = Recipe.choose(network, "as-reported", "mnistm", "svhn", "dann", 0, "paper")
        assert (found.batch, found.learning_rate) == expected
        assert found.optimiser == "adam"
        assert found.augment_source == found.augment_target == type(found.augment_source)()


GOOD = """
[mine]
normalisation = "range"
optimiser = "adam"
learning_rate = 1e-3
weight_decay = 0.0
batch = 8
steps = 10
warmup_steps = 0
schedule = "constant"
ema_decay = 0.0
domain_weight = 1.0
reversal_max = 1.0
evaluations = 2
"""
CHOICE = {
    "network": "dann-compact", "pair": "mnistm-usps", "source": "mnistm", "target": "usps", "method": "dann",
    "preset": "quick", "seed": 0,
}  # fmt: skip


@pytest.fixture
def resolve(tmp_path):
    """Resolves [mine] of a file of this text."""

    def resolve(text: str, recipe: str = "mine", **override) -> Recipe:
        (tmp_path / "dann.toml").write_text(text)
        return recipes.resolve(Recipe, "dann", recipe, override, {"preset": paths.PRESETS}, tmp_path, **CHOICE)

    return resolve


CHOSEN = {"pair": "mnistm-usps", "network": "dann-compact", "method": "dann", "preset": "quick"}


@pytest.mark.parametrize("layer", CHOSEN)
def test_a_table_of_what_is_chosen_replaces_plain_keys(resolve, layer):
    text = GOOD + f"[mine.{layer}.{CHOSEN[layer]}]\nsteps = 11\n"
    assert resolve(text).steps == 11
    assert resolve(text, steps=99).steps == 99
    assert resolve(GOOD + f"[mine.{layer}.{'smoke' if layer == 'preset' else 'another'}]\nsteps = 11\n").steps == 10


def test_tables_of_two_layers_must_not_disagree_unless_one_for_both_says_which(resolve):
    pair, network = "[mine.pair.mnistm-usps]\nsteps = 11\n", "[mine.network.dann-compact]\nsteps = 12\n"
    for text in (pair + network, network + pair):
        refused(
            resolve,
            r"dann.toml: steps is 11 in \[mine.pair.mnistm-usps\] and 12 in \[mine.network.dann-compact\]; "
            r"say which in \[mine.network.dann-compact.pair.mnistm-usps\]",
            GOOD + text,
        )
    both = "[mine.network.dann-compact.pair.mnistm-usps]\nsteps = 13\n"
    assert resolve(GOOD + pair + network + both).steps == 13
    assert resolve(GOOD + pair + network.replace("12", "11")).steps == 11, "they agree"
    of_method = "[mine.method.dann.pair.mnistm-usps]\nsteps = 14\n"
    refused(
        resolve, r"say which in \[mine.method.dann.network.dann-compact.pair.mnistm-usps\]", GOOD + both + of_method
    )
    others = "[mine.network.dann-compact.pair.mnistm-svhn]\nsteps = 15\n[mine.network.dann-wide]\nsteps = 16\n"
    assert resolve(GOOD + pair + others).steps == 11


def test_an_augmentation_by_name(resolve, tmp_path):
    (tmp_path / "augmentations.toml").write_text(
        '[loud]\nnoise = 0.5\njitter = 0.4\n[mild]\nextends = "loud"\nnoise = 0.1'
    )
    found = resolve(GOOD + 'augment_source = "mild"').augment_source
    assert (found.noise, found.jitter) == (0.1, 0.4)
    assert resolve(GOOD, augment_source="loud").augment_source.noise == 0.5
    message = r"dann.toml, \[mine\]: augment_source = 'lowd': augmentations.toml has loud, mild"
    refused(resolve, message, GOOD + 'augment_source = "lowd"')


def test_a_recipe_extends_another(resolve):
    text = GOOD + "[mine.preset.quick]\nsteps = 3\n[mine.method.dann]\nbatch = 9\n"
    text += '[yours]\nextends = "mine"\nsteps = 20\nbatch = 5\nevaluations = 4\n'
    found = resolve(text, recipe="yours")
    assert (found.recipe, found.evaluations, found.optimiser) == ("yours", 4, "adam")
    assert found.steps == 3, "the preset's steps go above the recipe's own"
    assert found.batch == 5, "its own keys go above all of the other but the presets"
    assert resolve(text + "[yours.preset.quick]\nsteps = 4\n", recipe="yours").steps == 4


@pytest.mark.parametrize("base", ["theirs", "yours"])
def test_what_cannot_be_extended(resolve, base):
    with pytest.raises(UserError, match=rf"dann.toml, \[yours\]: extends = '{base}': choose one of mine"):
        resolve(GOOD + f'[yours]\nextends = "{base}"\n', recipe="yours")


@pytest.mark.parametrize(
    ("added", "message"),
    [
        ("[mine.preset.qick]\nsteps = 1", "unknown preset 'qick'; choose one of smoke, quick, paper"),
        ("[mine.network.another]\nstep = 1", "unknown key 'network.another.step'; allowed are .*steps"),
        ("[mine.network.another.pair.this-that]\nstep = 1", "unknown key 'pair.this-that.step'; allowed are .*steps"),
        ("[mine.pair.this-that.network.another]\nsteps = 1", "unknown key 'pair.this-that.network'"),
        ("[mine.method]\ndann = 3", r"method\.dann must be a table, not 3"),
        ("pair = 3", "pair must be a table, not 3"),
    ],
)
def test_a_misspelt_layer_is_found_whatever_is_chosen(resolve, added, message):
    with pytest.raises(UserError, match=message):
        resolve(GOOD + added)


def replaced(key: str, value: str) -> str:
    lines = GOOD.splitlines()
    assert sum(line.startswith(f"{key} =") for line in lines) == 1
    return "\n".join(f"{key} = {value}" if line.startswith(f"{key} =") else line for line in lines)


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("steps", "0", "greater than 0"),
        ("steps", "-5", "greater than 0"),
        ("steps", "2.5", "valid integer"),
        ("steps", '"1200"', "valid integer"),
        ("steps", "true", "valid integer"),
        ("batch", "0", "greater than 1"),
        ("batch", "-1", "greater than 1"),
        ("batch", "1", "greater than 1"),
        ("learning_rate", "0", "greater than 0"),
        ("learning_rate", "-1e-3", "greater than 0"),
        ("learning_rate", "nan", "finite number"),
        ("learning_rate", "inf", "finite number"),
        ("ema_decay", "1.0", "less than 1"),
        ("evaluations", "0", "greater than 0"),
        ("warmup_steps", "-1", "greater than or equal to 0"),
        ("optimiser", '"sgd"', "'adam' or 'adamw'"),
        ("schedule", '"step"', "'constant' or 'cosine'"),
        ("normalisation", '"batch"', "'range' or 'instance'"),
    ],
)
def test_a_value_out_of_range_or_of_a_wrong_type(resolve, key, value, allowed):
    with pytest.raises(UserError) as error:
        resolve(replaced(key, value))
    message = str(error.value)
    assert message.startswith(f"dann.toml, [mine] of mnistm-usps, dann-compact, dann, quick: {key} = ")
    assert allowed in message
    assert "\n" not in message


def refused(resolve, what: str, *arguments, **override) -> None:
    with pytest.raises(UserError, match=what) as error:
        resolve(*arguments, **override)
    assert "\n" not in str(error.value)


def test_an_unknown_key_is_named_with_those_there_are(resolve):
    refused(
        resolve, r"dann.toml, \[mine\].*unknown key 'stepz'; allowed are recipe, network.*steps", GOOD + "stepz = 3"
    )
    refused(resolve, "unknown key 'networks'", GOOD + "[mine.networks.dann-compact]\nsteps = 3")
    refused(resolve, "unknown key 'stepz'; allowed are .*steps", GOOD, stepz=3)


def test_an_unknown_key_of_an_augmentation_is_named_with_those_of_it(resolve):
    nested = GOOD + "[mine.augment_source]\naffine = {{ {} }}\n{}"
    refused(
        resolve, "unknown key 'augment_source.nois'; allowed are affine, backgrounds", nested.format("", "nois = 1")
    )
    refused(
        resolve, "unknown key 'augment_source.affine.turn'; allowed are rotate, scale", nested.format("turn = 3", "")
    )
    refused(
        resolve, "augment_source.affine.rotate = 200: .*less than or equal to 180", nested.format("rotate = 200", "")
    )
    refused(
        resolve, r"augment_source.affine.scale = \[2, 1\]: .*the smaller first", nested.format("scale = [2, 1]", "")
    )


def test_a_missing_key_is_named(resolve):
    text = "\n".join(line for line in GOOD.splitlines() if not line.startswith("batch"))
    refused(resolve, r"dann.toml, \[mine\].*: the key 'batch' is missing", text)


def test_an_unknown_recipe_is_refused_with_those_there_are(resolve):
    refused(resolve, "unknown recipe 'theirs': dann.toml has mine", GOOD, "theirs")
    with pytest.raises(UserError, match=r"unknown recipe 'x': dann\.toml has as-reported, .*, ours, shaped"):
        Recipe.choose("dann-compact", "x", "mnistm", "usps", "dann", 0, "quick")


def test_a_file_that_is_no_toml_or_not_there(resolve, tmp_path):
    refused(resolve, "dann.toml: not valid TOML.*line 2", "steps = 1\n= 2")
    with pytest.raises(UserError, match=r"no recipe file 'gan\.toml': there are dann"):
        recipes.resolve(Recipe, "gan", "ours", folder=tmp_path)


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"network": "dann"}, "network = 'dann': Input should be 'dann-wide', 'dann-deep'"),
        ({"source": "face"}, "'face' has no digits: choose two domains of digits"),
        ({"target": "mnistm"}, "both 'mnistm'"),
        ({"method": "gan"}, "method = 'gan': .*'source-only', 'dann' or 'target-only'"),
        ({"preset": "fast"}, "unknown preset 'fast'; there are smoke, quick, paper"),
        ({"seed": -1}, "seed = -1"),
        ({"seed": 2**40}, "seed = 1099511627776"),
        ({"override": {"seed": 3}}, "'seed' is not a key of the recipe's file"),
        ({"override": {"preset": "quick"}}, "unknown key 'preset'"),
    ],
)
def test_a_choice_that_there_is_not(changed, what):
    choice = {key: value for key, value in CHOICE.items() if key != "pair"} | {"recipe": "as-reported"}
    Recipe.choose(**choice)
    with pytest.raises(UserError, match=what) as error:
        Recipe.choose(**(choice | changed))
    assert "\n" not in str(error.value)


def test_settings_of_the_command_line():
    (found,) = recipes_for(
        ["dann-compact"], ["ours"], [0], "paper", ["mnistm-usps"], ["dann"],
        ["steps=7", "optimiser=adam", "learning_rate=1e-2", 'augment_source={"noise": 0.5}'],
    )  # fmt: skip
    assert (found.steps, found.optimiser, found.learning_rate, found.augment_source.noise) == (7, "adam", 0.01, 0.5)
    for bad, what in (("steps", "KEY=VALUE"), ("stepz=3", "unknown key 'stepz'"), ("steps=", "steps = ''")):
        with pytest.raises(UserError, match=what):
            recipes_for(["dann-compact"], ["ours"], [0], "paper", ["mnistm-usps"], ["dann"], [bad])


@pytest.mark.parametrize("pair", ["mnistm", "mnistm-", "-usps", ""])
def test_a_pair_is_source_and_target(pair):
    with pytest.raises(UserError, match="a pair is SOURCE-TARGET, such as mnistm-svhn"):
        recipes_for(["dann-compact"], ["ours"], [0], "paper", [pair], ["dann"])


def test_what_is_asked_for_twice_is_trained_once():
    found = recipes_for(["dann-compact"] * 2, ["ours"], [0, 1, 0], "paper", ["mnistm-usps"], ["dann"])
    assert [recipe.seed for recipe in found] == [0, 1]


def test_the_learning_rate_warms_up_and_falls():
    found = Recipe.choose("dann-compact", "ours", "mnistm", "svhn", "dann", 0, "paper")
    peak, warm, steps = found.learning_rate, found.warmup_steps, found.steps
    assert found.learning_rate_at(0) == pytest.approx(peak / warm)
    assert found.learning_rate_at(warm - 1) == pytest.approx(peak, rel=0.01)
    assert found.learning_rate_at(steps // 2) == pytest.approx(peak / 2)
    assert 0 < found.learning_rate_at(steps - 1) < 1e-5 * peak
    constant = Recipe.choose("dann-compact", "as-reported", "mnistm", "svhn", "dann", 0, "paper")
    assert {constant.learning_rate_at(step) for step in range(constant.steps)} == {constant.learning_rate}
