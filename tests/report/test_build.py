"""What ``hw2 report`` runs again, and what it leaves alone. Snakemake and the kernels are real."""

import json
import os
import re
import signal
import subprocess
import time
from functools import partial

import pytest

from hw2lib import runs
from hw2lib.errors import UserError
from hw2lib.report import build

COUNTED = "page.value('answer', {answer} + seed)\nfrom pathlib import Path\nopen('runs.txt', 'a').write('{name}\\n')"


@pytest.fixture(scope="module")
def report(project):
    """Three notebooks that have run: one alone uses a module, one follows another."""
    module = project.root / "hw2lib" / "only_here.py"
    module.write_text("ANSWER = 41\n")
    imports = "from hw2lib.only_here import ANSWER\n"
    project.notebook("10_module", imports + COUNTED.format(name="10", answer="ANSWER"))
    project.notebook("20_plain", COUNTED.format(name="20", answer="1"))
    project.notebook("30_after", COUNTED.format(name="30", answer="2"), before="seed = seed or 5", after=["20_plain"])
    (project.root / "report.md.jinja").write_text("---\ntitle: Report\n---\n\n# One\n\nIt is {{ module.answer }}.\n")
    assert ran(project) == ["10", "20", "30"]
    project.first = project.stderr
    return project


def ran(project, *arguments, fails=False) -> list[str]:
    """Bring the report up to date; return the notebooks that ran."""
    log = project.root / "notebooks" / "runs.txt"
    log.write_text("")
    done = project.hw2("report", "--preset", "smoke", "--cores", "2", *arguments)
    assert (done.returncode != 0) == fails, done.stderr
    project.stderr = done.stderr
    return sorted(log.read_text().split())


def test_the_report_says_what_the_records_say(report):
    text = (report.root / "build/smoke/report.md").read_text()
    assert "It is 41." in text
    for name in ("report", "supplement"):
        assert (report.root / f"build/smoke/{name}.pdf").read_bytes().startswith(b"%PDF")
    assert "It is 41." in (report.root / "build/smoke/report.html").read_text()


def test_each_notebook_says_when_it_begins_and_ends(report):
    lines = [line for line in report.first.splitlines() if re.match(r"[0-3]/3 ", line)]
    assert len(lines) == 6
    assert lines[0].startswith("0/3 ")
    assert re.fullmatch(r"3/3 \w+ done in \d+ s", lines[-1])
    assert sum(bool(re.fullmatch(r"[0-2]/3 \w+ begins, about \d+ (s|min) left", line)) for line in lines) == 3
    assert "/figures/" not in report.first


def test_nothing_changed_nothing_runs_and_no_pdf_is_made(report):
    pdf = report.root / "build/smoke/report.pdf"
    before = pdf.stat().st_mtime_ns
    assert ran(report) == []
    assert pdf.stat().st_mtime_ns == before
    pdf.write_bytes(b"%PDF of somebody")
    assert ran(report) == []
    assert len(pdf.read_bytes()) > 1000


def test_each_document_is_made_as_pdf_and_html(home):
    (home / "supplement.md").write_text("# More")
    assert build.export(home / "supplement.md", "paper") == home / "supplement.pdf"
    assert (home / "supplement.pdf").is_file()
    assert "More" in (home / "build/paper/supplement.html").read_text()


def test_what_follows_the_dashes_goes_to_snakemake(report):
    for name in ("10_module", "20_plain"):
        (report.figures(name) / "record.json").unlink()
    assert ran(report, "--", "20_plain", "--dry-run") == []
    assert ran(report, "--", "20_plain") == ["20"]
    assert ran(report, "--", "21_moon", fails=True) == []
    assert "21_moon" in report.stderr
    assert ran(report) == ["10"]


@pytest.mark.parametrize(
    ("profile", "told"),
    [
        (None, "--cluster here: give slurm, or the folder of a Snakemake profile, with its config.yaml"),
        ("jobs: 4", "here/config.yaml: not YAML that names an executor"),
        ("executor: [", "here/config.yaml: not YAML that names an executor"),
        ("executor: moon", "--cluster here: first pip install snakemake-executor-plugin-moon"),
        ("executor: slurm", "--cluster here: there is no sbatch; run it on a machine that submits jobs"),
    ],
)
def test_a_profile_that_cannot_work_is_refused(home, monkeypatch, profile, told):
    (home / "profiles/slurm").mkdir(parents=True)
    (home / "profiles/slurm/config.yaml").write_text("executor: slurm")
    monkeypatch.chdir(home)
    monkeypatch.setenv("PATH", str(home))
    if profile:
        (home / "here").mkdir()
        (home / "here/config.yaml").write_text(profile)
    with pytest.raises(UserError, match=re.escape(told)):
        build.profile("here")


