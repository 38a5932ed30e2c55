"""Watching trainings from another process."""

import os
import signal
import subprocess
import sys
import time

import pytest
from interrupted import stopped
from synthetic import Synthetic, recipe

from hw2lib import paths
from hw2lib.adaptation import dann
from hw2lib.training import follow
from hw2lib.training.run_folder import RunFolder

SETTINGS = recipe(steps=100, evaluations=5)


@pytest.fixture
def folder(tmp_path) -> RunFolder:
    return RunFolder(tmp_path / "runs" / "dann" / "seed-0", SETTINGS.model_dump(mode="json"))


def test_a_run_is_shown_while_it_is_trained_and_once_when_it_has_ended(folder, monkeypatch):
    stopped(lambda on_step: dann.train(SETTINGS, Synthetic(), folder, "cpu", on_step), 50)
    monkeypatch.setattr(follow, "EVERY", 0)
    texts = follow.followed([folder.path.parents[2]])
    first = next(texts).splitlines()
    assert first[0].startswith("dann/seed-0: 40 of 100 steps, about")  # the last line that is logged
    curves = {line.split("  ")[1].strip(): line for line in first[1:]}
    assert list(curves) == ["label_loss", "domain_loss", "reversal", "target test"]
    assert curves["reversal"].split() == ["reversal", "▁" * 9 + "█", "0.2881"]
    dann.train(SETTINGS, Synthetic(), folder, "cpu", lambda _: None)
    assert next(texts).startswith("dann/seed-0: finished\n")
    assert list(texts) == []


def test_a_run_without_a_line_for_long_is_not_running(folder):
    stopped(lambda on_step: dann.train(SETTINGS, Synthetic(), folder, "cpu", on_step), 50)
    long_ago = time.time() - follow.RECENT - 1
    os.utime(folder.path / "log.jsonl", (long_ago, long_ago))
    assert list(follow.followed([folder.path.parents[2]])) == []


def test_a_line_on_its_way_is_passed_over(folder):
    stopped(lambda on_step: dann.train(SETTINGS, Synthetic(), folder, "cpu", on_step), 50)
    with open(folder.path / "log.jsonl", "a") as log:
        log.write('{"step": 60, "label_lo')
    assert "40 of 100 steps" in follow.described(folder.path)


def test_bars_span_the_training_and_a_part_without_a_value_keeps_the_last():
    values = [(step, float(step)) for step in range(1, 11)]
    assert follow.curve(values, steps=10 * follow.WIDTH) == "▁"
    assert follow.curve([(1, 0.0), (follow.WIDTH, 7.0)], follow.WIDTH) == "▁" * (follow.WIDTH - 1) + "█"
    assert follow.curve([(1, 3.0), (2, 0.0), (3, 7.0)], follow.WIDTH) == "▄▁█"


def test_hw2_train_follow_sees_another_process(hw2, tmp_path, monkeypatch):
    monkeypatch.setenv("HW2_BUILD", str(tmp_path))
    assert "nothing is trained below" in hw2("train", "--follow")[1]
    arguments = ["train", "dann-compact", "--preset", "smoke", "--pair", "mnistm-usps", "--method", "dann"]
    lengthy = ["--set", "steps=100000", "--set", "evaluations=5000"]
    command = [sys.executable, "-m", "hw2lib", *arguments, *lengthy]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as training:
        while not list(paths.runs_dir("smoke").rglob("log.jsonl")):
            assert training.poll() is None
            time.sleep(0.1)
        assert "of 100,000 steps" in hw2("train", "--follow", "--preset", "smoke")[1]
        assert "nothing is trained below" in hw2("train", "--follow", "--preset", "paper")[1]
        training.send_signal(signal.SIGKILL)
