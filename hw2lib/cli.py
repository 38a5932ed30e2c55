"""The command line ``hw2``: data, train, run, report. Each command is a thin call into the library.

Imports stand inside the commands, so that ``hw2 --help`` and a report that is up to date do not wait for torch.
"""

import sys

import click

from hw2lib.errors import UserError
from hw2lib.paths import build_dir


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Notebooks, networks and results of the report."""


@cli.group()
def data() -> None:
    """Real images: what is where, and downloads."""


_data_dir = click.option(
    "--data-dir",
    envvar="HW2_DATA",
    default=lambda: str(build_dir() / "images"),
    show_default="$HW2_DATA, else build/images",
    help="The folder of images.",
)


@data.command()
@_data_dir
def status(data_dir: str) -> None:
    """Show which images are there, how many, and whether they are verified."""
    from hw2lib.data.status import statuses, table

    found = list(statuses(data_dir))
    click.echo(f"images in {data_dir}\n{table(found)}")
    if any(domain.error for domain in found):
        sys.exit(2)


@data.command()
@click.argument("domains", nargs=-1, required=True)
@_data_dir
def fetch(domains: tuple[str, ...], data_dir: str) -> None:
    """Download DOMAINS (mnistm svhn usps) and lay them out as the homework does; interrupted, it continues."""
    from hw2lib.data.fetch import fetch

    for domain in domains:
        click.echo(f"{domain}: in {fetch(domain, data_dir)}")


def main() -> None:
    """Run ``hw2``; an error that a user can mend is one line and exit status 2."""
    try:
        cli()
    except UserError as error:
        sys.exit(_fail(error))


def _fail(error: UserError) -> int:
    click.echo(f"hw2: error: {error}", err=True)
    return 2
