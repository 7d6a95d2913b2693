"""The model's kernel, compiled in a second process while the first one works on the survey."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["compiled_beside"]

_TINY_FIT = (
    "import numpy as np; from sae.numerics.fay_herriot.fit import fit_batch; "
    "fit_batch(np.arange(5.0) ** 2, np.ones(5), np.ones((1, 5)), np.array([0, 5]))"
)


@contextmanager
def compiled_beside() -> Iterator[Callable[[], None]]:
    """Compile the Fay–Herriot kernel beside what runs inside, where no cache holds it yet.

    Yields
    ------
    callable
        Waits for the compiler; call it before the first fit, which then finds the kernel in the cache. Where
        the compiler failed the fit compiles for itself.
    """
    process = None if _in_cache() else _start()

    def wait() -> None:
        if process is not None:
            process.wait()

    try:
        yield wait
    finally:
        if process is not None and process.poll() is None:
            process.kill()
            process.wait()


def _start() -> subprocess.Popen[bytes]:
    quiet = subprocess.DEVNULL
    return subprocess.Popen([sys.executable, "-c", _TINY_FIT], stdin=quiet, stdout=quiet, stderr=quiet)


def _in_cache() -> bool:
    """Whether some version of the kernel is on disk, or none can be kept there."""
    from sae.numerics.fay_herriot import fit as fay_herriot

    folder = fay_herriot._fit.stats.cache_path  # type: ignore[attr-defined]
    return folder is None or any(Path(folder).glob("fit._fit-*.nbi"))
