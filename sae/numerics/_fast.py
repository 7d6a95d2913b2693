"""Compile kernels: those with long sums for the vector units, the others as they stand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit

__all__ = ["jit_scalar", "jit_sums"]

Kernel = TypeVar("Kernel", bound=Callable[..., Any])
# Without the interpreter lock; a division by zero gives inf or nan, as in numpy.
_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
# Reordering a sum is all that is granted: NaN, infinities and signed zeros keep their meaning.
_REORDER: dict[str, Any] = {**_OPTIONS, "fastmath": {"reassoc", "contract"}}


def _compile(kernel: Kernel, options: dict[str, Any]) -> Kernel:
    try:
        return njit(cache=True, **options)(kernel)
    except RuntimeError:  # no cache folder is writable: each process compiles for itself
        return njit(**options)(kernel)


def jit_sums(kernel: Kernel) -> Kernel:
    """Compile `kernel`, whose long sums may be reordered and so run on the vector units.

    The same binary adds in the same order every time, so results repeat bit for bit on one machine;
    another processor may differ in the last digits.
    """
    return _compile(kernel, _REORDER)


def jit_scalar(kernel: Kernel) -> Kernel:
    """Compile `kernel`, whose loops are short, or whose order of operations counts."""
    return _compile(kernel, _OPTIONS)
