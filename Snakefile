"""Every notebook that is out of date, in order. ``hw2 report`` calls this; on its own:

    snakemake --cores 2 --rerun-triggers mtime --config preset=smoke

Out of date is decided by content (hw2lib.report.age): the rule's output exists exactly if nothing has changed.
"""

import shlex
import sys

from hw2lib.report import build

PRESET = config.get("preset", "quick")
PLAN = build.plan(PRESET, dict(config.get("parameters", {})))
if workflow.is_main_process:  # a job on a cluster reads this file again while others are at work
    build.mark(PRESET, PLAN)

# One notebook a core where none trains for long. Otherwise one at a time: training fills every core and the GPU, two
# together need twice the memory, and times that a record holds are those of a machine without other work.
THREADS = 1 if PRESET == "quick" else workflow.cores or 1


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
        "{sys.executable:q} -m hw2lib run {wildcards.notebook} {params.settings}"
