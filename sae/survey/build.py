"""From a frame and the roles of its columns to checked records and their design."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from sae.errors import SaeInputError, SaeWarning, name_some
from sae.literals import LonelyPolicy
from sae.survey.checks import as_list, check_columns, check_persons, check_population, column_of, read_weights
from sae.survey.codes import as_categorical, as_text, combine, encode
from sae.survey.design import Stage, make_stages
from sae.survey.file_columns import FileColumns
from sae.survey.harmonise import harmonise
from sae.survey.layout_fit import check_release
from sae.survey.layouts import resolve_layout
from sae.survey.levels import Unlisted, strays_text
from sae.survey.release import Release
from sae.survey.replicates import Replicates, read_replicates
from sae.tables import label_text, pandas_frame
from sae.tables import labels as text_labels
from sae.tables.text_cells import look_missing

__all__ = [
    "CheckedRecords",
    "HarmonisedRecords",
    "check_layout",
    "check_records",
    "harmonised_records",
    "knows_countries",
    "quarters_in_a_year",
    "refuse_shared",
]


@dataclass(frozen=True, eq=False)
class CheckedRecords:
    """Records, weights and design as a `Survey` holds them; its attributes have the same names."""

    frame: pd.DataFrame
    weights: np.ndarray
    stages: tuple[Stage, ...]
    replicates: Replicates | None
    time: str | None
    layout: str
    release: Release
    missing: Mapping[str, int]
    notes: tuple[str, ...]


def check_records(
    frame: pd.DataFrame,
    roles: Mapping[str, Any],
    *,
    layout: str | Mapping[str, Any] | None,
    lonely_psu: LonelyPolicy,
    nest: bool,
    population: float | Mapping[str, float] | None = None,
) -> CheckedRecords:
    """Harmonise and check; see `Survey.from_frame`."""
    frame = pandas_frame(frame, "The records")
    frame = frame.set_axis([str(name) for name in frame], axis=1)
    check_columns(frame)
    if not isinstance(roles["weights"], str) and roles["weights"] is not None:
        roles = {**roles, "weights": read_weights(frame, roles["weights"])}  # before the index goes
    if not isinstance(frame.index, pd.RangeIndex) or frame.index.start != 0 or frame.index.step != 1:
        frame = frame.reset_index(drop=True)
    made = harmonised_records(frame, roles, layout)
    records, notes = made.records, [*made.notes]
    if knows_countries(layout):
        refuse_shared(records, made.roles, nest)
    notes += _announce(records)
    strays = strays_text(made.unlisted, layout)
    if strays:
        warnings.warn(strays, SaeWarning, stacklevel=4)
    checked = _read_design(records, made.roles, made.layout, made.release, lonely_psu, nest, notes)
    if population is not None:
        periods = None if checked.time is None else records[checked.time]
        check_population(checked.weights, periods, population)
    return checked


@dataclass(frozen=True, eq=False)
class HarmonisedRecords:
    """Records with the harmonised columns of a layout, text as categories.

    Attributes
    ----------
    records : DataFrame
    roles : dict
        Roles given, and those that the layout adds.
    layout : str
        Name of the layout, or "".
    release : Release
    notes : list of str
    unlisted : list of Unlisted
        Codes that became missing, which the notes tell too.
    """

    records: pd.DataFrame
    roles: dict[str, Any]
    layout: str
    release: Release
    notes: list[str]
    unlisted: list[Unlisted]


def harmonised_records(
    frame: pd.DataFrame,
    roles: Mapping[str, Any],
    layout: str | Mapping[str, Any] | None,
    *,
    whole: bool = True,
) -> HarmonisedRecords:
    """Add the harmonised columns of a layout to records, and make categories of their text.

    Parameters
    ----------
    frame : DataFrame
        Records or a block of them, with a RangeIndex.
    roles : mapping
        Roles named by the user, None where not.
    layout : str, mapping or None
    whole : bool
        Whether these are all records; of a block it is not asked whether the layout fits (`check_layout`).
    """
    given = {role: value for role, value in roles.items() if value is not None}
    read = {str(name): frame[name] for name in frame}
    columns = _columns(read, layout)
    layout_name, release, notes, unlisted = "", Release(), list[str](), list[Unlisted]()
    if layout is not None:
        spec = resolve_layout(layout)
        layout_name = spec.name
        file = FileColumns(columns, spec)
        if whole:
            check_release(file, given)
        harmonised = harmonise(file, given, whole=whole)
        columns, release = harmonised.columns, harmonised.release
        notes, unlisted = harmonised.notes, harmonised.unlisted
        given = {**harmonised.roles, **given}
    identifiers = {given.get("household"), given.get("person")}
    made = {
        key: _identifier(values) if key in identifiers else _text_as_category(values)
        for key, values in columns.items()
    }
    # a block that is nobody else's, of which nothing is to be changed
    as_it_is = not whole and list(frame) == list(made) and all(made[key] is read[key] for key in made)
    records = frame if as_it_is else pd.DataFrame(made, copy=False)
    return HarmonisedRecords(records, given, layout_name, release, notes, unlisted)


def check_layout(frame: pd.DataFrame, roles: Mapping[str, Any], layout: str | Mapping[str, Any]) -> None:
    """Refuse a layout where another known one fits a sample of the records better."""
    given = {role: value for role, value in roles.items() if value is not None}
    columns = _columns({str(name): frame[name] for name in frame}, layout)
    check_release(FileColumns(columns, resolve_layout(layout)), given)


def _columns(read: Mapping[str, pd.Series], layout: str | Mapping[str, Any] | None) -> dict[str, pd.Series]:
    columns = {name: _one_kind(values) for name, values in read.items()}
    words = frozenset[str]() if layout is None else resolve_layout(layout).missing
    return {name: _without(values, words) for name, values in columns.items()} if words else columns


def knows_countries(layout: str | Mapping[str, Any] | None) -> bool:
    """Whether a layout says in which country a record is."""
    spec = None if layout is None else resolve_layout(layout)
    return spec is not None and ("country" in spec.columns or "country" in spec.derive)


def refuse_shared(columns: pd.DataFrame, roles: Mapping[str, Any], nest: bool) -> None:
    """Refuse strata, sampling units and households of two countries that bear the same label."""
    if "country" not in columns or columns["country"].nunique() < 2:
        return
    country, countries = encode(columns["country"])
    for role in ("strata",) if nest else ("strata", "psu", "household"):
        names = as_list(roles.get(role), role)[:1]
        if not names or names[0] not in columns:
            continue
        values, labels = encode(columns[names[0]])
        known = (values >= 0) & (country >= 0)
        _, units, _ = combine(values[known], country[known], len(countries))
        shared = np.flatnonzero(np.bincount(units, minlength=len(labels)) > 1)
        if shared.size:
            raise SaeInputError(
                f"{shared.size:,} of {len(labels):,} labels of the {role} column {names[0]!r} occur in "
                f"several countries, where they are not the same: {name_some(as_text(labels[shared]))}.",
                hint="Join them to the file's column of the country in a layout of your own: "
                f"derive = {{x = {{join = [country, {names[0]}]}}}}, columns = {{{role} = 'x'}}.",
                column=names[0],
            )


def _read_design(
    records: pd.DataFrame,
    roles: Mapping[str, Any],
    layout: str,
    release: Release,
    lonely_psu: LonelyPolicy,
    nest: bool,
    notes: list[str],
) -> CheckedRecords:
    weights = read_weights(records, roles.get("weights"))
    household, person, time = roles.get("household"), roles.get("person"), roles.get("time")
    for role, column in (("household", household), ("person", person), ("time", time)):
        if column is not None:
            column_of(records, column, role)
    psu = as_list(roles.get("psu"), "psu")
    if not psu and household is not None:
        psu = [household]
        notes.append(f"no psu given: the household ({household}) is the sampling unit")
    replicates = None
    if roles.get("replicates") is not None:
        replicates, replicate_notes = read_replicates(records, roles["replicates"], weights)
        notes += replicate_notes
    stages, stage_notes = make_stages(
        records,
        as_list(roles.get("strata"), "strata"),
        psu,
        as_list(roles.get("fpc"), "fpc"),
        lonely_psu=lonely_psu,
        nest=nest,
        check_lonely=replicates is None,
    )
    notes += stage_notes
    if person is not None:
        check_persons(records, person, household, time)
    notes += quarters_in_a_year(records, release, stages[0], time)
    weights.setflags(write=False)
    missing = _missing_values(records)
    return CheckedRecords(records, weights, stages, replicates, time, layout, release, missing, tuple(notes))


def quarters_in_a_year(records: pd.DataFrame, release: Release, stage: Stage, time: str | None) -> list[str]:
    """Say of a yearly file whether its key links the quarters; warn where it does not."""
    if release.survey != "EU-LFS" or "period" not in records or time in (None, "period"):
        return []
    period, labels = encode(records["period"])
    year, _ = encode(column_of(records, time, "time"))
    if len(labels) <= len(np.unique(year)):
        return []
    _, units, _ = combine(stage.psu, period + 1, len(labels) + 1)
    several = int(np.sum(np.bincount(units) > 1))
    unit = stage.columns.get("psu", "record")
    note = f"the quarters of a year are linked by {unit}: {several:,} of {stage.n_psu:,} occur in several"
    if several:
        return [note]
    note = f"no {unit} occurs in two quarters: errors of a year take its quarters as independent"
    warnings.warn(
        f"The survey: {note}. Where the panel asks the same households again, they are too small: state the "
        'overlap, sae.survey.pool_periods(survey, Overlap(...), yearly_weights=True), with time="period".',
        SaeWarning,
        stacklevel=6,
    )
    return [note]


def _one_kind(values: pd.Series) -> pd.Series:
    """Give a column of Python objects its own kind, text or numbers; refuse lists in its cells."""
    if values.dtype != object:
        return values
    kind = pd.api.types.infer_dtype(values, skipna=True)
    if kind in ("decimal", "integer", "floating", "mixed-integer-float"):
        known = values.where(values.notna(), np.nan)
        return pd.to_numeric(known if kind == "integer" else known.astype("float64"))
    dates = kind in ("date", "datetime") and values.dropna().map(type).nunique() > 1  # they have no order
    if dates or kind in ("mixed", "mixed-integer", "bytes", "unknown-array"):
        return text_labels(values, keep_missing=True)
    return values


def _identifier(values: pd.Series) -> pd.Series:
    """Spell identifiers by the rule for labels; no categories are made of them, for they hardly repeat."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        return _text_as_category(values)
    is_text = isinstance(values.dtype, pd.StringDtype) or pd.api.types.is_object_dtype(values.dtype)
    if is_text and not _is_ascii(values):
        return text_labels(values, keep_missing=True)
    return values


