"""The joined records of EU-SILC made ready: flags applied, design, age and income where the file has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from sae.errors import name_some
from sae.survey.checks import numbers
from sae.survey.silc_variables import modified_oecd_scale
from sae.tables import labels

__all__ = ["design_of", "flag_of", "flags_applied", "holds", "with_age", "with_columns", "with_income"]

_NOT_APPLICABLE = {"HS011": 3, "HS021": 3, "HS031": 3, "PH040": 2}  # what "does not apply" (-2) answers: no
_AGES = ("RX020", "RB081", "RX010", "RB082")
_DESIGN = ("DB050", "DB060", "DB062")  # their flags tell kinds of units, not gaps


def with_columns(frame: pd.DataFrame, columns: Mapping[str, Any]) -> pd.DataFrame:
    """Return a frame with columns added or replaced; of hundreds of columns none is copied for it."""
    old = {str(name): values for name, values in frame.items()}
    return pd.DataFrame({**old, **columns}, index=frame.index, copy=False)


def holds(frame: pd.DataFrame, column: str) -> bool:
    """Whether a column is there and not empty."""
    return column in frame and bool(frame[column].notna().any())


def flag_of(frame: pd.DataFrame, column: str) -> np.ndarray:
    """Return the flags of a column; nan where there are none."""
    name = f"{column}_F"
    return numbers(frame[name], "flag") if name in frame else np.full(len(frame), np.nan)


def flags_applied(frame: pd.DataFrame, year: int, weights: str) -> tuple[pd.DataFrame, list[str]]:
    """Take a filled answer whose flag is negative for missing, and leave the flags out.

    Of a few questions "does not apply" is an answer: who has no rent to pay has no arrears of rent, who
    needed no examination has no unmet need.
    """
    notes: list[str] = []
    changed: dict[str, np.ndarray | pd.Series] = {}
    contradicted: dict[str, int] = {}
    for column, answer in _NOT_APPLICABLE.items():
        if column in frame and f"{column}_F" in frame:
            values = numbers(frame[column], column)
            idle = np.isnan(values) & (flag_of(frame, column) == -2)
            if idle.any():
                changed[column] = np.where(idle, answer, values)
                notes.append(
                    f"{column}: {int(idle.sum()):,} to whom it does not apply (-2) answer no ({answer})"
                )
    names = [str(name) for name in frame]
    flags = [name for name in names if name.endswith("_F") and name[:-2] in frame]
    for name in flags:
        column = name[:-2]
        if column in changed or column == weights:
            continue
        wrong = (flag_of(frame, column) < 0) & frame[column].notna().to_numpy()
        if wrong.any() and column not in _DESIGN:
            contradicted[column] = int(wrong.sum())
            changed[column] = frame[column].where(~wrong)
    if contradicted:
        shown = name_some((f"{name} {number:,}" for name, number in contradicted.items()), limit=8)
        notes.append(f"filled, but flagged as missing or not applicable, so missing: {shown}")
    allowance = _allowance(frame, year)
    if allowance is not None:
        changed["HY070"] = allowance
    for column in ("RX010", "RX020", "PX020"):
        if column in frame and column not in changed:
            ages = numbers(frame[column], column)
            if np.any(ages < 0):
                changed[column] = np.where(ages < 0, np.nan, ages)
    factors = [name for name in names if name.endswith(("_I", "_IF")) and name.rsplit("_", 1)[0] in frame]
    needed = "DB050_F"  # of a self-representing unit: the design needs it
    kept = frame.drop(columns=[name for name in (*flags, *factors) if name != needed])
    return with_columns(kept, changed), notes


def _allowance(frame: pd.DataFrame, year: int) -> np.ndarray | None:
    """Housing allowance, gross or else net; nothing where there is no such scheme (flag -5 from 2021 on)."""
    given = [name for name in ("HY070G", "HY070N") if name in frame]
    if not given:
        return None
    values = np.full(len(frame), np.nan)
    for name in given:
        amount = numbers(frame[name], name)
        values = np.where(np.isnan(values), amount, values)
    if year >= 2021:
        for name in given:
            values = np.where(np.isnan(values) & (flag_of(frame, name) == -5), 0.0, values)
    return values


def design_of(frame: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, str], dict[str, list[str]]]:
    """Add strata and sampling units: the file's own, or else the region and the household."""
    n = len(frame)
    region = _texts(frame, "DB040")
    stratum = _texts(frame, "DB050")
    notes: dict[str, list[str]] = {"strata": [], "psu": []}
    gaps = stratum.isna().to_numpy()
    if gaps.any():
        fallback = ("region " + region.mask(region == "")).fillna("no region")
        stratum = stratum.fillna(fallback)
        number = "no strata" if gaps.all() else f"no stratum for {int(gaps.sum()):,} of {n:,} persons"
        notes["strata"].append(f"{number} (DB050): the region (DB040) is the stratum")
    outer = _texts(frame, "DB060")
    inner = outer.fillna("") + "/" + _texts(frame, "DB062")
    alone = flag_of(frame, "DB050") == 2
    without = outer.isna().to_numpy()
    inside = inner.fillna("household " + labels(frame["DB030"]))
    units = ("unit " + outer).mask(alone | without, inside)
    self_representing, fallbacks = int(alone.sum()), int(np.sum(without & ~alone))
    if fallbacks:
        number = "no sampling units" if fallbacks == n else f"no unit for {fallbacks:,} of {n:,} persons"
        notes["psu"].append(f"{number} (DB060): the household is the sampling unit")
    if self_representing:
        notes["psu"].append(
            f"{self_representing:,} persons of self-representing units (DB050_F = 2): DB062 or the household "
            "is the sampling unit"
        )
    made = frame.drop(columns=["DB050_F"], errors="ignore")
    design = {"stratum": stratum.astype(object), "sampling_unit": units.astype(object)}
    roles = {"strata": "stratum", "psu": "sampling_unit"}
    return with_columns(made, design), roles, notes


def _texts(frame: pd.DataFrame, column: str) -> pd.Series:
    values = frame[column] if column in frame else pd.Series(None, index=frame.index, dtype=object)
    return labels(values, keep_missing=True)


def with_age(frame: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Put the first age that the file holds where the layout looks for it (RX020)."""
    source = next((name for name in _AGES if holds(frame, name)), None)
    if source is None:
        return frame, [
            f"no age in the file ({', '.join(_AGES)}): some countries deliver only the year of birth"
        ]
    if source == "RX020":
        return frame, []
    age = {"RX020": frame[source].to_numpy()}
    return with_columns(frame, age), [f"age is {source}: RX020 is empty"]


def with_income(frame: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Equivalise the disposable income where the file brings no equivalised one."""
    if holds(frame, "HX090") or not holds(frame, "HY020"):
        return frame, []
    income = numbers(frame["HY020"], "HY020")
    factor = numbers(frame["HY025"], "HY025") if holds(frame, "HY025") else np.ones(len(frame))
    if holds(frame, "HX050"):
        size, scale = numbers(frame["HX050"], "HX050"), "HX050"
    elif holds(frame, "RX020"):
        size = modified_oecd_scale(numbers(frame["RX020"], "age").tolist(), labels(frame["DB030"]).tolist())
        scale = "the modified OECD scale of the ages"
    else:
        return frame, []
    inflated = " x HY025" if holds(frame, "HY025") else ""
    return with_columns(frame, {"HX090": income * factor / size}), [
        f"income is HY020{inflated} / {scale}: HX090 is not there"
    ]
