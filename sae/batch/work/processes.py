"""Workers that are processes of this machine, each at one task, none longer alive than the run."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import connection
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from types import TracebackType
from typing import Self

from sae.batch.work.tasks import Done, Task, perform
from sae.batch.work.threads import one_thread
from sae.errors import SaeError, SaeSpecError

__all__ = ["Processes", "outcome"]

PATIENCE = 5.0  # seconds for a worker without a task to end


class Processes:
    """Tasks in processes of this machine, as many at once as there are workers.

    A worker begins when it is first needed, reads and writes the store itself, and ends with this process,
    however that ends. Programs that use it need ``if __name__ == "__main__":`` around what they do.

    Parameters
    ----------
    workers : int

    Raises
    ------
    SaeSpecError
        If `workers` is no number of processes.
    """

    def __init__(self, workers: int):
        if workers < 1:
            raise SaeSpecError(f"A run needs one worker at least, not {workers}.")
        self.workers = workers
        self._idle: list[_Worker] = []
        self._busy: dict[str, _Worker] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cancel()
        for worker in self._idle:
            worker.channel.close()  # it ends when it reads the end
        for worker in self._idle:
            worker.end(PATIENCE)
        self._idle = []

    def submit(self, task: Task) -> None:
        """Give a task to an idle worker, or a new one."""
        worker = self._idle.pop() if self._idle else _Worker()
        self._busy[task.name] = worker
        # a worker that has died is noticed by those who wait for it
        with suppress(BrokenPipeError, ConnectionResetError):
            worker.channel.send(task)

    def completed(self) -> tuple[str, Done | Exception]:
        """Wait until a worker has done its task, or died."""
        ready = connection.wait([worker.channel for worker in self._busy.values()])
        name = next(name for name, worker in self._busy.items() if worker.channel in ready)
        worker = self._busy.pop(name)
        try:
            ended: Done | Exception = worker.channel.recv()
        except (EOFError, OSError):
            return name, worker.died(name)
        worker.tasks += 1
        self._idle.append(worker)
        return name, ended

    def cancel(self) -> None:
        """Kill the workers that have a task: what they write is whole or not there."""
        for worker in self._busy.values():
            worker.end(0.0)
        self._busy = {}


class _Worker:
    """A process and the channel to it."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.channel, theirs = context.Pipe()
        self.process: SpawnProcess = context.Process(target=_serve, args=(theirs,), daemon=True)
        self.tasks = 0
        try:
            with _born():
                self.process.start()
        except BaseException:  # Ctrl-C waited until now
            if self.process.pid is not None:
                self.end(0.0)
            raise
        finally:
            theirs.close()

    def end(self, patience: float) -> None:
        """Wait for the process, and kill it if it does not end."""
        self.process.join(patience)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.channel.close()

    def died(self, item: str) -> SaeError:
        """Tell how the process ended while it was at work on an item."""
        self.end(PATIENCE)
        code = self.process.exitcode or 0
        how = f"by signal {-code} ({signal.Signals(-code).name})" if code < 0 else f"with exit code {code}"
        hint = "Run again: what is finished is not done again."
        if code == -9:
            hint = f"Most often the memory was too small: use fewer workers. {hint}"
        elif code > 0 and not self.tasks:
            hint = 'A program that starts workers needs `if __name__ == "__main__":` around what it does.'
        return SaeError(f"The worker on {item!r} ended {how}.", hint=hint)


def outcome(task: Task) -> Done | Exception:
    """Perform a task; return what is known of it, or its error as far as it can be sent."""
    try:
        return perform(task)
    except Exception as error:
        error.add_note("".join(traceback.format_exception(error)))
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:
            return RuntimeError(f"{type(error).__name__} in {task.name!r}: {error}")
        return error


def _serve(channel: Connection) -> None:
    """Do the tasks that come, until the channel ends."""
    _end_with_parent()
    while True:
        try:
            task = channel.recv()
        except EOFError:
            return
        channel.send(outcome(task))


def _end_with_parent() -> None:
    """End this process as soon as the one that started it has ended."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    if sys.platform == "linux":  # also while a kernel keeps Python's own lock
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


@contextmanager
def _born() -> Iterator[None]:
    """Let a process begin with one thread per library, deaf to what ends the run: that ends its workers."""
    mask = None
    if hasattr(signal, "pthread_sigmask"):
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    try:
        with one_thread():
            yield
    finally:
        if mask is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
