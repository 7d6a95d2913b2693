"""What is drawn of the persons beyond the core: their part of chance, their arrival, their years before."""

from __future__ import annotations

import numpy as np

from sae.datasets.living import living_conditions
from sae.datasets.persons import RegionEffects, Residents, expit
from sae.datasets.work import jobs

__all__ = ["draw_further", "variables_of"]

_OWN = (  # one uniform number per person for each
    "recent_education",
    "unemployment_duration",
    "professional_status",
    "contract",
    "working_time",
    "occupation",
    "months",
    "deprivation",
    "health",
    "unmet",
    "naturalisation",
    "permit",
)
_HOME = ("deprivation", "housing_cost", "rooms", "tenure")
_MEAN_STAY = 16.0  # years
_PAST_SD = 0.45  # of the log income of a year, given that of another


def draw_further(rng: np.random.Generator, persons: Residents, line: float) -> None:
    """Give the persons of the first year what the further variables rest on.

    Parameters
    ----------
    rng : Generator
        The region's stream of further variables; the core has its own.
    persons : Residents
        With status and income.
    line : float
        The nation's poverty line.
    """
    n, homes = len(persons.age), int(persons.household[-1]) + 1
    persons.own |= dict(zip(_OWN, rng.random((len(_OWN), n), dtype=np.float32), strict=True))
    persons.home |= dict(zip(_HOME, rng.random((len(_HOME), homes), dtype=np.float32), strict=True))
    persons.place["urban"] = rng.random(int(persons.psu[-1]) + 1)
    stay = _MEAN_STAY * rng.standard_exponential(n, dtype=np.float32)
    idle = (persons.age >= 20) & (persons.age < 65) & (persons.labour_status > 0)
    stay *= np.where(idle, 0.6, 1.0) * np.where(persons.citizenship > 0, 0.7, 1.6)
    persons.stay = np.where(persons.foreign, np.minimum(stay, persons.age), -1).astype(np.int16)
    shock = np.exp(_PAST_SD * rng.standard_normal((3, homes), dtype=np.float32))
    persons.past = persons.income * shock[:, persons.household] < line


def variables_of(region: RegionEffects, persons: Residents, line: float) -> dict[str, np.ndarray]:
    """Return the further variables as codes of their levels, -1 where nothing is asked.

    Residence permits and naturalisations are what registers know; no survey carries them.
    """
    return {
        "residence": np.where(persons.stay < 0, 0, np.where(persons.stay < 5, 1, 2)),
        "degurba": _degurba(region, persons),
        **(work := jobs(region, persons)),
        **living_conditions(persons, work["recent_education"] == 0, line),
        **_permits(persons),
    }


def _degurba(region: RegionEffects, persons: Residents) -> np.ndarray:
    """Where migrants go there are more cities."""
    u = persons.place["urban"]
    city, rural = expit(np.array([-0.6 + 0.9 * region.attraction, -0.7 - 0.9 * region.attraction]))
    share = 0.8 * city  # some towns everywhere
    return np.where(u < share, 0, np.where(u < share + 0.8 * rural, 2, 1))[persons.psu]


def _permits(persons: Residents) -> dict[str, np.ndarray]:
    """Who becomes a citizen within the year, and the permits of those who are no EU citizens."""
    group, settled = persons.citizenship, (persons.stay < 0) | (persons.stay >= 5)
    chance = np.where(settled, 0.05, 0.004) * np.where(group == 1, 0.5, 1.0)
    naturalised = np.where(persons.own["naturalisation"] < chance, 0, 1)
    u = persons.own["permit"]
    long_term = settled & (u < 0.65)
    permit = np.where(long_term, 0, np.where(u < 0.97, 1, 2))
    return {
        "naturalised": np.where(group > 0, naturalised, -1),
        "residence_permit": np.where(group == 2, permit, -1),
    }
