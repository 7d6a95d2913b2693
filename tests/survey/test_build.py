"""Files of several countries: what bears the same label in two of them is not the same."""

import pandas as pd
import pytest

import sae
from sae.errors import SaeInputError
from sae.survey import Survey


@pytest.fixture
def two_countries():
    """FIXTURE: eight persons of EU-SILC in two countries, whose strata, units and households count from 1."""
    one = {"RB010": 2022, "RB050": 1.0, "DB050": 1, "DB060": [1, 1, 2, 2], "DB030": [1, 1, 2, 2]}
    parts = [pd.DataFrame(one).assign(RB020=name, HX090=[1.0, 2, 3, 4]) for name in ("AT", "BG")]
    return pd.concat(parts, ignore_index=True).assign(RB030=range(8))


def test_labels_of_two_countries_are_refused_until_the_country_is_joined(two_countries):
    layout = {"layout": "eu_silc", "derive": {}, "columns": {}}
    for role, column in (("strata", "DB050"), ("psu", "DB060"), ("household", "DB030")):
        with pytest.raises(SaeInputError, match=f"{role} column '{column}' occur in several countries"):
            Survey.from_frame(two_countries, layout=layout)
        layout["derive"][role] = {"join": ["RB020", column]}
        layout["columns"][role] = role
    survey = Survey.from_frame(two_countries, layout=layout)
    assert survey.stages[0].n_strata == 2 and survey.stages[0].n_psu == 4
    assert sae.direct(survey, "poverty_threshold", by="country")["estimate"].tolist() == [1.5, 1.5]


def test_one_country_or_no_layout_is_left_alone(two_countries):
    alone = two_countries[two_countries["RB020"] == "AT"]
    assert Survey.from_frame(alone, layout="eu_silc").stages[0].n_psu == 2
    plain = two_countries.rename(columns={"RB020": "country"})  # perhaps the country of birth
    assert Survey.from_frame(plain, weights="RB050", psu="DB060").stages[0].n_psu == 2
