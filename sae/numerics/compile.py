"""Compile kernels: those with long sums for the vector units, the others as they stand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit

__all__ = ["jit_inner", "jit_inner_sums", "jit_scalar"]

Kernel = TypeVar("Kernel", bound=Callable[..., Any])
# Without the interpreter lock; a division by zero gives inf or nan, as in numpy.
_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
# Reordering a sum is all that is granted: NaN, infinities and signed zeros keep their meaning.
_REORDER: dict[str, Any] = {**_OPTIONS, "fastmath": {"reassoc", "contract"}}


def jit_inner(kernel: Kernel) -> Kernel:
    """Compile `kernel` for other kernels to call, never Python: no wrapper, and no file of its own.

    It becomes part of the cached kernel that calls it, which halves the time to compile the two.
    """
    return njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, **_OPTIONS)(kernel)


def jit_inner_sums(kernel: Kernel) -> Kernel:
    """Compile `kernel` as `jit_inner`, but let its long sums be reordered and so run on the vector units.

    The same binary adds in the same order every time, so results repeat bit for bit on one machine;
    another processor may differ in the last digits.
    """
    return njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, **_REORDER)(kernel)


def jit_scalar(kernel: Kernel) -> Kernel:
    """Compile `kernel` once and keep it on disk, if any cache folder is writable."""
    try:
        return njit(cache=True, **_OPTIONS)(kernel)
    except RuntimeError:  # no cache folder is writable: each process compiles for itself
        return njit(**_OPTIONS)(kernel)
