"""The registry: one versioned definition per indicator, over harmonised variables, a file for each topic."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pandas as pd

from sae.indicators.definition import Indicator
from sae.indicators.registry.citizenship import CITIZENSHIP
from sae.indicators.registry.education import EDUCATION
from sae.indicators.registry.housing import HOUSING
from sae.indicators.registry.income import INCOME
from sae.indicators.registry.labour import LABOUR

__all__ = ["REGISTRY", "catalogue"]

REGISTRY: Mapping[str, Indicator] = MappingProxyType(
    {one.id: one for one in (*LABOUR, *EDUCATION, *INCOME, *HOUSING, *CITIZENSHIP)}
)

_COLUMNS = (
    "id",
    "topic",
    "version",
    "state",
    "label",
    "unit",
    "direction",
    "grade",
    "kind",
    "ages",
    "universe",
    "numerator",
    "denominator",
    "union",
    "survey",
    "weight",
    "breaks",
    "years",
    "tables",
    "source",
)


def catalogue() -> pd.DataFrame:
    """Return the registry as a table, one row per indicator.

    Returns
    -------
    DataFrame
        Columns id, topic, version, state, label, unit, direction, grade (comparability), kind, ages,
        universe, numerator, denominator, union, survey, weight, breaks, years, tables, source; several values
        are joined by ", ", and "" is none.

    Examples
    --------
    >>> sae.indicators.catalogue().loc[0, ["id", "universe", "breaks"]].tolist()
    ['employment_rate', '20 <= age <= 64', 'lfs_2021']
    """
    return pd.DataFrame([{name: _cell(getattr(row, name)) for name in _COLUMNS} for row in REGISTRY.values()])


def _cell(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else value or ""
