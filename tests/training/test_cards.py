"""What the cards of runs say, in words and in tables."""

from types import SimpleNamespace

import pytest

from hw2lib.training import cards


def run(seed: int = 0, network: str = "dcgan", **more) -> SimpleNamespace:
    settings = {"network": network, "recipe": "ours", "steps": 8000, "batch": 64, "seed": seed} | more
    card = {
        "settings": settings, "images": "real images: Faces", "hardware": {"gpu": None, "cpu": "some CPU"},
        "precision": "bf16-mixed", "seconds": 3629.0, "commit": "0123456789abcdef", "dirty": True,
    }  # fmt: skip
    return SimpleNamespace(settings=settings, card=card)


def test_provenance_names_images_lengths_seeds_and_machines():
    assert cards.provenance([]) == "No run is finished"
    one, other, third = run(0), run(3), run(0, "sagan")
    third.card |= {"hardware": {"gpu": "some GPU", "cpu": "some CPU"}, "precision": "32-true"}
    assert cards.provenance([one, other, third]) == (
        "weights of our own training on real images: Faces: dcgan, recipe ours, 8,000 steps of 64, seed 0, 3; sagan, "
        "recipe ours, 8,000 steps of 64, seed 0; on some CPU, bf16-mixed and some GPU, 32-true"
    )


@pytest.mark.parametrize(("seconds", "text"), [(2.9, "< 0.1"), (11, "0.2"), (599, "10.0"), (600, "10"), (5437.1, "91")])
def test_minutes(seconds, text):
    assert cards.minutes(seconds) == text


def test_a_table_of_trainings():
    table = cards.training_table([run(critic_steps=5), run(1)], lambda settings: {"loss": f"loss {settings['seed']}"})
    assert table.to_dict("records")[0] == {
        "network": "dcgan", "recipe": "ours", "seed": 0, "loss": "loss 0", "steps": 8000, "batch": 64,
        "images seen": "2,560,000", "minutes": "60", "on": "some CPU", "commit": "0123456+",
    }  # fmt: skip
    assert list(table["images seen"]) == ["2,560,000", "512,000"]
    assert cards.training_table([], lambda settings: {}).empty


@pytest.mark.parametrize(
    ("values", "options", "text"),
    [
        ([72.44], {}, "72.4"),
        ([72, 73], {}, "72.5 ± 0.7"),
        ([72, None, float("nan")], {"expected": 3}, "72.0 (1 of 3 seeds)"),
        ([0.1234], {"digits": 2}, "0.12"),
        ([None], {}, cards.MISSING),
    ],
)
def test_spread(values, options, text):
    assert cards.spread(values, **options) == text
