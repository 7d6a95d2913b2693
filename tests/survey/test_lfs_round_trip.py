"""The synthetic country's panel written in the codes of each release and read back: nothing is lost."""

from pathlib import Path

import numpy as np
import pytest

import sae
from sae.batch.runner import run
from sae.batch.spec import read_spec
from sae.survey import Survey, pool_periods
from sae.tables import read_table
from tests.survey.lfs_fixtures import encoded

MODELS = Path(__file__).parents[2] / "models"
EXACT = 1e-12  # the same sums of the same records
YEARS = {"eu_lfs_2020": 2018, "eu_lfs_recoded": 2018, "eu_lfs": 2025}
VARIABLES = ["sex", "degurba", "labour_status", "professional_status", "contract", "working_time"]
VARIABLES += ["occupation", "unemployment_duration", "recent_education", "education", "residence"]
VARIABLES += ["birth", "birth_group", "citizenship", "citizenship_group"]
INDICATORS = ["employment_rate", "activity_rate", "unemployment_rate", "youth_unemployment_rate"]
INDICATORS += ["long_term_unemployment_rate", "self_employment_share", "temporary_employment_share"]
INDICATORS += ["part_time_share", "over_qualification_rate", "tertiary_share", "tertiary_share_30_34"]
INDICATORS += ["low_education_share", "neet_rate", "adult_learning_rate"]


@pytest.fixture(scope="module")
def panel():
    return sae.datasets.lfs_panel([sae.datasets.country(seed=1, regions=6)], seed=1).frame


def read(panel, layout):
    file = encoded(panel, layout, YEARS[layout])
    assert not set(file) & set(VARIABLES)
    return Survey.from_frame(file, layout=layout)


@pytest.mark.parametrize("layout", YEARS)
def test_every_variable_comes_back(panel, layout):
    survey = read(panel, layout)
    for name in VARIABLES:
        back, given = (frame[name].astype(object) for frame in (survey.frame, panel))
        assert back.where(back.notna(), "").tolist() == given.where(given.notna(), "").tolist(), name
    np.testing.assert_allclose(survey.weights, panel["weight"] / (4 if layout == "eu_lfs_recoded" else 1))
    assert survey.frame["region"].nunique() == 6 and survey.frame["region"].str.match("FR..").all()
    age = survey.frame["age"].to_numpy()
    middles = np.minimum(panel["age"] // 5 * 5 + 2, 77 if layout == "eu_lfs_2020" else 75)
    np.testing.assert_array_equal(age, panel["age"] if layout == "eu_lfs" else middles)


@pytest.mark.parametrize("layout", YEARS)
def test_every_indicator_of_the_labour_force_survey_comes_back(panel, layout):
    """Estimates and errors of the year by birth, as from the persons themselves with the same clusters."""
    plain = Survey.from_frame(panel, weights="weight", household="household", person="person", time="quarter")
    expected = sae.direct(pool_periods(plain, "linked"), INDICATORS, by=["birth", "year"]).frame
    survey = read(panel, layout)
    if layout != "eu_lfs_recoded":  # its weights are the year's, and its period is the year
        survey = pool_periods(survey, "linked")
    variables = ["unemployment_duration", "recent_education", "residence"]
    accept = [f"{layout}.{name}" for name in variables] + ["lfs_2021"]
    made = sae.direct(survey, INDICATORS, by=["birth", survey.time], accept=accept).frame
    assert len(made) == len(expected) == 2 * len(INDICATORS)
    np.testing.assert_array_equal(made["n"], expected["n"])
    np.testing.assert_allclose(made["estimate"], expected["estimate"], rtol=EXACT, atol=EXACT)
    np.testing.assert_allclose(made["se"], expected["se"], rtol=1e-9, atol=1e-12)


def test_the_committed_model_runs_on_the_file(panel, tmp_path):
    encoded(panel, "eu_lfs", 2025).to_csv(tmp_path / "XX2025.csv", index=False)
    spec = read_spec(MODELS / "eu_lfs_employment_by_birth_group.toml")
    outcome = run(spec, survey=tmp_path / "XX2025.csv", out=tmp_path / "out")
    table = read_table(tmp_path / "out" / "eu_lfs_employment_by_birth_group.csv")
    assert sorted(table["region"].unique()) == ["FR10", "FRB0", "FRC1", "FRC2", "FRD1", "FRD2"]
    assert set(table["birth_group"]) == {"native", "eu", "non_eu"} and "pooled, linked" in outcome.design
    plain = Survey.from_frame(panel, weights="weight", household="household", person="person", time="quarter")
    direct = sae.direct(pool_periods(plain, "linked"), "employment_rate", by=["region", "birth_group"]).frame
    np.testing.assert_allclose(np.sort(table["direct"]), np.sort(direct["estimate"]), rtol=1e-9)
