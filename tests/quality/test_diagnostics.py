"""Diagnostics of model against direct: oracles, other routes to the same number, and their error rates."""

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats

from sae.errors import SaeInputError
from sae.quality import bias_test, calibration, coverage, gain, goodness_of_fit, residual_normality

ALGEBRA = 1e-10  # two routes through the same least squares
ORACLE = 5e-6  # printed to seven digits


@pytest.fixture
def areas(rng):
    """Forty areas under the model: direct estimates scatter around independent model estimates."""
    truth = rng.normal(0.5, 0.1, 40)
    vardir, mse = rng.uniform(4e-4, 4e-3, 40), rng.uniform(1e-4, 1e-3, 40)
    return truth + rng.normal(0, np.sqrt(vardir)), truth + rng.normal(0, np.sqrt(mse)), vardir, mse


@pytest.mark.parametrize("weighted", [False, True])
def test_bias_test_is_the_regression_of_statsmodels(areas, weighted):
    direct, model, vardir, _ = areas
    ours = bias_test(direct, model, vardir if weighted else None)
    fit = sm.WLS(direct, sm.add_constant(model), weights=1 / vardir if weighted else 1.0).fit()
    test = fit.f_test((np.eye(2), [0, 1]))
    assert np.allclose([ours.intercept, ours.slope], fit.params, rtol=ALGEBRA)
    assert np.allclose([ours.intercept_se, ours.slope_se], fit.bse, rtol=ALGEBRA)
    assert np.allclose([ours.f, ours.p_value], [test.fvalue, test.pvalue], rtol=1e-8)
    assert ours.df == 38


def test_bias_test_finds_a_bias_and_not_where_there_is_none(rng):
    model = rng.normal(0.5, 0.1, 200)
    noise = rng.normal(0, 0.03, 200)
    assert bias_test(model + noise, model).p_value > 0.001
    assert bias_test(model + noise + 0.03, model).p_value < 1e-6
    assert bias_test(0.5 + 1.5 * (model - 0.5) + noise, model).p_value < 1e-6


def test_goodness_of_fit_is_that_of_emdi(reference):
    outputs = reference("emdi_fh_ml_analytical")["outputs"]
    fit = goodness_of_fit(outputs["direct"], outputs["FH"], outputs["mse"]["Direct"], outputs["mse"]["FH"])
    assert fit.df == 94
    assert abs(fit.w - 46.97183) < ORACLE
    assert abs(fit.p_value - stats.chi2.sf(46.97183, 94)) < ORACLE


def test_half_width_of_the_intervals():
    # variances 4e-4 and 1e-4 give z* = 1.4609 and half-widths that add up to 0.03 * 1.4609 = 0.043826
    inside, outside = 0.0438, 0.0439
    for gap, expected in ((inside, 1), (outside, 0)):
        assert coverage([0.0], [gap], [4e-4], [1e-4]).overlapping == expected


def test_coverage_is_95_percent_for_independent_estimates(rng):
    size = 20_000
    vardir, mse = rng.uniform(1e-4, 1e-2, size), rng.uniform(1e-4, 1e-2, size)
    result = coverage(rng.normal(0, np.sqrt(vardir)), rng.normal(0, np.sqrt(mse)), vardir, mse)
    assert abs(result.share - 0.95) < 5 * np.sqrt(0.95 * 0.05 / size)
    assert result.p_value > 1e-6
    far = coverage(np.zeros(40), np.full(40, 0.2), np.full(40, 4e-4), np.full(40, 1e-4))
    assert far.overlapping == 0 and far.p_value < 1e-12


def test_calibration_by_hand():
    close = calibration(np.array([0.4, 0.6]), np.array([0.25, 0.75]), 0.53, 0.0105)
    assert np.isclose(close.model, 0.55) and np.isclose(close.difference, 0.02)
    assert np.isclose(close.relative_difference, 0.02 / 0.53) and np.isclose(close.z, 0.02 / 0.0105)
    assert close.agrees  # z = 1.905
    assert not calibration(np.array([0.4, 0.6]), np.array([0.25, 0.75]), 0.53, 0.0102).agrees  # z = 1.961


def test_gain_by_simulation(rng):
    """The spread of the truth is found; that of best predictions is smaller by what they do not know."""
    size = 40_000
    truth, vardir = rng.normal(5, 2, size), np.full(size, 3.0)
    direct = truth + rng.normal(0, np.sqrt(vardir))
    model, mse = 5 + 4 / 7 * (direct - 5), np.full(size, 12 / 7)
    result = gain(direct, model, vardir, mse)
    # a variance from 40 000 values has a relative standard error of 0.7 %, of a total of 7; 5 of them
    assert abs(result.spread_truth - 4) < 0.25 and abs(result.spread_model - 16 / 7) < 0.09
    assert np.isclose(result.error_ratio, np.sqrt(4 / 7)) and result.improved == 1
    assert gain(np.zeros(3), np.zeros(3), np.ones(3), np.array([0.5, 0.5, 2])).improved == 2 / 3
    assert gain(np.zeros(3), np.zeros(3), np.ones(3), np.ones(3)).spread_truth == 0


def test_normality(rng):
    values = rng.normal(size=200)
    test = residual_normality(values)
    assert test.p_value == pytest.approx(stats.shapiro(values).pvalue)
    assert test.p_value > 0.01
    skewed = residual_normality(rng.exponential(size=200))
    assert skewed.p_value < 1e-6 and skewed.skewness > 1


def test_areas_without_a_direct_estimate_take_no_part(areas):
    direct, model, vardir, mse = (
        np.append(column, value) for column, value in zip(areas, (np.nan, 0.5, np.nan, 1e-3), strict=True)
    )
    assert bias_test(direct, model, vardir) == bias_test(*areas[:3])
    assert goodness_of_fit(direct, model, vardir, mse).n_areas == 40
    assert coverage(direct, model, vardir, mse) == coverage(*areas)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: bias_test([1.0, 2, 3], [1.0, 2, 3]), "needs at least 4 areas with all figures; 3 of 3"),
        (lambda: bias_test([1.0, 2, 3, 4], [1.0] * 4), "model estimates that differ"),
        (lambda: goodness_of_fit([np.nan], [1.0], [1.0], [1.0]), "0 of 1 have them"),
        (lambda: coverage([1.0, 2], [1.0], [1.0], [1.0]), "columns of one length"),
        (lambda: calibration(np.array([np.nan, 1]), np.ones(2), 1.0, 1.0), "1 areas have no estimate"),
        (lambda: residual_normality([1.0, 1, 1]), "all are equal"),
    ],
)
def test_too_little_is_refused(call, match):
    with pytest.raises(SaeInputError, match=match):
        call()
