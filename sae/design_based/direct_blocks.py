"""Direct linear estimates from files larger than the memory: blocks summed, merged, and estimated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from sae.design_based.block_estimates import WholeFile
from sae.design_based.block_sums import BlockSums, OtherNumbersError, merged, runs_of, spans, subtree
from sae.design_based.block_task import ROLES, Joined, Task, read_task
from sae.design_based.direct_estimation import check_level
from sae.errors import SaeInputError, SaeSpecError
from sae.indicators import Indicator, check_accept
from sae.literals import LonelyPolicy, Smoothing
from sae.progress import counting, shown
from sae.specs import one_of
from sae.survey.build import HarmonisedRecords
from sae.survey.layouts import resolve_layout
from sae.survey.silc_files import silc_kind
from sae.tables import DirectEstimates
from sae.tables.block_files import open_records

__all__ = ["direct_from_blocks", "task_of"]


def direct_from_blocks(
    data: object,
    indicator: str | Indicator | Sequence[str | Indicator],
    by: str | Sequence[str] = (),
    *,
    weights: str | None = None,
    strata: str | Sequence[str] | None = None,
    psu: str | Sequence[str] | None = None,
    household: str | None = None,
    person: str | None = None,
    fpc: str | Sequence[str] | None = None,
    time: str | None = None,
    layout: str | Mapping[str, Any] | None = None,
    lonely_psu: LonelyPolicy = "fail",
    nest: bool = False,
    subset: str | None = None,
    smoothing: Smoothing | None = None,
    covariance: bool = False,
    level: float = 0.95,
    accept: str | Sequence[str] = (),
    workers: int = 1,
    memory: float = 4e9,
    encoding: str = "utf-8",
    separator: str | None = None,
    decimal: str = ".",
) -> DirectEstimates:
    """Estimate shares, ratios, means and totals from records that need not fit into the memory.

    The table is that of `sae.direct` on the same records, with linearised variances; sampling units need not
    be sorted. The records are read in blocks of 65,536 (see `sae.tables.blocks`), of which only the totals by
    sampling unit and domain stay. The bytes of the table depend neither on `workers` nor on row groups.

    Parameters
    ----------
    data : str, Path or frame
        A Parquet file, a CSV file, a folder of either, or a frame. Folders of Parquet files named
        ``year=2024`` tell a column, which is text.
    indicator, by, smoothing, covariance, level, accept
        As in `sae.direct`.
    weights, strata, psu, household, person, fpc, time, layout, lonely_psu, nest
        As in `sae.Survey.from_frame`; columns by their names. That no person occurs twice is checked only
        where `person` is given here, not in a layout: their keys take some 50 bytes each.
    subset : str, optional
        A condition, as of `Survey.subset`: records outside stay in the design and count as zeros.
    workers : int
        Processes; a script that uses several calls this below ``if __name__ == "__main__":``. A CSV file is
        read by one.
    memory : float
        Bytes that the totals may take; the blocks that are read take about 0.2 GB more in each process.
    encoding, separator, decimal
        Of text files, as in `sae.read_survey`.

    Returns
    -------
    DirectEstimates

    Raises
    ------
    SaeSpecError
        If an indicator is not linear, a layout has replicate weights, or as in `sae.direct`.
    SaeInputError
        If a file is damaged or changes, the totals do not fit into `memory`, or as in `sae.read_survey`; the
        records at fault are named.

    Examples
    --------
    >>> frame = pd.DataFrame({"w": [2.0, 2, 2, 2, 2], "region": list("aabbb"), "works": [1, 0, 1, 1, 1]})
    >>> table = sae.design_based.direct_from_blocks(frame, "works", by="region", weights="w")
    >>> table[["domain", "estimate", "se", "status"]].round(3).to_dict("list")
    {'domain': ['a', 'b'], 'estimate': [0.5, 1.0], 'se': [0.395, 0.0], 'status': ['ok', 'zero variance']}
    """
    one_of("lonely_psu", lonely_psu, LonelyPolicy)
    if smoothing is not None:
        one_of("smoothing", smoothing, Smoothing)
    check_level(level)
    if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
        raise SaeSpecError(f"workers={workers!r} is not a number of processes, 1 or more.")
    roles = {
        "weights": weights,
        "strata": strata,
        "psu": psu,
        "household": household,
        "person": person,
        "fpc": fpc,
        "time": time,
    }
    by = (by,) if isinstance(by, str) or not isinstance(by, Sequence) else tuple(by)
    task, first = task_of(
        data,
        indicator,
        [by],
        roles,
        layout=layout,
        subset=subset,
        accept=accept,
        memory=memory / workers,
        encoding=encoding,
        separator=separator,
        decimal=decimal,
    )
    while True:
        try:
            with shown():
                sums = _summed(task, workers)
            break
        except OtherNumbersError as error:  # no shares after all: their sums are other sums
            task = task.with_numbers(error.places)
    whole = WholeFile(task, sums, first, lonely_psu, nest)
    accepted = check_accept(accept, task.indicators)
    return whole.table(by, smoothing=smoothing, covariance=covariance, level=level, accept=accepted)


def task_of(
    data: object,
    indicator: str | Indicator | Sequence[str | Indicator],
    crossings: Sequence[Sequence[str]],
    roles: Mapping[str, Any],
    *,
    layout: str | Mapping[str, Any] | None = None,
    subset: str | None = None,
    accept: str | Sequence[str] = (),
    memory: float = 4e9,
    joined: Sequence[Joined] = (),
    encoding: str = "utf-8",
    separator: str | None = None,
    decimal: str = ".",
) -> tuple[Task, HarmonisedRecords]:
    """Open a file and say what is summed over its records, for one table or several.

    Parameters are those of `direct_from_blocks` and of `read_task`; `roles` names all columns of the design
    that `direct_from_blocks` knows, None where not given.

    Returns
    -------
    task : Task
        For `sae.design_based.block_sums.subtree`.
    first : HarmonisedRecords
        The first block, for `sae.design_based.block_estimates.WholeFile`.

    Examples
    --------
    Two tables of one pass: the sums of all blocks are a `WholeFile`, which estimates each.

    >>> from sae.design_based.block_estimates import WholeFile
    >>> from sae.design_based.block_sums import runs_of, subtree
    >>> from sae.design_based.direct_blocks import task_of
    >>> frame = pd.DataFrame({"w": 2.0, "region": list("aabbb"), "works": [1, 0, 1, 1, 1]})
    >>> task, first = task_of(frame, "works", [["region"], []], {"weights": "w"})
    >>> whole = WholeFile(task, subtree(task, 0, runs_of(5)), first)
    >>> whole.table([]).frame[["domain", "estimate"]].to_dict("list")
    {'domain': ['all'], 'estimate': [0.8]}
    >>> whole.counted(["region"])["works"].tolist()
    [4.0, 6.0]
    """
    if isinstance(data, str | Path) and silc_kind(Path(data)):
        raise SaeSpecError(
            "The files of EU-SILC are joined person by person, which blocks do not do.",
            hint="Use sae.read_survey and sae.direct.",
        )
    spec = None if layout is None else resolve_layout(layout)
    records = open_records(
        data,
        encoding=encoding,
        separator=separator,
        decimal=decimal,
        missing=() if spec is None else spec.missing,
    )
    given = {**dict.fromkeys(ROLES), **roles}
    return read_task(records, given, layout, spec, indicator, crossings, subset, accept, memory, joined)


def _summed(task: Task, workers: int) -> BlockSums:
    runs = runs_of(task.records.n_records)
    parts = list(spans(runs, workers))
    if workers == 1 or len(parts) == 1 or not task.records.seekable:
        return subtree(task, 0, runs)
    try:
        with ProcessPoolExecutor(min(workers, len(parts)), mp_context=get_context("spawn")) as pool:
            return merged(_in_order(pool, task, parts, workers), task.memory * workers)
    except BrokenProcessPool:
        raise SaeInputError(
            "A process that summed records was ended from outside, perhaps because the memory ran out.",
            hint="Use fewer workers or less memory. A script that uses several calls this below "
            "if __name__ == '__main__':",
        ) from None


def _in_order(
    pool: ProcessPoolExecutor, task: Task, parts: Sequence[tuple[int, int]], workers: int
) -> Iterator[BlockSums]:
    """Yield the parts in their order, a few of them under way at a time."""
    ahead = 2 * workers
    waiting = [pool.submit(subtree, task, *part) for part in parts[:ahead]]
    step = counting("Survey", len(parts), "parts")
    try:
        for number in range(len(parts)):
            yield waiting.pop(0).result()
            step(1)
            if number + ahead < len(parts):
                waiting.append(pool.submit(subtree, task, *parts[number + ahead]))
    finally:
        for one in waiting:
            one.cancel()
