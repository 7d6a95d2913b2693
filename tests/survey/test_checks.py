"""A stated population that the weights do not sum to is refused, with the likeliest reason."""

import pandas as pd
import pytest

import sae
from sae.errors import SaeInputError, SaeSpecError
from sae.survey import Survey

FRAME = pd.DataFrame({"w": [10.0, 30.0, 20.0, 20.0], "t": ["2021Q1", "2021Q1", "2021Q2", "2021Q2"]})


@pytest.mark.parametrize(
    ("population", "message"),
    [
        (40_000, "weights of 2021Q1 sum to 40, .* stated as 40,000 .ratio 0.001.; 2 of 2(.|\n)*thousands"),
        (160, "ratio 0.25(.|\n)*name the year"),
        (10, "ratio 4(.|\n)*weights of quarters"),
        (41, "ratio 0.9756(.|\n)*calibrate"),
        ({"2021Q1": 40, "2021Q2": 50}, "weights of 2021Q2 sum to 40(.|\n)*"),
    ],
)
def test_weights_that_do_not_sum(population, message):
    with pytest.raises(SaeInputError, match=message):
        Survey.from_frame(FRAME, weights="w", time="t", population=population)


def test_weights_that_do():
    for population in (40, 40.03, {"2021Q1": 40, "2021Q2": 40}):
        assert len(Survey.from_frame(FRAME, weights="w", time="t", population=population)) == 4
    assert len(Survey.from_frame(FRAME, weights="w", population=80)) == 4


@pytest.mark.parametrize(
    ("population", "message"),
    [({"2021Q1": 40}, "not in both are 2021Q2"), (0, "number of persons"), ("40", "number of persons")],
)
def test_a_population_that_is_none(population, message):
    with pytest.raises(SaeSpecError, match=message):
        Survey.from_frame(FRAME, weights="w", time="t", population=population)


def test_the_spanish_quarter_has_its_published_population(shared_data):
    file = shared_data / "real/es_epa2021q1_persons.csv.gz"
    assert sae.read_survey(file, layout="spanish_epa", population=46.88e6).release.survey == "EPA"
    with pytest.raises(SaeInputError, match="sum to 46,877,588"):
        sae.read_survey(file, layout="spanish_epa", population=47.4e6)
