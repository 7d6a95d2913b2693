"""The registry: one versioned definition per indicator, over harmonised column names."""

from __future__ import annotations

from types import MappingProxyType

import pandas as pd

from sae.indicators.definition import Indicator

__all__ = ["LEVELS", "REGISTRY", "catalogue"]

# The values that a harmonised column may hold; anything else means that the layout has not mapped it.
LEVELS = {
    "labour_status": ("employed", "unemployed", "inactive"),
    "poor": (0, 1),
}

_LFS = "EU-LFS, Reg. (EU) 2019/1700 and 2019/2240; ILO status"
_SILC = "EU-SILC, Reg. (EU) 2019/1700 and 2019/2242; equivalised disposable income"
_WORKING = "labour_status in ['employed', 'unemployed']"

_DEFINITIONS = (
    Indicator(
        id="employment_rate",
        version="20-64 v1",
        label="Employment rate, 20–64",
        unit="share",
        numerator="labour_status == 'employed'",
        universe="20 <= age <= 64",
        source=_LFS,
    ),
    Indicator(
        id="unemployment_rate",
        version="15-74 v1",
        label="Unemployment rate, 15–74",
        unit="share",
        numerator="labour_status == 'unemployed'",
        denominator=_WORKING,
        universe="15 <= age <= 74",
        source=f"{_LFS}; the ILO band 15–74, where the integration articles also print 20–64",
    ),
    Indicator(
        id="activity_rate",
        version="20-64 v1",
        label="Activity rate, 20–64",
        unit="share",
        numerator=_WORKING,
        universe="20 <= age <= 64",
        source=_LFS,
    ),
    Indicator(
        id="arpr",
        version="60% of the national median v1",
        label="At-risk-of-poverty rate",
        unit="share",
        numerator="income",
        kind="arpr",
        source=f"{_SILC}; strictly below the threshold",
    ),
    Indicator(
        id="poverty_gap",
        version="60% of the national median v1",
        unit="share of the threshold",
        label="Relative median at-risk-of-poverty gap",
        numerator="income",
        kind="poverty_gap",
        source=_SILC,
    ),
    Indicator(
        id="poverty_threshold",
        version="60% of the national median v1",
        label="At-risk-of-poverty threshold",
        unit="income",
        numerator="income",
        kind="threshold",
        source=_SILC,
    ),
    Indicator(
        id="qsr",
        version="S80/S20 v1",
        label="Income quintile share ratio S80/S20",
        unit="ratio",
        numerator="income",
        kind="qsr",
        source=f"{_SILC}; quintiles of the domain",
    ),
    Indicator(
        id="gini",
        version="v1",
        label="Gini coefficient",
        unit="index",
        numerator="income",
        kind="gini",
        source=_SILC,
    ),
    Indicator(
        id="median_income",
        version="v1",
        label="Median equivalised disposable income",
        unit="income",
        numerator="income",
        kind="median",
        source=_SILC,
    ),
    Indicator(
        id="poverty_rate",
        version="national flag v1",
        label="Poverty rate by the national definition",
        unit="share",
        numerator="poor == 1",
        source="The flag that the national survey delivers",
    ),
)

REGISTRY = MappingProxyType({indicator.id: indicator for indicator in _DEFINITIONS})


def catalogue() -> pd.DataFrame:
    """Return the registry as a table, one row per indicator.

    Returns
    -------
    DataFrame
        Columns id, version, label, unit, kind, universe, numerator, denominator, source; "" for none.

    Examples
    --------
    >>> sae.indicators.catalogue().loc[0, ["id", "universe"]].tolist()
    ['employment_rate', '20 <= age <= 64']
    """
    columns = ["id", "version", "label", "unit", "kind", "universe", "numerator", "denominator", "source"]
    return pd.DataFrame([{name: getattr(row, name) or "" for name in columns} for row in REGISTRY.values()])
