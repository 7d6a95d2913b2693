"""The command line on the demo's files, start-up included, against the import of pandas and numba alone."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from harness import Case

IMPORTS = ("-c", "import pandas, numba")


def command(*words):
    """Run in a process that keeps byte code, as an installation does: the first, untimed call writes it."""
    place = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, env=place)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return done.stdout


def demo(_):
    with tempfile.TemporaryDirectory() as folder:
        command("-m", "sae.cli", "demo", "--out", folder)


def demo_files():
    folder = tempfile.TemporaryDirectory()  # lives as long as the state
    command("-m", "sae.cli", "demo", "--out", folder.name)
    return folder


def run(folder):
    files = Path(folder.name)
    data = ("--survey", str(files / "persons.csv"), "--areas", str(files / "areas.csv"))
    command("-m", "sae.cli", "run", "employment_rate_by_birth", *data, "--out", str(files / "run"))


def plan(folder):
    files = Path(folder.name)
    data = ("--survey", str(files / "persons.csv"), "--areas", str(files / "areas.csv"))
    frame = ("--frame", str(files / "strata.csv"))
    command("-m", "sae.cli", "plan", "plan_foreign_employment", *frame, *data, "--out", str(files / "plan"))


def start(name, run, target, setup=demo_files):
    return Case(
        name=name,
        setup=setup,
        run=run,
        peer=lambda _: command(*IMPORTS),
        peer_name="a process that imports pandas and numba",
        unit="process",
        repeat=5,
        target=target,
    )


CASES = [
    start("run_demo", run, "2.5 CPU s on one idle core, where the import takes 0.5: 5 times it"),
    start("plan_demo", plan, "3 CPU s on one idle core, where the import takes 0.5: 6 times it"),
    start(
        "check_demo",
        lambda _: command("-m", "sae.cli", "check", "employment_rate_by_birth"),
        "2 times the import",
        setup=lambda: None,
    ),
    start("help", lambda _: command("-m", "sae.cli", "--help"), "half of the import", setup=lambda: None),
    Case(
        name="demo",
        run=demo,
        peer=lambda _: command("-c", "import sae; sae.datasets.country(seed=1).lfs(seed=1)"),
        peer_name="a process that only makes the country and draws the survey",
        unit="process",
        repeat=3,
        target="under 4 CPU s on one idle core",
    ),
]
