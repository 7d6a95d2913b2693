"""The synthetic country: its persons, its truth, its covariates, its map, and the samples drawn from it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from sae.datasets.geography import NATION, Geography, field, geography
from sae.datasets.persons import LEVELS, effects_of, persons_of
from sae.datasets.samples import Design, two_stage
from sae.datasets.truth import census_and_registers, truth
from sae.errors import SaeInputError, name_some
from sae.numerics.random.streams import generator, seed_of
from sae.survey import Survey

__all__ = ["Country", "country", "lfs_like", "lfs_like_areas"]

_LFS = Design(psus_per_root=0.18, households=7)
_SILC = Design(psus_per_root=0.14, households=6)
_MOST_REGIONS = 999  # three digits in the region code
_REMOTE = 29  # every 29th region, which the surveys do not visit, like the islands


@dataclass(frozen=True, eq=False)
class Country:
    """A synthetic country with a known truth; every figure follows from the seed and the region.

    Attributes
    ----------
    seed : int
        What the country was drawn with.
    population : DataFrame
        One row per person: ``nation, nuts1, region, psu, household, person, age, sex, birth, citizenship,
        education, labour_status, income``. Education and labour status are missing below age 15; income
        is the equivalised disposable household income of a year.
    truth : DataFrame
        One row per region × birth (native, foreign, total): ``n_persons``, ``n_20_64`` and the true
        ``employment_rate`` (20–64), ``unemployment_rate`` (15–74), ``activity_rate`` (20–64), ``arpr``.
    areas : DataFrame
        One row per region: covariates of registers and of a census. They go with the truth without being
        it: the census is some years old, the employment office counts the registered.
    neighbours : DataFrame
        Edge list ``region_a, region_b``, each pair once; an island is in none.
    frame : DataFrame
        Sampling frame, one row per PSU: ``region, psu, households``, the outdated ``size`` that the
        selection uses, and ``covered``: False where no survey goes, on islands and in every 29th region.

    Notes
    -----
    A larger country contains a smaller one of the same seed: a region keeps its code and its persons.
    Only what refers to the nation, the poverty line, moves.
    """

    seed: int
    population: pd.DataFrame
    truth: pd.DataFrame
    areas: pd.DataFrame
    neighbours: pd.DataFrame
    frame: pd.DataFrame

    def __repr__(self) -> str:
        foreign = (self.population["birth"] == "foreign").mean()
        covered = self.frame.loc[self.frame["covered"], "region"].nunique()
        return (
            f"Country(seed={self.seed}): {len(self.population)} persons, {foreign:.1%} foreign-born, "
            f"in {len(self.frame)} PSUs of {len(self.areas)} regions, {covered} of them surveyed"
        )

    def truth_of(self, by: Sequence[str]) -> pd.DataFrame:
        """Return the true figures of the domains that any columns of the population make.

        Parameters
        ----------
        by : sequence of str
            Columns of `population`, such as ``["nuts1", "citizenship"]``; empty for the nation.

        Returns
        -------
        DataFrame
            The `by` columns as text, the counts and the rates of `truth`; a rate over nobody is missing.

        Raises
        ------
        SaeInputError
            If the population has no such column.

        Examples
        --------
        >>> sae.datasets.country(seed=1, regions=3).truth_of(["birth"])["birth"].tolist()
        ['native', 'foreign']
        """
        unknown = [name for name in by if name not in self.population]
        if unknown:
            raise SaeInputError(
                f"The population has no column {name_some(unknown)}.",
                hint=f"Choose from {', '.join(map(str, self.population))}.",
                column=unknown[0],
            )
        return truth(self.population, by)

    def lfs(self, seed: int) -> Survey:
        """Draw a labour force survey; about 5,100 households of 730 PSUs where the country has 120 regions.

        Two stages, stratified by region. First, 0.18 √households PSUs of each covered region (two at
        least), with probability proportional to an outdated size, systematic in random order. Then 7
        households of each PSU by simple random sampling, with all their persons. The weight is the inverse of
        the inclusion probability. Everybody answers. Income is not asked.

        Parameters
        ----------
        seed : int
            Of the sample; another seed gives an independent sample of the same country.
        """
        persons, weights = self._draw("lfs", seed, _LFS)
        return self._survey(persons.drop(columns="income"), weights, quarter="2025Q1")

    def silc(self, seed: int) -> Survey:
        """Draw an income survey: as `lfs`, with 0.14 √households PSUs and 6 households, and with income.

        Parameters
        ----------
        seed : int
            Of the sample; it is independent of the labour force survey of the same seed.
        """
        persons, weights = self._draw("silc", seed, _SILC)
        return self._survey(persons, weights, year="2025")

    def _draw(self, name: str, seed: int, design: Design) -> tuple[pd.DataFrame, np.ndarray]:
        """Return the drawn persons, in the order of the population, and their weights."""
        households = np.flatnonzero(self.population["household"].diff().to_numpy() != 0)
        ends = np.append(households[1:], len(self.population))
        drawn, weights = [], []
        first = 0
        for region, psus in self.frame.groupby("region", observed=True, sort=False):
            if psus["covered"].iloc[0]:
                rng = generator(self.seed, f"{name} {seed_of(seed)}", region)
                chosen, weight = two_stage(
                    rng, design, psus["size"].to_numpy(), psus["households"].to_numpy()
                )
                drawn.append(first + chosen)
                weights.append(weight)
            first += int(psus["households"].sum())
        chosen = np.concatenate(drawn)
        members = ends[chosen] - households[chosen]
        rows = np.repeat(households[chosen] - (np.cumsum(members) - members), members) + np.arange(
            members.sum()
        )
        return self.population.iloc[rows].reset_index(drop=True), np.repeat(np.concatenate(weights), members)

    @staticmethod
    def _survey(persons: pd.DataFrame, weights: np.ndarray, **period: str) -> Survey:
        (time,) = period
        frame = persons.assign(**{time: pd.Categorical(np.full(len(persons), period[time]))}, weight=weights)
        return Survey.from_frame(
            frame,
            weights="weight",
            strata="region",
            psu="psu",
            household="household",
            person="person",
            time=time,
        )


def country(seed: int = 1, regions: int = 120) -> Country:
    """Draw a synthetic country: about 300,000 persons in households, in PSUs, in 120 regions.

    Parameters
    ----------
    seed : int
        Non-negative; the same seed gives the same country, in every process.
    regions : int
        Number of regions, 2 to 999. Two of the default 120 are islands.

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
    if not isinstance(seed, (int, np.integer)) or seed < 0:
        raise SaeInputError(
            f"seed is {seed!r}; a country needs a whole number of at least 0.", hint="Try seed=1."
        )
    if not 2 <= regions <= _MOST_REGIONS:
        raise SaeInputError(f"regions is {regions}; a country has 2 to {_MOST_REGIONS} regions.")
    where = geography(regions)
    prosperity, attraction = (
        field(generator(seed, "field", name), where.x, where.y) for name in ("prosperity", "attraction")
    )
    parts = []
    for code, wealth, pull in zip(where.codes, prosperity, attraction, strict=True):
        effects = effects_of(generator(seed, "region", code), wealth, pull)
        parts.append(persons_of(generator(seed, "persons", code), effects))
    population = _population(where, parts)
    by_birth = truth(population, ["region", "birth"])
    total = truth(population, ["region"]).assign(birth="total")
    figures = pd.concat([by_birth, total])[list(by_birth)].sort_values(["region", "birth"], ignore_index=True)
    return Country(
        seed=int(seed),
        population=population,
        truth=figures,
        areas=census_and_registers(seed, population, where),
        neighbours=where.neighbours(),
        frame=_frame(seed, where, population),
    )


