"""Kernels from the cache do without numba's compiler, and compiling that lasts is said on a terminal."""

import io
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from sae.numerics.compile import _Notice

ROOT = Path(__file__).parents[2]
SOON = 0.01  # seconds of patience
LONG = 30.0  # seconds that a thread may take to print on a busy machine

KERNELS = """
import numpy as np
from sae.numerics.compile import compiled

@compiled
def roots(x):
    total = 0.0
    for i in range(x.size):
        total += np.sqrt(x[i]) if x[i] > 0.0 else np.log1p(x[i])
    return total

@compiled
def twice(x):
    return 2.0 * roots(x)
"""


@pytest.fixture
def run(tmp_path):
    (tmp_path / "kernels.py").write_text(KERNELS, encoding="utf-8")
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    place = {**os.environ, "PYTHONPATH": path, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}

    def in_new_process(code):
        done = subprocess.run([sys.executable, "-c", code], env=place, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    return in_new_process


def test_a_cached_kernel_loads_without_the_compiler(run):
    """The second process takes one kernel from the cache; the third then compiles one that calls it."""
    tables = "print('numba.cpython.unicode' in sys.modules)"  # the largest of the compiler's tables
    use = f"import sys, numpy as np, kernels; print(kernels.roots(np.array([4.0, -0.5]))); {tables}"
    first, compiled = run(use)
    again, loaded = run(use)
    third = run(f"{use}; print(kernels.twice(np.array([4.0, 9.0])))")
    assert (compiled, loaded, third[1]) == ("True", "False", "False")
    assert first == again == third[0]
    assert float(third[2]) == 10.0


class Terminal(io.StringIO):
    def isatty(self):
        return True


def starts(cached=True):
    stats = SimpleNamespace(cache_path="there" if cached else None)
    return SimpleNamespace(data={"dispatcher": SimpleNamespace(stats=stats)})


@pytest.fixture
def notice(monkeypatch):
    monkeypatch.setattr(_Notice, "PATIENCE", SOON)
    return _Notice()


def wait_for(condition):
    end = time.monotonic() + LONG
    while not condition() and time.monotonic() < end:
        time.sleep(SOON)


@pytest.mark.parametrize(("cached", "text"), [(True, "sae warmup"), (False, "NUMBA_CACHE_DIR")])
def test_compiling_that_lasts_is_said_while_it_lasts_and_once(notice, monkeypatch, cached, text):
    monkeypatch.setattr(sys, "stderr", Terminal())
    notice.on_start(starts(cached))
    notice.on_start(starts(cached))  # a kernel that the first one calls
    notice.on_end(None)
    wait_for(sys.stderr.getvalue)
    (line,) = sys.stderr.getvalue().splitlines()
    assert line.startswith("Compiling kernels") and text in line
    notice.on_end(None)
    notice.on_start(starts(cached))
    time.sleep(5 * SOON)
    notice.on_end(None)
    assert len(sys.stderr.getvalue().splitlines()) == 1


def test_many_short_compilations_are_said_together(monkeypatch):
    notice = _Notice()
    notice._left = 3 * SOON
    monkeypatch.setattr(sys, "stderr", Terminal())
    for _ in range(20):
        notice.on_start(starts())
        time.sleep(SOON)
        notice.on_end(None)
    wait_for(sys.stderr.getvalue)
    assert len(sys.stderr.getvalue().splitlines()) == 1


def test_who_says_it_himself_silences_the_notice(notice, monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    notice.silence()
    notice.on_start(starts())
    time.sleep(5 * SOON)
    notice.on_end(None)
    assert sys.stderr.getvalue() == ""


def test_compiling_is_silent_where_nobody_looks(notice, monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    notice.on_start(starts())
    time.sleep(5 * SOON)
    notice.on_end(None)
    assert sys.stderr.getvalue() == ""
    monkeypatch.setattr(sys, "stderr", None)  # pythonw has none
    notice.on_start(starts())
    notice.on_end(None)
