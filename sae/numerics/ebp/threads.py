"""Tasks on several threads, given up at an interrupt after those that run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["spread"]

Task = TypeVar("Task")
Made = TypeVar("Made")


def spread(run: Callable[[Task], Made], tasks: Iterable[Task], threads: int) -> list[Made]:
    """Return what `run` makes of every task, in their order.

    Examples
    --------
    >>> from sae.numerics.ebp.threads import spread
    >>> spread(abs, [-2, 1], 2)
    [2, 1]
    """
    if threads <= 1:
        return [run(task) for task in tasks]
    pool = ThreadPoolExecutor(threads)
    try:
        return list(pool.map(run, tasks))
    finally:
        pool.shutdown(cancel_futures=True)
