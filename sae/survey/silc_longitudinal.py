"""EU-SILC over four years: who is poor now and was in two of the three years before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from sae.calls import answered
from sae.errors import SaeInputError, SaeSpecError, counted, name_some
from sae.literals import LonelyPolicy
from sae.survey.checks import numbers
from sae.survey.silc import named_layout, survey_of, words_for_missing
from sae.survey.silc_files import SilcFiles, find_parts, join_parts, members_only, read_parts
from sae.survey.silc_records import holds, with_columns
from sae.survey.survey import Survey
from sae.survey.variables import YES_NO
from sae.tables import labels

__all__ = ["read_silc_longitudinal"]

SPAN = 4  # years that persistent poverty looks at
WEIGHT = "RB064"  # longitudinal weight of four years' duration; that it is this one is remembered


@answered
def read_silc_longitudinal(
    files: str | Path | Mapping[str, str | Path],
    *,
    country: str | None = None,
    year: int | None = None,
    thresholds: Mapping[int, float] | None = None,
    weights: str | None = None,
    strata: str | Sequence[str] | None = None,
    psu: str | Sequence[str] | None = None,
    layout: str | Mapping[str, Any] | None = None,
    lonely_psu: LonelyPolicy = "fail",
    nest: bool = False,
    encoding: str = "utf-8",
    separator: str | None = None,
    decimal: Literal[".", ","] = ".",
) -> Survey:
    r"""Read the longitudinal files of EU-SILC: the persons of the last year and their last four years.

    Parameters
    ----------
    files : str, Path or mapping
        The folder that holds ``UDB_lCCYYD.csv`` and the H, R and P file, one of these files, or
        ``{"D": path, "H": path, "R": path, "P": path}``.
    country, year : str, int, optional
        Which set, where the folder holds several; the year is the last one.
    thresholds : mapping of int to float, optional
        At-risk-of-poverty threshold of each year, where H brings no HX080. It is that of the whole
        population, so of the cross-sectional file of the year: the panel cannot give it.
    weights : str, optional
        Longitudinal weight, RB064 where neither this nor the layout names one; who has none is outside the
        population.
    strata, psu, layout, lonely_psu, nest, encoding, separator, decimal
        As in `read_silc`.

    Returns
    -------
    Survey
        Who is a member of a household in the last year, with the harmonised variables of that year,
        ``persistent_poverty`` ("yes": poor in the last year and in at least two of the three before; missing
        where a year of the four is missing, for the population are those who lived in private households for
        four years), ``years_observed`` and ``years_poor``. `notes` count entries, exits and gaps.

    Raises
    ------
    SaeInputError
        As `read_silc`, and if the files lack one of the four years.
    SaeSpecError
        If poverty cannot be told in a year.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> folder, years = pathlib.Path(tempfile.mkdtemp()), (2019, 2020, 2021, 2022)
    >>> heads = {"D": "DB010,DB020,DB030,DB040", "H": "HB010,HB020,HB030,HX080"}
    >>> heads |= {"R": "RB010,RB020,RB030,RB040,RB064", "P": "PB010,PB020,PB030,PL032"}
    >>> ends = {"D": ["AT1"] * 4, "H": [1, 0, 1, 1], "R": ["1,9"] * 4, "P": [5] * 4}
    >>> for part, head in heads.items():
    ...     rows = [f"{year},AT,1,{end}" for year, end in zip(years, ends[part])]
    ...     _ = (folder / f"UDB_lAT22{part}.csv").write_text("\n".join([head, *rows]), encoding="utf-8")
    >>> survey = sae.survey.read_silc_longitudinal(folder, lonely_psu="certainty")
    >>> survey.frame["persistent_poverty"].tolist()
    ['yes']
    """
    own = named_layout(layout)
    weights = weights or (own.get("columns") or {}).get("weights") or WEIGHT
    delivered = members_only(
        read_parts(
            find_parts(files, "l", country, year),
            kind="l",
            country=country,
            year=year,
            encoding=encoding,
            separator=separator,
            decimal=decimal,
            missing=words_for_missing(own),
        )
    )
    last = delivered.years[-1]
    span = tuple(range(last - SPAN + 1, last + 1))
    absent = [str(when) for when in span if when not in delivered.years]
    if absent:
        raise SaeInputError(
            f"Persistent poverty looks at {span[0]}-{last}, but the files of {delivered.name} lack "
            f"{name_some(absent)}.",
            hint="Take the longitudinal files of four consecutive years.",
        )
    frame = join_parts(delivered)
    frame = frame[numbers(frame["RB010"], "RB010") >= span[0]].reset_index(drop=True)
    poor = pd.Series(_poor(frame, delivered, span, thresholds))
    person = labels(frame["RB030"]).rename("person").reset_index(drop=True)
    years = pd.Series(numbers(frame["RB010"], "RB010").astype(int), name="year")
    history = poor.groupby([person, years]).first().unstack("year").reindex(columns=list(span))
    notes = [_presence(person, years, span)]
    present = years == last
    now, history = frame[present].reset_index(drop=True), history.reindex(person[present])
    poverty = {
        "persistent_poverty": _persistent(history.to_numpy()),
        "years_observed": history.notna().sum(axis=1).to_numpy(),
        "years_poor": history.sum(axis=1).to_numpy(int),
    }
    return survey_of(
        with_columns(now, poverty),
        replace(delivered, notes=(*delivered.notes, *notes)),
        own,
        weights=weights,
        strata=strata,
        psu=psu,
        lonely_psu=lonely_psu,
        nest=nest,
        remembered=frozenset({"persistent_poverty"}) if weights == WEIGHT else frozenset(),
    )


def _poor(
    frame: pd.DataFrame, files: SilcFiles, span: Sequence[int], thresholds: Mapping[int, float] | None
) -> np.ndarray:
    """1 where a person is poor in a year, 0 where not, nan where not known."""
    years = numbers(frame["RB010"], "RB010")
    poor = np.full(len(frame), np.nan)
    for when in span:
        rows = np.flatnonzero(years == when)
        part = frame.iloc[rows]
        if thresholds is not None and when in thresholds and holds(part, "HX090"):
            income = numbers(part["HX090"], "HX090")
            poor[rows] = np.where(np.isnan(income), np.nan, income < thresholds[when])
        elif holds(part, "HX080"):
            flags = numbers(part["HX080"], "HX080")
            poor[rows] = np.where(np.isin(flags, (0, 1)), flags, np.nan)
        else:
            lacking = "its threshold" if holds(part, "HX090") else "an equivalised income (HX090)"
            raise SaeSpecError(
                f"Who is poor in {when} cannot be told from the files of {files.name}: neither HX080 is "
                f"there nor {lacking}.",
                hint="Give thresholds={year: amount}, from the cross-sectional file of each year.",
            )
    return poor


def _presence(person: pd.Series, years: pd.Series, span: Sequence[int]) -> str:
    """Say how many came, left, or were away in between."""
    there = (pd.crosstab(person, years) > 0).reindex(columns=list(span), fill_value=False).to_numpy()
    first, last = there.argmax(axis=1), there.shape[1] - 1 - there[:, ::-1].argmax(axis=1)
    away, now = there.sum(axis=1) < last - first + 1, there[:, -1]
    always, entered = there.all(axis=1), now & ~there[:, 0]
    return (
        f"{span[0]}-{span[-1]}: {counted(len(there), 'person', 'persons')}, {always.sum():,} in all "
        f"{len(span)} years; {entered.sum():,} entered later, {np.sum(~now):,} left before {span[-1]}, "
        f"{away.sum():,} were away in between"
    )


def _persistent(poor: np.ndarray) -> pd.Series:
    """Yes, no or missing for each person, from one column per year, the last year last."""
    known = ~np.isnan(poor).any(axis=1)
    yes = (poor[:, -1] == 1) & (np.nansum(poor[:, :-1], axis=1) >= 2)
    answers = np.where(known, np.where(yes, 0, 1), -1)
    return pd.Series(pd.Categorical.from_codes(answers, categories=pd.Index(YES_NO)))
