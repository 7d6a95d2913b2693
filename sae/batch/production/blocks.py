"""Survey files larger than the memory: read once in blocks, by their sums known and estimated."""

from __future__ import annotations

from collections.abc import Container, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from sae.auxiliary import AreaFile
from sae.batch.estimate import indicator_of
from sae.batch.production.design import Design
from sae.batch.production.sections import SurveyEntry
from sae.batch.production.sketches import Sketch, counted_stage
from sae.batch.production.spec import ProductionFile
from sae.batch.production.surveys import larger_areas_of
from sae.design_based.block_estimates import WholeFile
from sae.design_based.block_sums import BlockSums, merged, runs_of, spans
from sae.design_based.block_task import Joined, Task
from sae.design_based.direct_blocks import task_of
from sae.design_based.domains import Domains, cross_domains
from sae.errors import SaeError, SaeInputError, SaeSpecError, name_some
from sae.indicators import REGISTRY, Indicator, check_accept
from sae.survey import Survey
from sae.survey.build import HarmonisedRecords, harmonised_records
from sae.survey.silc_files import silc_kind
from sae.tables import DirectEstimates
from sae.tables.block_files import open_records

__all__ = ["BlockFile", "InBlocks", "block_file", "block_sketch", "in_blocks", "memory_of_files"]

CELL = 32.0  # bytes of memory for each cell: EU-LFS files of 53 columns took 20, indicators come on top
PACKED = 6.0  # bytes of text in one of a packed file; a cell of text takes some 4
SPANS = 2  # blocks are cut as for two workers, however many there are: parts outlast another number of them


def memory_of_files(paths: Sequence[Path]) -> float:
    """Return about how many bytes the records of files take while they are read and harmonised.

    A file that cannot be told the number of its cells is taken for text.
    """
    files = [one for path in paths for one in (path.rglob("*") if path.is_dir() else [path]) if one.is_file()]
    return sum(CELL * _cells(one) for one in files)


def _cells(path: Path) -> float:
    ending = path.suffix.lower()
    if ending in (".parquet", ".pq"):
        from pyarrow import ArrowException
        from pyarrow.parquet import read_metadata

        with suppress(ArrowException, OSError):  # who reads it says what is wrong
            facts = read_metadata(path)
            return float(facts.num_rows * facts.num_columns)
    return path.stat().st_size * (PACKED if ending in (".gz", ".sav", ".zsav") else 1.0) / 4.0


def in_blocks(file: ProductionFile, name: str, paths: Sequence[Path], memory: float) -> bool:
    """Whether files of a survey are read in blocks: a folder of records, or more than the memory.

    Raises
    ------
    SaeInputError
        If they do not fit, and cannot be read in blocks.
    """
    entry, variance = file.surveys[name], file.production.variance
    folder = len(paths) == 1 and paths[0].is_dir() and not silc_kind(paths[0])
    size = memory_of_files(paths)
    if size <= memory and not folder:
        return False
    reasons = {
        "the files of EU-SILC are joined person by person": any(map(silc_kind, paths)),
        "several files make one table where time = false": len(paths) > 1,
        "its periods are pooled": entry.pool is not None,
        f'variance = "{variance}"': variance not in (None, "linearised"),
        "a population is stated": entry.population is not None,
    }
    reason = next((text for text, holds in reasons.items() if holds), "")
    if reason:
        raise _too_large(entry, size, memory, reason)
    return True


def _too_large(entry: SurveyEntry, size: float, memory: float, reason: str) -> SaeInputError:
    return SaeInputError(
        f"The records of the survey {entry.name} take about {size / 1e9:,.1f} GB, more than the "
        f"{memory / 1e9:,.1f} GB of memory, and cannot be read in blocks: {reason}.",
        hint=f"State more memory: --memory {int(size / 1e9) + 1}GB.",
    )


@dataclass(frozen=True, eq=False)
class BlockFile:
    """A file that is read in blocks: what is summed over its records.

    Attributes
    ----------
    entry : SurveyEntry
    task : Task
    first : HarmonisedRecords
        The first block.
    levels : tuple of str
        The file's own columns of levels.
    """

    entry: SurveyEntry
    task: Task
    first: HarmonisedRecords
    levels: tuple[str, ...]

    @property
    def spans(self) -> list[tuple[int, int]]:
        """The parts that are summed apart; of a file that cannot be read from the middle, one."""
        runs = runs_of(self.task.records.n_records)
        return list(spans(runs, SPANS)) if self.task.records.seekable else [(0, runs)]

    def whole(self, sums: Sequence[BlockSums]) -> WholeFile:
        """Return the whole file from the sums of its spans, in their order."""
        total = sums[0] if len(sums) == 1 else merged(iter(sums), self.task.memory)
        return WholeFile(self.task, total, self.first, self.entry.lonely_psu, self.entry.nest)


