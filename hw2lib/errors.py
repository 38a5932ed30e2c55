"""The one kind of error that a user is meant to read."""


class UserError(Exception):
    """Bad input. The message is one line: what is wrong, where, and what to do.

    The command line prints it after ``hw2: error:`` and exits with status 2; a notebook shows it as the last line.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.splitlines()))  # what it quotes may have several
