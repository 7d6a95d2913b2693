"""The true figures of any domains, and the covariates that registers and a census would give."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from sae.datasets.geography import Geography
from sae.numerics.random.streams import generator

__all__ = ["by_region", "census_and_registers", "poverty_line", "registers", "truth"]

_REGISTERS = {  # source and definition of each figure
    "foreign_residents": ("population register", "non-nationals, 1 January"),
    "naturalisations": ("citizenship register", "acquisitions of citizenship within the year"),
    "long_term_residents": ("register of foreigners", "long-term residence permits, 31 December"),
    "valid_permits": ("register of foreigners", "valid residence permits, 31 December"),
}
_OF_PERMITS = ("long_term_residents", "valid_permits")  # which citizens of the EU do not need
_POVERTY_LINE = 0.6  # of the national median


def poverty_line(income: np.ndarray) -> float:
    """Return 60 % of the median over persons."""
    return _POVERTY_LINE * float(np.median(income))


def truth(population: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Return counts and true rates of the domains that the columns `by` make.

    Employment and activity are over ages 20–64, unemployment over the active of 15–74, the
    at-risk-of-poverty rate over everybody against the nation's poverty line. A person for whom one of `by`
    is missing (the education of a child) is in no domain.
    """
    age, income = population["age"].to_numpy(), population["income"].to_numpy()
    status = population["labour_status"].cat.codes.to_numpy()
    employed, unemployed = status == 0, status == 1
    working = (age >= 20) & (age <= 64)
    active = (employed | unemployed) & (age >= 15)
    grouped = population.groupby(list(by), observed=True) if by else None
    number = grouped.ngroup() if grouped is not None else pd.Series(0, index=population.index)
    domain = number.fillna(-1).to_numpy(dtype=np.int64)  # -1: a `by` column is missing

    def count(inside: np.ndarray) -> np.ndarray:
        return np.bincount(domain[inside & (domain >= 0)], minlength=domain.max() + 1)

    def rate(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            return count(part & whole) / count(whole)

    labels = grouped.size().index.to_frame(index=False) if grouped is not None else pd.DataFrame(index=[0])
    return labels.astype(str).assign(
        n_persons=count(np.ones(len(age), dtype=bool)),
        n_20_64=count(working),
        employment_rate=rate(employed, working),
        unemployment_rate=rate(unemployed, active & (age <= 74)),
        activity_rate=rate(active, working),
        arpr=rate(income < poverty_line(income), np.ones(len(age), dtype=bool)),
    )


def by_region(population: pd.DataFrame) -> pd.DataFrame:
    """Return the truth of each region, of its natives, of its foreign-born and of all."""
    by_birth = truth(population, ["region", "birth"])
    total = truth(population, ["region"]).assign(birth="total")
    return pd.concat([by_birth, total])[list(by_birth)].sort_values(["region", "birth"], ignore_index=True)


def census_and_registers(seed: int, population: pd.DataFrame, where: Geography) -> pd.DataFrame:
    """Return one row of covariates per region, in the order of the map.

    The counts of the population register and its age structure are exact. The others miss the truth on the
    logit scale: the census is some years old (``share_tertiary``, ``share_tertiary_foreign``), the employment
    office counts the registered (``register_unemployment``), social insurance the insured natives
    (``register_employment``), the population register keeps people who left (``share_foreign``).
    """
    age = population["age"].to_numpy()
    region = population["region"].cat.codes.to_numpy()
    foreign = population["birth"].cat.codes.to_numpy() == 1
    citizenship = population["citizenship_group"].cat.codes.to_numpy()
    education = population["education"].cat.codes.to_numpy()
    status = population["labour_status"].cat.codes.to_numpy()
    n_regions = len(where.codes)

    def share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
        """Share with half a person on either side, so that a small region has a finite logit."""
        return (np.bincount(region[part & whole], minlength=n_regions) + 0.5) / (
            np.bincount(region[whole], minlength=n_regions) + 1.0
        )

    def missed(true: np.ndarray, shift: float, error: np.ndarray) -> np.ndarray:
        return np.round(1.0 / (1.0 + (1.0 - true) / true * np.exp(-shift - error)), 4)

    everybody = np.ones(len(age), dtype=bool)
    adult, working, active = (
        (age >= 25) & (age <= 64),
        (age >= 20) & (age <= 64),
        (status == 0) | (status == 1),
    )
    tertiary = education == 2
    noise = np.array([generator(seed, "registers", code).standard_normal(6) for code in where.codes]).T
    return pd.DataFrame(
        {
            "region": where.codes,
            "nuts1": where.nuts1,
            "x": where.x,
            "y": where.y,
            "population": np.bincount(region, minlength=n_regions),
            "share_65": np.round(share(age >= 65, everybody), 4),
            "share_foreign": missed(share(foreign, everybody), 0.05, 0.05 * noise[0]),
            "share_eu": missed(share(citizenship == 1, citizenship > 0), 0.0, 0.05 * noise[1]),
            "share_tertiary": missed(share(tertiary, adult), -0.2, 0.10 * noise[2]),
            "share_tertiary_foreign": missed(share(tertiary, adult & foreign), -0.2, 0.15 * noise[3]),
            "register_unemployment": missed(share(status == 1, active), -0.25, 0.15 * noise[4]),
            "register_employment": missed(share(status == 0, working & ~foreign), -0.1, 0.20 * noise[5]),
        }
    )


def registers(population: pd.DataFrame, year: int) -> pd.DataFrame:
    """Return the figures of registers by region and citizenship, one row per figure."""
    foreign = population[population["citizenship"] == "foreign"]
    counted = pd.DataFrame(
        {
            "area": foreign["region"].astype(str),
            "year": str(year),
            "citizenship_group": foreign["citizenship_group"].astype(str),
            "foreign_residents": True,
            "naturalisations": foreign["naturalised"] == "yes",
            "long_term_residents": foreign["residence_permit"] == "long_term",
            "valid_permits": foreign["residence_permit"].isin(["long_term", "temporary"]),
        }
    )
    keys = ["area", "year", "citizenship_group"]
    table = counted.groupby(keys).sum().reset_index().melt(keys, var_name="indicator")
    needless = table["indicator"].isin(_OF_PERMITS) & (table["citizenship_group"] == "eu")
    provenance = pd.DataFrame.from_dict(_REGISTERS, orient="index", columns=["source", "definition"])
    return table[~needless].join(provenance, on="indicator").reset_index(drop=True)