def block_file(
    file: ProductionFile, name: str, path: Path, areas: AreaFile | None, memory: float
) -> BlockFile:
    """Open a file of a survey and say what is summed: the indicators that it carries, in its crossings.

    Raises
    ------
    SaeInputError
        If an indicator of the survey needs all records at once.
    SaeSpecError
        If the file carries none of the indicators, or its layout has replicate weights.
    """
    entry, production = file.surveys[name], file.production
    records = open_records(path, encoding=entry.encoding, separator=entry.separator, decimal=entry.decimal)
    head = next(records.prepared(records.columns).blocks(records.columns, 0, 1))
    first = harmonised_records(head, {}, entry.as_layout, whole=False)
    sample = Survey(
        first.records,
        np.ones(len(first.records)),
        (),
        time=first.roles.get("time"),
        layout=first.layout,
        release=first.release,
        notes=tuple(first.notes),
    )
    indicators, reasons = _carried(file, entry, sample, path, memory)
    if not indicators:
        raise SaeSpecError(f"{path.name} tells no indicator: {name_some(reasons, 3)}")
    joined = _joined(file, areas, sample.frame)
    known = {*map(str, sample.frame), *(one.column for one in joined)}
    time = [sample.time] if production.time and sample.time else []
    crossings = [
        [*filter(None, [column]), *groups, *time]
        for column in production.levels.values()
        for groups in production.groups
        if {*filter(None, [column]), *groups} <= known
    ]
    task, first = task_of(
        path,
        indicators,
        crossings or [time],
        {},
        layout=entry.as_layout,
        accept=production.accept,
        memory=memory,
        joined=joined,
        encoding=entry.encoding,
        separator=entry.separator,
        decimal=entry.decimal,
    )
    own = [name for name in task.by if name not in {one.column for one in task.joined}]
    levels = tuple(column for column in production.levels.values() if column in own)
    return BlockFile(entry, task, first, levels)


def _carried(
    file: ProductionFile, entry: SurveyEntry, sample: Survey, path: Path, memory: float
) -> tuple[list[Indicator], list[str]]:
    """Return the indicators that a survey carries, and why it does not carry the others."""
    indicators, reasons = [], []
    for name in file.production.indicators:
        home = REGISTRY[name].survey if name in REGISTRY else ""
        if entry.indicators and name not in entry.indicators:
            continue
        if home and sample.release.survey not in ("", home):
            continue
        try:
            one = indicator_of(file.model_file(name), sample)
        except SaeError as error:
            reasons.append(f"{name}: {error.what}")
            continue
        if one.distributional:
            reason = f"{name} needs the quantiles of all incomes"
            raise _too_large(entry, memory_of_files([path]), memory, reason)
        indicators.append(one)
    return indicators, reasons


def _joined(file: ProductionFile, areas: AreaFile | None, held: Container[str]) -> list[Joined]:
    """Return the larger areas that only the file of the areas knows of the smallest ones."""
    own = file.production.levels[file.lowest]
    if areas is None or own not in areas.cells:
        return []
    larger = [one for one in file.production.levels.values() if one in areas.cells and one not in held]
    return [Joined(one, own, larger_areas_of(areas, own, one), areas.name) for one in larger if one != own]


def block_sketch(block: BlockFile, whole: WholeFile, digest: str) -> Sketch:
    """Return the sketch of a file from the sums over its records."""
    survey, nobody = whole.survey, np.zeros(len(whole.survey), dtype=np.int64)
    joined = [one.column for one in block.task.joined]  # the design adds them to all files alike
    survey = replace(
        survey,
        frame=survey.frame.drop(columns=joined),
        stages=tuple(counted_stage(stage, nobody) for stage in whole.stages),
        lonely_psu=block.entry.lonely_psu,
        notes=whole.notes,
        source={"file": block.task.records.name, "sha256": digest},
    )
    moments = whole.sums.sums.moments
    counts = {
        one.name: (int(moments[:, j, 0].sum()), int(moments[:, j, -1].sum()))
        for j, one in enumerate(block.task.indicators)
    }
    pairs = whole.pairs(block.levels) if block.levels else pd.DataFrame()
    return Sketch(survey, whole.sums.facts.records, counts, pairs.astype("string"))


class InBlocks:
    """Estimates from the sums over the records of a file."""

    def __init__(self, design: Design, whole: WholeFile):
        self.accept, self.whole = design.file.production.accept, whole
        self._counts: dict[tuple[str, ...], pd.DataFrame] = {}

    def holds(self, by: Sequence[str]) -> bool:
        """Return whether the file has the columns of a crossing."""
        return all(name in self.whole.survey.frame for name in by)

    def domains(self, by: Sequence[str]) -> Domains:
        """Return the rows of a crossing."""
        return cross_domains(self.whole.survey, by)

    def share(self, indicator: str) -> bool | None:
        """Return whether an indicator is a share; None where no record answers."""
        task = self.whole.task
        j = [one.name for one in task.indicators].index(indicator)
        if not self.whole.sums.sums.moments[:, j, 0].any():
            return None
        known = j in self.whole.sums.facts.numbers_known
        return task.yes_or_no[j] and known and task.indicators[j].kind != "total"

    def counted(self, domains: Domains, indicator: str) -> np.ndarray:
        """Return the weighted denominators."""
        if domains.by not in self._counts:
            self._counts[domains.by] = self.whole.counted(domains.by)
        return self._counts[domains.by][indicator].to_numpy()

    def direct(self, domains: Domains, indicators: Sequence[str], covariance: bool) -> DirectEstimates:
        """Return the direct estimates of indicators, not smoothed, one after the other."""
        accept = check_accept(self.accept, self.whole.task.indicators)
        return self.whole.table(domains.by, indicators=indicators, covariance=covariance, accept=accept)
