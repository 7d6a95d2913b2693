"""From the design to the table: direct estimates, ladders, benchmarks and flags of every crossing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pandas as pd

from sae.auxiliary import AreaFile
from sae.batch.estimate import Step as Progress
from sae.batch.estimate import estimator, silent, with_breaks
from sae.batch.production.benchmarks import Figures, benchmarked
from sae.batch.production.cells import Cells, Part, crossed_cells, larger_areas, lost_cells
from sae.batch.production.design import Crossing, Design
from sae.batch.production.ladder import Step, climbed
from sae.batch.production.registers import WITHOUT_SAMPLE
from sae.errors import SaeInputError
from sae.quality import assess
from sae.tables import EstimateTable, labels
from sae.tables.columns import ESTIMATE_COLUMNS

__all__ = ["TOTAL", "Estimation", "estimated"]

TOTAL = "total"  # of a group that a row does not tell apart


@dataclass(frozen=True, eq=False)
class Estimation:
    """What a production run gave, in memory.

    Attributes
    ----------
    table : EstimateTable
        Every cell: the groups are `level` and all grouping columns, "total" where a row is over all of one.
    direct : DataFrame
        The direct estimates of every cell that a survey tells.
    ladder : DataFrame
        One row per fit and rung that was tried: indicator, level, groups, fit, place, rung, verdict, reason.
    """

    table: EstimateTable
    direct: pd.DataFrame
    ladder: pd.DataFrame


@dataclass(eq=False)
class _Done:
    """Cells that are finished, for those that are to meet them."""

    cells: dict[tuple[str, str, tuple[str, ...]], Cells] = field(default_factory=dict)
    frames: dict[tuple[str, str, tuple[str, ...]], pd.DataFrame] = field(default_factory=dict)


def estimated(
    design: Design, areas: AreaFile | None = None, *, run: str = "", step: Progress = silent
) -> Estimation:
    """Estimate every cell of a design.

    Parameters
    ----------
    design : Design
    areas : AreaFile, optional
    run : str
        Name of the run, for the table.
    step : callable
        Called with what is being done.
    """
    columns = list(dict.fromkeys(name for groups in design.file.production.groups for name in groups))
    done = _Done()
    frames, tables, steps = [], [], []
    order = sorted(
        design.crossings,
        key=lambda one: (-list(design.file.production.levels).index(one.level), len(one.groups)),
    )
    for crossing in order:  # the larger units first, the total before its groups: they are the targets
        step(f"{crossing.survey}: direct estimates, {crossing.name}")
        made = crossed_cells(design, crossing, areas, covariance=_tied(design, crossing))
        for name, cells in made.items():
            if isinstance(cells, str):
                frames.append(_labelled(lost_cells(design, crossing, name, cells), crossing, columns))
                continue
            step(f"{name}: {crossing.name}")
            done.cells[name, crossing.level, crossing.groups] = cells
            frame, more = _finished(design, cells, done, areas)
            done.frames[name, crossing.level, crossing.groups] = frame
            steps += more
            frames.append(_labelled(frame, crossing, columns))
            tables.append(_labelled(cells.direct.frame, crossing, columns))
    for rows in design.registered:
        frames.append(rows.assign(**{name: TOTAL for name in columns if name not in rows}))
    frames += [_untold(name, reason, columns) for name, reason in _lost(design)]
    step("flags")
    table = _marked(_judged(pd.concat(frames, ignore_index=True), design, columns), done)
    place = _order(design, table.frame, columns)
    table = EstimateTable(table.frame.iloc[place].reset_index(drop=True), table.groups)
    direct = pd.concat(tables or [table.frame.iloc[:0]], ignore_index=True)
    direct = direct.iloc[_order(design, direct, columns)].reset_index(drop=True)
    ladder = pd.DataFrame(steps, columns=list(Step.__dataclass_fields__))
    return Estimation(table.assign(model=design.file.id, run=run), direct, ladder)


def _lost(design: Design) -> Iterator[tuple[str, str]]:
    for name in design.file.production.indicators:
        if name in design.untold:
            yield name, design.untold[name]


def _tied(design: Design, crossing: Crossing) -> list[str]:
    """Return the indicators whose ladder has a model that uses covariances."""
    names = []
    for name in design.indicators(crossing):
        ladder = design.file.ladder(name, crossing.level)
        for rung in ladder.rung if ladder else ():
            model = None
            if rung.formula is not None:
                model = estimator(design.file.model_file(name, crossing.by, rung))
            if model is not None and model.wants_covariance:
                names.append(name)
                break
    return names


def _finished(
    design: Design, cells: Cells, done: _Done, areas: AreaFile | None
) -> tuple[pd.DataFrame, list[Step]]:
    """Climb the ladder and meet the benchmark; return all rows with their reasons in `why`."""
    file = design.file

    def larger(level: str) -> tuple[np.ndarray, np.ndarray]:
        _, estimate, variance = _above(design, cells, done, areas, level)
        return estimate, variance

    parts, steps = climbed(file, cells, larger)
    frame = _whole(cells, parts, steps)
    section = file.benchmark(cells.indicator, cells.crossing.level)
    if section is None:
        return frame, steps
    upper = [lambda: _direct_figures(design, cells, done, areas, section.to)] if section.to else []
    finer = _coarser(cells, done) if section.groups else []
    if not upper and not finer:
        return frame, steps
    result = benchmarked(cells, frame, parts, section, upper, finer)
    frame = result.frame
    for row, note in result.notes.items():
        frame.loc[row, "why"] = f"not benchmarked: {note}"
    return frame, steps


def _whole(cells: Cells, parts: dict[int, Part], steps: Sequence[Step]) -> pd.DataFrame:
    """Return the rows of all fits; those of a fit without a part stay, with what its rungs lacked."""
    by = tuple(cells.direct.by)
    pieces = []
    for fit in range(len(cells.keys)):
        rows = cells.rows_of([fit])
        if fit in parts:
            frame = parts[fit].frame
            doubts = "; ".join(parts[fit].doubts)
            pieces.append(frame.assign(why="", doubts=doubts))
            continue
        key = cells.key_text(fit)
        lacking = "; ".join(f"{one.rung}: {one.reason}" for one in steps if one.fit == key)
        frame = cells.frame.iloc[rows].set_axis(rows).assign(method="")
        pieces.append(frame.assign(why=f"no rung was accepted: {lacking}", doubts=""))
    whole = pd.concat(pieces).sort_index()
    extra = whole[["why", "doubts"]].astype(object)
    table = EstimateTable(whole.drop(columns=["why", "doubts"]).reset_index(drop=True), by)
    return table.frame.assign(why=extra["why"].to_numpy(), doubts=extra["doubts"].to_numpy())


def _above(
    design: Design, cells: Cells, done: _Done, areas: AreaFile | None, level: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the larger unit of each row by name, with its direct estimate and variance."""
    key = cells.indicator, level, cells.crossing.groups
    if key not in done.cells:
        raise SaeInputError(f"there are no direct estimates at {level}")
    above = done.cells[key]
    homes = larger_areas(design, cells, level, areas)
    others = [*cells.crossing.groups, *([cells.crossing.time] if cells.crossing.time else [])]
    frame = above.direct.frame
    figures = {
        label: (estimate, variance)
        for label, estimate, variance in zip(
            _names(frame, [*([above.crossing.column] if above.crossing.column else []), *others]),
            frame["estimate"],
            frame["variance"],
            strict=True,
        )
    }
    own = _names(cells.frame, others)
    names = [" / ".join(filter(None, (home, rest))) for home, rest in zip(homes, own, strict=True)]
    pairs = [figures.get(name, (np.nan, np.nan)) for name in names]
    estimate, variance = np.array(pairs, dtype=float).T
    return np.array(names, dtype=object), estimate, variance


