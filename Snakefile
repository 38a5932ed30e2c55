"""Every notebook that is out of date, in order. ``hw2 report`` calls this; on its own:

    snakemake --cores 2 --rerun-triggers mtime --config preset=smoke trains=True

Out of date is decided by content (hw2lib.report.age): the rule's output exists exactly if nothing has changed.
"""

import os
import shlex
import sys

from hw2lib.report import build

PRESET = config.get("preset", "quick")
# A job on a cluster reads this file again, while others are at work; what is out of date does not matter to it.
PLAN = build.plan(PRESET, dict(config.get("parameters", {})), ages=workflow.is_main_process)
if workflow.is_main_process:
    build.mark(PRESET, PLAN)

ALL = workflow.cores or 1
# One notebook a core, if none trains for long: training fills every core and the GPU, and two together need twice the
# memory.
TRAINS = bool(config.get("trains", PRESET != "quick"))
TIMED = "60_comparison"  # its tables have times, of a machine without other work
ALONE = (TIMED, "51_dann_accuracy")  # the other trains on all cores, if not for long


def trains(wildcards):
    return TRAINS and PLAN[wildcards.notebook].trains


def done(notebook):
    return str(build.done_file(PRESET, notebook))


rule all:
    input:
        [done(notebook) for notebook in PLAN],


for target in PLAN:  # each notebook is a target by its name: hw2 report -- 31_diffusion_samples

    rule:
        name:
            target
        input:
            done(target),


rule notebook:
    input:
        lambda wildcards: [done(notebook) for notebook in PLAN[wildcards.notebook].after],
    output:
        touch(done("{notebook}")),
    params:
        settings=lambda wildcards: " ".join(f"-p {shlex.quote(s)}" for s in PLAN[wildcards.notebook].settings),
    message:
        "{wildcards.notebook}"
    threads: lambda wildcards: ALL if TRAINS or wildcards.notebook in ALONE else 1
    resources:  # what a job asks a cluster for; each attempt asks for more memory
        gpu=lambda wildcards: int(trains(wildcards)),
        mem_mb=lambda wildcards, attempt: 8000 * attempt,
        runtime=lambda wildcards: 24 * 60 if trains(wildcards) else 60,  # minutes; a training goes on where it stopped
        slurm_extra=lambda wildcards: "--exclusive" if wildcards.notebook == TIMED else "",
    shell:
        "{sys.executable:q} -m hw2lib run {wildcards.notebook} {params.settings} > {os.devnull}"
