"""The further variables of income and living conditions: work intensity, deprivation, housing, health."""

from __future__ import annotations

import numpy as np

from sae.datasets.persons import Residents, expit

__all__ = ["living_conditions"]

_YOUNGEST = 16  # personal questions are put from this age on
_LOW_INTENSITY = 0.2  # of the months that could be worked, or less
_MODEST = 16_000.0  # an income about the poverty line: the nation's own would tie a region to the others
_HEALTH = np.array([-1.1, 1.1, 2.8, 4.5])  # between very good, good, fair, bad, very bad


def living_conditions(persons: Residents, studies: np.ndarray, line: float) -> dict[str, np.ndarray]:
    """Return the codes of what an income survey asks or derives; yes is 0, no is 1, -1 is not asked.

    Parameters
    ----------
    persons : Residents
        With status, income and what chance gave them.
    studies : ndarray of bool, shape (n_persons,)
        In education or training.
    line : float
        The nation's poverty line.
    """
    age, months = persons.age, _months(persons)
    interviewed = age >= _YOUNGEST
    means = np.log(np.maximum(persons.income, 1.0) / _MODEST)
    poor = persons.income < line
    student = studies & (persons.labour_status != 0) & (age < 25)
    retired = (persons.labour_status == 2) & (age >= 60)
    eligible = (age >= 18) & (age <= 64) & ~student
    return {
        **_deprivation(persons, means, interviewed),
        "low_work_intensity": _intensity(persons, months, eligible & ~retired, 64),
        "low_work_intensity_2020": _intensity(persons, months, eligible & (age <= 59), 59),
        "in_work": np.where(interviewed, months <= 6, -1),
        "persistent_poverty": 1 - (poor & (persons.past.sum(axis=0) >= 2)),
        **_housing(persons, means),
        **_health(persons, means, interviewed),
    }


def _months(persons: Residents) -> np.ndarray:
    """Months worked in the income year: mostly all, few, none."""
    u, status = persons.own["months"], persons.labour_status
    employed = np.where(u < 0.86, 12.0, 1.0 + np.floor((u - 0.86) / 0.14 * 11.0))
    unemployed = np.where(u < 0.45, 0.0, 1.0 + np.floor((u - 0.45) / 0.55 * 10.0))
    inactive = np.where(u < 0.88, 0.0, 1.0 + np.floor((u - 0.88) / 0.12 * 6.0))
    return np.select([status == 0, status == 1, status == 2], [employed, unemployed, inactive], 0.0)


def _intensity(persons: Residents, months: np.ndarray, counts: np.ndarray, oldest: int) -> np.ndarray:
    """Whether the household works little; not applicable where nobody could, or above the oldest age."""
    could = np.bincount(persons.household, weights=12.0 * counts)
    worked = np.bincount(persons.household, weights=months * counts)
    low = np.where(could == 0.0, 2, worked > _LOW_INTENSITY * could)[persons.household]
    return np.where(persons.age <= oldest, low, 2)


def _deprivation(persons: Residents, means: np.ndarray, interviewed: np.ndarray) -> dict[str, np.ndarray]:
    """Material deprivation is a household's; what is social may differ between its adults."""
    home = persons.home["deprivation"][persons.household]
    tendency = -2.4 - 2.2 * means
    personal = np.where(
        interviewed & (persons.own["deprivation"] < 0.15), persons.own["deprivation"] / 0.15, home
    )
    return {
        "severe_material_deprivation": home >= expit(tendency),
        "severe_material_social_deprivation": personal >= expit(tendency + 0.2),
    }


def _housing(persons: Residents, means: np.ndarray) -> dict[str, np.ndarray]:
    """All of the household: its tenure by the age and birth of its head, rooms by its size."""
    household = persons.household
    size = np.bincount(household)
    head = np.cumsum(size) - size
    age, foreign, wealth = persons.age[head], persons.foreign[head], means[head]
    u = persons.home["tenure"]
    owner = expit(0.2 + 0.025 * (age - 50) + 0.6 * wealth - 1.2 * foreign)
    loan = np.where(age < 60, 0.55, 0.12)
    rent = (u - owner) / (1.0 - owner)  # uniform among tenants
    tenant = np.where(rent < 0.68, 2, np.where(rent < 0.9, 3, 4))
    tenure = np.where(u < owner, u < owner * loan, tenant)
    burden = expit(-2.2 - 1.8 * wealth + 1.2 * (tenure == 2) + 0.3 * (tenure == 1))
    crowd = expit(-2.8 + 0.55 * (size - 2.5) + 0.9 * foreign - 0.5 * wealth) * (size > 1)
    return {
        "housing_cost_overburden": (persons.home["housing_cost"] >= burden)[household],
        "overcrowded": (persons.home["rooms"] >= crowd)[household],
        "tenure": tenure[household],
    }


def _health(persons: Residents, means: np.ndarray, interviewed: np.ndarray) -> dict[str, np.ndarray]:
    low, tertiary, u = persons.education == 0, persons.education == 2, persons.own["health"]
    frailty = 0.045 * (persons.age - 45) + 0.35 * low - 0.3 * tertiary - 0.3 * means + 0.2 * persons.foreign
    bounds = expit(_HEALTH[:, None] - frailty)
    state = (u >= bounds).sum(axis=0)
    unmet = expit(-4.0 + 0.7 * (state >= 2) - 0.6 * means + 0.3 * persons.foreign)
    return {
        "self_perceived_health": np.where(interviewed, state, -1),
        "unmet_medical_need": np.where(interviewed, persons.own["unmet"] >= unmet, -1),
    }
