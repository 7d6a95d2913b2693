"""The truth of every indicator, counted over the persons: a second reading of the definitions, by hand.

Nothing here uses the registry or an estimator, so that a test against this truth proves both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from sae.errors import SaeInputError

__all__ = ["INDICATORS", "indicator_truth"]

Shares = tuple[pd.Series, pd.Series]  # who counts, among whom
_GROUP = "foreign"  # whose segregation by birth is measured


def _employed(p: pd.DataFrame) -> pd.Series:
    return p["labour_status"] == "employed"


def _active(p: pd.DataFrame) -> pd.Series:
    return p["labour_status"].isin(["employed", "unemployed"])


def _ages(p: pd.DataFrame, first: int, last: int = 200) -> pd.Series:
    return p["age"].between(first, last)


def _tertiary(p: pd.DataFrame) -> pd.Series:
    return p["education"] == "tertiary"


def _yes(column: str, first: int = 0, last: int = 200) -> Callable[[pd.DataFrame], Shares]:
    """Return the share of yes among the yes and the no of an age."""
    return lambda p: (p[column] == "yes", p[column].isin(["yes", "no"]) & _ages(p, first, last))


def _poor(share: float) -> Callable[[pd.DataFrame], pd.Series]:
    return lambda p: p["income"] < share * p["income"].median()


def _excluded(deprived: str, idle: str) -> Callable[[pd.DataFrame], Shares]:
    """Return the union of poverty, deprivation and low work intensity, over everybody."""
    return lambda p: (_poor(0.6)(p) | (p[deprived] == "yes") | (p[idle] == "yes"), _ages(p, 0))


# The parts of a share are of the whole nation, so that a threshold is national; domains come afterwards.
_SHARES: Mapping[str, Callable[[pd.DataFrame], Shares]] = {
    "employment_rate": lambda p: (_employed(p), _ages(p, 20, 64)),
    "activity_rate": lambda p: (_active(p), _ages(p, 20, 64)),
    "unemployment_rate": lambda p: (p["labour_status"] == "unemployed", _active(p) & _ages(p, 15, 74)),
    "youth_unemployment_rate": lambda p: (p["labour_status"] == "unemployed", _active(p) & _ages(p, 15, 24)),
    "long_term_unemployment_rate": lambda p: (
        p["unemployment_duration"] == "1_year_or_more",
        _active(p) & _ages(p, 15, 74),
    ),
    "recent_immigrant_employment_rate": lambda p: (
        _employed(p),
        (p["residence"] == "under_5_years") & _ages(p, 20, 64),
    ),
    "self_employment_share": lambda p: (
        p["professional_status"] == "self_employed",
        _employed(p) & _ages(p, 20, 64),
    ),
    "temporary_employment_share": lambda p: (
        p["contract"] == "temporary",
        (p["professional_status"] == "employee") & _ages(p, 20, 64),
    ),
    "part_time_share": lambda p: (p["working_time"] == "part_time", _employed(p) & _ages(p, 20, 64)),
    "over_qualification_rate": lambda p: (
        p["occupation"] == "low_or_medium_skilled",
        _employed(p) & _tertiary(p) & (p["occupation"] != "armed_forces") & _ages(p, 20, 64),
    ),
    "tertiary_share": lambda p: (_tertiary(p), _ages(p, 25, 34)),
    "tertiary_share_30_34": lambda p: (_tertiary(p), _ages(p, 30, 34)),
    "low_education_share": lambda p: (p["education"] == "low", _ages(p, 25, 54)),
    "early_leaver_rate": lambda p: (
        (p["education"] == "low") & (p["recent_education"] == "no"),
        _ages(p, 18, 24),
    ),
    "neet_rate": lambda p: (~_employed(p) & (p["recent_education"] == "no"), _ages(p, 15, 29)),
    "adult_learning_rate": _yes("recent_education", 25, 64),
    "arpr": lambda p: (_poor(0.6)(p), _ages(p, 0)),
    "arpr_40": lambda p: (_poor(0.4)(p), _ages(p, 0)),
    "arpr_50": lambda p: (_poor(0.5)(p), _ages(p, 0)),
    "arpr_70": lambda p: (_poor(0.7)(p), _ages(p, 0)),
    "child_arpr": lambda p: (_poor(0.6)(p), _ages(p, 0, 17)),
    "in_work_arpr": lambda p: (_poor(0.6)(p), (p["in_work"] == "yes") & _ages(p, 18)),
    "poverty_rate": lambda p: (p["poor"] == 1, _ages(p, 0)),
    "persistent_arpr": _yes("persistent_poverty"),
    "smd_rate": _yes("severe_material_deprivation"),
    "smsd_rate": _yes("severe_material_social_deprivation"),
    "low_work_intensity_rate": _yes("low_work_intensity", 0, 64),
    "low_work_intensity_rate_2020": _yes("low_work_intensity_2020", 0, 59),
    "arope": _excluded("severe_material_social_deprivation", "low_work_intensity"),
    "arope_2020": _excluded("severe_material_deprivation", "low_work_intensity_2020"),
    "housing_cost_overburden_rate": _yes("housing_cost_overburden"),
    "overcrowding_rate": _yes("overcrowded"),
    "home_ownership_share": lambda p: (p["tenure"].isin(["owner", "owner_with_mortgage"]), _ages(p, 0)),
    "good_health_share": lambda p: (p["self_perceived_health"].isin(["very_good", "good"]), _ages(p, 16)),
    "unmet_medical_need_rate": _yes("unmet_medical_need", 16),
    "naturalisation_rate": lambda p: (p["naturalised"] == "yes", p["citizenship"] == "foreign"),
    "long_term_residence_share": lambda p: (
        p["residence_permit"] == "long_term",
        p["residence_permit"].isin(["long_term", "temporary"]),
    ),
}


def _quantile(income: pd.Series, p: float) -> float:
    """Return the mean of the two middle values where the share p is met exactly, as Eurostat does."""
    return float(np.quantile(income, p, method="averaged_inverted_cdf"))


def _quintile_ratio(income: pd.Series, national: float) -> float:
    return income[income > _quantile(income, 0.8)].sum() / income[income <= _quantile(income, 0.2)].sum()


def _gini(income: pd.Series, national: float) -> float:
    x, n = np.sort(income.to_numpy()), len(income)
    return float((2.0 * (np.arange(1, n + 1) * x).sum() - x.sum()) / (n * x.sum()) - 1.0)


def _gap(income: pd.Series, national: float) -> float:
    line = 0.6 * national
    return float((line - income[income < line].median()) / line)


# Of the incomes of a domain and the national median.
_INCOMES: Mapping[str, Callable[[pd.Series, float], float]] = {
    "poverty_gap": _gap,
    "poverty_threshold": lambda income, national: 0.6 * national,
    "qsr": _quintile_ratio,
    "gini": _gini,
    "median_income": lambda income, national: float(income.median()),
    "median_income_ratio": lambda income, national: float(income.median()) / national,
}


def _dissimilarity(group: pd.Series, others: pd.Series) -> float:
    return float(0.5 * (group / group.sum() - others / others.sum()).abs().sum(skipna=False))


def _isolation(group: pd.Series, others: pd.Series) -> float:
    return float((group / group.sum() * group / (group + others)).sum(skipna=False))


# Of the members of a group and of all others, by PSU.
_SEGREGATION: Mapping[str, Callable[[pd.Series, pd.Series], float]] = {
    "dissimilarity": _dissimilarity,
    "isolation": _isolation,
}
INDICATORS = (*_SHARES, *_INCOMES, *_SEGREGATION)


def indicator_truth(population: pd.DataFrame, by: Sequence[str], indicator: str) -> pd.Series:
    """Return the true figure of each domain, in the order of its sorted labels.

    Parameters
    ----------
    population : DataFrame
        Everybody: thresholds are national.
    by : sequence of str
        Columns that make the domains; none for the nation.
    indicator : str
        One of `INDICATORS`. Segregation is that of the foreign-born over the PSUs of the domain.

    Raises
    ------
    SaeInputError
        If the indicator is unknown.
    """
    keys = [population[name] for name in by] or [pd.Series(0, population.index)]
    if indicator in _SHARES:
        part, whole = _SHARES[indicator](population)
        counts = pd.DataFrame({"part": part & whole, "whole": whole}).groupby(keys, observed=True).sum()
        return counts["part"] / counts["whole"].where(counts["whole"] > 0)
    if indicator in _INCOMES:
        national = float(population["income"].median())
        return population["income"].groupby(keys, observed=True).apply(_INCOMES[indicator], national)
    if indicator in _SEGREGATION:
        group = population["birth"] == _GROUP
        parts = pd.DataFrame({"group": group, "others": ~group}).groupby(
            [*keys, population["psu"].rename("_part")], observed=True
        )
        counts = parts.sum()
        domains = counts.groupby(level=list(range(len(keys))), observed=True)
        return domains.apply(lambda c: _SEGREGATION[indicator](c["group"], c["others"]))
    raise SaeInputError(
        f"The truth of {indicator!r} is not known.", hint=f"Known are {', '.join(INDICATORS)}."
    )
