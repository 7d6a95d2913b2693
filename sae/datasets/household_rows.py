"""Households of the synthetic country, as a register or an income survey holds them: one row each."""

from __future__ import annotations

import numpy as np
import pandas as pd

__all__ = ["households"]

# a year: of work by education, of unemployment, of retirement, and what every household has
_EARNINGS = {"low": 20_000.0, "medium": 24_000.0, "tertiary": 34_000.0}
_UNEMPLOYED, _PENSION, _TRANSFERS = 9_500.0, 17_000.0, 4_500.0
_RETIRED, _ADULT = 62, 14  # years of age; adults of the modified OECD scale


def households(persons: pd.DataFrame) -> pd.DataFrame:
    """Return the households of persons of the synthetic country.

    Parameters
    ----------
    persons : DataFrame
        ``population`` of a country, or the records of its income survey.

    Returns
    -------
    DataFrame
        One row per household, in the order of the persons: ``region``, ``psu``, ``household``, ``size``
        (persons), ``foreign`` ("yes" where a member has another citizenship), ``standard_income`` (what the
        work, education and age of its members usually bring in a year, by the modified OECD scale, to 100),
        ``income`` (equivalised, of each of them) and, of a survey, ``weight`` (persons that it stands for).

    Examples
    --------
    >>> land = sae.datasets.country(1)
    >>> register = sae.datasets.households(land.population)
    >>> int(register["size"].sum()) == len(land.population)
    True
    """
    status = persons["labour_status"].astype("object")
    earned = persons["education"].astype("object").map(_EARNINGS).fillna(0.0)
    retired = persons["age"] >= _RETIRED
    usual = np.select(
        [status.eq("employed"), status.eq("unemployed"), retired], [earned, _UNEMPLOYED, _PENSION], 0.0
    )
    parts = pd.DataFrame(
        {
            "household": persons["household"],
            "size": 1,
            "adults": persons["age"].ge(_ADULT).astype("int64"),
            "foreign": persons["citizenship_group"].astype("object").ne("native"),
            "usual": usual,
        }
    )
    by = parts.groupby("household", sort=False)
    sums = by[["size", "adults", "usual"]].sum()
    first = persons.drop_duplicates("household").set_index("household").loc[sums.index]
    scale = 1.0 + 0.5 * (sums["adults"] - 1) + 0.3 * (sums["size"] - sums["adults"])
    columns = {
        "region": first["region"].astype("object"),
        "psu": first["psu"].astype("object"),
        "household": sums.index,
        "size": sums["size"],
        "foreign": np.where(by["foreign"].any(), "yes", "no"),
        "standard_income": ((_TRANSFERS + sums["usual"]) / scale).round(-2),
        "income": first["income"],
    }
    if "weight" in persons:
        columns["weight"] = first["weight"] * sums["size"]
    return pd.DataFrame(columns).reset_index(drop=True)
