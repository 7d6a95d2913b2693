"""From a frame and the roles of its columns to checked records and their design."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from sae.errors import SaeInputError
from sae.literals import LonelyPolicy
from sae.survey.checks import as_list, check_columns, check_persons, column_of, read_weights
from sae.survey.codes import as_categorical
from sae.survey.design import Stage, make_stages
from sae.survey.layouts import harmonise, resolve_layout
from sae.survey.replicates import Replicates, read_replicates

__all__ = ["CheckedRecords", "check_records"]


@dataclass(frozen=True, eq=False)
class CheckedRecords:
    """Records, weights and design as a `Survey` holds them; its attributes have the same names."""

    frame: pd.DataFrame
    weights: np.ndarray
    stages: tuple[Stage, ...]
    replicates: Replicates | None
    time: str | None
    layout: str
    missing: Mapping[str, int]
    notes: tuple[str, ...]


def check_records(
    frame: pd.DataFrame,
    roles: Mapping[str, Any],
    *,
    layout: str | Mapping[str, Any] | None,
    lonely_psu: LonelyPolicy,
    nest: bool,
) -> CheckedRecords:
    """Harmonise and check; see `Survey.from_frame`."""
    if not isinstance(frame, pd.DataFrame):
        raise SaeInputError(f"A survey is made from a DataFrame, not from {type(frame).__name__}.")
    check_columns(frame)
    notes: list[str] = []
    if not isinstance(roles["weights"], str) and roles["weights"] is not None:
        roles = {**roles, "weights": read_weights(frame, roles["weights"])}  # before the index goes
    if not isinstance(frame.index, pd.RangeIndex) or frame.index.start != 0 or frame.index.step != 1:
        frame = frame.reset_index(drop=True)
    given = {role: value for role, value in roles.items() if value is not None}
    columns = {str(name): frame[name] for name in frame}
    layout_name = ""
    if layout is not None:
        spec = resolve_layout(layout)
        layout_name = spec.name
        columns, layout_roles, layout_notes = harmonise(columns, spec, given)
        given = {**layout_roles, **given}
        notes += layout_notes
    identifiers = {given.get("household"), given.get("person")}
    records = pd.DataFrame(
        {key: values if key in identifiers else _text_as_category(values) for key, values in columns.items()},
        copy=False,
    )
    return _read_design(records, given, layout_name, lonely_psu, nest, notes)


def _read_design(
    records: pd.DataFrame,
    roles: Mapping[str, Any],
    layout: str,
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
    weights.setflags(write=False)
    missing = _missing_values(records)
    return CheckedRecords(records, weights, stages, replicates, time, layout, missing, tuple(notes))


def _text_as_category(values: pd.Series) -> pd.Series:
    if isinstance(values.dtype, pd.StringDtype):
        return as_categorical(values)
    if values.dtype == object and pd.api.types.infer_dtype(values, skipna=True) in (
        "string",
        "mixed-integer",
    ):
        return as_categorical(values.map(str, na_action="ignore") if _mixed(values) else values)
    return values


def _mixed(values: pd.Series) -> bool:
    return bool(pd.api.types.infer_dtype(values, skipna=True) == "mixed-integer")


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
