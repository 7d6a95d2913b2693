"""The README says what is so: its commands, its printed result, its links, its picture."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import sae

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MOST_LINES = 120  # one screen of a reader who scrolls once; what needs more belongs into docs/
MOST_BYTES = 200_000  # of the picture: a README must load on a slow line


def blocks(language):
    """Every fenced block of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def test_python_example_prints_what_the_readme_prints(tmp_path):
    code, printed = blocks("python")[0], blocks("text")[0]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8", "MPLBACKEND": "Agg"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    ours, theirs = ([line.rstrip() for line in text.strip().splitlines()] for text in (done.stdout, printed))
    assert ours == theirs


def test_every_name_of_the_python_examples_exists():
    named = {
        tuple(chain.split(".")) for chain in re.findall(r"\bsae((?:\.\w+)+)", "\n".join(blocks("python")))
    }
    assert {("", "FayHerriot"), ("", "MultivariateFayHerriot"), ("", "area_level", "select")} <= named
    for chain in named:
        found = sae
        for name in chain[1:]:
            found = getattr(found, name)


def test_the_examples_of_the_family_run_after_the_first(tmp_path):
    asked = [
        "chosen.formula",
        "moved['estimate'].abs().max() < 0.05",
        "final.to_frame()['estimate'].max() < 1",
    ]
    asked += ["len(gap)", "len(nested.estimates), len(spatial.estimates)"]
    code = "\n".join([*blocks("python")[:2], *(f"print('>', {what})" for what in asked)])
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"},
    )
    assert done.returncode == 0, done.stderr
    said = [line[2:] for line in done.stdout.splitlines() if line.startswith("> ")]
    assert said == ["employment_rate ~ register_employment", "True", "True", "120", "120 120"]


def test_the_two_commands_are_the_promised_ones_and_ci_runs_the_second():
    install = "python3 -m venv --without-pip .venv && python3 -m pip --python .venv/bin/python install"
    commands = [f"{install} . && .venv/bin/sae demo", f'{install} ".[test]" && .venv/bin/python -m pytest']
    lines = "\n".join(blocks("sh")).splitlines()
    assert all(command in lines for command in commands)
    assert commands[1] in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()


def test_every_command_of_the_readme_exists():
    named = set(re.findall(r"\bsae (\w+)(?= |$)", "\n".join(blocks("sh")), flags=re.MULTILINE))
    known = subprocess.run(
        [sys.executable, "-m", "sae.cli", "--help"], capture_output=True, text=True, cwd=ROOT
    )
    assert known.returncode == 0, known.stderr
    assert {"demo", "run", "check", "models"} <= named
    assert all(re.search(rf"\b{command}\b", known.stdout) for command in named)


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)#]+)\)", README))
def test_links_lead_to_files(target):
    assert target.startswith("https://") or (ROOT / target).exists()


def test_there_is_one_small_picture():
    (picture,) = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", README)
    assert 0 < (ROOT / picture).stat().st_size < MOST_BYTES


def test_it_stays_short():
    assert len(README.splitlines()) <= MOST_LINES
