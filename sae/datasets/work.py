"""The further labour force variables of the synthetic country: training, the job, the time without one."""

from __future__ import annotations

import numpy as np

from sae.datasets.persons import RegionEffects, Residents, expit

__all__ = ["jobs"]

_ADULT = 15
_STUDY_AGES = np.array([0, 18, 20, 25, 30, 35, 65])
_STUDY = np.array([2.6, 1.3, 0.1, -1.2, -1.7, -2.1, -3.4])  # log-odds of training, by age band


def jobs(region: RegionEffects, persons: Residents) -> dict[str, np.ndarray]:
    """Return the codes of what a labour force survey asks beyond the status; -1 where it does not apply."""
    own, age, education, status = persons.own, persons.age, persons.education, persons.labour_status
    foreign, woman = persons.foreign, persons.sex == 0
    low, tertiary, young = education == 0, education == 2, age < 25
    working, adult = status == 0, age >= _ADULT

    study = _STUDY[np.searchsorted(_STUDY_AGES, age, side="right") - 1]
    study += 0.15 * region.prosperity + 0.6 * tertiary - 0.9 * low - 0.7 * (working & young)
    long_term = -0.7 + 0.5 * low - 0.3 * tertiary + 0.03 * (age - 40) - 0.3 * region.prosperity
    alone = -2.0 + 0.025 * (age - 40) - 0.4 * woman + 0.2 * foreign
    fixed_term = -2.2 + 1.5 * (age < 30) + 0.6 * foreign + 0.3 * low
    part = -2.5 + 1.6 * woman + 0.7 * young + 0.5 * (age >= 60) + 0.2 * foreign
    skilled = np.array([-2.6, -1.2, 1.35])[education] - tertiary * np.array([0.0, 0.55, 0.95])[persons.birth]
    u = own["professional_status"]
    professional = np.where(u < expit(alone), 0, np.where(u < 0.992, 1, 2))
    skill = own["occupation"]
    occupation = np.where(skill >= 0.996, 2, skill >= expit(skilled))
    return {
        "recent_education": np.where(adult, own["recent_education"] >= expit(study), -1),
        "unemployment_duration": np.where(status == 1, own["unemployment_duration"] < expit(long_term), -1),
        "professional_status": np.where(working, professional, -1),
        "contract": np.where(working & (professional == 1), own["contract"] < expit(fixed_term), -1),
        "working_time": np.where(working, own["working_time"] < expit(part), -1),
        "occupation": np.where(working, occupation, -1),
    }
