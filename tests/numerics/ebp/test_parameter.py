"""The parameter of a transformation: against emdi, brute force, the unit of money, and many replicates."""

from functools import partial

import numpy as np
import pandas as pd
import pytest

from sae.numerics.ebp.parameter import RatioNodes, estimate_parameter, estimate_parameters
from sae.numerics.ebp.transforms import forward, log_slope
from sae.numerics.ebp.units import SampleUnits
from sae.numerics.nested_error.fit import fit_nested_error
from sae.numerics.nested_error.profile import area_sums

EMDI = 2e-5  # R's optimize stops at a quarter of the square root of rounding, times the range
ROUNDING = 1e-9  # of a log-likelihood of 20,000
CURVATURE = 0.15  # the profile of a shift is skew
REPLICATES = 1e-5  # of a standard error of the parameter, about 0.03: what the grid of ratios leaves

COVARIATES = [
    "eqsize",
    "cash",
    "self_empl",
    "unempl_ben",
    "age_ben",
    "surv_ben",
    "sick_ben",
    "dis_ben",
    "rent",
]
COVARIATES += ["fam_allow", "house_allow", "cap_inv", "tax_adj"]


@pytest.fixture(scope="module")
def households(shared_data):
    frame = pd.read_csv(shared_data / "emdi_eusilcA_smp.csv")
    X = np.column_stack(
        [
            np.ones(len(frame)),
            frame["gender"] == "female",
            *(frame[name] for name in COVARIATES),
        ]
    )
    area, names = pd.factorize(frame["district"], sort=True)
    units = SampleUnits.of(X.astype(float), area, len(names))
    return units, frame["eqIncome"].to_numpy()[units.order]


def scaled_loglik(units, y, name, parameter):
    """Brute force: the restricted likelihood of the outcome over its geometric mean slope."""
    z = forward(name, y, parameter) / np.exp(log_slope(name, y, parameter).mean())
    return float(fit_nested_error(area_sums(z, units.X, units.area, units.areas)).loglik[0])


@pytest.mark.parametrize(
    ("name", "case"), [("box-cox", "boxcox"), ("dual-power", "dual"), ("log-shift", "logshift")]
)
def test_emdi_is_no_higher(households, reference, name, case):
    units, y = households
    emdi = reference(f"emdi_ebp_{case}_mc")["outputs"]
    fit = estimate_parameter(units, y, name)
    assert fit.parameter == pytest.approx(emdi["lambda"], rel=EMDI)
    best, theirs = (scaled_loglik(units, y, name, value) for value in (fit.parameter, emdi["lambda"]))
    assert best >= theirs - ROUNDING
    assert fit.loglik == pytest.approx(best, abs=1e-6)
    assert not fit.at_end
    near = [scaled_loglik(units, y, name, fit.parameter + s * fit.se) for s in (-1.0, 1.0)]
    np.testing.assert_allclose(best - np.array(near), 0.5, rtol=CURVATURE)  # a normal profile falls by ½
    z = forward(name, y, emdi["lambda"])
    own = fit_nested_error(units.sums(z[None]))
    assert np.sqrt(own.sigma2_e[0]) == pytest.approx(emdi["sigma_e"], rel=1e-5)
    assert np.sqrt(own.sigma2_u[0]) == pytest.approx(emdi["sigma_u"], rel=1e-4)


@pytest.mark.parametrize("method", ["reml", "ml"])
@pytest.mark.parametrize("name", ["box-cox", "dual-power", "log-shift"])
def test_replicates_find_what_one_sample_does(households, name, method):
    units, y = households
    rng = np.random.default_rng(1)
    Y = y * rng.uniform(0.7, 1.3, size=(3, len(y)))
    many = estimate_parameters(
        units, Y, name, partial(RatioNodes.of(units, method).loglik, units), method=method
    )
    one = [estimate_parameter(units, row, name, method=method).parameter for row in Y]
    scale = 0.03 if name != "log-shift" else 0.2 * np.array(one)
    np.testing.assert_array_less(np.abs(many - one) / scale, REPLICATES)


def test_the_unit_of_money_moves_no_power(households):
    units, y = households
    euro, cent = (estimate_parameter(units, y * factor, "box-cox").parameter for factor in (1.0, 100.0))
    assert euro == pytest.approx(cent, abs=1e-8)


def test_a_normal_outcome_needs_no_shift():
    rng = np.random.default_rng(2)
    units = SampleUnits.of(np.ones((600, 1)), np.repeat(np.arange(30), 20), 30)
    y = 100.0 - rng.exponential(size=600)  # skewed to the left: no shift of the logarithm mends that
    assert estimate_parameter(units, y, "log-shift").at_end


def test_sums_of_outcomes_are_those_of_the_units():
    rng = np.random.default_rng(3)
    X, area = np.column_stack([np.ones(50), rng.normal(size=50)]), rng.integers(6, size=50)
    units = SampleUnits.of(X, area, 8)  # areas 6 and 7 have no unit
    Y = rng.normal(size=(2, 50))
    fits = fit_nested_error(units.sums(Y[:, units.order]))
    for r in range(2):
        one = fit_nested_error(area_sums(Y[r], X, area, 8))
        np.testing.assert_allclose(fits.coefficients[r], one.coefficients[0], rtol=1e-9)
        np.testing.assert_allclose(fits.loglik[r], one.loglik[0], rtol=1e-11)
