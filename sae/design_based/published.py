"""Direct estimates that were made elsewhere: a published table with its errors, gaps and roundings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import file_digest
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from sae.calls import answered
from sae.design_based.domains import MOST, place_among
from sae.design_based.intervals import intervals
from sae.design_based.published_checks import (
    cells,
    check_errors,
    check_sizes,
    check_unit,
    chosen_rows,
    error_column,
)
from sae.design_based.smoothing import smooth
from sae.errors import SaeSpecError
from sae.literals import Smoothing
from sae.specs import one_of
from sae.survey.files import read_frame
from sae.tables import DirectEstimates, cv_of, file_path, joined_labels, require

__all__ = ["ERRORS", "read_direct"]

ERRORS = ("vardir", "se", "cv", "margin")  # one of them says how uncertain the figures are
_ROUNDING = 1e-12  # a standard error below this share of its estimate is rounding noise, not precision


@answered
def read_direct(
    path: str | Path,
    indicator: str,
    by: str | Sequence[str],
    *,
    estimate: str = "estimate",
    time: str | None = None,
    vardir: str | None = None,
    se: str | None = None,
    cv: str | None = None,
    margin: str | None = None,
    margin_level: float | None = None,
    error: Literal["unknown"] | None = None,
    step: float = 0.0,
    n: str | Sequence[str] = (),
    psu: str | None = None,
    only: Mapping[str, Any] | None = None,
    unit: str = "share",
    definition: str = "",
    smoothing: Smoothing | None = None,
    level: float = 0.95,
    encoding: str = "utf-8",
    separator: str | None = None,
    decimal: Literal[".", ","] = ".",
    missing: Sequence[str | float] = (),
) -> DirectEstimates:
    r"""Read direct estimates that someone else made and published.

    Parameters
    ----------
    path : str or Path
        CSV, Parquet, SAS, SPSS or Stata: one row per domain and period, among others that `only` leaves out.
    indicator : str
        What the figures are called from here on.
    by : str or sequence of str
        Columns that make the domains; read as text, so that "01" stays "01".
    estimate : str
        Column of the figures.
    time : str, optional
        Column of the periods; it crosses the domains.
    vardir, se, cv, margin : str, optional
        The column that tells the error: sampling variance, standard error, coefficient of variation (a
        fraction) or margin of error. One of them.
    margin_level : float, optional
        Level of the margin of error, such as 0.90; needed with `margin`.
    error : {"unknown"}, optional
        The table tells no error. Its rows are marked so, and no model accepts them.
    step : float
        The errors are rounded to multiples of it: 0.1 for one decimal. One of at most a step is a floor of
        the rounding, no certainty: it counts at its upper end, half a step more.
    n : str or sequence of str
        Column of the number of records, or columns whose sum it is.
    psu : str, optional
        Column of the number of sampling units; one alone tells nothing of its own error.
    only : mapping, optional
        The rows that are meant: {"group": "foreign_born"}; a list means any of its values.
    unit : str
        Of the file: "share" (0 to 1), "percent" (becomes shares), or another, such as "persons".
    definition : str
        What the figure means, with its year or version.
    smoothing : {"deff", "gvf", "arcsin"}, optional
        As in `sae.direct`; needs `n`. Domains whose error is unknown get a variance too.
    level : float
        Of the intervals.
    encoding, separator, decimal, missing
        As in `sae.auxiliary.read_areas`.

    Returns
    -------
    DirectEstimates
        The levels of `by` and `time` are crossed: what was not published is a row without an estimate. A
        variance of zero is never taken for certainty: it is unknown, but for a share of 0 or 1 from several
        sampling units. Degrees of freedom are sampling units − 1 at most, since strata are not known.

    Raises
    ------
    SaeInputError
        If the file, a column or a figure cannot be used: text among numbers, a negative error, a domain
        twice, a share outside 0 to 1.
    SaeSpecError
        If none or several columns tell the error, or an option contradicts another.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "states.csv"
    ...     _ = file.write_text("state,rate,moe90\n01,61.2,3.3\n02,58.0,\n", encoding="utf-8")
    ...     table = sae.design_based.read_direct(file, "employment", "state", estimate="rate",
    ...                                          margin="moe90", margin_level=0.9, unit="percent")
    >>> table[["domain", "estimate", "se", "status"]].round(4).values.tolist()
    [['01', 0.612, 0.0201, 'ok'], ['02', 0.58, nan, 'no error known']]
    """
    path, by, sizes = file_path(path), _names(by), _names(n)
    source = error_column(dict(zip(ERRORS, (vardir, se, cv, margin), strict=True)), margin_level, error, step)
    if smoothing is not None:
        one_of("smoothing", smoothing, Smoothing)
        if not sizes:
            raise SaeSpecError(
                f"smoothing={smoothing!r} needs the number of records, and n is not named.",
                hint="Name the column n=..., or leave smoothing out.",
            )
    frame, notes = read_frame(path, encoding=encoding, separator=separator, decimal=decimal, missing=missing)
    only = dict(only or {})
    keys = list(dict.fromkeys([*by, *([time] if time else [])]))
    figures = [estimate, *([source.column] if source else []), *sizes, *([psu] if psu else [])]
    require(frame, [*keys, *only, *figures], f"{path.name} has", error=SaeSpecError)
    rows = cells(chosen_rows(frame, only, path.name), keys, figures, path.name, bool(only))
    percent = unit == "percent"
    values = rows[estimate].to_numpy(dtype=float)
    check_unit(values, unit, rows, path.name)
    table = pd.DataFrame({"estimate": values, "variance": np.nan, "psu": np.nan, "n": np.nan})
    table = pd.concat([rows[keys], table], axis=1)
    if sizes:
        table["n"] = rows[sizes].sum(axis=1, skipna=False)
        check_sizes(table, path.name)
    floors = np.zeros(len(rows), dtype=bool)
    if source is not None:
        errors = rows[source.column].to_numpy(dtype=float)
        check_errors(errors, source, rows, path.name)
        standard, floors = source.standard(errors, values)
        table["variance"] = standard**2
    if psu:
        table["psu"] = rows[psu]
    if percent:
        table["estimate"], table["variance"] = table["estimate"] / 100, table["variance"] / 1e4
    share = unit in ("share", "percent")
    table, status = _with_status(_crossed(table, keys), share, source is None)
    columns, lines = _columns(table, status, by, time, share, smoothing, level)
    counts = [f"{word} {count:,}" for word, count in pd.Series(status).value_counts(sort=False).items()]
    described = source.text if source else "no error known"
    summary = f"published direct estimates in {estimate}, {described}; rows: {', '.join(counts)}"
    log = [
        *(f"{path.name}: {note}" for note in notes),
        f"{path.name}: {summary}",
        *(
            [f"{floors.sum():,} errors are floors of their rounding: half a step added"]
            if floors.any()
            else []
        ),
        *lines,
    ]
    with path.open("rb") as stream:
        digest = file_digest(stream, "sha256").hexdigest()
    return DirectEstimates(
        columns.assign(
            indicator=indicator,
            definition=definition,
            variance_method=f"published: {described}",
            smoothing=smoothing or "",
        ),
        tuple(keys),
        units={indicator: "share" if share else unit},
        log=tuple(log),
        provenance={
            "file": path.name,
            "sha256": digest,
            "by": keys,
            "variance": described,
            "smoothing": smoothing,
            "level": level,
            "design": summary,
        },
    )


def _names(given: str | Sequence[str]) -> list[str]:
    return [given] if isinstance(given, str) else list(given)


def _crossed(table: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Return a row for every combination of the levels: those that are not in the table are not published."""
    levels = [sorted(table[name].unique()) for name in keys]
    if np.prod([len(one) for one in levels], dtype=float) > MOST:
        raise SaeSpecError(
            f"Crossing {' × '.join(keys)} gives more than {MOST:,} domains.",
            hint="Group by columns with fewer levels.",
        )
    if not keys:
        return table
    whole = pd.DataFrame(list(product(*levels)), columns=keys)
    return whole.merge(table, on=keys, how="left", validate="one_to_one")


