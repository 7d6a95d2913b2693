"""The persons of one region of the synthetic country: households in PSUs, origin, education, work, income."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["LEVELS", "RegionEffects", "effects_of", "persons_of"]

# Codes are positions in these tuples; -1 is missing (never asked of children).
LEVELS: dict[str, tuple[str, ...]] = {
    "sex": ("female", "male"),
    "birth": ("native", "foreign"),
    "citizenship": ("native", "eu", "non_eu"),
    "education": ("low", "medium", "tertiary"),
    "labour_status": ("employed", "unemployed", "inactive"),
}
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


def effects_of(rng: np.random.Generator, prosperity_field: float, attraction_field: float) -> RegionEffects:
    """Draw a region's effects around the smooth fields of the map."""
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


def persons_of(rng: np.random.Generator, region: RegionEffects) -> dict[str, np.ndarray]:
    """Draw the persons of a region.

    Returns
    -------
    dict of ndarray, each of shape (n_persons,)
        ``psu`` and ``household`` (running numbers within the region), ``age`` in years, the codes of
        `LEVELS`, and ``income`` (equivalised disposable household income per year, the same for all of a
        household).
    """
    psu_of_household = _psus(rng, region.households)
    household, head, child, age = _composition(rng, region.households)
    psu = psu_of_household[household]
    psu_effects = rng.standard_normal((psu[-1] + 1, 2))
    birth, citizenship = _origin(rng, region, household, head, child, psu_effects[:, 0][psu_of_household])
    sex = _sex(rng, household, head, child)
    education = _education(rng, region, age, birth)
    status = _labour(rng, region, age, sex, birth, education, 0.25 * psu_effects[:, 1][psu])
    income = _income(rng, region, household, age, birth, education, status)
    return {
        "psu": psu,
        "household": household,
        "age": age,
        "sex": sex,
        "birth": birth,
        "citizenship": citizenship,
        "education": education,
        "labour_status": status,
        "income": income,
    }


def _expit(value: np.ndarray) -> np.ndarray:
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
    """Country of birth and citizenship: heads by region and PSU, the others leaning on their head."""
    share = _expit(-2.15 + 0.75 * region.attraction + 0.6 * psu_effect)
    foreign_head = rng.random(len(share)) < share
    from_eu = rng.random(len(share)) < _expit(np.array(-0.3 + region.eu))
    of_head, u = foreign_head[household], rng.random((2, len(household)))
    partner_foreign = np.where(of_head, u[0] < 0.85, u[0] < 0.5 * share[household])
    birth = np.where(head, of_head, np.where(child, of_head & (u[0] < 0.25), partner_foreign))
    keeps = np.where(birth, u[1] < 0.68, of_head & child & (u[1] < 0.30))
    citizenship = np.where(keeps, np.where(from_eu[household], 1, 2), 0)
    return birth.astype(np.int8), citizenship.astype(np.int8)


def _education(
    rng: np.random.Generator, region: RegionEffects, age: np.ndarray, birth: np.ndarray
) -> np.ndarray:
    tertiary = _expit(-0.9 + 0.4 * region.prosperity + 0.4 * ((age >= 25) & (age < 45)) - 0.6 * (age >= 65))
    tertiary *= age >= 22
    low = (1.0 - tertiary) * _expit(-1.3 - 0.25 * region.prosperity + 0.9 * (age >= 65) + 0.8 * birth)
    u = rng.random(len(age))
    return np.where(age < _ADULT, -1, np.where(u < low, 0, np.where(u < 1.0 - tertiary, 1, 2))).astype(
        np.int8
    )


def _labour(
    rng: np.random.Generator,
    region: RegionEffects,
    age: np.ndarray,
    sex: np.ndarray,
    birth: np.ndarray,
    education: np.ndarray,
    psu_effect: np.ndarray,
) -> np.ndarray:
    """Activity first, then unemployment among the active."""
    foreign, low, tertiary, woman = birth == 1, education == 0, education == 2, sex == 0
    common = region.work + psu_effect + foreign * region.foreign_work
    by_age = _ACTIVE_BY_BAND[np.searchsorted(_AGE_BANDS, age, side="right") - 1]
    active = 2.2 + by_age + common - 0.5 * woman - 0.4 * (woman & foreign) + 0.7 * tertiary - 0.8 * low
    jobless = -2.9 - 1.2 * common + 0.75 * foreign - 0.6 * tertiary + 0.7 * low + 0.8 * (age < 25)
    u = rng.random((2, len(age)))
    status = np.where(u[0] >= _expit(active), 2, np.where(u[1] < _expit(jobless), 1, 0))
    return np.where(age < _ADULT, -1, status).astype(np.int8)


def _income(
    rng: np.random.Generator,
    region: RegionEffects,
    household: np.ndarray,
    age: np.ndarray,
    birth: np.ndarray,
    education: np.ndarray,
    status: np.ndarray,
) -> np.ndarray:
    """Sum earnings, benefits and pensions over the household; divide by the modified OECD scale."""
    n = household[-1] + 1
    noise = 0.35 * rng.standard_normal(n)[household] + 0.4 * rng.standard_normal(len(age))
    level = (
        0.08 * region.prosperity
        + 0.35 * (education == 2)
        - 0.2 * (education == 0)
        - 0.12 * (birth == 1)
        + noise
    )
    euros = np.select([status == 0, status == 1, age >= 62], [24_000.0, 9_500.0, 17_000.0], 0.0)
    total = np.bincount(household, weights=euros * np.exp(level), minlength=n)
    total += 4_500.0 * np.exp(0.3 * rng.standard_normal(n))  # transfers that every household has
    adults = np.bincount(household[age >= 14], minlength=n)
    children = np.bincount(household, minlength=n) - adults
    return np.round(total / (1.0 + 0.5 * (adults - 1) + 0.3 * children), 0)[household]
