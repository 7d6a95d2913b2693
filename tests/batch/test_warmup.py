"""Warming up: every family is on the list, its tiny fit runs, and a second time compiles nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import sae
from sae.batch import warmup
from sae.specs import Specification

# parts of a specification, fitted through the family they belong to
STRUCTURES = {"SAR", "AR1", "BYM2", "Leroux", "CAR", "RW1", "RW2"}
# sampled without a kernel
BY_NUMPY = {"InflatedBetaFayHerriot"}


def test_every_public_family_is_on_the_list(monkeypatch):
    named = {name for name in dir(sae) if isinstance(getattr(sae, name), type)}
    families = {name for name in named if issubclass(getattr(sae, name), Specification)}
    families -= STRUCTURES | BY_NUMPY
    fitted = set()
    for name in families:
        spec = getattr(sae, name)
        monkeypatch.setattr(spec, "fit", lambda *_, name=name, **__: fitted.add(name))
    monkeypatch.setattr(warmup, "_used", lambda fit: None)
    monkeypatch.setattr(warmup, "_direct", lambda: None)
    for family, fit in warmup.FAMILIES.items():
        if family != "direct estimates":
            fit()
    assert fitted == families


def test_steps_name_the_families_in_order(monkeypatch):
    told = []
    monkeypatch.setattr(warmup, "FAMILIES", {"one": lambda: told.append(1), "two": lambda: told.append(2)})
    warmup.warm_up(told.append)
    assert told == ["one", 1, "two", 2]


def test_without_a_cache_folder_the_command_says_what_to_do(monkeypatch, capsys):
    from typer.testing import CliRunner

    from sae.cli import app

    monkeypatch.setattr(warmup, "caches", lambda: False)
    done = CliRunner().invoke(app, ["warmup"])
    assert done.exit_code == 2
    assert "NUMBA_CACHE_DIR" in done.output


@pytest.mark.slow
def test_a_second_time_finds_everything_in_the_cache(tmp_path):
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}

    def warm():
        done = subprocess.run(
            [sys.executable, "-m", "sae.cli", "warmup"],
            env=environment,
            capture_output=True,
            text=True,
            encoding="utf-8",
        )
        assert done.returncode == 0, done.stderr
        assert [line.partition(" ")[2] for line in done.stdout.splitlines()] == list(warmup.FAMILIES)
        return {path: path.stat().st_mtime_ns for path in Path(tmp_path).rglob("*.nb?")}

    first = warm()
    kernels = {path.name.split("-")[0] for path in first}
    assert {
        "fit._fit",
        "posterior_nodes.posterior_nodes",
        "posterior_draws._draw",
        "posterior_draws._assemble",
        "integrals._draw",
        "gibbs._run",
    } <= kernels
    assert warm() == first
