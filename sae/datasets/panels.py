"""Rotating panels over the years of a synthetic country: a labour force survey by quarter, SILC by year."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from sae.calls import answered
from sae.datasets.samples import Design, rotating
from sae.datasets.surveys import as_survey, members, sized, strata
from sae.datasets.synthetic_country import Country
from sae.errors import SaeInputError
from sae.numerics.random.streams import generator, seed_of
from sae.survey import Survey

__all__ = ["lfs_panel", "silc_panel"]

_LFS = Design(psus_per_root=0.18, households=6, waves=6)
_SILC = Design(psus_per_root=0.14, households=8, waves=4)


@answered
def lfs_panel(years: Sequence[Country], seed: int, persons: int | None = None) -> Survey:
    """Draw a quarterly labour force survey whose dwellings stay for six quarters.

    Two stages, as in `Country.lfs`; the PSUs stay, and in each of them one of six dwellings is new each
    quarter: consecutive quarters share 5/6 of the dwellings, the same quarters of two years 1/3. Whoever
    moves into a dwelling of the panel is interviewed. The weights of a quarter are those of a survey of its
    own. The truth of a quarter is that of `Country.in_quarter`, of a year the mean of its quarters.

    Parameters
    ----------
    years : sequence of Country
        Consecutive years of one country, as `countries` gives them.
    seed : int
        Of the sample.
    persons : int, optional
        About how many persons to draw in each quarter.

    Returns
    -------
    Survey
        One record per person and quarter (``2021Q1``); ``wave`` is 1 when the dwelling is new.

    Raises
    ------
    SaeInputError
        If the years are not consecutive years of one country, or it cannot give so many persons.

    Examples
    --------
    >>> land = sae.datasets.country(seed=1, regions=4)
    >>> survey = sae.datasets.lfs_panel([land], seed=1)
    >>> survey.frame["quarter"].unique().tolist(), sorted(survey.frame["wave"].unique().tolist())
    (['2025Q1', '2025Q2', '2025Q3', '2025Q4'], [1, 2, 3, 4, 5, 6])
    """
    _check(years)
    periods = [
        (land.in_quarter(number), f"{land.year}Q{number}") for land in years for number in (1, 2, 3, 4)
    ]
    return _panel("lfs", periods, seed, _LFS, persons, "quarter")


@answered
def silc_panel(years: Sequence[Country], seed: int, persons: int | None = None) -> Survey:
    """Draw a yearly income survey whose dwellings stay for four years; see `lfs_panel`.

    A quarter of the dwellings is in its fourth year: times four, their weights are those of a four-year
    panel.

    Examples
    --------
    >>> years = sae.datasets.countries(seed=1, first=2022, last=2025, regions=4)
    >>> frame = sae.datasets.silc_panel(years, seed=1).frame
    >>> persons = [set(frame.loc[frame["year"] == year, "person"]) for year in ("2022", "2025")]
    >>> 0.15 < len(persons[0] & persons[1]) / len(persons[1]) < 0.25
    True
    """
    _check(years)
    return _panel("silc", [(land, str(land.year)) for land in years], seed, _SILC, persons, "year")


def _panel(
    name: str,
    periods: Sequence[tuple[Country, str]],
    seed: int,
    design: Design,
    persons: int | None,
    time: str,
) -> Survey:
    land = periods[0][0]
    if persons is not None:
        design = sized(design, land.frame, land.persons["psu"], persons)
    parts: list[list[tuple[np.ndarray, ...]]] = [[] for _ in periods]
    for region, first, size, households in strata(land.frame):
        rng = generator(land.seed, f"{name} panel {seed_of(seed)}", region)
        panel = rotating(rng, design, size, households, len(periods))
        for part, (drawn, weight, wave) in zip(parts, panel, strict=True):
            part.append((first + drawn, weight, wave))
    tables = []
    for (now, _), part in zip(periods, parts, strict=True):
        dwellings, weight, wave = map(np.concatenate, zip(*part, strict=True))
        tables.append(members(now.population, name, dwellings, wave=wave.astype(np.int8), weight=weight))
    period = np.repeat(np.arange(len(tables)), [len(table) for table in tables])
    sample = pd.concat(tables, ignore_index=True)
    sample[time] = pd.Categorical.from_codes(period, pd.Index([label for _, label in periods]))
    return as_survey(sample, time)


def _check(lands: Sequence[Country]) -> None:
    seeds, years = {land.seed for land in lands}, [land.year for land in lands]
    regions = {len(land.areas) for land in lands}
    if (
        not lands
        or len(seeds) > 1
        or len(regions) > 1
        or years != list(range(years[0], years[0] + len(years)))
    ):
        raise SaeInputError(
            f"A panel needs consecutive years of one country, but got the years {years}, "
            f"seeds {sorted(seeds)}, {sorted(regions)} regions.",
            hint="Take them from sae.datasets.countries.",
        )