def _with_status(table: pd.DataFrame, share: bool, unknown: bool) -> tuple[pd.DataFrame, np.ndarray]:
    """Take out variances that say nothing, and say of each row what it lacks."""
    estimate, variance, psu = (table[name].to_numpy(dtype=float) for name in ("estimate", "variance", "psu"))
    published, single = np.isfinite(estimate), psu == 1
    flat = np.sqrt(variance) <= _ROUNDING * np.abs(estimate)
    edge = ((estimate == 0) | (estimate == 1)) & share & (psu > 1)
    status = np.select(
        [~published, unknown, single, flat & edge, flat, ~np.isfinite(variance)],
        ["not published", "no error known", "one cluster", "zero variance", "no variance", "no error known"],
        default="ok",
    ).astype(object)
    variance = np.where(status == "ok", variance, np.where(status == "zero variance", 0.0, np.nan))
    return table.assign(variance=variance), status


def _columns(
    table: pd.DataFrame,
    status: np.ndarray,
    by: list[str],
    time: str | None,
    share: bool,
    smoothing: Smoothing | None,
    level: float,
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return the columns of the table of direct estimates, and what smoothing has to say."""
    estimate, variance, n = (table[name].to_numpy(dtype=float) for name in ("estimate", "variance", "n"))
    df = np.where(table["psu"] > 1, table["psu"] - 1, np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        binomial = estimate * (1 - estimate) / variance
    n_eff = np.where((variance > 0) & share & (binomial > 0), binomial, np.nan)
    positive = np.where(variance > 0, variance, np.nan)
    low, high, names = intervals(
        np.where(np.isnan(variance), np.nan, estimate),
        positive,
        np.where(np.isnan(n), n_eff, n),
        n_eff,
        np.where(np.isnan(df), 1e9, df),  # as good as normal
        share=share,
        level=level,
    )
    se = np.sqrt(variance)
    place = place_among(by, time)
    parts = [name for name in by if name != time]
    columns: dict[str, Any] = {name: table[name] for name in by}
    columns |= {"time": table[time].astype("string")} if time else {}
    columns |= {time: table[time]} if time else {}
    columns["geo"] = table[place] if place else ""
    columns["domain"] = joined_labels(table, parts) if parts else "all"
    columns |= {"n": n, "n_eff": n_eff, "df": df, "estimate": estimate, "variance": variance, "se": se}
    columns |= {"cv": cv_of(se, estimate), "ci_low": low, "ci_high": high, "interval": names}
    columns |= {"vardir": positive, "status": status}
    frame = pd.DataFrame(columns, index=table.index)
    if smoothing is None:
        return frame, ()
    shared = [name for name in columns if name in (*by, time) and name != place]
    groups = (
        frame.groupby(shared, sort=False).ngroup().to_numpy(dtype=np.int64)
        if shared and place
        else np.zeros(len(frame), dtype=np.int64)
    )
    smoothed = smooth(frame[["n", "estimate", "variance", "df"]], smoothing, share=share, groups=groups)
    n_eff = np.where(np.isfinite(smoothed.n_eff), smoothed.n_eff, n_eff)
    return frame.assign(vardir=smoothed.vardir, n_eff=n_eff), smoothed.log
