"""Covariates that offices have: what each says, where it is printed, at which level, how sure its code is."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches

import pandas as pd

from sae.auxiliary.eurostat_cities import CITY_VARIABLES
from sae.errors import SaeInputError

__all__ = ["covariate_page", "covariates"]

_COLUMNS = ("name", "label", "definition", "source", "level", "read_with", "state")
_TABLE, _CITIES, _GRID, _REGISTER = (
    f"sae.auxiliary.{name}"
    for name in ("areas_from_eurostat", "city_covariates", "cell_shares", "read_register")
)
# name, label, definition, Eurostat table or other source, level, state
_EUROSTAT = (
    ("population_density", "Persons per square kilometre", "demo_r_d3dens", "NUTS 3"),
    ("net_migration", "Net migration per 1,000 inhabitants", "demo_r_gind3", "NUTS 3"),
    (
        "population_by_sex_and_age",
        "Population on 1 January by sex and broad age",
        "demo_r_pjanaggr3",
        "NUTS 3",
    ),
    ("median_age", "Median age and share of 65 and more", "demo_r_pjanind2", "NUTS 2"),
    ("gdp_per_head", "Gross domestic product, EUR per inhabitant", "nama_10r_2gdp", "NUTS 2"),
    ("household_income", "Disposable income of households, PPS per inhabitant", "nama_10r_2hhinc", "NUTS 2"),
    ("population_by_citizenship", "Population on 1 January by citizenship", "migr_pop1ctz", "country"),
    ("population_by_birth", "Population on 1 January by country of birth", "migr_pop3ctb", "country"),
    ("acquisitions_of_citizenship", "Persons who acquired citizenship in the year", "migr_acq", "country"),
    ("long_term_residents", "Long-term residents on 31 December", "migr_reslong", "country"),
    ("valid_permits", "Residence permits valid on 31 December", "migr_resvalid", "country"),
)
_GRID_2021 = (
    ("born_in_country", "Usual residents born in the reporting country"),
    ("born_in_other_eu", "Usual residents born in another country of the EU"),
    ("born_outside_eu", "Usual residents born outside the EU"),
    ("employed", "Usual residents in employment, as far as available"),
    ("moved_from_abroad", "Usual residents who lived abroad one year before"),
)


def covariates() -> pd.DataFrame:
    """Return the covariates that European offices have for small areas, one row each.

    Returns
    -------
    DataFrame
        Columns name, label, definition (table and code), source, level (the finest), read_with (the function
        that reads it), state.

    Examples
    --------
    >>> table = sae.auxiliary.covariates().set_index("name")
    >>> table.loc["foreign_born", ["definition", "level"]].tolist()
    ['DE2009V of City statistics', 'city, functional urban area']
    """
    return pd.DataFrame(_rows(), columns=list(_COLUMNS))


def covariate_page(name: str) -> str:
    """Return what is known of a covariate, in words.

    Raises
    ------
    SaeInputError
        If none bears the name.

    Examples
    --------
    >>> print(sae.auxiliary.covariate_page("gdp_per_head").splitlines()[0])
    gdp_per_head: Gross domestic product, EUR per inhabitant
    """
    table = covariates().set_index("name")
    if name not in table.index:
        near = get_close_matches(name, table.index, n=3)
        raise SaeInputError(
            f"There is no covariate {name!r}.", hint=f"Did you mean {' or '.join(near)}?" if near else ""
        )
    row = table.loc[name]
    facts = [f"  {fact.replace('_', ' '):<12}{row[fact]}" for fact in _COLUMNS[2:]]
    return "\n".join([f"{name}: {row['label']}", *facts])


def _rows() -> Iterator[tuple[str, ...]]:
    for name, code in CITY_VARIABLES.items():
        label = name.replace("_", " ").replace("eu ", "EU ").replace("non EU", "non-EU").capitalize()
        places = "city, functional urban area"
        yield (
            name,
            label,
            f"{code} of City statistics",
            "Eurostat, City statistics",
            places,
            _CITIES,
            "verified",
        )
    for name, label, table, level in _EUROSTAT:
        yield name, label, f"table {table}", "Eurostat", level, _TABLE, "verified"
    for name, label in _GRID_2021:
        law = "Census 2021 grid of 1 km², Reg. (EU) 2018/1799"
        yield name, label, law, "Eurostat, census", "any area", _GRID, "verified"
    counts = "persons by area, group and year"
    yield (
        "register_counts",
        "Counts of a register",
        counts,
        "National registers",
        "any area",
        _REGISTER,
        "verified",
    )
