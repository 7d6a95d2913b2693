"""One item at work: read what it needs, do it, store what it gave. Any process of a run does this."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from sae.batch.work.items import Job, Reader
from sae.batch.work.store import Store
from sae.batch.work.threads import one_thread

__all__ = ["Done", "Executor", "Serial", "Task", "memory_peak", "perform"]


@dataclass(frozen=True, eq=False)
class Task:
    """An item that is ready: everything it needs is in the store."""

    name: str
    key: str
    job: Job
    needs: Mapping[str, str]
    store: Store


@dataclass(frozen=True)
class Done:
    """What is known of a finished item: its output is in the store.

    Attributes
    ----------
    name, sha256 : str
    seconds : float
    memory : int
        The most memory that its process has had so far, in bytes; 0 where the system does not say.
    """

    name: str
    sha256: str
    seconds: float
    memory: int


class Executor(Protocol):
    """Who performs tasks. Entered, it is ready; left, nothing of it is at work any more."""

    workers: int

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def submit(self, task: Task) -> None:
        """Begin a task; no more than `workers` are given at once."""

    def completed(self) -> tuple[str, Done | Exception]:
        """Wait until a task ends, and return its name with its outcome."""

    def cancel(self) -> None:
        """End the tasks at work."""


class Serial:
    """Tasks one after the other, in this process."""

    workers = 1

    def __init__(self) -> None:
        self._tasks: list[Task] = []
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._stack.enter_context(one_thread())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cancel()
        self._stack.close()

    def submit(self, task: Task) -> None:
        """Keep a task until it is waited for."""
        self._tasks.append(task)

    def completed(self) -> tuple[str, Done | Exception]:
        """Do the first task, and return its name with its outcome."""
        task = self._tasks.pop(0)
        try:
            return task.name, perform(task)
        except Exception as error:
            return task.name, error

    def cancel(self) -> None:
        """Forget what was not begun."""
        self._tasks.clear()


def perform(task: Task) -> Done:
    """Do an item and store its output."""
    start = time.perf_counter()
    needs = Reader(task.needs, lambda name: task.store.read(task.needs[name]))
    digest = task.store.put(task.key, task.job(needs))
    return Done(task.name, digest, time.perf_counter() - start, memory_peak())


def memory_peak() -> int:
    """Return the most memory that this process has had, in bytes; 0 where the system does not say."""
    if sys.platform == "win32":
        return 0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
