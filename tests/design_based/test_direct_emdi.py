"""Direct estimates by state and district against emdi: points exactly, variances against its bootstrap."""

import numpy as np
import pandas as pd
import pytest

import sae
from sae.design_based import poverty
from sae.indicators import Indicator
from sae.numerics.design.quantiles import weighted_quantile
from sae.survey import Survey

EXACT = 1e-9  # same formula, same file: only the order of summation differs
LINE = 11064.82  # the threshold that was given to emdi
FRACTIONS = {"Quantile_10": 0.1, "Quantile_25": 0.25, "Median": 0.5, "Quantile_75": 0.75, "Quantile_90": 0.9}
# emdi has B = 500 bootstrap samples by state: log variance with sd √(1 / 250) = 0.063; each draws
# n of n persons, where the linearised variance has n - 1
BOOTSTRAP = 4 * 0.063


@pytest.fixture(scope="module")
def persons(shared_data):
    columns = ["eqIncome", "weight", "state", "district"]
    return pd.read_csv(shared_data / "emdi_eusilcA_smp.csv", usecols=columns)


def expressions():
    return {
        "Mean": "eqIncome",
        "Head_Count": Indicator(f"eqIncome < {LINE}"),
        "Poverty_Gap": Indicator(f"(eqIncome < {LINE}) * ({LINE} - eqIncome) / {LINE}"),
    }


@pytest.mark.parametrize("column", ["Mean", "Head_Count", "Poverty_Gap"])
@pytest.mark.parametrize(
    ("case", "by"), [("emdi_direct_state", "state"), ("emdi_direct_district_fixedthreshold", "district")]
)
def test_means_and_shares(persons, reference, column, case, by):
    expected = reference(case)["outputs"]
    survey = Survey.from_frame(persons, weights="weight")
    got = sae.direct(survey, expressions()[column], by=by).frame.set_index("domain")
    got = got.loc[expected["point"]["Domain"]]
    np.testing.assert_allclose(got["estimate"], expected["point"][column], rtol=EXACT, atol=EXACT)


@pytest.mark.parametrize("column", ["Gini", *FRACTIONS])
def test_state_distributions(persons, reference, column):
    expected = reference("emdi_direct_state")["outputs"]["point"]
    for state, value in zip(expected["Domain"], expected[column], strict=True):
        part = persons[persons["state"] == state]
        income, weight = part["eqIncome"].to_numpy(), part["weight"].to_numpy()
        if column == "Gini":
            ours = poverty.estimate(
                Indicator("eqIncome", kind="gini"),
                income,
                weight,
                np.ones(len(part), bool),
                np.zeros(len(part), int),
                1,
            ).estimates[0]
        else:
            ours = weighted_quantile(income, weight, [FRACTIONS[column]])[0]
        assert ours == pytest.approx(value, rel=EXACT)


@pytest.mark.parametrize("column", ["Mean", "Head_Count", "Poverty_Gap"])
def test_variances_by_state_against_the_bootstrap(persons, reference, column):
    drawn = reference("emdi_direct_state")["outputs"]["boot_variance_mc"]
    strata = Survey.from_frame(persons, weights="weight", strata="state")
    got = sae.direct(strata, expressions()[column], by="state").frame.set_index("domain").loc[drawn["Domain"]]
    n = got["n"].to_numpy(float)
    ratio = np.log(got["variance"].to_numpy() * (n - 1) / n / np.array(drawn[column]))
    assert np.abs(ratio).max() < BOOTSTRAP
