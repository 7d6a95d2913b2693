"""Items in the order of their needs: what is in the store is not done again."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path

from sae.batch.work.items import Item, Output, Reader, in_order, item_keys
from sae.batch.work.progress import Clock, Log, Watch, unwatched
from sae.batch.work.store import Store
from sae.batch.work.tasks import Done, Executor, Serial, Task
from sae.errors import SaeError

__all__ = ["executed"]


def executed(
    items: Sequence[Item],
    store: Store,
    executor: Executor | None = None,
    watch: Watch = unwatched,
    *,
    log: Path | None = None,
) -> Mapping[str, Output]:
    """Do the items that the store lacks, and give all outputs, each read from the store when looked up.

    Parameters
    ----------
    items : sequence of Item
        In any order.
    store : Store
    executor : Executor, optional
        Entered; by default items are done one after the other in this process.
    watch : callable
        Called with the `Progress` when an item begins or ends.
    log : path, optional
        File that gets a JSON line for each event.

    Returns
    -------
    Mapping of str to Output
        By name of the item.

    Raises
    ------
    Exception
        Of the first item, in the order of one worker, that fails: whatever its job raises. Items after it are
        ended; what is finished stays in the store.

    Examples
    --------
    >>> import tempfile
    >>> from sae.batch.work import Item, Output, Store, executed
    >>> def number(needs): return Output(facts={"n": 2})
    >>> def twice(needs): return Output(facts={"n": 2 * needs["a"].facts["n"]})
    >>> items = [Item("b", {}, twice, needs=("a",)), Item("a", {}, number)]
    >>> folder = tempfile.TemporaryDirectory()
    >>> executed(items, Store(folder.name))["b"].facts["n"]
    4
    >>> folder.cleanup()
    """
    ordered = in_order(items)
    keys = item_keys(items)
    with nullcontext(executor) if executor is not None else Serial() as performer:
        _Run(ordered, keys, store, performer, watch, Log(log)).go()
    return Reader(keys, lambda name: store.read(keys[name]))


class _Run:
    """The state of a run while it goes on: items are known by their place in the order."""

    def __init__(
        self,
        items: Sequence[Item],
        keys: Mapping[str, str],
        store: Store,
        executor: Executor,
        watch: Watch,
        log: Log,
    ):
        self.items, self.keys, self.store = items, keys, store
        self.executor, self.watch, self.log = executor, watch, log
        self.clock = Clock(len(items), sum(item.cost for item in items))
        self.place = {item.name: k for k, item in enumerate(items)}
        self.running: dict[str, int] = {}
        self.failed: dict[int, Exception] = {}
        self.waits: dict[int, set[int]] = {}  # for what an item waits
        self.followers: dict[int, list[int]] = {k: [] for k in range(len(items))}
        self.ready: list[int] = []

    def go(self) -> None:
        self._plan()
        self.log.write("start", items=len(self.items), stored=self.clock.finished)
        try:
            self._begin()
            while any(k < self._end for k in self.running.values()):
                self._take(*self.executor.completed())
                self._begin()
        except BaseException as end:
            self.executor.cancel()
            with suppress(OSError):  # a full disk may be what ended it
                self.log.write("interrupted", reason=type(end).__name__)
            raise
        if self.failed:
            self.executor.cancel()
            raise self.failed[self._end]
        self.log.write("finish", seconds=round(self.clock.seconds, 3), memory=self.clock.memory)

    @property
    def _end(self) -> int:
        """The place from which on nothing matters any more: that of the first item that failed."""
        return min(self.failed, default=len(self.items))

    def _plan(self) -> None:
        """Tell what is to be done, and what waits for what."""
        for k, item in enumerate(self.items):
            if self.store.get(self.keys[item.name]) is not None:
                self.clock.stored(item.cost)
                continue
            self.waits[k] = {self.place[need] for need in item.needs} & self.waits.keys()
            for j in self.waits[k]:
                self.followers[j].append(k)
            if not self.waits[k]:
                self.ready.append(k)

    def _begin(self) -> None:
        """Give the executor as many items as it has workers, the first first."""
        while self.ready and self.ready[0] < self._end and len(self.running) < self.executor.workers:
            k = heapq.heappop(self.ready)
            item = self.items[k]
            needs = {name: self.keys[name] for name in item.needs}
            self.running[item.name] = k
            self.log.write("begin", item=item.name)
            self.executor.submit(Task(item.name, self.keys[item.name], item.job, needs, self.store))
        self.watch(self.clock.progress(tuple(self.running)))

    def _take(self, name: str, outcome: Done | Exception) -> None:
        """Note how an item ended, and what is ready after it."""
        k = self.running.pop(name)
        if isinstance(outcome, Exception):
            text = outcome.what if isinstance(outcome, SaeError) else repr(outcome)
            self.log.write("error", item=name, error=text)
            self.failed[k] = outcome
            return
        seconds = round(outcome.seconds, 4)
        entry = {"key": self.keys[name], "name": name, "seconds": seconds, "sha256": outcome.sha256}
        self.store.note(entry)
        self.log.write("end", item=name, seconds=seconds, memory=outcome.memory)
        self.clock.ended(self.items[k].cost, outcome.memory)
        for j in self.followers[k]:
            self.waits[j].discard(k)
            if not self.waits[j]:
                heapq.heappush(self.ready, j)
