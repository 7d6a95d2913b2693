"""Compile kernels: those with long sums for the vector units, the others as they stand.

Every kernel has numba's error model "numpy": a division by zero gives inf or nan and raises nothing, so a
kernel asks for itself where a denominator can be 0. No kernel holds the interpreter lock.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit

__all__ = ["compiled", "inlined", "inlined_sums"]

Kernel = TypeVar("Kernel", bound=Callable[..., Any])
_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
# Reordering a sum is all that is granted: NaN, infinities and signed zeros keep their meaning.
_REORDER: dict[str, Any] = {**_OPTIONS, "fastmath": {"reassoc", "contract"}}


def compiled(kernel: Kernel) -> Kernel:
    """Compile `kernel` once and keep it on disk, if any cache folder is writable.

    numba looks beside the source, then in the user's cache folder. A read-only installation under an
    unwritable home has neither and numba then raises at import: such a process compiles in memory instead.

    Examples
    --------
    >>> @compiled
    ... def add(a, b):
    ...     return a + b
    >>> add(1, 2)
    3
    """
    try:
        return njit(cache=True, **_OPTIONS)(kernel)
    except RuntimeError:
        return njit(**_OPTIONS)(kernel)


def inlined(kernel: Kernel) -> Kernel:
    """Compile `kernel` for other kernels to call, never Python: no wrapper, and no file of its own.

    It becomes part of the cached kernel that calls it, which halves the time to compile the two.
    """
    return njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, **_OPTIONS)(kernel)


def inlined_sums(kernel: Kernel) -> Kernel:
    """Compile `kernel` as `inlined`, but let its long sums be reordered and so run on the vector units.

    The same binary adds in the same order every time, so results repeat bit for bit on one machine;
    another processor may differ in the last digits.
    """
    return njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, **_REORDER)(kernel)
