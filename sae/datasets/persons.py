"""The persons of one region of the synthetic country: households in PSUs, origin, education, work, income."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from sae.datasets.geography import Geography
from sae.datasets.geography import field as wave_field
from sae.numerics.random.streams import generator

__all__ = [
    "RegionEffects",
    "Residents",
    "attainment",
    "draw_residents",
    "expit",
    "labour_status",
    "region_effects",
    "work_and_income",
]

# Codes are positions in the levels of `sae.survey.variables`; -1 is missing (never asked of children).
_HOUSEHOLDS_PER_PSU = 25
_SIZE_SHARES = np.cumsum([0.32, 0.32, 0.16, 0.13, 0.05, 0.02])
_ADULT = 15  # education and labour status are asked from this age on
# Log-odds of being active, by age band: lower limits and values.
_AGE_BANDS = np.array([0, 20, 25, 55, 60, 65, 75])
_ACTIVE_BY_BAND = np.array([-3.2, -1.1, 0.0, -0.5, -1.9, -4.3, -7.0])


@dataclass(frozen=True)
class RegionEffects:
    """What is particular about a region; all on the logit or log scale, 0 for an average region.

    ``prosperity`` drives education, work and income of everybody; ``attraction`` the share of the
    foreign-born; ``work`` adds to everybody's activity, ``foreign_work`` to that of the foreign-born
    alone: covariates that describe the whole population explain it in part only.
    """

    households: int
    prosperity: float
    attraction: float
    work: float
    foreign_work: float
    eu: float


def region_effects(seed: int, where: Geography) -> list[RegionEffects]:
    """Draw the effects of all regions around the smooth fields of the map."""
    prosperity, attraction = (
        wave_field(generator(seed, "field", name), where.x, where.y) for name in ("prosperity", "attraction")
    )
    return [
        _effects(generator(seed, "region", code), wealth, pull)
        for code, wealth, pull in zip(where.codes, prosperity, attraction, strict=True)
    ]


def _effects(rng: np.random.Generator, prosperity_field: float, attraction_field: float) -> RegionEffects:
    size, own, pull, work, foreign, eu = rng.standard_normal(6)
    prosperity = 0.75 * prosperity_field + 0.65 * own
    return RegionEffects(
        households=round(1150.0 * np.exp(0.45 * size)),
        prosperity=prosperity,
        attraction=0.6 * attraction_field + 0.5 * pull + 0.3 * prosperity,
        work=0.25 * prosperity + 0.12 * work,
        foreign_work=0.15 * attraction_field + 0.22 * foreign,
        eu=0.6 * eu,
    )


@dataclass(eq=False)
class Residents:
    """The persons of a region in a year, households in order; codes of levels, -1 missing.

    Attributes
    ----------
    psu, household : ndarray of int, shape (n_persons,)
        Running numbers within the region, from 0; a household's number is that of its dwelling.
    name, home_name : ndarray of int, shapes (n_persons,) and (n_households,)
        Numbers within the region that no other person and no other household ever bears, from 1.
    age, sex, birth, citizenship, education, labour_status, income : ndarray, shape (n_persons,)
        Age in years; birth and citizenship are native, eu, non_eu (0, 1, 2); income is the equivalised
        disposable household income per year, the same for all of a household.
    own, home : dict of ndarray, shapes (..., n_persons) and (..., n_households)
        What chance gave to each person and to each household, by subject. A later year keeps most of it.
    place : dict of ndarray, shape (n_psu,)
        What chance gave to each PSU, for good.
    stay : ndarray of int, shape (n_persons,)
        Years since arrival, -1 for those born in the country.
    past : ndarray of bool, shape (3, n_persons)
        Whether poor one, two and three years ago.
    """

    psu: np.ndarray
    household: np.ndarray
    name: np.ndarray
    home_name: np.ndarray
    age: np.ndarray
    sex: np.ndarray
    birth: np.ndarray
    citizenship: np.ndarray
    education: np.ndarray = field(default_factory=lambda: np.empty(0, np.int8))
    labour_status: np.ndarray = field(default_factory=lambda: np.empty(0, np.int8))
    income: np.ndarray = field(default_factory=lambda: np.empty(0))
    own: dict[str, np.ndarray] = field(default_factory=dict)
    home: dict[str, np.ndarray] = field(default_factory=dict)
    place: dict[str, np.ndarray] = field(default_factory=dict)
    stay: np.ndarray = field(default_factory=lambda: np.empty(0, np.int16))
    past: np.ndarray = field(default_factory=lambda: np.empty((3, 0), bool))

    @property
    def foreign(self) -> np.ndarray:
        """Born abroad."""
        return self.birth > 0


def draw_residents(rng: np.random.Generator, region: RegionEffects) -> Residents:
    """Draw the persons of a region."""
    psu_of_household = _psus(rng, region.households)
    household, head, child, age = _composition(rng, region.households)
    psu = psu_of_household[household]
    psu_effects = rng.standard_normal((psu[-1] + 1, 2))
    birth, citizenship = _origin(rng, region, household, head, child, psu_effects[:, 0][psu_of_household])
    name, home_name = np.arange(1, len(age) + 1), np.arange(1, region.households + 1)
    sex = _sex(rng, household, head, child)
    persons = Residents(psu, household, name, home_name, age, sex, birth, citizenship)
    persons.place["work"] = 0.25 * psu_effects[:, 1]
    persons.own["education"] = rng.random(len(age))
    persons.own["work"] = rng.random((2, len(age)))
    persons.home["income"] = rng.standard_normal(region.households)
    persons.own["income"] = rng.standard_normal(len(age))
    persons.home["transfers"] = rng.standard_normal(region.households)
    persons.education = attainment(region, persons)
    work_and_income(region, persons)
    return persons


def work_and_income(region: RegionEffects, persons: Residents) -> None:
    """Fill in the labour status and the income that follow from what the persons are and were given."""
    persons.labour_status = labour_status(region, persons)
    persons.income = _income(region, persons)


def expit(value: np.ndarray) -> np.ndarray:
    """Return the probability of a logit."""
    return 1.0 / (1.0 + np.exp(-value))


def _psus(rng: np.random.Generator, households: int) -> np.ndarray:
    """Cut the households, in order, into PSUs of unequal size (about 15 to 35 households)."""
    n_psu = max(2, households // _HOUSEHOLDS_PER_PSU)
    cuts = np.cumsum(rng.uniform(0.6, 1.4, n_psu))
    ends = np.round(cuts / cuts[-1] * households).astype(np.int64)
    return np.repeat(np.arange(n_psu), np.diff(ends, prepend=0))


def _composition(rng: np.random.Generator, households: int) -> tuple[np.ndarray, ...]:
    """Draw sizes, then the members: a head, mostly a partner, children."""
    size = np.searchsorted(_SIZE_SHARES, rng.random(households) * _SIZE_SHARES[-1]) + 1
    household = np.repeat(np.arange(households), size)
    first = np.cumsum(size) - size
    position = np.arange(len(household)) - first[household]
    family = size >= 3
    head_age = np.where(
        family, 25 + 33 * rng.beta(2.0, 2.0, households), 20 + 72 * rng.beta(1.5, 1.6, households)
    )
    partner = (position == 1) & (rng.random(len(household)) < 0.88)
    child = (position > 0) & ~partner
    age = head_age[household]
    age = np.where(partner, np.clip(age + rng.normal(0.0, 4.0, len(age)), 18, 95), age)
    age = np.where(child, np.clip(age - rng.uniform(20.0, 38.0, len(age)), 0, 35), age)
    return household, position == 0, child, age.astype(np.int64)


def _sex(rng: np.random.Generator, household: np.ndarray, head: np.ndarray, child: np.ndarray) -> np.ndarray:
    """Draw the head's and the children's sex; a partner is of the other sex."""
    drawn = (rng.random(len(household)) < 0.49).astype(np.int8)
    return np.where(head | child, drawn, 1 - drawn[head][household]).astype(np.int8)


def _origin(
    rng: np.random.Generator,
    region: RegionEffects,
    household: np.ndarray,
    head: np.ndarray,
    child: np.ndarray,
    psu_effect: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw the groups of birth and citizenship: heads by region and PSU, the others leaning on their head."""
    share = expit(-2.15 + 0.75 * region.attraction + 0.6 * psu_effect)
    foreign_head = rng.random(len(share)) < share
    from_eu = rng.random(len(share)) < expit(np.array(-0.3 + region.eu))
    of_head, u = foreign_head[household], rng.random((2, len(household)))
    partner_foreign = np.where(of_head, u[0] < 0.85, u[0] < 0.5 * share[household])
    birth = np.where(head, of_head, np.where(child, of_head & (u[0] < 0.25), partner_foreign))
    keeps = np.where(birth, u[1] < 0.68, of_head & child & (u[1] < 0.30))
    group = np.where(from_eu[household], 1, 2).astype(np.int8)
    return group * birth, group * keeps