def _text_as_category(values: pd.Series) -> pd.Series:
    dtype = values.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return values if _is_ascii(dtype.categories) else _with_levels_spelt(values)
    if isinstance(dtype, pd.StringDtype):
        return as_categorical(values)
    if pd.api.types.is_object_dtype(dtype) and pd.api.types.infer_dtype(values, skipna=True) == "string":
        return as_categorical(values)
    return values


def _texts(values: pd.Series | pd.Index) -> pa.Array:
    """Return the texts among some values; what is no text is missing."""
    is_text = pd.api.types.infer_dtype(values, skipna=True) == "string"
    texts = values.array if is_text else [value if isinstance(value, str) else None for value in values]
    return pa.array(texts, pa.large_string(), from_pandas=True)


def _is_ascii(values: pd.Series | pd.Index) -> bool:
    return pc.all(pc.string_is_ascii(_texts(values))).as_py() is not False


def _with_levels_spelt(values: pd.Series) -> pd.Series:
    """Spell the levels of a categorical column by the rule for labels; those that become alike are one."""
    levels = [label_text(level) for level in values.cat.categories]
    distinct = {level: rank for rank, level in enumerate(dict.fromkeys(levels))}
    if levels == list(values.cat.categories):
        return values
    codes = np.array([*(distinct[level] for level in levels), -1])[values.cat.codes.to_numpy()]
    return pd.Series(
        pd.Categorical.from_codes(
            codes, categories=pd.Index(list(distinct)), ordered=bool(values.cat.ordered)
        ),
        index=values.index,
        name=values.name,
    )


