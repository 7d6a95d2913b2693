"""Shapiro–Wilk against SciPy, its level, and cases with known answers."""

import numpy as np
import pytest
from scipy import stats

from sae.numerics.inference.normality import shapiro_wilk

W = 5e-9  # SciPy's weights come from normal quantiles of about nine digits
P = 1e-5  # 1 - W, of which the p-value takes the logarithm, magnifies that in thousands of values


@pytest.mark.parametrize("n", [3, 4, 5, 6, 7, 11, 12, 50, 999, 5000])
@pytest.mark.parametrize("shape", ["normal", "shifted", "skewed"])
def test_statistic_and_p_value_are_those_of_scipy(rng, n, shape):
    values = rng.normal(size=n)
    values = {"normal": values, "shifted": 1e6 + 1e-3 * values, "skewed": np.exp(values)}[shape]
    ours, theirs = shapiro_wilk(values), stats.shapiro(values)
    assert abs(ours[0] - theirs.statistic) < W
    assert ours[1] == pytest.approx(theirs.pvalue, rel=P, abs=1e-12)


def test_order_and_scale_change_nothing(rng):
    values = rng.normal(size=40)
    once = shapiro_wilk(values)
    np.testing.assert_allclose(shapiro_wilk(rng.permutation(values)), once, rtol=1e-13)
    np.testing.assert_allclose(shapiro_wilk(-1e-200 * values), once, rtol=1e-9)


def test_a_test_at_5_percent_errs_in_5_percent(rng):
    rejected = np.mean([shapiro_wilk(sample)[1] < 0.05 for sample in rng.normal(size=(2000, 30))])
    assert abs(rejected - 0.05) < 4 * np.sqrt(0.05 * 0.95 / 2000)  # four standard errors


def test_values_in_equal_steps_of_three_are_as_normal_as_can_be():
    assert shapiro_wilk(np.array([1.0, 2.0, 3.0])) == pytest.approx((1.0, 1.0), abs=1e-9)
    assert shapiro_wilk(np.array([0.0, 0.0, 1.0]))[1] == pytest.approx(0.0, abs=1e-7)
