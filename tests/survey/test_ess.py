"""The layout of the European Social Survey, on a FIXTURE: names and codes of its codebook."""

import numpy as np
import pandas as pd
import pytest

import sae
from sae.survey import Survey


def respondents():
    return pd.DataFrame(
        {
            "essround": 11,
            "idno": [1, 2, 3, 1, 2, 3],
            "cntry": ["AT", "AT", "AT", "ES", "ES", "ES"],
            "region": ["AT11", "AT12", "AT12", "ES30", "ES30", "99999"],
            "stratum": [1, 1, 1, 1, 1, 1],  # of each country its own
            "psu": [1, 2, 2, 1, 2, 3],
            "pspwght": [1.0, 0.5, 1.5, 0.8, 1.2, 1.0],
            "pweight": [0.2, 0.2, 0.2, 1.1, 1.1, 1.1],
            "gndr": [1, 2, 9, 2, 1, 2],
            "agea": [34, 999, 70, 25, 44, 61],
            "ctzcntr": [1, 2, 1, 8, 2, 1],
            "brncntr": [2, 2, 1, 1, 2, 1],
            "mnactic": [1, 3, 6, 4, 7, 88],
            "eisced": [7, 1, 5, 3, 55, 2],
            "health": [1, 2, 5, 3, 4, 8],
        }
    )


def values(survey, name):
    column = survey.frame[name].astype(object)
    return column.where(column.notna(), None).tolist()


def test_variables_and_what_is_no_answer():
    survey = Survey.from_frame(respondents(), layout="ess")
    assert values(survey, "age") == [34, None, 70, 25, 44, 61]
    assert values(survey, "sex") == ["male", "female", None, "female", "male", "female"]
    assert values(survey, "citizenship") == ["native", "foreign", "native", None, "foreign", "native"]
    assert values(survey, "birth") == ["foreign", "foreign", "native", "native", "foreign", "native"]
    assert values(survey, "labour_status") == ["employed", "unemployed", "inactive", "inactive", None, None]
    assert values(survey, "education") == ["tertiary", "low", None, "medium", None, "low"]
    assert values(survey, "self_perceived_health") == ["very_good", "good", "very_bad", "fair", "bad", None]
    assert "citizenship_group" not in survey.frame and survey.release.survey == "ESS"


def test_weights_and_units_of_each_country():
    survey = Survey.from_frame(respondents(), layout="ess")
    np.testing.assert_allclose(survey.weights, [0.2, 0.1, 0.3, 0.88, 1.32, 1.1])
    assert survey.stages[0].n_strata == 2 and survey.stages[0].n_psu == 5
    given = Survey.from_frame(respondents().assign(anweight=3.0), layout="ess")
    assert (given.weights == 3.0).all()
    early = Survey.from_frame(respondents().drop(columns=["stratum", "psu"]), layout="ess")
    assert early.stages[0].n_psu == 6 and early.stages[0].n_strata == 1


def test_an_estimate_by_region():
    survey = Survey.from_frame(respondents(), layout="ess")
    table = sae.direct(survey, "good_health_share", by="country").frame.set_index("country")
    assert table.loc["AT", "estimate"] == pytest.approx(0.2 / 0.5)  # the age of 2 is not known