def _direct_figures(
    design: Design, cells: Cells, done: _Done, areas: AreaFile | None, level: str | None
) -> Figures:
    assert level is not None
    names, estimate, _ = _above(design, cells, done, areas, level)
    return Figures(level, names, estimate, np.zeros(len(names)))


def _coarser(cells: Cells, done: _Done) -> list[Callable[[], Figures]]:
    """Return the figures of coarser groups of the same areas: the largest that the file has."""
    own = set(cells.crossing.groups)
    subsets = [
        groups
        for name, level, groups in done.frames
        if name == cells.indicator and level == cells.crossing.level and set(groups) < own
    ]
    largest = [one for one in subsets if not any(set(one) < set(other) for other in subsets)]

    def figures(groups: tuple[str, ...]) -> Figures:
        crossing = cells.crossing
        keys = [name for name in (crossing.column, *groups, crossing.time) if name]
        frame = done.frames[cells.indicator, crossing.level, groups]
        known = pd.DataFrame(
            {name: frame[name].to_numpy(dtype=float) for name in ("estimate", "mse")}, _names(frame, keys)
        ).reindex(_names(cells.frame, keys))
        names = known.index.to_numpy(dtype=object)
        figures = (known[name].to_numpy() for name in ("estimate", "mse"))
        return Figures(" × ".join(groups) or TOTAL, names, *figures)

    return [partial(figures, groups) for groups in largest]


