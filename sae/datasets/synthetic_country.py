"""A year of the synthetic country: its persons, its truth, its covariates, its map, and its samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from sae.datasets.further import draw_further
from sae.datasets.geography import geography
from sae.datasets.indicator_truth import indicator_truth
from sae.datasets.persons import region_effects
from sae.datasets.population import further, residents
from sae.datasets.samples import Design, two_stage
from sae.datasets.surveys import as_survey, members, sized, strata
from sae.datasets.truth import by_region, poverty_line, registers, truth
from sae.errors import SaeInputError, name_some
from sae.numerics.random.streams import generator, seed_of
from sae.survey import Survey

__all__ = ["Country"]

_LFS = Design(psus_per_root=0.18, households=7)
_SILC = Design(psus_per_root=0.14, households=6)


@dataclass(frozen=True, eq=False)
class Country:
    """A synthetic country with a known truth; every figure follows from the seed and the region.

    Attributes
    ----------
    seed : int
        What the country was drawn with.
    year : int
        The year that it shows.
    persons : DataFrame
        The core of `population`: ``nation, nuts1, region, psu, household, person, age, sex, birth,
        citizenship, education, labour_status, income, birth_group, citizenship_group``.
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
    further : DataFrame, optional
        The columns of `population` beyond the core; None: those of the first year, drawn when asked for.
    quarters : tuple of DataFrame
        The labour force columns of the second, third and fourth quarter, where the year has quarters
        (`countries`); the others are those of the first.

    Notes
    -----
    A larger country contains a smaller one of the same seed: a region keeps its code and its persons.
    Only what refers to the nation, the poverty line and persistent poverty, moves.
    """

    seed: int
    year: int
    persons: pd.DataFrame
    truth: pd.DataFrame
    areas: pd.DataFrame
    neighbours: pd.DataFrame
    frame: pd.DataFrame
    further: pd.DataFrame | None = None
    quarters: tuple[pd.DataFrame, ...] = ()

    @cached_property
    def population(self) -> pd.DataFrame:
        """One row per person, with the harmonised variables of `sae.survey.variables`.

        Education and labour status are missing below age 15, what concerns a job without one; income is
        the equivalised disposable household income of a year. ``naturalised`` (a foreigner becomes a
        citizen within the year) and ``residence_permit`` are what registers know. Beyond `persons` the
        columns are drawn when first asked for.
        """
        beyond = self._draw_further() if self.further is None else self.further
        return pd.concat([self.persons, beyond], axis=1)

    @cached_property
    def registers(self) -> pd.DataFrame:
        """What registers count: ``area, year, citizenship_group, indicator, value, source, definition``.

        One row per region, citizenship (eu, non_eu) and indicator: ``foreign_residents`` (1 January),
        ``naturalisations`` (of the year), ``long_term_residents`` and ``valid_permits`` (31 December, of
        those who are no EU citizens).
        """
        return registers(self.population, self.year)

    def in_quarter(self, number: int) -> Country:
        """Return the country in a quarter of its year; one without `quarters` is the same all year.

        Parameters
        ----------
        number : {1, 2, 3, 4}

        Examples
        --------
        >>> (land,) = sae.datasets.countries(seed=1, first=2025, last=2025, regions=3)
        >>> rates = [land.in_quarter(q).truth_of([]).loc[0, "employment_rate"] for q in (1, 2, 3, 4)]
        >>> len(set(rates)), float(max(rates) - min(rates)) < 0.02
        (4, True)
        """
        if number not in (1, 2, 3, 4):
            raise SaeInputError(f"A year has the quarters 1 to 4, not {number!r}.")
        return self if number == 1 or not self.quarters else self._moved[number - 2]

    @cached_property
    def _moved(self) -> list[Country]:
        """The country in the second, third and fourth quarter."""
        lands = []
        for moved in self.quarters:
            persons = self.persons.assign(labour_status=moved["labour_status"])
            rest = {str(name): moved[name] for name in moved if name != "labour_status"}
            further = self.population.drop(columns=list(self.persons)).assign(**rest)
            lands.append(
                replace(self, persons=persons, truth=by_region(persons), further=further, quarters=())
            )
        return lands

    def _draw_further(self) -> pd.DataFrame:
        line = poverty_line(self.persons["income"].to_numpy())
        effects, parts = region_effects(self.seed, geography(len(self.areas))), list(residents(self.persons))
        for code, part in zip(self.areas["region"], parts, strict=True):
            draw_further(generator(self.seed, "further", code), part, line)
        return further(effects, parts, line, self.persons.index)

    def __repr__(self) -> str:
        foreign = (self.persons["birth"] == "foreign").mean()
        covered = self.frame.loc[self.frame["covered"], "region"].nunique()
        return (
            f"Country(seed={self.seed}): {len(self.persons)} persons, {foreign:.1%} foreign-born, "
            f"in {len(self.frame)} PSUs of {len(self.areas)} regions, {covered} of them surveyed"
        )

    def truth_of(self, by: Sequence[str], *indicators: str) -> pd.DataFrame:
        """Return the true figures of the domains that any columns of the population make.

        Parameters
        ----------
        by : sequence of str
            Columns of `population`, such as ``["nuts1", "citizenship"]``; empty for the nation.
        *indicators : str
            Ids of the registry, beyond the four of `truth`. ``dissimilarity`` and ``isolation`` are those of
            the foreign-born over the PSUs of the domain.

        Returns
        -------
        DataFrame
            The `by` columns as text, the counts and the rates of `truth`, and the indicators; a rate over
            nobody is missing.

        Raises
        ------
        SaeInputError
            If the population has no such column, or the truth of an indicator is not known.

        Examples
        --------
        >>> land = sae.datasets.country(seed=1, regions=3)
        >>> land.truth_of(["birth"], "arope")[["birth", "n_persons", "arope"]].round(3).values.tolist()
        [['native', 5389, 0.235], ['foreign', 332, 0.301]]
        """
        people = self.population
        unknown = [name for name in by if name not in people]
        if unknown:
            raise SaeInputError(
                f"The population has no column {name_some(unknown)}.",
                hint=f"Choose from {', '.join(map(str, people))}.",
                column=unknown[0],
            )
        figures = {name: indicator_truth(people, by, name).to_numpy() for name in indicators}
        return truth(people, by).assign(**figures)

    def lfs(self, seed: int, persons: int | None = None) -> Survey:
        """Draw a labour force survey; about 5,100 households of 730 PSUs where the country has 120 regions.

        Two stages, stratified by region. First, 0.18 √households PSUs of each covered region (two at
        least), with probability proportional to an outdated size, systematic in random order. Then 7
        households of each PSU by simple random sampling, with all their persons. The weight is the inverse of
        the inclusion probability. Everybody answers. Income is not asked.

        Parameters
        ----------
        seed : int
            Of the sample; another seed gives an independent sample of the same country.
        persons : int, optional
            About how many persons to draw, in more PSUs and more households of each: up to some two fifths of
            the country.

        Raises
        ------
        SaeInputError
            If the country cannot give so many.
        """
        return self._survey("lfs", seed, _LFS, persons, quarter=f"{self.year}Q1")

    def silc(self, seed: int, persons: int | None = None) -> Survey:
        """Draw an income survey: as `lfs`, with 0.14 √households PSUs and 6 households, and with income.

        Parameters
        ----------
        seed : int
            Of the sample; it is independent of the labour force survey of the same seed.
        persons : int, optional
            About how many persons to draw.
        """
        return self._survey("silc", seed, _SILC, persons, year=str(self.year))

    def _survey(self, name: str, seed: int, design: Design, persons: int | None, **period: str) -> Survey:
        if persons is not None:
            design = sized(design, self.frame, self.persons["psu"], persons)
        dwellings, weights = [], []
        for region, first, size, households in strata(self.frame):
            rng = generator(self.seed, f"{name} {seed_of(seed)}", region)
            drawn, weight = two_stage(rng, design, size, households)
            dwellings.append(first + drawn)
            weights.append(weight)
        sample = members(self.population, name, np.concatenate(dwellings), weight=np.concatenate(weights))
        ((time, label),) = period.items()
        sample.insert(sample.shape[1] - 1, time, pd.Series(label, sample.index, dtype="category"))
        return as_survey(sample, time)