def _without(values: pd.Series, words: frozenset[str]) -> pd.Series:
    """Return a column in which the words that a layout declares missing are so."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        levels = [level for level in values.cat.categories if label_text(level) in words]
        return values.cat.remove_categories(levels) if levels else values
    if pd.api.types.is_bool_dtype(values.dtype):
        return values
    if not pd.api.types.is_numeric_dtype(values.dtype):
        return values.mask(values.isin(list(words)))
    gone = values.isin(pd.to_numeric(pd.Series(sorted(words)), errors="coerce").dropna())
    return values.astype("float64").mask(gone) if gone.any() else values


def _announce(records: pd.DataFrame) -> list[str]:
    """Warn of the levels of text that look like words for a missing value, with their counts."""
    seen = []
    for name in records:
        if isinstance(records[name].dtype, pd.CategoricalDtype):
            levels = records[name].cat.categories
            codes = np.flatnonzero(look_missing(_texts(levels))).tolist()
            if codes:
                counts = np.bincount(records[name].cat.codes.to_numpy() + 1, minlength=len(levels) + 1)
                seen += [
                    f"{name} {levels[code]!r} ({counts[code + 1]:,})" for code in codes if counts[code + 1]
                ]
    if not seen:
        return []
    note = f"texts that look like missing values are kept as levels: {name_some(seen)}"
    warnings.warn(
        f'The survey: {note}. If they mean that nothing is known, say so in the layout: missing = ["NA"].',
        SaeWarning,
        stacklevel=5,
    )
    return [note]


def _missing_values(records: pd.DataFrame) -> dict[str, int]:
    counts = {}
    for name in records:
        column = records[name]
        if isinstance(column.dtype, pd.CategoricalDtype):
            missing = int(np.count_nonzero(column.cat.codes.to_numpy() < 0))
        elif isinstance(column.dtype, np.dtype) and column.dtype.kind in "iub":
            continue
        else:
            missing = int(column.isna().sum())
        if missing:
            counts[str(name)] = missing
    return counts
