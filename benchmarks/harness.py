"""What a benchmark case is, and how one case is timed."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

try:
    import resource
except ImportError:  # Windows has no getrusage: wall time and this process's CPU time only
    resource = None  # type: ignore[assignment]


@dataclass(frozen=True)
class Case:
    """One thing to time, and the thing it is measured against in the same process.

    Attributes
    ----------
    name : str
        Unique over all files.
    run : callable
        ``run(state)``: what is timed.
    peer : callable
        ``peer(state)``: another package, or the physical limit (one pass over the memory), timed in turn.
    peer_name : str
        What the peer is, in words.
    setup : callable
        ``setup()`` makes `state`; not timed. Heavy imports belong here, not at the top of the file.
    check : callable, optional
        ``check(state, result, peer_result)`` raises if the two did not do the same work.
    unit, units, peer_units : str, int, int
        What is counted ("fit", "record"), and how many of it one call of `run` and of `peer` does:
        the ratio is per unit.
    threads : int
        Threads for numba; BLAS always has one.
    repeat : int
        Timed pairs of calls, after one call that is not timed.
    target : str
        The promise, in words, where there is one.
    """

    name: str
    run: Callable[[Any], Any]
    peer: Callable[[Any], Any]
    peer_name: str
    setup: Callable[[], Any] = lambda: None
    check: Callable[[Any, Any, Any], None] | None = None
    unit: str = "call"
    units: int = 1
    peer_units: int = 1
    threads: int = 1
    repeat: int = 5
    target: str = ""


def clock() -> tuple[float, float]:
    """Return (CPU seconds, wall seconds); CPU counts this process, its threads and its finished children."""
    if resource is None:
        return time.process_time(), time.perf_counter()
    uses = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(use.ru_utime + use.ru_stime for use in uses), time.perf_counter()


def peak_rss_mb() -> float | None:
    """Return the largest resident memory so far of this process or of one finished child, in MB."""
    if resource is None:
        return None
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return peak / (1e6 if sys.platform == "darwin" else 1e3)


def timed(call: Callable[[Any], Any], state: Any) -> tuple[float, float]:
    """Return CPU and wall seconds of one call."""
    cpu, wall = clock()
    call(state)
    cpu_after, wall_after = clock()
    return cpu_after - cpu, wall_after - wall


def measure(case: Case, repeat: int | None = None) -> dict[str, Any]:
    """Time one case and its peer in turn, so that both meet the same machine.

    Returns
    -------
    dict
        Seconds per call (medians), units per CPU second, and ``ratio``: CPU of the case over CPU of the peer,
        per unit; below 1 the case is the faster one. ``peak_rss_mb`` is read before the peer first runs.
    """
    state = case.setup()
    before = peak_rss_mb()
    result = case.run(state)
    peak = peak_rss_mb()
    peer_result = case.peer(state)
    if case.check is not None:
        case.check(state, result, peer_result)
    del result, peer_result
    pairs = [(timed(case.run, state), timed(case.peer, state)) for _ in range(repeat or case.repeat)]
    cpu, wall, peer_cpu, peer_wall = (
        statistics.median(pair[who][what] for pair in pairs) for who in (0, 1) for what in (0, 1)
    )
    return {
        "name": case.name,
        "unit": case.unit,
        "units": case.units,
        "threads": case.threads,
        "repeat": len(pairs),
        "cpu_s": cpu,
        "wall_s": wall,
        "units_per_cpu_s": case.units / cpu if cpu > 0 else None,
        "peer": case.peer_name,
        "peer_units": case.peer_units,
        "peer_cpu_s": peer_cpu,
        "peer_wall_s": peer_wall,
        "ratio": (cpu / case.units) / (peer_cpu / case.peer_units) if peer_cpu > 0 else None,
        "peak_rss_mb": peak,
        "rss_before_mb": before,
        "target": case.target,
    }
