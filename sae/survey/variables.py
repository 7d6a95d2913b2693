"""The harmonised variables: the names and levels that layouts map to and that indicators speak of.

A layout knows the codes of one release of one survey; an indicator knows none of them. What stands between
is this list: a name bears these levels or it is a number, in every survey.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

__all__ = ["PLACES", "VARIABLES", "YES_NO", "Variable"]

# names of columns that hold the codes of places: text even where the file has numbers
PLACES = ("geo", "region", "city", "country", "area", "degurba")

YES_NO = ("yes", "no")


@dataclass(frozen=True)
class Variable:
    """A harmonised variable.

    Attributes
    ----------
    label : str
        What it says of a person.
    levels : tuple of str
        Its levels, in order; empty where it is a number or the code of a place or period.
    unit : str
        Unit of a number.
    """

    label: str
    levels: tuple[str, ...] = ()
    unit: str = ""

    @property
    def yes_no(self) -> bool:
        """Whether its levels are yes and no: what a layout derives by a condition becomes these."""
        return self.levels == YES_NO


_ORIGIN = ("native", "foreign")
_GROUP = ("native", "eu", "non_eu")

VARIABLES: Mapping[str, Variable] = MappingProxyType(
    {
        "age": Variable(
            "Age in completed years; the middle of its band where the file has bands", unit="years"
        ),
        "sex": Variable("Sex", ("female", "male")),
        "birth": Variable("Born in the reporting country or abroad", _ORIGIN),
        "birth_group": Variable("Born in the reporting country, elsewhere in the EU, outside it", _GROUP),
        "citizenship": Variable("Citizen of the reporting country or foreigner", _ORIGIN),
        "citizenship_group": Variable(
            "Citizen of the reporting country, of another EU country, of none", _GROUP
        ),
        "residence": Variable(
            "Time since arrival in the country", ("born_here", "under_5_years", "5_years_or_more")
        ),
        "degurba": Variable("Degree of urbanisation", ("cities", "towns", "rural")),
        # labour force
        "labour_status": Variable("Status by the ILO", ("employed", "unemployed", "inactive")),
        "unemployment_duration": Variable("Duration of unemployment", ("under_1_year", "1_year_or_more")),
        "professional_status": Variable(
            "Professional status of the employed", ("self_employed", "employee", "family_worker")
        ),
        "contract": Variable("Contract of employees", ("permanent", "temporary")),
        "working_time": Variable("Working time of the employed", ("full_time", "part_time")),
        "occupation": Variable(
            "Skill of the occupation: ISCO 1-3, 4-9, 0",
            ("high_skilled", "low_or_medium_skilled", "armed_forces"),
        ),
        # education
        "education": Variable("Highest attainment: ISCED 0-2, 3-4, 5-8", ("low", "medium", "tertiary")),
        "recent_education": Variable("Formal or non-formal education in the last four weeks", YES_NO),
        # income and living conditions
        "income": Variable("Equivalised disposable income", unit="currency per year"),
        "poor": Variable("Flag of the national definition of poverty, 1 or 0"),
        "severe_material_deprivation": Variable("At least 4 of 9 items lacking (Europe 2020)", YES_NO),
        "severe_material_social_deprivation": Variable("At least 7 of 13 items lacking (EU 2030)", YES_NO),
        "low_work_intensity": Variable(
            "Very low work intensity of the household, members of 18-64 (EU 2030)",
            (*YES_NO, "not_applicable"),
        ),
        "low_work_intensity_2020": Variable(
            "Very low work intensity of the household, members of 18-59 (Europe 2020)",
            (*YES_NO, "not_applicable"),
        ),
        "in_work": Variable("Worked for more than half of the income year", YES_NO),
        "persistent_poverty": Variable("Poor now and in at least two of the three years before", YES_NO),
        # housing and health
        "housing_cost_overburden": Variable("Housing costs above 40 % of disposable income", YES_NO),
        "overcrowded": Variable("Fewer rooms than the household needs", YES_NO),
        "tenure": Variable(
            "Tenure of the dwelling",
            ("owner", "owner_with_mortgage", "tenant_market", "tenant_reduced", "rent_free"),
        ),
        "self_perceived_health": Variable(
            "Self-perceived health", ("very_good", "good", "fair", "bad", "very_bad")
        ),
        "unmet_medical_need": Variable(
            "Needed a medical examination and had none for its cost, the wait or the way", YES_NO
        ),
    }
)
