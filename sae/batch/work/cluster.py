"""Workers of a Dask cluster that runs already; they and this process share the disk of the store."""

from __future__ import annotations

import platform
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self
from uuid import uuid4

from sae.batch.outputs import versions
from sae.batch.work.processes import outcome
from sae.batch.work.store import Store
from sae.batch.work.tasks import Done, Task
from sae.batch.work.threads import one_thread
from sae.errors import SaeError, SaeInputError, SaeSpecError, name_some

if TYPE_CHECKING:
    from distributed import Client, Future

__all__ = ["Cluster"]

SCHEME = "dask://"
PATIENCE = 10.0  # seconds for the scheduler to answer
WITHOUT_WORKERS = 6  # times that long with no worker before a run gives up
_ALONE = threading.Lock()  # a process does one task at a time, however many threads Dask gives it


class Cluster:
    """Tasks on the workers of a Dask cluster, one at a time on each.

    Workers read and write the store themselves: its folder is on a disk that all of them share. What the
    numbers depend on has the same version everywhere.

    Parameters
    ----------
    address : str
        ``dask://HOST:PORT`` of the scheduler.

    Raises
    ------
    SaeSpecError
        If the address is none, or the extra ``dask`` is not installed.
    SaeInputError
        Entered: if no scheduler answers or it has no workers, or workers have other versions.
    """

    def __init__(self, address: str):
        host, _, port = address.removeprefix(SCHEME).rpartition(":")
        if not address.startswith(SCHEME) or not host or not port.isdigit():
            raise SaeSpecError(
                f"{address!r} is no address of a Dask scheduler.",
                hint="Write dask://HOST:PORT, as dask://node1:8786.",
            )
        try:
            import distributed  # noqa: F401
        except ImportError:
            raise SaeSpecError(
                "A run on a Dask cluster needs the package distributed.",
                hint='Install it: pip install "sae[dask]".',
            ) from None
        self.address = address
        self.workers = 0
        self._versions = versions()
        self._client: Client | None = None
        self._futures: dict[Future, str] = {}
        self._seen: set[Path] = set()

    def __enter__(self) -> Self:
        from distributed import Client

        try:
            place = self.address.replace(SCHEME, "tcp://")
            self._client = Client(place, timeout=PATIENCE, set_as_default=False)
        except (OSError, ValueError) as error:
            raise SaeInputError(
                f"No Dask scheduler answers at {self.address}: {' '.join(str(error).split())}.",
                hint="Start `dask scheduler`, and workers with `dask worker HOST:PORT --nthreads 1`.",
            ) from None
        try:
            self._count()
            self._check_versions()
        except BaseException:
            self._client.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cancel()
        self._connected.close()
        self._client = None

    def submit(self, task: Task) -> None:
        """Give a task to the scheduler."""
        if task.store.folder not in self._seen:
            self._check_sight(task.store)
        with self._reached():
            key = f"{task.name} {uuid4().hex}"
            future = self._connected.submit(_performed, task, self._versions, key=key, pure=False)
        self._futures[future] = task.name

    def completed(self) -> tuple[str, Done | Exception]:
        """Wait until a worker has done its task, or workers have died of it."""
        from distributed import KilledWorker

        with self._reached():
            future = self._first()
            name = self._futures.pop(future)
            problem = future.exception()
            self._count()
            if problem is None:
                return name, future.result()
        if isinstance(problem, KilledWorker):
            problem = SaeError(
                f"Workers of {self.address} died of {name!r}, one after the other.",
                hint="Most often their memory was too small. Run again: what is finished is not done again.",
            )
        return name, problem

    def cancel(self) -> None:
        """Take back what is not begun; what a worker has begun it ends and stores, for the next run."""
        with suppress(OSError, CancelledError):
            self._connected.cancel(list(self._futures), force=True)
        self._futures = {}

    @property
    def _connected(self) -> Client:
        assert self._client is not None, "the cluster was not entered"
        return self._client

    def _first(self) -> Future:
        """Return a future that has ended; give up when there is nobody to end it."""
        from distributed import wait

        alone = 0
        while alone < WITHOUT_WORKERS:
            with self._connected.as_current(), suppress(TimeoutError):
                done = wait(list(self._futures), timeout=PATIENCE, return_when="FIRST_COMPLETED").done
                return next(future for future in self._futures if future in done)
            alone = 0 if self._connected.nthreads() else alone + 1
        raise self._without_workers()

    def _count(self) -> None:
        """Note how many workers there are: they come and go."""
        workers = len(self._connected.nthreads())
        if not workers and not self.workers:
            raise self._without_workers()
        self.workers = max(workers, 1)

    def _without_workers(self) -> SaeInputError:
        return SaeInputError(
            f"The Dask scheduler at {self.address} has no workers.",
            hint="Start some with `dask worker HOST:PORT --nthreads 1`. What is finished is not done again.",
        )

    def _check_versions(self) -> None:
        """Refuse workers on which the numbers may be others."""
        with self._reached():
            theirs = self._connected.run(versions, on_error="return")
        for worker, known in theirs.items():
            if isinstance(known, Exception):
                raise SaeInputError(
                    f"The worker {worker} of {self.address} cannot use sae: {known}.",
                    hint="Install the same sae on all workers.",
                )
            _refuse_others(known, self._versions, f"The worker {worker} of {self.address}")

    def _check_sight(self, store: Store) -> None:
        """Refuse workers that do not see the folder of a store."""
        with self._reached():
            sight = self._connected.run(store.mark.exists)
        blind = sorted(worker for worker, sees in sight.items() if not sees)
        if blind:
            raise SaeInputError(
                f"{len(blind)} of {len(sight)} workers do not see the folder {store.folder}: "
                f"{name_some(blind)}.",
                hint="Name an output folder on a disk that all workers share.",
            )
        self._seen.add(store.folder)

    @contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except (OSError, CancelledError) as error:
            raise SaeError(
                f"The connection to the Dask scheduler at {self.address} was lost: {type(error).__name__}.",
                hint="Run again when it is there: what is finished is not done again.",
            ) from None


def _performed(task: Task, wanted: Mapping[str, str]) -> Done | Exception:
    """Perform a task in a worker, which may have joined after the run began."""
    try:
        _refuse_others(_own_versions(), wanted, f"A worker on {platform.node()}")
    except SaeInputError as error:
        return error
    with _ALONE, one_thread():
        return outcome(task)


_own_versions = cache(versions)


def _refuse_others(theirs: Mapping[str, str], ours: Mapping[str, str], who: str) -> None:
    other = [
        f"{name} {theirs.get(name)}, not {ours[name]}" for name in ours if theirs.get(name) != ours[name]
    ]
    if other:
        raise SaeInputError(f"{who} has {', '.join(other)}.", hint="Install the same versions everywhere.")
