"""From a frame and the roles of its columns to a checked survey."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from sae.errors import SaeInputError, name_some
from sae.survey.checks import as_list, check_columns, check_persons, column_of, read_weights
from sae.survey.codes import as_categorical
from sae.survey.design import make_stages
from sae.survey.layouts import harmonise, resolve_layout
from sae.survey.replicates import read_replicates
from sae.survey.survey import Survey

__all__ = ["build"]


def build(
    frame: pd.DataFrame,
    roles: Mapping[str, Any],
    *,
    layout: str | Mapping[str, Any] | None,
    lonely_psu: str,
    nest: bool,
    source: Mapping[str, Any] | None = None,
    notes: tuple[str, ...] = (),
) -> Survey:
    """Harmonise, check and wrap; see `Survey.from_frame`."""
    if not isinstance(frame, pd.DataFrame):
        raise SaeInputError(f"A survey is made from a DataFrame, not from {type(frame).__name__}.")
    check_columns(frame)
    said = list(notes)
    if not isinstance(roles["weights"], str) and roles["weights"] is not None:
        roles = {**roles, "weights": read_weights(frame, roles["weights"])}  # before the index goes
    if not isinstance(frame.index, pd.RangeIndex) or frame.index.start != 0 or frame.index.step != 1:
        frame = frame.reset_index(drop=True)
    given = {role: value for role, value in roles.items() if value is not None}
    columns = {str(name): frame[name] for name in frame}
    name = ""
    if layout is not None:
        spec = resolve_layout(layout)
        name = spec.name
        columns, found, more = harmonise(columns, spec, given)
        given = {**found, **given}
        said += more
    identifiers = {given.get("household"), given.get("person")}
    records = pd.DataFrame(
        {key: values if key in identifiers else _text_as_category(values) for key, values in columns.items()},
        copy=False,
    )
    return _assemble(records, given, name, lonely_psu, nest, source or {}, said)


def _assemble(
    records: pd.DataFrame,
    roles: Mapping[str, Any],
    layout: str,
    lonely_psu: str,
    nest: bool,
    source: Mapping[str, Any],
    notes: list[str],
) -> Survey:
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
        replicates, said = read_replicates(records, roles["replicates"], weights)
        notes += said
    stages, said = make_stages(
        records,
        as_list(roles.get("strata"), "strata"),
        psu,
        as_list(roles.get("fpc"), "fpc"),
        lonely_psu=lonely_psu,
        nest=nest,
        check_lonely=replicates is None,
    )
    notes += said
    if person is not None:
        check_persons(records, person, household, time)
    notes += _item_nonresponse(records)
    weights.setflags(write=False)
    return Survey(
        frame=records,
        weights=weights,
        stages=stages,
        replicates=replicates,
        lonely_psu=lonely_psu,
        time=time,
        layout=layout,
        notes=tuple(notes),
        source=dict(source),
    )


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


def _item_nonresponse(records: pd.DataFrame) -> list[str]:
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
            counts[name] = missing
    if not counts:
        return []
    shown = name_some((f"{name} {count:,}" for name, count in counts.items()), limit=30)
    return [f"item non-response (records): {shown}"]