def test_how_many_cores_a_job_has_is_said_by_the_profile():
    with pytest.raises(UserError, match="--cores is for this machine"):
        build.make_report("smoke", {}, 2, [], "slurm")


def test_time_stamps_do_not_matter(report):
    for file in [
        *report.root.glob("hw2lib/**/*.py"),
        *report.root.glob("notebooks/*"),
        *report.root.glob("build/**/*"),
    ]:
        os.utime(file, (time.time() + 60, time.time() + 60))
    assert ran(report) == []


def test_a_changed_module_runs_exactly_the_notebook_that_uses_it(report):
    (report.root / "hw2lib/only_here.py").write_text("ANSWER = 42\n")
    assert ran(report) == ["10"]
    assert "10_module is out of date: module: hw2lib/only_here.py" in report.stderr
    assert "It is 42." in (report.root / "build/smoke/report.md").read_text()


def test_a_failing_notebook_is_named_and_the_others_run_with_what_follows_them(report):
    before = report.contents("10_module")
    report.notebook("10_module", "1 / 0")
    report.notebook("20_plain", COUNTED.format(name="20", answer="10"))
    assert ran(report, "--", "10_module", fails=True) == []
    assert report.stderr.splitlines()[-1].startswith("hw2: error: not up to date: 10_module; "), (
        "the others were not asked"
    )
    assert ran(report, fails=True) == ["20", "30"]
    assert "hw2: error: 10_module, cell [4] '1 / 0': ZeroDivisionError: division by zero" in report.stderr
    assert report.stderr.splitlines()[-1].startswith("hw2: error: not up to date: 10_module;")
    assert report.contents("10_module") == before


def test_an_error_of_the_snakefile_is_seen(report):
    file = report.root / "Snakefile"
    good = file.read_text()
    report.notebook("20_plain", COUNTED.format(name="20", answer="100"))
    file.write_text(good + "\nraise ValueError('no such moon')\n")
    assert ran(report, fails=True) == []
    assert "no such moon" in report.stderr
    file.write_text(good)


def test_wrong_settings_are_one_line(report):
    for arguments, told in [
        (["-p", "sed=1"], "no notebook has a parameter 'sed'; there are device, preset, seed"),
        (["--preset", "huge"], "unknown preset 'huge'"),
    ]:
        done = report.hw2("report", *arguments)
        assert done.returncode == 2
        assert told in done.stderr
        assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_folders_are_as_seen_by_the_user_and_may_have_spaces(project_with_spaces):
    project = project_with_spaces
    places = "import os\npage.value('given', data_dir)\npage.value('HW2_DATA', os.environ['HW2_DATA'])"
    project.notebook("10_places", places, parameters="preset = 'smoke'\nseed = 0\ndevice = 'auto'\ndata_dir = ''")
    arguments = ["--preset", "smoke", "--cores", "1", "-p", "data_dir=some images"]
    done = project.hw2("report", *arguments, HW2_BUILD="the build", HW2_DATA="images")
    assert done.returncode == 0, done.stderr
    record = json.loads((project.root / "the build/smoke/figures/10_places/record.json").read_text())
    assert record["values"] == {"given": str(project.root / "some images"), "HW2_DATA": str(project.root / "images")}
    assert (project.root / "the build/smoke/report.pdf").exists()
    assert not list(project.root.glob("notebooks/*build*"))
    again = project.hw2("run", "10", "-p", "preset=smoke", "-p", "data_dir=", HW2_BUILD="the build", HW2_DATA="images")
    assert again.stdout.strip() == str(project.root / "the build/smoke/figures/10_places")


@pytest.mark.parametrize("command", [["run", "10"], ["report"]])
def test_a_build_folder_that_cannot_be_is_one_line(project, command):
    project.notebook("10_module")
    done = project.hw2(*command, HW2_BUILD="Snakefile")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert f"hw2: error: {project.root}/Snakefile/" in done.stderr
    assert "Not a directory; runs write to" in done.stderr


