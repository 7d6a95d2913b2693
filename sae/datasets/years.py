"""The next quarter and the next year of a region: people change work, age, die, are born, move in, learn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sae.datasets.persons import RegionEffects, Residents, attainment, labour_status, work_and_income

__all__ = ["next_quarter", "next_year"]

_RENEWED = 0.03  # share of dwellings with other people a year later
_BIRTH = 0.065  # per household with a woman of 20 to 39
_OLDEST = 99
_LEARNS_UNTIL = 30
# How likely what chance gave is to last into the next year; the rest is drawn anew, so no share drifts.
_LASTS = {"education": 1.0, "naturalisation": 0.0, "permit": 0.95, "tenure": 0.97, "rooms": 0.9}
_MOSTLY = 0.8
# What moves by quarter, and lasts as likely as the rest over four of them.
_OF_WORK = (
    *["work", "recent_education", "unemployment_duration", "professional_status", "contract"],
    *["working_time", "occupation"],
)
_QUARTERLY = _MOSTLY**0.25
_NORMAL = ("income", "transfers")  # the others are uniform


def next_quarter(rng: np.random.Generator, region: RegionEffects, now: Residents) -> Residents:
    """Return the persons of a region a quarter later in the same year: work moves, nothing else."""
    everybody = np.arange(len(now.age))
    own = now.own | {name: _go_on(rng, name, now.own[name], everybody) for name in _OF_WORK}
    later = replace(now, own=own)
    later.labour_status = labour_status(region, later)
    return later


def next_year(
    rng: np.random.Generator,
    region: RegionEffects,
    now: Residents,
    first: Residents,
    naturalised: np.ndarray,
    line: float,
) -> Residents:
    """Return the persons of a region at the beginning of the next year.

    Each dwelling stays, with other people where all adults died or, in 3 of 100, where the people moved:
    newcomers are like a household of the region's first year, about twice as often with a head born abroad;
    half of those born abroad have just arrived.

    Parameters
    ----------
    rng : Generator
        The region's stream of this step.
    region : RegionEffects
        What is particular about it, for good.
    now, first : Residents
        Of the last quarter of this year, with its income, and of the first year.
    naturalised : ndarray of bool, shape (n_persons,)
        Who becomes a citizen within this year.
    line : float
        The poverty line of this year.
    """
    dies = rng.random(len(now.age)) < np.where(now.age >= _OLDEST, 1.0, np.exp(-10.2 + 0.092 * now.age))
    adults = np.bincount(now.household[~dies & (now.age >= 15)], minlength=region.households)
    moving = rng.random(region.households)
    renewed = (moving < _RENEWED) | (adults == 0)
    renewed[moving.argmin()] = True  # one at least: no number of a household or person ever comes twice
    staying = np.flatnonzero(~dies & ~renewed[now.household])
    entering, their_home = _newcomers(rng, first, np.flatnonzero(renewed))
    mother = _mothers(rng, now, staying)
    homes = np.concatenate([now.household[staying], their_home, now.household[mother]])
    order = np.argsort(homes, kind="stable")

    def follow(mine: np.ndarray, theirs: np.ndarray, born: np.ndarray) -> np.ndarray:
        """Put those who stay, the newcomers and the newborn together, household by household."""
        parts = [mine[..., staying], theirs[..., entering], born]
        return np.concatenate(parts, axis=-1)[..., order].astype(mine.dtype)

    none, unknown = np.zeros(len(mother)), np.full(len(mother), -1)
    strangers = np.full(len(first.age), -1)
    citizenship = np.where(naturalised, 0, now.citizenship)
    arrived = first.foreign & (rng.random(len(first.age)) < 0.5)
    poor = np.vstack([now.income < line, now.past[:2]])
    before = follow(np.arange(len(now.age)), strangers, unknown)
    later = Residents(
        psu=np.empty(0, np.int64),
        household=homes[order],
        name=_numbered(np.where(before < 0, 0, now.name[before]), now.name),
        home_name=_numbered(np.where(renewed, 0, now.home_name), now.home_name),
        age=follow(now.age + 1, first.age, none),
        sex=follow(now.sex, first.sex, rng.random(len(mother)) < 0.51),
        birth=follow(now.birth, first.birth, none),
        citizenship=follow(citizenship, first.citizenship, citizenship[mother]),
        education=follow(now.education, first.education, unknown),
        place=now.place,
        stay=follow(np.where(now.stay < 0, -1, now.stay + 1), np.where(arrived, 0, first.stay), unknown),
        past=follow(poor, first.past, poor[:, mother]),  # of the newborn: their mother's
    )
    later.psu = first.psu[np.searchsorted(first.household, later.household)]
    later.own = {name: _go_on(rng, name, given, before) for name, given in now.own.items()}
    same = np.where(renewed, -1, np.arange(region.households))
    later.home = {name: _go_on(rng, name, given, same) for name, given in now.home.items()}
    learning = (before >= 0) & (later.age < _LEARNS_UNTIL)
    reached = np.maximum(later.education, attainment(region, later))
    later.education = np.where(learning, reached, later.education)
    work_and_income(region, later)
    return later


def _newcomers(
    rng: np.random.Generator, first: Residents, homes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of households of the first year, drawn for the dwellings `homes`, and the dwelling of each row."""
    size = np.bincount(first.household)
    start = np.cumsum(size) - size
    candidates = rng.integers(len(size), size=(2, len(homes)))
    drawn = np.where(first.foreign[start[candidates[0]]], *candidates)
    members = size[drawn]
    within = np.arange(members.sum()) - np.repeat(np.cumsum(members) - members, members)
    return np.repeat(start[drawn], members) + within, np.repeat(homes, members)


def _mothers(rng: np.random.Generator, now: Residents, staying: np.ndarray) -> np.ndarray:
    """Rows of the women, one per household at most, to whom a child is born."""
    women = staying[(now.sex[staying] == 0) & (now.age[staying] >= 20) & (now.age[staying] < 40)]
    _, one = np.unique(now.household[women], return_index=True)
    return women[one][rng.random(len(one)) < _BIRTH]


def _numbered(names: np.ndarray, given: np.ndarray) -> np.ndarray:
    """Give those numbered 0 the numbers after the largest given."""
    new = names == 0
    return np.where(new, given.max() + np.cumsum(new), names)


def _go_on(rng: np.random.Generator, name: str, given: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Keep most of what chance gave, and draw the rest, and that of whoever was not there before, anew."""
    shape = (*given.shape[:-1], len(before))
    fresh = rng.standard_normal(shape) if name in _NORMAL else rng.random(shape)
    chance = _QUARTERLY if name in _OF_WORK else _LASTS.get(name, _MOSTLY)
    lasts = (before >= 0) & (rng.random(len(before)) < chance)
    return np.where(lasts, given[..., before], fresh).astype(given.dtype)
