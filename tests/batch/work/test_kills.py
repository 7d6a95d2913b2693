"""Killed at random moments, and damaged in between, a run goes on to the bytes of an undisturbed one."""

import json
import subprocess
import sys

import pytest

linux = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")


def killed(folder, workers, kills, seed):
    command = [sys.executable, "-m", "tests.batch.work.kills", folder, workers, kills, seed]
    ended = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def check(counts, kills):
    assert counts["kills"] == kills and counts["ended"] >= 1
    wrong = {name: counts[name] for name in ("differing", "unexpected", "left", "leftovers")}
    assert wrong == {"differing": 0, "unexpected": 0, "left": 0, "leftovers": 0}, counts


@linux
@pytest.mark.parametrize(("workers", "kills"), [(0, 12), (1, 2)])
def test_killed_and_gone_on(tmp_path, workers, kills):
    check(killed(tmp_path, workers, kills, 5), kills)


@linux
@pytest.mark.slow
@pytest.mark.parametrize(("workers", "kills"), [(0, 200), (1, 30), (2, 70)])
def test_killed_three_hundred_times(tmp_path, workers, kills):
    check(killed(tmp_path, workers, kills, 7), kills)