def attainment(region: RegionEffects, persons: Residents) -> np.ndarray:
    """Return the education that fits a person's age."""
    age, foreign, u = persons.age, persons.foreign, persons.own["education"]
    tertiary = expit(-0.9 + 0.4 * region.prosperity + 0.4 * ((age >= 25) & (age < 45)) - 0.6 * (age >= 65))
    tertiary *= age >= 22
    low = (1.0 - tertiary) * expit(-1.3 - 0.25 * region.prosperity + 0.9 * (age >= 65) + 0.8 * foreign)
    return np.where(age < _ADULT, -1, np.where(u < low, 0, np.where(u < 1.0 - tertiary, 1, 2))).astype(
        np.int8
    )


def labour_status(region: RegionEffects, persons: Residents) -> np.ndarray:
    """Return the status: activity first, then unemployment among the active."""
    age, foreign, u = persons.age, persons.foreign, persons.own["work"]
    low, tertiary, woman = persons.education == 0, persons.education == 2, persons.sex == 0
    common = region.work + persons.place["work"][persons.psu] + foreign * region.foreign_work
    by_age = _ACTIVE_BY_BAND[np.searchsorted(_AGE_BANDS, age, side="right") - 1]
    active = 2.2 + by_age + common - 0.5 * woman - 0.4 * (woman & foreign) + 0.7 * tertiary - 0.8 * low
    jobless = -2.9 - 1.2 * common + 0.75 * foreign - 0.6 * tertiary + 0.7 * low + 0.8 * (age < 25)
    status = np.where(u[0] >= expit(active), 2, np.where(u[1] < expit(jobless), 1, 0))
    return np.where(age < _ADULT, -1, status).astype(np.int8)


def _income(region: RegionEffects, persons: Residents) -> np.ndarray:
    """Sum earnings, benefits and pensions over the household; divide by the modified OECD scale."""
    household, age, status = persons.household, persons.age, persons.labour_status
    n = household[-1] + 1
    noise = 0.35 * persons.home["income"][household] + 0.4 * persons.own["income"]
    level = (
        0.08 * region.prosperity
        + 0.35 * (persons.education == 2)
        - 0.2 * (persons.education == 0)
        - 0.12 * persons.foreign
        + noise
    )
    euros = np.select([status == 0, status == 1, age >= 62], [24_000.0, 9_500.0, 17_000.0], 0.0)
    transfers = 4_500.0 * np.exp(0.3 * persons.home["transfers"])  # that every household has
    total = np.bincount(household, weights=euros * np.exp(level), minlength=n) + transfers
    adults = np.bincount(household[age >= 14], minlength=n)
    children = np.bincount(household, minlength=n) - adults
    return np.round(total / (1.0 + 0.5 * (adults - 1) + 0.3 * children), 0)[household]
