"""The compiler beside the demo: started only where the cache is cold, and never left behind."""

import os
import subprocess
import sys

import pytest

from sae.batch import compiling


def test_nothing_is_started_where_the_cache_is_warm(monkeypatch):
    monkeypatch.setattr(compiling, "_in_cache", lambda: True)
    monkeypatch.setattr(compiling, "_start", lambda: pytest.fail("started a compiler for nothing"))
    with compiling.compiled_beside() as wait:
        wait()


def test_the_compiler_is_ended_with_what_it_was_started_for(monkeypatch):
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    monkeypatch.setattr(compiling, "_in_cache", lambda: False)
    monkeypatch.setattr(compiling, "_start", lambda: sleeper)
    with pytest.raises(KeyboardInterrupt), compiling.compiled_beside():
        raise KeyboardInterrupt
    assert sleeper.poll() is not None


def test_the_tiny_fit_leaves_the_kernel_in_the_cache(tmp_path):
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    ask = "from sae.batch.compiling import _in_cache; print(_in_cache())"

    def run(code):
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    assert run(ask) == "False"
    run(compiling._TINY_FIT)
    assert run(ask) == "True"