def _names(frame: pd.DataFrame, columns: Sequence[str]) -> list[str]:
    if not columns:
        return [""] * len(frame)
    parts = [labels(frame[name]).tolist() for name in columns]
    return [" / ".join(part) for part in zip(*parts, strict=True)]


def _labelled(frame: pd.DataFrame, crossing: Crossing, columns: Sequence[str]) -> pd.DataFrame:
    """Give the rows the columns of the whole table: level, place, groups."""
    kept = [name for name in frame if name not in crossing.by or name in ("geo", "time", "domain")]
    made = frame[kept].assign(
        level=crossing.level, geo=labels(frame[crossing.column]).to_numpy() if crossing.column else ""
    )
    for name in columns:
        made[name] = labels(frame[name]).to_numpy() if name in crossing.groups else TOTAL
    return made


def _untold(name: str, reason: str, columns: Sequence[str]) -> pd.DataFrame:
    row = {"indicator": name, "level": "", "domain": "all", "in_sample": False, "why": f"not told: {reason}"}
    return pd.DataFrame([{**row, **dict.fromkeys(columns, TOTAL)}])


def _judged(frame: pd.DataFrame, design: Design, columns: Sequence[str]) -> EstimateTable:
    """Return the table with every row judged by the policy, its own reasons added."""
    why = frame["why"].fillna("").to_numpy(dtype=object)
    doubts = (
        frame["doubts"].fillna("").to_numpy(dtype=object) if "doubts" in frame else np.full(len(frame), "")
    )
    groups = ("level", *columns)
    kept = [name for name in frame if name in ESTIMATE_COLUMNS or name in groups]
    table = EstimateTable(frame[kept], groups)
    verdicts = []
    for doubt in dict.fromkeys(doubts):
        rows = np.flatnonzero(doubts == doubt)
        verdicts.append(
            assess(
                table.frame.iloc[rows],
                design.file.publish.policy,
                doubts=[doubt] if doubt else [],
            )
        )
    verdict = pd.concat(verdicts).sort_index()
    outside = why == WITHOUT_SAMPLE
    verdict.loc[outside, ["flag", "reliability", "reason"]] = ""
    verdict["publishable"] = verdict["publishable"].where(~outside)
    reason = verdict["reason"].fillna("").to_numpy(dtype=object)
    verdict["reason"] = ["; ".join(filter(None, pair)) for pair in zip(why, reason, strict=True)]
    return table.assign(**{str(name): verdict[name] for name in verdict})


def _marked(table: EstimateTable, done: _Done) -> EstimateTable:
    """Mark the rows of indicators that were accepted across a break."""
    broken = {
        name: cells.direct
        for (name, _, _), cells in done.cells.items()
        if cells.direct.provenance.get("breaks")
    }
    frame = table.frame
    for name, direct in broken.items():
        rows = (frame["indicator"] == name).to_numpy()
        marked = with_breaks(EstimateTable(frame[rows].reset_index(drop=True), table.groups), direct)
        for column in ("flag", "reason"):
            frame.loc[rows, column] = marked[column].to_numpy()
    return EstimateTable(frame, table.groups)


def _order(design: Design, frame: pd.DataFrame, columns: Sequence[str]) -> np.ndarray:
    """Return the order of the rows: as the file names indicators, levels and groups, then as they came."""
    production = design.file.production
    indicators = {name: k for k, name in enumerate(production.indicators)}
    levels = {name: k for k, name in enumerate(production.levels)}
    keys = pd.DataFrame(
        {
            "indicator": frame["indicator"].map(indicators).to_numpy(),
            "level": frame["level"].map(levels).fillna(-1).to_numpy(),
        }
    )
    return keys.sort_values(["indicator", "level"], kind="stable").index.to_numpy()
