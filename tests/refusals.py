"""What ``hw2`` does with bad input: one line and exit status 2."""


def assert_refused(result: tuple[int, str, str], what: str) -> None:
    """`result` is what the fixture ``hw2`` returns: exit status, standard output, standard error."""
    status, out, err = result
    assert (status, out) == (2, "")
    assert err.startswith("hw2: error: ")
    assert what in err
    assert err.count("\n") == 1