def test_notebooks_run_side_by_side_where_none_trains(monkeypatch):
    def missing(preset: str, data_dir: str, device: str) -> list[str]:
        if data_dir == "nowhere":
            raise UserError("no images")
        return ["a run"] if data_dir == "other images" else []

    monkeypatch.setattr(runs, "missing", missing)
    assert [build.trains(preset, {"preset": preset}) for preset in ("smoke", "quick", "paper")] == [True, False, False]
    assert [build.trains("paper", {"data_dir": there}) for there in ("", "other images", "nowhere")] == [0, 1, 1]
    assert build.trains("paper", {"networks": "dcgan"}), "a run that the report does not show"


def test_a_report_without_fcntl(project_with_spaces, tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['fcntl'] = None\n")
    project = project_with_spaces
    project.notebook("10_first", "import sys\npage.value('fcntl', str(sys.modules['fcntl']))")
    path = os.pathsep.join([str(tmp_path), str(project.root)])
    done = project.hw2("report", "--preset", "smoke", "--cores", "1", PYTHONPATH=path)
    assert done.returncode == 0, done.stderr
    assert project.record("10_first")["values"] == {"fcntl": "None"}
    assert done.stdout.endswith("report.pdf\n")


def test_interrupted_it_ends_in_one_line_and_the_same_command_goes_on(project_with_spaces):
    project = project_with_spaces
    project.notebook("10_first", "page.value('answer', 1)")
    wait = "Path('waiting').touch()\nwhile not Path('go').exists(): time.sleep(0.05)"
    project.notebook("20_second", f"import time\nfrom pathlib import Path\n{wait}", after=["10_first"])
    command = [project.python, "-m", "hw2lib", "report", "--preset", "smoke", "--cores", "1"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HW2_")}
    environment["PYTHONPATH"] = str(project.root)
    heeding = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a shell's job in the background ignores it
    with subprocess.Popen(
        command, cwd=project.root, env=environment, stderr=subprocess.PIPE, text=True, preexec_fn=heeding
    ) as running:
        end = time.monotonic() + 120
        while not (project.root / "notebooks/waiting").exists() and time.monotonic() < end:
            time.sleep(0.1)
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=60)
    assert running.returncode == 130, err
    assert err.splitlines()[-1] == "hw2: stopped; 1 of 2 notebooks are done, and the same command goes on"
    assert "Traceback" not in err
    assert "Abort" not in err
    before = project.contents("10_first")
    (project.root / "notebooks/go").touch()
    done = project.hw2("report", "--preset", "smoke", "--cores", "1")
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stderr.splitlines() if "10_first" in line] == []
    assert re.search(r"^1/2 20_second begins", done.stderr, re.MULTILINE)
    assert project.contents("10_first") == before


def test_short_reports_draw_with_our_network_unless_told_otherwise(home, write_notebook):
    write_notebook("40_faces", parameters="preset = 'quick'\nunet = ''")
    write_notebook("50_others")

    def settings(preset: str, **overrides: str) -> list[list[str]]:
        return [sorted(task.settings) for task in build.plan(preset, overrides).values()]

    assert settings("quick") == [["preset=quick"], ["preset=quick"]], "without UNet.pt there is nothing to choose"
    (home / "build/images/face").mkdir(parents=True)
    (home / "build/images/face/UNet.pt").touch()
    for preset in ("smoke", "quick"):
        assert settings(preset) == [[f"preset={preset}", "unet=ours"], [f"preset={preset}"]]
    assert settings("paper") == [["preset=paper"], ["preset=paper"]]
    assert settings("quick", unet="/UNet.pt")[0] == ["preset=quick", "unet=/UNet.pt"]


def test_a_target_needs_what_comes_before_it():
    after = {"10_a": [], "20_b": ["10_a"], "30_c": ["20_b"], "40_d": []}
    tasks = {name: build.Task([], names, build.NO_RECORD, trains=False) for name, names in after.items()}
    assert build._needed(tasks, ["30_c"]) == ["10_a", "20_b", "30_c"]
    assert build._needed(tasks, tasks) == list(after)


def test_what_follows_a_notebook_that_is_out_of_date_runs_too():
    after = {"10_a": [], "20_b": ["10_a"], "30_c": ["20_b"], "40_d": []}
    tasks = {name: build.Task([], names, ["cells"] * (name == "10_a"), trains=False) for name, names in after.items()}
    assert build._to_run(tasks, list(tasks)) == ["10_a", "20_b", "30_c"]
    assert build._to_run(tasks, ["30_c", "40_d"]) == [], "of what is asked for"
