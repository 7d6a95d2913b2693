"""Shared fixtures: the oracles, the data, a seeded generator; and no oracle is left without a test."""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

TESTS = Path(__file__).parent
ROOT = TESTS.parent
CORES = 2  # that compile
ORACLES = TESTS / "oracles"
SHARED = Path(os.environ.get("SAE_SHARED", TESTS.parents[1] / "shared"))
LOADED = pytest.StashKey[set[str]]()  # names of the oracles that tests of this process have loaded
SELECTING = ("keyword", "deselect", "ignore", "ignore_glob", "collectonly", "lf", "stepwise")


class SharedFolder(os.PathLike):
    """A folder of the shared data sets: a file that is absent skips the test, and the reason names it."""

    def __init__(self, name):
        self.name = name

    def __fspath__(self):
        return str(SHARED / self.name)

    def __truediv__(self, name):
        inside = f"{self.name}/{name}"
        if not Path(inside).suffix:
            return SharedFolder(inside)
        if not (SHARED / inside).is_file():
            pytest.skip(f"needs {inside} of the shared data sets (SAE_SHARED, looked in {SHARED})")
        return SHARED / inside


@pytest.fixture(scope="session")
def shared_data():
    """Folder of the data sets that their licences keep out of the repository."""
    return SharedFolder("data")


@pytest.fixture(scope="session")
def oracle_data():
    """Folder of the data sets that lie beside the oracles: simulated ones, and tables printed in papers."""
    return ORACLES / "data"


@pytest.fixture(scope="session")
def reference(pytestconfig):
    """Load one reference result of another package by its case name."""

    def load(case):
        pytestconfig.stash[LOADED].add(case)
        return json.loads((ORACLES / f"{case}.json").read_text(encoding="utf-8"))

    return load


@pytest.fixture
def rng():
    return np.random.default_rng(20261122)


def unaccounted(loaded, passed, uses, present):
    """What a full run leaves open: oracles without a test, reasons and proofs that do not hold."""
    awaited = uses["awaited"]
    return [
        *(f"{case}: loaded by no test" for case in sorted(present - loaded - {*awaited, *uses["slow"]})),
        *(f"{case}: awaited, yet loaded by a test" for case in awaited if case in loaded),
        *(
            f"{case}: awaited or slow, yet no file"
            for case in {**awaited, **uses["slow"]}
            if case not in present
        ),
        *(f"{case}: disputed, yet not loaded" for case in uses["disputed"] if case not in loaded),
        *(f"{proof}: has not passed" for proof in sorted({*uses["disputed"].values()} - passed)),
    ]


def is_full(config):
    """Whether every test was called for, but perhaps the slow ones."""
    folders = [(config.invocation_params.dir / arg).resolve() for arg in config.args]
    return (
        any(TESTS.is_relative_to(folder) for folder in folders)
        and config.option.markexpr in ("", "not slow")
        and not any(config.getoption(name, None) for name in SELECTING)
    )


def kernels():
    """Digest of what the compiled kernels depend on."""
    digest = hashlib.sha256(f"{sys.version} {version('numba')}".encode())
    for path in sorted((ROOT / "sae" / "numerics").rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session):
    """Compile every family's kernels once, before the workers of a full run start and would do it each."""
    config = session.config
    if hasattr(config, "workerinput") or not is_full(config) or not getattr(config, "cache", None):
        return
    done = kernels()
    if config.cache.get("sae/kernels", None) == done:
        return
    started = time.monotonic()
    code = "from sae.batch.warmup import warm_up; warm_up(share={}, shares={})"
    commands = [[sys.executable, "-c", code.format(share, CORES)] for share in range(CORES)]
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    environment = {**os.environ, "PYTHONPATH": path}
    processes = [subprocess.Popen(command, cwd=ROOT, env=environment, **quiet) for command in commands]
    if not any(process.wait() for process in processes):  # a family that fails does so in its own tests too
        config.cache.set("sae/kernels", done)
    print(f"kernels compiled in {time.monotonic() - started:.0f} s")


def pytest_configure(config):
    config.stash[LOADED] = set()
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in a shell's background; the tests interrupt
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    """Take over what a worker of pytest-xdist has loaded."""
    node.config.stash[LOADED].update(getattr(node, "workeroutput", {}).get("oracles", ()))


def pytest_sessionfinish(session, exitstatus):
    """Fail a full run unless each oracle was loaded by a test, or `oracles/uses.toml` says why not."""
    config = session.config
    if hasattr(config, "workeroutput"):
        config.workeroutput["oracles"] = sorted(config.stash[LOADED])
        return
    if exitstatus != pytest.ExitCode.OK or not is_full(config):
        return
    report = config.pluginmanager.get_plugin("terminalreporter")
    if report.stats.get("skipped"):
        report.write_line("\nthe use of the oracles is not checked where tests are skipped")
        return
    uses = tomllib.loads((ORACLES / "uses.toml").read_text(encoding="utf-8"))
    if not config.option.markexpr:
        uses["slow"] = {}
    present = {path.stem for pattern in ("*.json", "*.csv") for path in ORACLES.glob(pattern)}
    passed = {re.search(r"::(\w+)", test.nodeid)[1] for test in report.stats["passed"]}
    if problems := unaccounted(config.stash[LOADED], passed, uses, present):
        report.write_line("\noracles and tests do not agree, see oracles/uses.toml", red=True)
        report.write_line("\n".join(problems))
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
