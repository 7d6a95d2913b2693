"""From drawn dwellings to a survey: whole households, what the survey asks, how much it draws."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd

from sae.datasets.samples import Design
from sae.errors import SaeInputError
from sae.survey import Survey

__all__ = ["as_survey", "members", "sized", "strata"]

_REGISTERS = ["naturalised", "residence_permit"]  # what no survey asks
_NOT_ASKED = {
    "lfs": [
        *["income", "poor", "in_work", "persistent_poverty", "low_work_intensity", "low_work_intensity_2020"],
        *["severe_material_deprivation", "severe_material_social_deprivation", "housing_cost_overburden"],
        *["overcrowded", "tenure", "self_perceived_health", "unmet_medical_need", *_REGISTERS],
    ],
    "silc": [
        *["recent_education", "unemployment_duration", "professional_status", "contract", "working_time"],
        *["occupation", *_REGISTERS],
    ],
}
_NEAR = 0.05  # of the persons wanted


def strata(frame: pd.DataFrame) -> Iterator[tuple[str, int, np.ndarray, np.ndarray]]:
    """Yield each covered region, the number of its first dwelling, and its PSUs' sizes and households."""
    first = 0
    for region, psus in frame.groupby("region", observed=True, sort=False):
        if psus["covered"].iloc[0]:
            yield str(region), first, psus["size"].to_numpy(), psus["households"].to_numpy()
        first += int(psus["households"].sum())


def members(
    population: pd.DataFrame, survey: str, dwellings: np.ndarray, **of_dwelling: np.ndarray
) -> pd.DataFrame:
    """Return all persons of the dwellings, with what the survey asks and what belongs to their dwelling."""
    household = population["household"].to_numpy()
    starts = np.append(0, 1 + np.flatnonzero(np.diff(household)))
    size = np.diff(starts, append=len(household))[dwellings]
    within = np.arange(size.sum()) - np.repeat(np.cumsum(size) - size, size)
    sample = population.iloc[np.repeat(starts[dwellings], size) + within].reset_index(drop=True)
    sample = sample.drop(columns=_NOT_ASKED[survey])
    return sample.assign(**{name: np.repeat(values, size) for name, values in of_dwelling.items()})


def as_survey(sample: pd.DataFrame, time: str) -> Survey:
    """Return the sample as a survey with its design."""
    return Survey.from_frame(
        sample,
        weights="weight",
        strata="region",
        psu="psu",
        household="household",
        person="person",
        time=time,
    )


def sized(design: Design, frame: pd.DataFrame, psu_of_person: pd.Series, persons: int) -> Design:
    """Return the design with more PSUs and more households of each, so that it draws so many persons.

    Raises
    ------
    SaeInputError
        If half of the PSUs with all their households are not enough.
    """
    psus = frame.assign(persons=psu_of_person.value_counts(sort=False).reindex(frame["psu"]).to_numpy())
    psus = psus[psus["covered"]]

    region = psus.groupby("region", observed=True)
    homes, count = (
        region["households"].transform("sum").to_numpy(),
        region["psu"].transform("size").to_numpy(),
    )
    share = (psus["size"] / region["size"].transform("sum")).to_numpy()
    size = psus["households"].to_numpy()
    each = share * psus["persons"].to_numpy() / size  # persons per household drawn, and per PSU of the region

    def expected(of: Design) -> float:
        return float((of.psus(homes, count) * each * np.minimum(size, of.households)).sum())

    most = expected(replace(design, psus_per_root=np.inf, households=int(size.max())))
    if not 0 < persons <= most:
        raise SaeInputError(
            f"persons = {persons:,}, but a sample of this country has 1 to {most:,.0f}.",
            hint="A country of more regions gives more.",
        )
    step, wanted = design.waves, design
    root = np.sqrt(persons / expected(design))
    households = step * max(round(design.households * root / step), 1)
    for _ in range(30):
        wanted = replace(wanted, households=households)
        got = expected(wanted)
        if abs(got / persons - 1.0) < _NEAR:
            break
        if got < persons and expected(replace(wanted, psus_per_root=np.inf)) < persons:
            households += step
        else:
            wanted = replace(wanted, psus_per_root=wanted.psus_per_root * persons / got)
    return wanted
