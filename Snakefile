"""Every notebook that is out of date, in order. ``hw2 report`` calls this; on its own:

    snakemake --cores 2 --rerun-triggers mtime --config preset=smoke

Out of date is decided by content (hw2lib.report.dependencies): the rule's output exists exactly if nothing has changed.
"""

import os
import shlex
import sys

from hw2lib.report import build

PRESET = config.get("preset", "quick")
PLAN = build.plan(PRESET, list(config.get("parameters", [])))
build.mark(PRESET, PLAN)

# Cores that nobody else wants go to the notebooks that run.
RUNNING = sum(bool(task.reasons) for task in PLAN.values())
THREADS = max(1, (os.cpu_count() or 1) // max(1, RUNNING))


def done(notebook):
    return str(build.done_file(PRESET, notebook))


rule all:
    input:
        [done(notebook) for notebook in PLAN],


rule notebook:
    input:
        lambda wildcards: [done(notebook) for notebook in PLAN[wildcards.notebook].after],
    output:
        touch(done("{notebook}")),
    params:
        settings=lambda wildcards: " ".join(f"-p {shlex.quote(s)}" for s in PLAN[wildcards.notebook].settings),
    message:
        "{wildcards.notebook}"
    threads: THREADS
    shell:
        "{sys.executable} -m hw2lib run {wildcards.notebook} {params.settings}"
