"""The published table: few columns, rounded; a figure that may not appear leaves no trace in any of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from sae.auxiliary import EurostatTable, estimates_as_eurostat
from sae.calls import answered
from sae.publish.notes import COLUMN_TEXTS, published_notes
from sae.publish.rounding import decimals_of, rounded, rounded_outwards
from sae.publish.rows import shown_rows
from sae.publish.showing import table_of
from sae.quality.appearance import PROTECTING, confidential_rows
from sae.results import Result
from sae.tables import EstimateTable, joined_labels, write_table
from sae.tables.base import Table
from sae.tables.columns import ESTIMATE_COLUMNS
from sae.tables.files import is_workbook, write_workbook
from sae.tables.sheet_formats import Sheet
from sae.tables.sheet_notes import columns_sheet, flags_sheet, notes_sheet

__all__ = ["UNJUDGED", "PublishedTable", "published"]

_NAMES = ("indicator", "definition", "unit", "geo", "geo_version", "time")
_FIGURES = ("estimate", "ci_low", "ci_high")
_WHOLE = ("persons", "households")
# without numbers: "n 3 < 4" would tell how many records there are
_REASONS = {":c": "confidential", ":u": "not reliable enough", ":": "no estimate"}
UNJUDGED = "the policy could not judge it"


@dataclass(frozen=True, eq=False, repr=False)
class PublishedTable(Table):
    """Estimates as everybody may see them, one row per row of the estimate table.

    Attributes
    ----------
    frame : DataFrame
        ``indicator, definition, unit, geo, geo_version, time``, the group columns (``domain`` where there are
        none), ``estimate, ci_low, ci_high, reliability, flag, reason``. A figure that may not appear is
        missing, its flag begins with ":" and its reason says why, without numbers.
    groups : tuple of str
    notes : tuple of (str, str)
        Heading and text of what a workbook says of the table.
    """

    frame: pd.DataFrame
    groups: tuple[str, ...] = ()
    notes: tuple[tuple[str, str], ...] = ()

    def write(self, path: str | Path) -> Path:
        """Write the table as CSV, Parquet, XLSX or ODS by the ending of `path`; the same bytes every time.

        A figure that may not appear is ``:``, in Parquet empty. A workbook (XLSX, ODS) has sheets of notes:
        what the table is about and how it was made, what its columns hold, what its flags mean.

        Raises
        ------
        SaeInputError
            If the ending is none of ``.csv``, ``.parquet``, ``.xlsx``, ``.ods``.
        """
        if is_workbook(path):
            return write_workbook(self._sheets(), path)
        return write_table(self.frame if Path(path).suffix.lower() == ".parquet" else self._colons(), path)

    def _sheets(self) -> list[Sheet]:
        return [
            Sheet("published", self._colons()),
            notes_sheet(self.notes),
            columns_sheet(self.frame, self.groups, COLUMN_TEXTS),
            flags_sheet(self.frame),
        ]

    def _colons(self) -> pd.DataFrame:
        hidden = self.frame["flag"].str.startswith(":").to_numpy(dtype=bool)
        return self.frame.assign(**{name: _written(self.frame[name], hidden) for name in _FIGURES})

    def as_eurostat(self, *, dataflow: str = "", time: str = "", intervals: bool = True) -> EurostatTable:
        """Return the table in the form of Eurostat's, for `sae.auxiliary.write_eurostat`: SDMX-CSV or TSV.

        A row over all areas of a production has its level as its area; a definition that is the only one of
        its indicator goes without saying.

        Parameters
        ----------
        dataflow, time : str
            As in `sae.auxiliary.estimates_as_eurostat`.
        intervals : bool
            Whether the attributes CI_LOW and CI_HIGH go with the figures; TSV has no place for them.

        Raises
        ------
        SaeSpecError
            If there is no period, or two.
        """
        frame = self.frame
        if "level" in self.groups:
            frame = frame[frame["level"].ne("")]  # without: an indicator that nothing tells
            frame = frame.assign(geo=frame["geo"].mask(frame["geo"].eq(""), frame["level"]))
        if not frame[["indicator", "definition"]].drop_duplicates()["indicator"].duplicated().any():
            frame = frame.assign(definition="")
        domain = frame["domain"] if "domain" in frame else joined_labels(frame, self.groups)
        rows = frame.assign(domain=domain, publishable=frame["estimate"].notna())
        whole = EstimateTable(rows, self.groups)
        table = estimates_as_eurostat(whole, dataflow=dataflow, time=time, errors=intervals)
        ends = tuple(name for name in table.attributes if name != "SE")
        return replace(table, frame=table.frame.drop(columns="SE", errors="ignore"), attributes=ends)

    def _heading(self) -> str:
        return f"PublishedTable: {len(self)} rows, {int(self.frame['estimate'].notna().sum())} with a figure"

    def _shown(self) -> pd.DataFrame:
        names = [*(self.groups or ["domain"]), *_FIGURES, "reliability", "flag", "reason"]
        return self.frame[names]


@answered
def published(table: Result | EstimateTable, *, title: str = "", source: str = "") -> PublishedTable:
    """Make the table that may leave the office of one that a policy judged.

    Parameters
    ----------
    table : Result or EstimateTable
        Flagged.
    title, source : str
        What it is about and where the records come from, for the notes of a workbook.

    Returns
    -------
    PublishedTable
        Shares to one decimal of their percentage, other figures to three digits, one less where the standard
        error is above ten units of the last, or is not known; intervals outwards. What the policy could not
        judge is hidden; so is a model-based estimate whose direct estimate is confidential, whatever the
        policy says of it.

    Raises
    ------
    SaeInputError
        If rows were not judged by any policy.

    Notes
    -----
    An estimate is γ · direct + (1 − γ) · synthetic, times the factor of a benchmark. None of γ, the factor,
    the number of records and the standard error is published, of any row; but the synthetic part can be found
    from the other rows, and then the pull of one or two records shows, so that their row has no estimate.

    Examples
    --------
    >>> frame = pd.DataFrame({"domain": ["A", "B"], "estimate": [0.6234, 1.0], "se": [0.004, 0.3]})
    >>> judged = frame.assign(unit="share", policy="own", publishable=[True, False], flag=["e", ":c"])
    >>> sae.publish.published(sae.EstimateTable(judged))[["estimate", "flag", "reason"]].values.tolist()
    [[0.623, 'e', ''], [nan, ':c', 'confidential']]
    """
    table = table_of(table)
    frame, shown = table.frame, shown_rows(table)
    secret = confidential_rows(frame)
    estimate, se, low, high = (
        frame[name].to_numpy(dtype=float) for name in ("estimate", "se", *_FIGURES[1:])
    )
    decimals = decimals_of(
        estimate,
        np.where(frame["method"].eq("register"), 0.0, se),  # nobody was drawn
        share=frame["unit"].eq("share").to_numpy(dtype=bool),
        whole=frame["unit"].isin(_WHOLE).to_numpy(dtype=bool),
    )
    figures = (rounded(estimate, decimals), *rounded_outwards(low, high, decimals))
    groups = [name for name in table.groups if name not in ESTIMATE_COLUMNS]
    out = frame[[*_NAMES, *(groups or ["domain"])]].copy()
    for name, values in zip(_FIGURES, figures, strict=True):
        out[name] = np.where(shown, values, np.nan)
    flag = frame["flag"]
    code = flag.str.extract("^(:[cu]?)", expand=False).mask(secret & flag.ne(":"), ":c")
    breaks = flag.str.extract("(b?)$", expand=False)
    out["reliability"] = frame["reliability"].where(shown, "")
    out["flag"] = flag.where(shown, code.fillna(":") + breaks)
    reason = code.map(_REASONS).fillna(UNJUDGED).mask(frame["reason"].str.startswith(PROTECTING), PROTECTING)
    out["reason"] = reason.mask(shown, "").astype("string")
    notes = published_notes(table, shown, title=title, source=source)
    return PublishedTable(out, tuple(groups), tuple(notes))


def _written(column: pd.Series, hidden: np.ndarray) -> pd.Series:
    """Return figures as they are written: whole ones without a decimal, ":" where there may be none."""
    cells: list[int | float | str | None] = []
    for value, gone in zip(column.tolist(), hidden.tolist(), strict=True):
        if gone:
            cells.append(":")
        elif np.isnan(value):
            cells.append(None)
        else:
            cells.append(int(value) if value.is_integer() else value)
    return pd.Series(cells, index=column.index, dtype="object")
