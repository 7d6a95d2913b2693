"""The fixed columns of the tables that cross rooms, in their order, with their dtypes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from sae.errors import SaeInputError, name_some

__all__ = ["DIRECT_COLUMNS", "DTYPES", "ESTIMATE_COLUMNS", "arrange"]

# The group columns (the `by` columns) stand after the names in _BEFORE_GROUPS.
DIRECT_COLUMNS: Mapping[str, str] = {
    "indicator": "str", "definition": "str", "geo": "str", "time": "str",
    "domain": "str", "n": "int", "n_eff": "float", "df": "float",
    "estimate": "float", "variance": "float", "se": "float", "cv": "float",
    "ci_low": "float", "ci_high": "float", "interval": "str", "deff": "float",
    "vardir": "float", "variance_method": "str", "smoothing": "str", "status": "str",
}  # fmt: skip
ESTIMATE_COLUMNS: Mapping[str, str] = {
    "indicator": "str", "definition": "str", "unit": "str", "geo": "str", "geo_version": "str", "time": "str",
    "domain": "str", "n": "int", "n_eff": "float", "direct": "float", "direct_se": "float",
    "direct_cv": "float", "estimate": "float", "mse": "float", "se": "float", "cv": "float",
    "ci_low": "float", "ci_high": "float", "interval": "str", "gamma": "float", "in_sample": "bool",
    "benchmark_factor": "float", "reliability": "str", "flag": "str", "publishable": "bool",
    "reason": "str", "policy": "str", "method": "str", "mse_method": "str", "prior": "str",
    "model": "str", "run": "str",
}  # fmt: skip
DTYPES: Mapping[str, Any] = {"str": "string", "int": "Int64", "float": "float64", "bool": "boolean"}


def arrange(frame: pd.DataFrame, columns: Mapping[str, str], groups: Sequence[str]) -> pd.DataFrame:
    """Return `frame` with exactly the fixed columns plus `groups`, in the fixed order and dtypes.

    Parameters
    ----------
    frame : DataFrame
        One row per domain; a missing fixed column is filled with "" (text) or a missing value.
    columns : mapping of str to str
        `DIRECT_COLUMNS` or `ESTIMATE_COLUMNS`.
    groups : sequence of str
        Names of the `by` columns; they stand just before ``domain`` and keep their dtype.

    Raises
    ------
    SaeInputError
        If a column is neither fixed nor a group, or a group bears a fixed name, or is missing.
    """
    clash = [name for name in groups if name in columns and name not in ("geo", "time", "domain")]
    if clash:
        raise SaeInputError(
            f"The grouping columns {name_some(clash)} bear names that the table keeps for its own columns.",
            hint="Rename them before the estimation.",
            column=clash[0],
        )
    extra_groups = [name for name in groups if name not in columns]
    missing = [name for name in extra_groups if name not in frame]
    if missing:
        raise SaeInputError(
            f"The table lacks its grouping columns {name_some(missing)}.", column=str(missing[0])
        )
    unknown = [name for name in frame if name not in columns and name not in extra_groups]
    if unknown:
        raise SaeInputError(
            f"The table has no place for the columns {name_some(unknown)}.", column=str(unknown[0])
        )
    out: dict[str, pd.Series] = {}
    for name, kind in columns.items():
        if name == "domain":
            out.update({group: frame[group] for group in extra_groups})
        if name not in frame:
            nothing = pd.array(
                ["" if kind == "str" else np.nan if kind == "float" else pd.NA], dtype=DTYPES[kind]
            )
            out[name] = pd.Series(nothing.take(np.zeros(len(frame), dtype=np.intp)), index=frame.index)
            continue
        values = frame[name].fillna("") if kind == "str" else frame[name]
        if kind == "float":
            values = pd.to_numeric(values)
        out[name] = values.astype(DTYPES[kind])
    return pd.DataFrame(out).reset_index(drop=True)
