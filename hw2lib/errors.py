"""The one kind of error that a user is meant to read."""

import re

NO_MEMORY = re.compile(
    r"MemoryError|out of memory|bad_alloc|an't allocate memory|annot allocate memory|failed to map segment"
    r"|unable to mmap|an't start new thread",
)  # what Python, numpy, torch and the loader of libraries say, each in its way


class UserError(Exception):
    """Bad input. The message is one line: what is wrong, where, and what to do.

    The command line prints it after ``hw2: error:`` and exits with status 2; a notebook shows it as the last line.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.splitlines()))  # what it quotes may have several


def in_words_of_memory(error: str) -> str:
    """What to tell of an error, as ``TYPE: MESSAGE``, that says that the memory is not enough; "" for any other."""
    if not NO_MEMORY.search(error):
        return ""
    return f"the memory is not enough ({error.splitlines()[0][:160]}); end other programs or take less at a time"
