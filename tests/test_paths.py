"""Where things are, and which presets there are."""

import os

import pytest

from hw2lib import paths
from hw2lib.errors import UserError


@pytest.mark.parametrize("name", ["smoke", "quick", "paper"])
def test_a_preset_is_accepted(name):
    paths.check_preset(name)


@pytest.mark.parametrize("name", ["huge", "Paper", "", None])
def test_what_is_no_preset_is_named_with_those_that_there_are(name):
    with pytest.raises(UserError, match=f"^unknown preset {name!r}; there are smoke, quick, paper$"):
        paths.check_preset(name)


def test_folders_of_the_environment_become_absolute_as_seen_from_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setenv("HW2_BUILD", "../a build")
    monkeypatch.setenv("HW2_DATA", "~/images")
    paths.make_environment_absolute()
    assert os.environ["HW2_BUILD"] == str(tmp_path.parent / "a build")
    assert os.environ["HW2_DATA"] == "/home/somebody/images"
    monkeypatch.setenv("HW2_DATA", "")
    paths.make_environment_absolute()
    assert os.environ["HW2_DATA"] == ""  # as good as unset
