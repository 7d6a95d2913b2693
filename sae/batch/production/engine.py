"""How a production is performed: workers, clusters, shards, memory. No figure depends on it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sae.batch.work import Executor, Processes, Serial, Watch, unwatched
from sae.errors import SaeSpecError

__all__ = ["MEMORY", "Engine", "Shard", "memory_of"]

MEMORY = 4e9  # bytes of one worker, where none are stated: the same on every machine
SHORT = 20.0  # seconds of work below which to start processes takes longer than it saves
_UNITS = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}


@dataclass(frozen=True)
class Shard:
    """One of several runs that do a production together.

    Attributes
    ----------
    number, of : int
    """

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read "2/4".

        Raises
        ------
        SaeSpecError

        Examples
        --------
        >>> from sae.batch.production.workplace import Shard
        >>> Shard.parse("2/4")
        Shard(number=2, of=4)
        """
        number, _, of = text.partition("/")
        if not (number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
            raise SaeSpecError(f"{text!r} is no shard.", hint="Write 1/4 for the first of four.")
        return cls(int(number), int(of))

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


@dataclass(frozen=True)
class Engine:
    """Who performs the items of a production.

    Attributes
    ----------
    workers : int, optional
        Processes; by default one for each core that is ours, if there is work for more than some seconds.
    cluster : str
        Address of a Dask scheduler, "dask://HOST:PORT"; "" for processes of this machine.
    memory : float
        Bytes that one worker may take: larger surveys are read in blocks.
    watch : callable
        Called with the progress.
    log : Path, optional
        File of JSON lines.
    """

    workers: int | None = None
    cluster: str = ""
    memory: float = MEMORY
    watch: Watch = unwatched
    log: Path | None = None

    @classmethod
    def parse(cls, executor: str | None, memory: str | None, **options: Any) -> Engine:
        """Return what the command line asks for: "processes" or "dask://HOST:PORT", and "4GB".

        Raises
        ------
        SaeSpecError
        """
        cluster = "" if executor in (None, "processes") else str(executor)
        if cluster and not cluster.startswith("dask://"):
            raise SaeSpecError(
                f"{executor!r} is no executor.", hint="Write processes, or dask://HOST:PORT of a scheduler."
            )
        return cls(cluster=cluster, memory=MEMORY if memory is None else memory_of(memory), **options)

    def executor(self, seconds: float) -> Executor:
        """Return who performs work of so many seconds or so."""
        if self.cluster:
            from sae.batch.work.cluster import Cluster

            return Cluster(self.cluster)
        workers = self.workers or (_cores() if seconds > SHORT else 1)
        return Processes(workers) if workers > 1 else Serial()


def memory_of(text: str) -> float:
    """Return the bytes of "4GB".

    Raises
    ------
    SaeSpecError

    Examples
    --------
    >>> from sae.batch.production.engine import memory_of
    >>> memory_of("4GB"), memory_of("500 MB")
    (4000000000.0, 500000000.0)
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)I?B?", text.strip().upper())
    if match is None or not float(match[1]):
        raise SaeSpecError(f"{text!r} is no amount of memory.", hint="Write 4GB or 500MB.")
    return float(match[1]) * _UNITS[match[2]]


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
