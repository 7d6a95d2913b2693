"""Drawing the synthetic country: one year, or several."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sae.calls import answered
from sae.datasets.further import draw_further
from sae.datasets.geography import Geography, geography
from sae.datasets.persons import Residents, draw_residents, region_effects
from sae.datasets.population import core, further, labour_force
from sae.datasets.synthetic_country import Country
from sae.datasets.truth import by_region, census_and_registers, poverty_line
from sae.datasets.years import next_quarter, next_year
from sae.errors import SaeInputError
from sae.numerics.random.streams import generator
from sae.survey import Survey

__all__ = ["countries", "country", "lfs_like", "lfs_like_areas"]

_MOST_REGIONS = 999  # three digits in the region code
_REMOTE = 29  # every 29th region, which the surveys do not visit, like the islands


@answered
def country(seed: int = 1, regions: int = 120, year: int = 2025) -> Country:
    """Draw a synthetic country: about 300,000 persons in households, in PSUs, in 120 regions.

    Parameters
    ----------
    seed : int
        Non-negative; the same seed gives the same country, in every process.
    regions : int
        Number of regions, 2 to 999. Two of the default 120 are islands.
    year : int
        What the year is called; another name changes no person.

    Raises
    ------
    SaeInputError
        If `seed` or `regions` is out of range.

    Examples
    --------
    >>> land = sae.datasets.country(seed=1, regions=12)
    >>> len(land.areas), sorted(land.population["birth"].unique())
    (12, ['foreign', 'native'])
    """
    where = _where(seed, regions)
    persons = core(where, _first_year(seed, where))
    return _assembled(seed, year, where, persons, _frame(seed, where, persons))


def countries(seed: int = 1, first: int = 2021, last: int = 2025, regions: int = 120) -> list[Country]:
    """Draw a synthetic country over several years; the first year is `country(seed, regions)` itself.

    From one year to the next people age and die, are born, move in and out (3 % of the dwellings), learn,
    become citizens, and most of what chance gave to them lasts: status, job, income and health go on with a
    correlation. Persons keep their number, dwellings their PSU, and no number comes twice. Within a year the
    labour force variables move from quarter to quarter (`Country.in_quarter`), the others are those of the
    year; the year itself is its first quarter.

    Parameters
    ----------
    seed, regions : int
        As for `country`.
    first, last : int
        The years.

    Returns
    -------
    list of Country
        One per year. ``persistent_poverty`` of the first three years rests in part on years before the
        first, which are drawn along with it.

    Raises
    ------
    SaeInputError
        If `seed`, `regions` or the years are out of range.

    Examples
    --------
    >>> before, after = sae.datasets.countries(seed=1, first=2024, last=2025, regions=3)
    >>> there = after.population["person"].isin(before.population["person"])
    >>> before.year, after.year, bool(there.mean() > 0.9)
    (2024, 2025, True)
    """
    if last < first:
        raise SaeInputError(f"The last year {last} comes before the first, {first}.")
    where = _where(seed, regions)
    effects, start = region_effects(seed, where), _first_year(seed, where)
    now, lands = start, list[Country]()
    for year in range(first, last + 1):
        persons = core(where, now)
        line = poverty_line(persons["income"].to_numpy())
        if year == first:
            for code, part in zip(where.codes, start, strict=True):
                draw_further(generator(seed, "further", code), part, line)
        beyond = further(effects, now, line, persons.index)
        frame = lands[0].frame if lands else _frame(seed, where, persons)
        become = np.split(
            beyond["naturalised"].to_numpy() == "yes", np.cumsum([len(p.age) for p in now])[:-1]
        )
        quarters = []
        for quarter in (2, 3, 4):
            streams = _streams(seed, f"step {len(lands)} quarter {quarter}", where)
            now = [next_quarter(*step) for step in zip(streams, effects, now, strict=True)]
            quarters.append(labour_force(effects, now, persons.index))
        lands.append(_assembled(seed, year, where, persons, frame, beyond, tuple(quarters)))
        if year < last:
            streams = _streams(seed, f"step {len(lands)}", where)
            steps = zip(streams, effects, now, start, become, strict=True)
            now = [next_year(*step, line) for step in steps]
    return lands


@answered
def lfs_like(seed: int = 1) -> Survey:
    """Return a labour force survey of the country of this seed: `country(seed).lfs(seed)`."""
    return country(seed).lfs(seed)


@answered
def lfs_like_areas(seed: int = 1) -> pd.DataFrame:
    """Return the covariates that go with `lfs_like(seed)`, one row per region."""
    return country(seed).areas


def _frame(seed: int, where: Geography, population: pd.DataFrame) -> pd.DataFrame:
    """Return the sampling frame: PSUs with their households, and the outdated size of the selection."""
    homes = population.drop_duplicates("household")
    frame = homes.groupby(["region", "psu"], observed=True).size().rename("households").reset_index()
    psus = np.bincount(frame["region"].cat.codes)
    error = [
        generator(seed, "frame", code).uniform(0.8, 1.2, n) for code, n in zip(where.codes, psus, strict=True)
    ]
    remote = np.arange(1, len(where.codes) + 1) % _REMOTE == 0
    return frame.assign(
        size=np.round(np.concatenate(error) * frame["households"], 1),
        covered=np.repeat(~(where.island | remote), psus),
    )


def _where(seed: int, regions: int) -> Geography:
    if not isinstance(seed, (int, np.integer)) or seed < 0:
        raise SaeInputError(
            f"seed is {seed!r}; a country needs a whole number of at least 0.", hint="Try seed=1."
        )
    if not 2 <= regions <= _MOST_REGIONS:
        raise SaeInputError(f"regions is {regions}; a country has 2 to {_MOST_REGIONS} regions.")
    return geography(regions)


def _streams(seed: int, what: str, where: Geography) -> list[np.random.Generator]:
    return [generator(seed, what, code) for code in where.codes]


def _first_year(seed: int, where: Geography) -> list[Residents]:
    effects = zip(where.codes, region_effects(seed, where), strict=True)
    return [draw_residents(generator(seed, "persons", code), region) for code, region in effects]


def _assembled(
    seed: int,
    year: int,
    where: Geography,
    persons: pd.DataFrame,
    frame: pd.DataFrame,
    beyond: pd.DataFrame | None = None,
    quarters: tuple[pd.DataFrame, ...] = (),
) -> Country:
    areas = census_and_registers(seed, persons, where)
    truth = by_region(persons)
    return Country(int(seed), year, persons, truth, areas, where.neighbours(), frame, beyond, quarters)
