"""Rates from long administrative tables: by hand, with their provenance, every fault named."""

import pandas as pd
import pytest

import sae
from sae.errors import SaeInputError, SaeSpecError
from sae.indicators import register_rate

COLUMNS = ["area", "year", "group", "indicator", "value", "source", "definition"]
ROWS = [
    ("AT13", 2022, "non_eu", "naturalisations", 30, "registry office", "granted in the year"),
    ("AT13", 2022, "non_eu", "foreign_residents", 1500, "population register", "1 January"),
    ("AT11", 2022, "eu", "foreign_residents", 200, "population register", "1 January"),
    ("AT11", 2022, "eu", "naturalisations", 1, "registry office", "granted in the year"),
    ("AT13", 2022, "non_eu", "long_term_residents", 400, "permits", "31 December"),
    ("AT13", 2022, "non_eu", "valid_permits", 1000, "permits", "31 December"),
    ("AT13", 2022, "non_eu", "births", None, "registry office", ""),
]


@pytest.fixture
def long():
    return pd.DataFrame(ROWS, columns=COLUMNS)


def test_rates_by_hand_with_their_provenance(long):
    rates = register_rate(long, "naturalisation_rate")
    assert rates[["area", "year", "group", "value"]].values.tolist() == [
        ["AT11", 2022, "eu", 0.005],
        ["AT13", 2022, "non_eu", 0.02],
    ]
    assert rates["source"].tolist() == ["registry office; population register"] * 2
    assert rates["definition"][0] == "granted in the year; 1 January"
    assert "se" not in rates
    residence = register_rate(long, "long_term_residence_share")
    assert residence["value"].tolist() == [0.4] and residence["source"].tolist() == ["permits"]


def changed(long, row, **values):
    out = long.astype(object)
    for name, value in values.items():
        out.loc[row, name] = value
    return out


@pytest.mark.parametrize(
    ("row", "values", "message"),
    [
        (0, {"value": -1}, "1 of 2 figures of naturalisations are missing or negative: AT13 / 2022 / non_eu"),
        (1, {"value": None}, "1 of 2 figures of foreign_residents are missing or negative"),
        (1, {"value": 0}, "foreign_residents of 1 of 2 cells are 0: AT13 / 2022 / non_eu"),
        (1, {"value": 20}, "fewer than the naturalisations: AT13 / 2022 / non_eu"),
        (1, {"year": 2023}, "1 of 2 cells have no foreign_residents: AT13 / 2022 / non_eu"),
        (
            6,
            {"indicator": "naturalisations", "value": 31, "source": "census", "definition": "stated"},
            "1 cells have several figures of naturalisations",
        ),
        (1, {"source": None}, "have no source or no definition: AT13 / 2022 / non_eu"),
        (1, {"area": None}, "area"),
    ],
)
def test_faults_are_named(long, row, values, message):
    with pytest.raises(SaeInputError, match=message):
        register_rate(changed(long, row, **values), "naturalisation_rate")


def test_absent_figures_other_indicators_and_surveys(long):
    with pytest.raises(SaeInputError, match="no 'valid_permits'"):
        register_rate(long[long["indicator"] != "valid_permits"], "long_term_residence_share")
    with pytest.raises(SaeSpecError, match="no indicator of registers"):
        register_rate(long, "employment_rate")
    survey = sae.Survey.from_frame(pd.DataFrame({"w": [1.0, 1.0], "x": [1, 0]}), weights="w")
    with pytest.raises(SaeSpecError, match=r"sae\.indicators\.register_rate\(table, 'naturalisation_rate'\)"):
        sae.direct(survey, "naturalisation_rate")