def lfs_like(seed: int = 1) -> Survey:
    """Return a labour force survey of the country of this seed: `country(seed).lfs(seed)`."""
    return country(seed).lfs(seed)


def lfs_like_areas(seed: int = 1) -> pd.DataFrame:
    """Return the covariates that go with `lfs_like(seed)`, one row per region."""
    return country(seed).areas


def _categorical(codes: np.ndarray, labels: Iterable[str]) -> Any:
    return pd.Categorical.from_codes(codes.astype(np.int64), pd.Index([*labels]))


def _population(where: Geography, parts: list[dict[str, np.ndarray]]) -> pd.DataFrame:
    """Put the regions together; numbers within a region become identifiers of the nation."""
    persons = np.array([len(part["age"]) for part in parts])
    region = np.repeat(np.arange(len(parts), dtype=np.int32), persons)
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    larger, of_region = np.unique(where.nuts1, return_inverse=True)
    psu_code = region * np.int64(1000) + joined["psu"]
    psu_values, psu = np.unique(psu_code, return_inverse=True)
    psu_labels = [f"{where.codes[code // 1000]}-{code % 1000 + 1:03d}" for code in psu_values.tolist()]
    first = np.cumsum(persons) - persons
    columns: dict[str, object] = {
        "nation": _categorical(np.zeros(len(region), dtype=np.int8), [NATION]),
        "nuts1": _categorical(of_region[region], larger),
        "region": _categorical(region, where.codes),
        "psu": _categorical(psu, psu_labels),
        "household": region * np.int64(1_000_000) + joined["household"] + 1,
        "person": region * np.int64(1_000_000) + np.arange(len(region)) - first[region] + 1,
        "age": joined["age"],
    }
    columns |= {name: _categorical(joined[name], levels) for name, levels in LEVELS.items()}
    return pd.DataFrame(columns | {"income": joined["income"]})


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
