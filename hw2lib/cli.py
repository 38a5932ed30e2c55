"""The command line ``hw2``: data, train, ship, noise, sample, score, grade, classify, run, report.

Each command is a thin call into the library. Imports stand inside the commands, so that ``hw2 --help`` and a report
that is up to date do not wait for torch.
"""

import errno
import io
import json
import math
import os
import re
import signal
import sys
import time
from pathlib import Path

import click

from hw2lib import files
from hw2lib.environment import cores
from hw2lib.errors import UserError, in_words_of_memory
from hw2lib.paths import PRESETS, build_dir, check_preset, make_environment_absolute, runs_dir

_PATH = click.Path(path_type=Path)

_SHOWN = "$HW2_DATA, else build/images"
_data_dir = click.option("--data-dir", default="", show_default=_SHOWN, help="The folder of images.")
_device = click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
_overwrite = click.option("--overwrite", is_flag=True, help="Replace files that are there; others stay.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Notebooks, networks and results of the report."""
    make_environment_absolute()


@cli.group()
def data() -> None:
    """Real images: show, download, add."""


@data.command()
@_data_dir
def status(data_dir: str) -> None:
    """Show which images are there, how many, and whether they are verified."""
    from hw2lib.data import folders, overview

    lines, readable = overview.status(data_dir)
    click.echo(f"images in {folders.images_dir(data_dir)}\n{lines}")
    sys.exit(0 if readable else 2)


@data.command()
@click.argument("domains", nargs=-1, required=True)
@_data_dir
def fetch(domains: tuple[str, ...], data_dir: str) -> None:
    """Download DOMAINS (mnistm svhn usps) in the homework's layout. Interrupted, the same line continues."""
    from hw2lib.data.fetch import fetch

    for domain in domains:
        click.echo(f"{domain}: in {fetch(domain, data_dir)}")


@data.command()
@click.argument("name")
@click.argument("folder", type=_PATH)
@_data_dir
def add(name: str, folder: Path, data_dir: str) -> None:
    """Add a domain NAME: copy FOLDER, which holds digits in the homework's layout."""
    from hw2lib.data.fetch import add

    target, counts = add(name, folder, data_dir)
    click.echo(f"{name}: {', '.join(f'{count:,} {split}' for split, count in counts.items())} in {target}")


@cli.command()
@click.argument("networks", nargs=-1)
@click.option("--missing", is_flag=True, help="In place of NETWORKS: what the report shows and nobody has trained.")
@click.option("--list", "only_list", is_flag=True, help="Train nothing; say what is left, and about how long it takes.")
@click.option("--follow", is_flag=True, help="Train nothing; show the losses of running trainings.")
@click.option("--jobs", type=int, help="Runs at a time.  [default: one a core; on a GPU one for each 8 GiB free]")
@click.option("--devices", type=click.IntRange(min=1), default=1, help="Train each run on so many, one run at a time.")
@click.option("--within", metavar="TIME", help="Stop by then, such as 90s, 9m or 2h; the same line goes on.")
@click.option("--recipe", "recipe_names", multiple=True, help="[default: ours]")
@click.option("--pair", "pairs", multiple=True, help="DANN: SOURCE-TARGET.  [default: two pairs]")
@click.option(
    "--method", "methods", multiple=True, help="DANN: source-only, dann, target-only.  [default: all that labels allow]"
)
@click.option("--seed", "seeds", type=int, multiple=True, help="[default: 0]")
@click.option("--preset", help="smoke, quick or paper.  [default: quick; of --missing paper]")
@click.option("--data-dir", default="", help="A folder of real images, whatever the preset.")
@_device
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Replace a key of the recipe.")
@click.option("--folder", type=_PATH, help="The folder of a single run.  [default: by its settings]")
def train(
    networks, missing, only_list, follow, jobs, devices, within, recipe_names, pairs, methods, seeds, preset, data_dir,
    device, settings, folder,
) -> None:  # fmt: skip
    """Train NETWORKS by each combination of the options. Interrupted, the same line continues."""
    until = time.monotonic() + (_seconds(within) if within else math.inf)
    if follow:
        if networks or missing:
            raise UserError("--follow shows what is trained by other commands: leave out NETWORKS and --missing")
        return _follow(preset)
    from hw2lib import data, runs
    from hw2lib.training import parallel

    several = devices > 1 or parallel.count() > 1
    if missing and (networks or recipe_names or pairs or methods or seeds or settings or folder):
        raise UserError("--missing trains what the report shows: leave out NETWORKS, their options and --folder")
    if not (missing or networks):
        raise UserError("name networks, such as dcgan, or give --missing")
    if jobs is not None and jobs < 1:
        raise UserError(f"--jobs {jobs}: give 1 or more")
    if folder and (only_list or jobs or within):
        raise UserError("--folder trains one run to its end: leave --list, --jobs and --within out")
    preset = preset or ("paper" if missing else "quick")
    if missing:
        chosen = runs.missing(preset, data_dir, device)
    else:
        recipes = runs.recipes_for(networks, recipe_names or ["ours"], seeds or [0], preset, pairs, methods, settings)
        images = data.source(preset, data_dir)
        recipes = recipes if methods else runs.learnable(recipes, images)
        if folder and len(recipes) > 1:
            raise UserError(f"--folder is for one run, not {len(recipes)}: choose one --pair and one --method")
        if folder:
            chosen = [(recipes[0], runs.RunFolder(folder, runs.settings_of(recipes[0], preset, images)))]
        else:
            chosen = [(recipe, runs.run_folder(recipe, preset, images)) for recipe in recipes]
    jobs = jobs or (1 if several else runs.side_by_side(cores() if missing else len(chosen), device))
    if not only_list:
        runs.train(chosen, preset, data_dir, device, jobs, until, devices)
        parallel.leave()
        for run in (run for _, run in chosen if run.card):
            click.echo(f"{runs.result_of(run)}  {run.path}")
    lines = runs.what_is_left(chosen, device, jobs)
    if only_list or missing or len(lines) > 1:
        click.echo("\n".join(lines if only_list else lines[-1:]))


def _follow(preset: str | None) -> None:
    """Show the trainings of a preset or of all: again and again in a terminal, once elsewhere."""
    from hw2lib.training import follow

    if preset:
        check_preset(preset)
    terminal, text = sys.stdout.isatty(), ""
    for text in follow.followed([runs_dir(one) for one in ([preset] if preset else PRESETS)]):
        if terminal:
            click.clear()
        click.echo(text)
        if not terminal:
            break
    if not text:
        click.echo(f"nothing is trained below {build_dir()}")


def _seconds(text: str) -> float:
    """The seconds of a time such as ``9m``."""
    number, unit = text[:-1], {"s": 1, "m": 60, "h": 3600}.get(text[-1:])
    if not unit or not re.fullmatch(r"[0-9]+(\.[0-9]+)?", number):
        raise UserError(f"--within {text}: give a number and its unit, such as 90s, 9m or 2h")
    return float(number) * unit


@cli.command()
@click.argument("network")
@click.option("--out", "folder", required=True, type=_PATH, help="The folder to write to.")
@click.option("--count", type=int, help="Images in all.  [default: 1000, or 100 of each digit]")
@click.option("--seed", default=0, show_default=True, help="Of the noise, which is the same for each digit.")
@click.option("--digit", "digits", type=int, multiple=True, help="Only this digit; may be repeated.")
@click.option("--weights", type=_PATH, help="Of safetensors or torch.save.  [default: those that ship]")
@click.option("--ema", is_flag=True, help="Refuse weights that are not known to be a moving average.")
@click.option("--sampler", help="Denoiser: such as ddpm; an unknown one lists all.  [default: ddim]")
@click.option("--steps", type=int, help="Denoiser: 1 to its T.  [default: 8; of ddpm all]")
@click.option("--guidance-weight", type=float, help="Denoiser: w of Ho and Salimans 2022, 0: none.  [default: 1.75]")
@click.option(
    "--guidance-interval",
    nargs=2,
    type=float,
    metavar="LOW HIGH",
    help="Denoiser: the steps that are guided, in shares of its T.  [default: 0.2 0.95]",
)
@click.option("--eta", type=float, help="Denoiser: noise that the sampler adds, 0 to 1.  [default: 1 of ddim, else 0]")
@click.option("--noise", type=_PATH, help="Faces: a folder with 00.pt to 09.pt.")
@click.option("--normalise", help="Denoiser: range or min-max.  [default: range; with --noise min-max]")
@_device
@_overwrite
def sample(
    network, folder, count, seed, digits, weights, ema, sampler, steps, guidance_weight, guidance_interval, eta, noise,
    normalise, device, overwrite,
) -> None:  # fmt: skip
    """Draw images with NETWORK, such as dcgan, acgan or face-pyramid. Interrupted, the same line continues.

    Faces have other defaults: 50 steps of ddim, no guidance, eta 0. With --noise, a folder that hw2 noise writes, there
    are ten images, 00.png to 09.png, as the homework asks; --weights UNet.pt draws them with its network.

    The card.json beside the weights of a denoiser says how it was trained; without it, the recipe is 'ours'.
    """
    from hw2lib import image_files
    from hw2lib.diffusion.sample import default_settings

    options = {"sampler": sampler, "steps": steps, "eta": eta}
    options |= {"guidance_weight": guidance_weight, "guidance_interval": guidance_interval}
    given = {name: value for name, value in options.items() if value is not None}
    settings = default_settings(network, **given) if given else None
    options = {"sampler": settings, "noise": noise, "normalise": normalise}
    count = image_files.write(network, folder, count, seed, digits, weights, device, overwrite, ema, **options)
    click.echo(f"{count} images in {folder}")


@cli.command()
@click.argument("folder", type=_PATH)
@click.option("--size", default=64, show_default=True, help="Height and width; the homework's network takes 256.")
@_overwrite
def noise(folder: Path, size: int, overwrite: bool) -> None:
    """Write the fixed noise 00.pt to 09.pt to FOLDER, for hw2 sample face-pyramid --noise FOLDER."""
    from hw2lib.diffusion import faces

    faces.write_noise(folder, size, overwrite)
    click.echo(f"10 noises in {folder}")


@cli.command()
@click.argument("folders", nargs=-1, required=True, type=_PATH)
@click.option("--weights", is_flag=True, help="The weights too, in half precision.")
def ship(folders: tuple[Path, ...], weights: bool) -> None:
    """Copy finished runs, such as build/paper/runs/dann-compact/*/*/*/*, into data/trained/, which is committed."""
    from hw2lib import runs

    for folder in folders:
        click.echo(runs.ship(folder, weights))


@cli.command()
@click.argument("folder", type=_PATH)
@click.option("--kind", type=click.Choice(["faces", "digits"]), required=True, help="64x64 faces or 28x28 digits.")
@click.option("--classifier", type=_PATH, help="Digits: the course's Classifier.pth.  [default: ours]")
def score(folder: Path, kind: str, classifier: Path | None) -> None:
    """Score the PNG images in FOLDER beside real ones. The name of a digit begins with it, such as 7_001.png."""
    from hw2lib import given_images

    if kind == "faces" and classifier:
        raise UserError("--classifier grades digits; leave it out, or score --kind digits")
    parts = given_images.face_scorecard(folder) if kind == "faces" else given_images.digit_scorecard(folder, classifier)
    for part in parts:
        click.echo(part)


@cli.command()
@click.argument("submission", type=_PATH)
@click.option("--edition", required=True, help="Of the homework, such as 2022; an unknown one lists all.")
@click.option("--problem", "number", required=True, help="Its number, or bonus; an unknown one lists all.")
@click.option("--pair", default="", help="DANN: such as mnistm-svhn, for a csv whose name does not tell its target.")
@click.option("--classifier", type=_PATH, help="Digits: the course's Classifier.pth.  [default: ours, and it says so]")
@click.option(
    "--truth", type=_PATH, help="DANN: a csv of right labels; DDIM: the folder GT.  [default: of the real images]"
)
@click.option("--beside", type=_PATH, help="Bonus: the csv files of the problem that it has to exceed.")
@click.option("--rules", type=_PATH, help="Further editions, a file like hw2lib/grading.toml.")
@_data_dir
@click.option("--json", "json_file", type=_PATH, help="Write all of it as JSON; - in place of the table.")
@click.option("--sheet", type=_PATH, help="Write the worst images as a PNG file.")
def grade(
    submission, edition, number, pair, classifier, truth, beside, rules, data_dir, json_file, sheet
) -> None:  # fmt: skip
    """Grade SUBMISSION as the course does: a folder of images, a csv, or a folder of csv files, one a pair.

    The exit status is 1 where something is wrong with the files, or a score is below its baseline.
    """
    from hw2lib.grading import grade as grading
    from hw2lib.grading import problem

    if sheet and sheet in (json_file, Path("-")):
        raise UserError(f"--sheet {sheet}: choose a file of its own, such as worst.png")
    options = {"pair": pair, "classifier": classifier, "truth": truth, "beside": beside}
    result = grading.grade(submission, problem(edition, number, rules), data_dir, **options)
    content, picture = json.dumps(result.as_json(), indent=1), io.BytesIO()
    click.echo(content if json_file == Path("-") else result)  # first: files that cannot be written do not cost it
    if json_file and json_file != Path("-"):
        _write(json_file, content)
    if sheet and (worst := grading.sheet(result)):
        worst.savefig(picture, format="png", dpi=200)
        _write(sheet, picture.getvalue())
    elif sheet:
        click.echo(f"hw2: no image stands out as bad; {sheet} is not written", err=True)
    sys.exit(1 if result.failed else 0)


def _write(file: Path, content: str | bytes) -> None:
    try:
        files.write(file, content)
    except OSError as error:
        raise UserError(f"{file}: {error.strerror}; choose a file that can be written") from None


@cli.command()
@click.argument("folder", type=_PATH)
@click.argument("csv", type=_PATH)
@click.option("--weights", required=True, type=_PATH, help="Of a run, with its card.json beside it.")
@_device
@_overwrite
def classify(folder: Path, csv: Path, weights: Path, device: str, overwrite: bool) -> None:
    """Classify the PNG images in FOLDER: write image_name,label to CSV, in the order of file names."""
    from hw2lib import given_images

    classified, unreadable = given_images.classify(folder, csv, weights, device, overwrite)
    for message in unreadable:
        click.echo(f"hw2: {message}", err=True)
    click.echo(f"{classified} images in {csv}")
    if unreadable:
        sys.exit(1)


@cli.command()
@click.argument("notebook")
@click.option("-p", "settings", multiple=True, metavar="NAME=VALUE", help="Set a parameter of the notebook.")
@click.option(
    "--sweep", "sweeps", multiple=True, metavar="NAME=VALUE,...", help="Run each value, and gather a table; repeatable."
)
def run(notebook: str, settings: tuple[str, ...], sweeps: tuple[str, ...]) -> None:
    """Run one NOTEBOOK: its number, the beginning of its name, or its path.

    With --sweep it runs for each combination of values. A value that has commas is written as JSON, such as
    --sweep 'pairs=["mnistm-svhn","mnistm-usps"],["svhn-mnistm"]'. Interrupted, the same line continues.
    """
    from hw2lib.report import parameters, running

    if sweeps:
        from hw2lib.report import sweep

        table, file, failed = sweep.run(notebook, parameters.split(settings), sweeps)
        click.echo(f"{table}\n\n{file}")
        if failed:
            raise UserError(f"failed: {'; '.join(failed)}; the same line runs them again")
        return
    try:
        click.echo(running.run_notebook(notebook, parameters.split(settings)))
    except KeyboardInterrupt:
        if running.PROGRESS in os.environ:
            sys.exit(130)  # whoever runs several says it once
        raise


@cli.command()
@click.option("--preset", default="quick", show_default=True, help="smoke, quick or paper.")
@click.option("-p", "settings", multiple=True, metavar="NAME=VALUE", help="Set a parameter of the notebooks having it.")
@click.option("--cores", type=click.IntRange(min=1), help=f"At a time.  [default: {cores()}]")
@click.option("--cluster", default="", help="Run each notebook as a job: slurm, or the folder of a Snakemake profile.")
@click.option("--check", is_flag=True, help="Only say which records are out of date, and whether the report says so.")
@click.argument("snakemake", nargs=-1, type=click.UNPROCESSED)
def report(
    preset: str, settings: tuple[str, ...], cores: int | None, cluster: str, check: bool, snakemake: tuple[str, ...]
) -> None:
    """Run every notebook that is out of date, render report and supplement, and make PDF and HTML of both.

    What follows -- goes to Snakemake, such as the notebooks that are wanted: hw2 report -- 31_diffusion_samples

    With --check nothing runs. The exit status is 1 if a record of the preset paper is out of date, and 2 if report.md
    or supplement.md says something else than the records.
    """
    from hw2lib.report import build, document, parameters

    if check:
        sys.exit(_check(build.outdated("paper"), document.differences()))
    click.echo(build.make_report(preset, parameters.split(settings), cores, list(snakemake), cluster))


def _check(ages: dict, differences: list[str]) -> int:
    """Say what is out of date, and return the exit status."""
    for notebook, age in ages.items():
        if age is None:
            click.echo(f"{notebook}: no record")
        elif age.changed:
            click.echo(f"{notebook}: out of date: {', '.join(age.changed)}")
        elif age.unknown:
            click.echo(f"{notebook}: cannot be compared here: {', '.join(age.unknown)}")
    old = [notebook for notebook, age in ages.items() if age is None or age.changed]
    unknown = [notebook for notebook, age in ages.items() if age and age.unknown and not age.changed]
    click.echo(f"{len(ages)} records: {len(old)} out of date, {len(unknown)} cannot be compared here")
    for difference in differences:
        click.echo(difference)
    return 2 if differences else 1 if old else 0


# A folder that cannot be written, a disk that is full, a name that no file can have.
_OF_THE_MACHINE = {
    getattr(errno, name)
    for name in ("EACCES", "EPERM", "EROFS", "ENOTDIR", "ENOSPC", "EDQUOT", "EISDIR", "ELOOP", "ENAMETOOLONG")
}


def main() -> None:
    """Run ``hw2``; an error that a user can mend is one line and exit status 2. Ctrl-C is one line and 130."""
    sys.stdout.reconfigure(errors="backslashreplace")  # names of files may be no UTF-8
    try:
        sys.exit(cli(standalone_mode=False))
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.Abort:
        status, message = 128 + signal.SIGINT, "stopped; what is finished stays, and the same command goes on"
    except UserError as error:
        status, message = 2, f"error: {error}"
    except Exception as error:
        status, message = 2, in_words_of_memory(f"{type(error).__name__}: {error}".rstrip(": "))
        if isinstance(error, OSError) and error.errno in _OF_THE_MACHINE:
            where = f"{error.filename}: " if error.filename else ""
            message = f"{where}{error.strerror}; runs write to {build_dir()}, and HW2_BUILD can name another folder"
        if not message:
            raise
        message = f"error: {message}"
    click.echo(f"hw2: {message}", err=True)  # behind the except clauses, by when progress bars have ended
    sys.exit(status)
