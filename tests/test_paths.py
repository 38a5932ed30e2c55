"""Where things are, and which presets there are."""

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
