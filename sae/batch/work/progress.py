"""How far a run is, for those who wait, and what it did when, for those who look later."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

__all__ = ["Log", "Progress", "Watch", "unwatched"]


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Attributes
    ----------
    items, finished : int
        Of the run, and of these what is in the store.
    total, done : float
        The same, as costs.
    running : tuple of str
        Names of the items at work.
    seconds : float
        Since the run began.
    left : float
        Seconds that the rest takes if it goes on like this; nan until an item is finished.
    memory : int
        The most memory that one process of the run has had so far, in bytes.
    """

    items: int
    finished: int
    total: float
    done: float
    running: tuple[str, ...]
    seconds: float
    left: float
    memory: int


Watch = Callable[[Progress], None]


def unwatched(progress: Progress) -> None:
    """Show nothing."""


class Log:
    """A file of JSON lines, one per event; nothing where no file is named.

    Each line has ``time`` (UTC) and ``event``: ``start``, ``begin``, ``end``, ``error``,
    ``interrupted`` or ``finish``.
    """

    def __init__(self, path: Path | None):
        self._path = path

    def write(self, event: str, **values: Any) -> None:
        """Add an event."""
        if self._path is None:
            return
        entry = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event, **values}
        with self._path.open("a", encoding="utf-8", newline="\n") as file:
            file.write(json.dumps(entry) + "\n")


class Clock:
    """Counts costs and seconds of a run."""

    def __init__(self, items: int, total: float):
        self.items, self.total = items, total
        self.finished, self.done, self.now, self.memory = 0, 0.0, 0.0, 0
        self._start = time.monotonic()

    def stored(self, cost: float) -> None:
        """Count an item of an earlier run."""
        self.finished += 1
        self.done += cost

    def ended(self, cost: float, memory: int) -> None:
        """Count an item of this run."""
        self.stored(cost)
        self.now += cost
        self.memory = max(self.memory, memory)

    @property
    def seconds(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self._start

    def progress(self, running: tuple[str, ...]) -> Progress:
        """Return how far the run is."""
        seconds = self.seconds
        left = seconds / self.now * (self.total - self.done) if self.now else float("nan")
        return Progress(self.items, self.finished, self.total, self.done, running, seconds, left, self.memory)
