"""The rows of one indicator: ladders and benchmarks of all its crossings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pandas as pd

from sae.auxiliary import AreaFile
from sae.batch.direct_table import OF_PUBLISHED
from sae.batch.production.benchmarks import Benchmarked, Figures, benchmarked
from sae.batch.production.cells import Cells, Part, cells_of, larger_areas, lost_cells
from sae.batch.production.design import Crossing, Design
from sae.batch.production.ladder import Step, climbed, step_table
from sae.batch.production.links import with_links
from sae.batch.production.protection import with_further
from sae.batch.production.shares import Makers, shares_met
from sae.batch.production.statistics import SurveyTables, direct_of
from sae.errors import SaeInputError
from sae.tables import EstimateTable, labels

__all__ = ["TOTAL", "IndicatorRows", "indicator_rows"]

_Fitted = tuple[Cells, pd.DataFrame, Mapping[int, Part]]
TOTAL = "total"  # of a group that a row does not tell apart


@dataclass(frozen=True, eq=False)
class IndicatorRows:
    """Every cell of an indicator, or of several that add to 1, not judged yet.

    Attributes
    ----------
    rows, direct : DataFrame
        The cells, and their direct estimates, with `level`, `geo` and all grouping columns of the file,
        "total" where a row is over all of one; `why` and `doubts` of the cells, and `further`: whether they
        are hidden for the sake of others.
    ladder : DataFrame
        One row per fit and rung that was tried.
    breaks : mapping of str to mapping
        Ids and years of the breaks that each indicator was accepted across.
    """

    rows: pd.DataFrame
    direct: pd.DataFrame
    ladder: pd.DataFrame
    breaks: Mapping[str, Mapping[str, int]]


@dataclass(eq=False)
class _Done:
    """Cells that are finished, for those that are to meet them."""

    cells: dict[tuple[str, tuple[str, ...]], Cells] = field(default_factory=dict)
    frames: dict[tuple[str, tuple[str, ...]], pd.DataFrame] = field(default_factory=dict)


def indicator_rows(
    design: Design, indicators: Sequence[str], parts: Sequence[SurveyTables], areas: AreaFile | None
) -> IndicatorRows:
    """Estimate every cell of an indicator, or of several that add to 1.

    Parameters
    ----------
    design : Design
    indicators : sequence of str
    parts : sequence of SurveyTables
        Of all files of their survey.
    areas : AreaFile, optional
    """
    columns = design.file.production.grouping
    done = {name: _Done() for name in indicators}
    breaks: dict[str, dict[str, int]] = {name: {} for name in indicators}
    frames: dict[str, list[pd.DataFrame]] = {name: [] for name in indicators}
    tables: dict[str, list[pd.DataFrame]] = {name: [] for name in indicators}
    steps: dict[str, list[Step]] = {name: [] for name in indicators}
    # the larger units, the total first: they are the targets
    for crossing in design.crossings_of(indicators[0]):
        key = crossing.level, crossing.groups
        fitted: dict[str, _Fitted] = {}
        for name in indicators:
            direct = direct_of(design, name, crossing, parts)
            cells = direct if isinstance(direct, str) else cells_of(design, crossing, name, direct, areas)
            if isinstance(cells, str):
                frames[name].append(_labelled(lost_cells(design, crossing, name, cells), crossing, columns))
                continue
            done[name].cells[key] = cells
            fitted[name], more = _climbed(design, cells, done[name], areas)
            steps[name] += more
            breaks[name] |= cells.direct.provenance.get("breaks", {}).get(name, {})
            tables[name].append(_labelled(cells.direct.frame, crossing, columns))
        for name, frame in _met(design, crossing, fitted, done, areas).items():
            done[name].frames[key] = with_links(design, fitted[name][0], frame, areas)
            frames[name].append(_labelled(done[name].frames[key], crossing, columns))
    direct_rows, rows = (
        pd.concat(some, ignore_index=True) if some else pd.DataFrame()
        for some in ([one for name in indicators for one in of[name]] for of in (tables, frames))
    )
    crossed = {name: one for name, one in breaks.items() if one}
    rows = with_further(rows, crossed, design.file)
    ladder = step_table([one for name in indicators for one in steps[name]])
    return IndicatorRows(rows, direct_rows, ladder, crossed)


def _climbed(design: Design, cells: Cells, done: _Done, areas: AreaFile | None) -> tuple[_Fitted, list[Step]]:
    """Climb the ladder; return all rows with their reasons in `why`, and the accepted parts."""

    def larger(level: str) -> tuple[np.ndarray, np.ndarray]:
        _, estimate, variance = _above(design, cells, done, areas, level)
        return estimate, variance

    parts, steps = climbed(design.file, cells, larger)
    return (cells, _whole(cells, parts, steps), parts), steps


def _met(
    design: Design,
    crossing: Crossing,
    fitted: Mapping[str, _Fitted],
    done: Mapping[str, _Done],
    areas: AreaFile | None,
) -> dict[str, pd.DataFrame]:
    """Return the rows of each indicator after their benchmark."""
    frames = {name: frame for name, (_, frame, _) in fitted.items()}
    sections = {name: design.file.benchmark(name, crossing.level) for name in fitted}
    section = next(iter(sections.values()), None)
    if section is None:
        return frames
    upper: dict[str, Makers] = {name: [] for name in fitted}
    if section.to:
        make = partial(_direct_figures, design, areas=areas, level=section.to)
        upper = {name: [partial(make, one[0], done[name])] for name, one in fitted.items()}
    finer = {name: _coarser(one[0], done[name]) if section.groups else [] for name, one in fitted.items()}
    results: dict[str, Benchmarked] = {}
    if section.shares:
        results = shares_met(fitted, section, upper, finer)
    elif any(upper.values()) or any(finer.values()):
        results = {name: benchmarked(*one, section, upper[name], finer[name]) for name, one in fitted.items()}
    for name, result in results.items():
        frames[name] = result.frame
        rows = list(result.notes)
        frames[name].loc[rows, "why"] = [f"not benchmarked: {result.notes[row]}" for row in rows]
    return frames


def _whole(cells: Cells, parts: Mapping[int, Part], steps: Sequence[Step]) -> pd.DataFrame:
    """Return the rows of all fits; those of a fit without a part stay, with what its rungs lacked."""
    by = tuple(cells.direct.by)
    pieces = []
    why, doubts = (np.full(len(cells.frame), "", dtype=object) for _ in range(2))
    for fit in range(len(cells.keys)):
        rows = cells.rows_of([fit])
        if fit in parts:
            pieces.append(parts[fit].frame)
            doubts[rows] = "; ".join(parts[fit].doubts)
            continue
        key = cells.key_text(fit)
        lacking = "; ".join(f"{one.rung}: {one.reason}" for one in steps if one.fit == key)
        pieces.append(cells.frame.iloc[rows].set_axis(rows).assign(method=""))
        why[rows] = f"no rung was accepted: {lacking}"
    whole = pd.concat(pieces).sort_index()
    extra = pd.DataFrame({"why": why, "doubts": doubts}, dtype=object)
    direct = cells.direct.frame.reset_index(drop=True)
    lack = direct["status"].isin(OF_PUBLISHED) | (direct["estimate"].isna() & direct["n"].gt(0))
    lack = direct.loc[lack & (whole["method"] == "direct"), "status"]  # such as a denominator of zero
    extra.loc[lack.index, "why"] = lack
    table = EstimateTable(whole.reset_index(drop=True), by)
    return table.frame.assign(why=extra["why"].to_numpy(), doubts=extra["doubts"].to_numpy())


def _above(
    design: Design, cells: Cells, done: _Done, areas: AreaFile | None, level: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the larger unit of each row by name, with its direct estimate and variance."""
    key = level, cells.crossing.groups
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


def _direct_figures(design: Design, cells: Cells, done: _Done, areas: AreaFile | None, level: str) -> Figures:
    names, estimate, _ = _above(design, cells, done, areas, level)
    return Figures(level, names, estimate, np.zeros(len(names)))


def _coarser(cells: Cells, done: _Done) -> list[Callable[[], Figures]]:
    """Return the figures of coarser groups of the same areas: the largest that the file has."""
    own = set(cells.crossing.groups)
    subsets = [groups for level, groups in done.frames if level == cells.crossing.level and set(groups) < own]
    largest = [one for one in subsets if not any(set(one) < set(other) for other in subsets)]

    def figures(groups: tuple[str, ...]) -> Figures:
        crossing = cells.crossing
        keys = [name for name in (crossing.column, *groups, crossing.time) if name]
        frame = done.frames[crossing.level, groups]
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
