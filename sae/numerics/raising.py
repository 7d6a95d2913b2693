"""Compile a kernel once and keep it on disk where a folder can be written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit

__all__ = ["jit"]

Kernel = TypeVar("Kernel", bound=Callable[..., Any])


def jit(kernel: Kernel) -> Kernel:
    """Compile `kernel` with numba in nopython mode, cached on disk if any cache folder is writable.

    numba looks beside the source, then in the user's cache folder. A read-only installation under an
    unwritable home has neither and numba then raises at import: such a process compiles in memory instead.

    Examples
    --------
    >>> @jit
    ... def add(a, b):
    ...     return a + b
    >>> add(1, 2)
    3
    """
    try:
        return njit(cache=True)(kernel)
    except RuntimeError:
        return njit(kernel)
