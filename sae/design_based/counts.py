"""Known population counts by domain and post-stratum, matched by name with the records of a survey."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sae.design_based.domains import Domains, cross_domains, place_of
from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.survey import Survey
from sae.survey.codes import encode
from sae.tables import labels, pandas_frame, require
from sae.tables.covariates import frame_of

__all__ = ["Crossing", "Keys", "KnownCounts", "match_records", "names_of", "read_counts", "read_crossing"]

Keys = list[tuple[str, ...]]


@dataclass(frozen=True, eq=False)
class Crossing:
    """A labelled frame of counts as an array: rows × columns, both sorted by label.

    Attributes
    ----------
    row_labels : DataFrame
        Labels of the rows with their own dtypes, shape (n_rows, number of row columns).
    rows, columns : list of tuple of str
        The same labels, and those of the columns, as text.
    values : ndarray of float, shape (n_rows, n_columns)
    """

    row_labels: pd.DataFrame
    rows: Keys
    columns: Keys
    values: np.ndarray


@dataclass(frozen=True, eq=False)
class KnownCounts:
    """Population counts N_dg with the records that belong to each domain d and post-stratum g.

    Attributes
    ----------
    domains : Domains
        One row per domain of the counts, sampled or not, with the domain of each record (-1: none).
    strata : ndarray of int64, shape (n,)
        Post-stratum of each record in the universe, -1 for the others.
    rows, columns : list of tuple of str
        Labels of the domains and of the post-strata as text.
    N : ndarray of float, shape (n_domains, n_strata)
    notes : tuple of str
        Records without a domain.
    """

    domains: Domains
    strata: np.ndarray
    rows: Keys
    columns: Keys
    N: np.ndarray
    notes: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        """Post-strata as text."""
        return names_of(self.columns)


def names_of(keys: Keys) -> list[str]:
    """Join the labels of each key."""
    return [" / ".join(key) if key else "all" for key in keys]


def read_crossing(
    frame: pd.DataFrame, rows: Sequence[str], columns: Sequence[str], count: str, called: str
) -> Crossing:
    """Read a long frame of counts into an array; every cell must be there, once.

    Parameters
    ----------
    frame : DataFrame
        One row per cell.
    rows, columns : sequence of str
        Columns whose labels make the rows and the columns of the array; `columns` may be empty.
    count : str
        Column of the counts.
    called : str
        What the frame is called in messages.

    Raises
    ------
    SaeSpecError
        If a column does not exist or is named twice.
    SaeInputError
        If a label or a count is missing or negative, or cells are absent or twice.
    """
    frame = pandas_frame(frame_of(frame), called[:1].upper() + called[1:])
    _check_columns(frame, [*rows, *columns, count], called)
    values = pd.to_numeric(frame[count], errors="coerce").to_numpy(float, na_value=np.nan)
    row_code, row_labels, row_keys = _keyed(frame, rows, called)
    column_code, _, column_keys = _keyed(frame, columns, called)
    bad = np.flatnonzero(~(np.isfinite(values) & (values >= 0)))
    label = [
        f"{name} × {other}" if columns else name
        for name, other in (
            (names_of(row_keys)[r], names_of(column_keys)[c])
            for r, c in zip(row_code[bad], column_code[bad], strict=True)
        )
    ]
    if bad.size:
        raise SaeInputError(
            f"{bad.size} counts of {called} are missing, negative or no number: {name_some(label)}.",
            hint="A cell without anybody counts 0.",
            areas=label,
            column=count,
        )
    times = np.zeros((len(row_keys), len(column_keys)), dtype=np.int64)
    np.add.at(times, (row_code, column_code), 1)
    crossed = " × ".join([*rows, *columns])
    for wrong, what, hint in (
        (times > 1, "stand more than once in", "Sum the counts over what is not asked for."),
        (times == 0, "are missing from", "Add them, with the count 0 where nobody lives."),
    ):
        if wrong.any():
            cells = [
                names_of(row_keys)[r] + (f" × {names_of(column_keys)[c]}" if columns else "")
                for r, c in zip(*np.nonzero(wrong), strict=True)
            ]
            raise SaeInputError(
                f"{len(cells)} cells of {crossed} {what} {called}: {name_some(cells)}.",
                hint=hint,
                areas=cells,
            )
    table = np.zeros(times.shape)
    table[row_code, column_code] = values
    return Crossing(row_labels, row_keys, column_keys, table)


def read_counts(
    survey: Survey,
    by: Sequence[str],
    within: Sequence[str],
    counts: pd.DataFrame,
    count: str,
    base: np.ndarray,
) -> KnownCounts:
    """Read population counts and find the domain and the post-stratum of every record.

    Parameters
    ----------
    survey : Survey
    by, within : sequence of str
        Columns that make the domains and the post-strata, in the survey and in `counts`.
    counts : DataFrame
        One row per domain × post-stratum.
    count : str
        Column of the counts.
    base : ndarray of bool, shape (n,)
        Records in the universe that the counts are about.

    Raises
    ------
    SaeSpecError, SaeInputError
        Also where records bear a label that the counts lack, or a post-stratum has people but no record.
    """
    if not by:
        raise SaeSpecError("No domain is asked for.", hint="Name the columns of the domains in by=.")
    crossing = read_crossing(counts, by, within, count, "the counts")
    nobody = [
        name
        for name, total in zip(names_of(crossing.rows), crossing.values.sum(axis=1), strict=True)
        if total == 0
    ]
    if nobody:
        raise SaeInputError(
            f"{len(nobody)} domains have a population of 0: {name_some(nobody)}.",
            hint="Take them out of the counts.",
            areas=nobody,
            column=count,
        )
    codes, unplaced = match_records(survey, by, crossing.rows, base, "domains", "the counts", missing=True)
    strata, _ = match_records(survey, within, crossing.columns, base, "post-strata", "the counts")
    seen = np.bincount(strata[strata >= 0], minlength=len(crossing.columns)) > 0
    empty = [
        name
        for name, here, total in zip(
            names_of(crossing.columns), seen, crossing.values.sum(axis=0), strict=True
        )
        if total > 0 and not here
    ]
    if empty:
        raise SaeInputError(
            f"{len(empty)} post-strata of {' × '.join(within) or 'the counts'} have people but no "
            f"record in the universe of the survey: {name_some(empty)}.",
            hint="Join them with others in the counts and in the survey, or count the universe only.",
            areas=empty,
        )
    notes = (
        (f"{unplaced:,} records without {' × '.join(by)} count in the post-strata only",) if unplaced else ()
    )
    used = np.ones(len(survey), bool) if survey.mask is None else survey.mask
    domains = Domains(
        tuple(by), np.where(used, codes, -1).astype(np.int32), _labels(survey, by, crossing), notes
    )
    return KnownCounts(domains, strata, crossing.rows, crossing.columns, crossing.values, notes)


def match_records(
    survey: Survey,
    columns: Sequence[str],
    keys: Keys,
    base: np.ndarray,
    what: str,
    called: str,
    *,
    missing: bool = False,
) -> tuple[np.ndarray, int]:
    """Find the key of every record of the universe, by the text of its labels.

    Parameters
    ----------
    survey : Survey
    columns : sequence of str
    keys : list of tuple of str
    base : ndarray of bool, shape (n,)
        The universe.
    what, called : str
        What the keys are, and where they come from, in messages.
    missing : bool
        Whether a record may lack its label; it then has the code -1.

    Returns
    -------
    codes : ndarray of int64, shape (n,)
        -1 outside the universe.
    unplaced : int
        Records of the universe without a label.
    """
    code = np.where(base, 0, -1).astype(np.int64)
    parts: list[list[str]] = []
    for name in columns:
        require(survey.frame, [name], "The survey has", error=SaeSpecError)
        own, levels = encode(survey.frame[name])
        parts.append(labels(levels).tolist())
        code = np.where((code >= 0) & (own >= 0), code * max(len(levels), 1) + own, -1)
    unplaced = int(np.sum(base & (code < 0)))
    if unplaced and not missing:
        raise SaeInputError(
            f"{unplaced:,} of {int(base.sum()):,} records of the universe have no {' × '.join(columns)}.",
            hint="Impute it, or give these records a level of their own in the survey and in the counts.",
            column=columns[0],
        )
    distinct, inverse = np.unique(code, return_inverse=True)
    place = {key: number for number, key in enumerate(keys)}
    shape = [max(len(levels), 1) for levels in parts]
    places = np.full(distinct.size, -1, dtype=np.int64)
    unknown = []
    for number, value in enumerate(distinct):
        if value < 0:
            continue
        at = np.unravel_index(value, shape) if shape else ()
        key = tuple(levels[position] for levels, position in zip(parts, at, strict=True))
        places[number] = place.get(key, -1)
        if key not in place:
            unknown.append(key)
    if unknown:
        names = names_of(unknown)
        raise SaeInputError(
            f"{len(names)} {what} of the survey are not in {called}: {name_some(names)}.",
            hint=f"The labels of {called} are such as {name_some(names_of(keys), 3)}; write the codes alike.",
            areas=names,
            column=columns[0],
        )
    return places[inverse.reshape(-1)], unplaced


def _check_columns(frame: pd.DataFrame, columns: list[str], called: str) -> None:
    require(
        frame,
        columns,
        f"{called[:1].upper()}{called[1:]} have",
        hint="Give one row per cell, with its labels and its count (count=).",
        error=SaeSpecError,
    )
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise SaeSpecError(
            f"{name_some(twice)} has two roles.", hint="A column is domain, post-stratum or count."
        )


def _keyed(frame: pd.DataFrame, columns: Sequence[str], called: str) -> tuple[np.ndarray, pd.DataFrame, Keys]:
    """Code of each row among the occurring combinations, sorted; their labels; the same as text."""
    coded = [encode(frame[name]) for name in columns]
    for name, (codes, _) in zip(columns, coded, strict=True):
        empty = np.flatnonzero(codes < 0)
        if empty.size:
            raise SaeInputError(
                f"{empty.size} rows of {called} have no {name}: row {name_some(empty + 1)}.", column=name
            )
    if not columns:
        return np.zeros(len(frame), np.int64), pd.DataFrame(index=range(1)), [()]
    stacked = np.column_stack([codes for codes, _ in coded])
    occurring, inverse = np.unique(stacked, axis=0, return_inverse=True)
    occurring_labels = pd.DataFrame(
        {
            name: levels[occurring[:, k]]
            for k, (name, (_, levels)) in enumerate(zip(columns, coded, strict=True))
        }
    )
    texts = [labels(levels).tolist() for _, levels in coded]
    keys = [tuple(levels[code] for levels, code in zip(texts, row, strict=True)) for row in occurring]
    return inverse.reshape(-1), occurring_labels, keys


def _labels(survey: Survey, by: Sequence[str], crossing: Crossing) -> pd.DataFrame:
    texts = {name: [key[k] for key in crossing.rows] for k, name in enumerate(by)}
    places = [name for name in by if name != survey.time]
    table = pd.DataFrame(index=pd.RangeIndex(len(crossing.rows)))
    place = place_of(survey, by)
    table["geo"] = "" if place is None else texts[place]
    table["time"] = (
        texts[survey.time] if survey.time in texts else cross_domains(survey, ()).labels["time"].iloc[0]
    )
    for name in by:
        if name not in table:
            table[name] = crossing.row_labels[name].to_numpy()
    rows = zip(*(texts[name] for name in places), strict=True) if places else [("all",)] * len(table)
    table["domain"] = [" / ".join(row) for row in rows]
    return table
