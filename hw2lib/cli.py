"""The command line ``hw2``: data, train, run, report. Each command is a thin call into the library.

Imports stand inside the commands, so that ``hw2 --help`` and a report that is up to date do not wait for torch.
"""

import sys

import click

from hw2lib.errors import UserError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Notebooks, networks and results of the report."""


def main() -> None:
    """Run ``hw2``; an error that a user can mend is one line and exit status 2."""
    try:
        cli()
    except UserError as error:
        sys.exit(_fail(error))


def _fail(error: UserError) -> int:
    click.echo(f"hw2: error: {error}", err=True)
    return 2
