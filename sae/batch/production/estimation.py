"""From the rows of the indicators to the whole table: order, flags, marks of breaks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from sae.batch.production.design import Design
from sae.batch.production.fits import TOTAL, IndicatorRows
from sae.batch.production.judging import judged, marked
from sae.batch.production.ladder import step_table
from sae.batch.production.protection import protected_production
from sae.tables import EstimateTable

__all__ = ["Estimation", "estimated"]


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
    links : DataFrame
        Beside the rows of the table, what links them: weights and larger units.
    """

    table: EstimateTable
    direct: pd.DataFrame
    ladder: pd.DataFrame
    links: pd.DataFrame


def estimated(design: Design, indicators: Sequence[IndicatorRows], *, run: str = "") -> Estimation:
    """Put the rows of all indicators into one table, every row judged.

    Parameters
    ----------
    design : Design
    indicators : sequence of IndicatorRows
    run : str
        Name of the run, for the table.
    """
    columns = design.file.production.grouping
    frames = [one.rows for one in indicators]
    for rows in design.registered:
        frames.append(rows.assign(**{name: TOTAL for name in columns if name not in rows}))
    frames += [_untold(name, reason, columns) for name, reason in _lost(design)]
    whole = _ordered(design, pd.concat(frames, ignore_index=True))
    breaks = {name: years for one in indicators for name, years in one.breaks.items()}
    table = marked(judged(whole, design.file), breaks)
    table, links = protected_production(table, whole, design.file)
    tables = [one.direct for one in indicators if len(one.direct)]
    direct = pd.concat(tables, ignore_index=True) if tables else table.frame.iloc[:0]
    ladder = pd.concat([step_table([]), *(one.ladder for one in indicators)], ignore_index=True)
    return Estimation(
        table.assign(model=design.file.id, run=run), _ordered(design, direct), _ordered(design, ladder), links
    )


def _lost(design: Design) -> Iterator[tuple[str, str]]:
    for name in design.file.production.indicators:
        if name in design.untold:
            yield name, design.untold[name]


def _untold(name: str, reason: str, columns: Sequence[str]) -> pd.DataFrame:
    row = {"indicator": name, "level": "", "domain": "all", "in_sample": False, "why": f"not told: {reason}"}
    return pd.DataFrame([{**row, **dict.fromkeys(columns, TOTAL)}])


def _ordered(design: Design, frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows as the file names indicators and levels, then as they came."""
    production = design.file.production
    indicators = {name: k for k, name in enumerate(production.indicators)}
    levels = {name: k for k, name in enumerate(production.levels)}
    keys = pd.DataFrame(
        {
            "indicator": frame["indicator"].map(indicators).to_numpy(),
            "level": frame["level"].map(levels).fillna(-1).to_numpy(),
        }
    )
    order = keys.sort_values(["indicator", "level"], kind="stable").index.to_numpy()
    return frame.iloc[order].reset_index(drop=True)
