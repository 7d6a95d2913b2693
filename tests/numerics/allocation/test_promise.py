"""Simulated errors of planned surveys: cases whose error is known without simulation."""

import numpy as np

from sae.numerics.allocation.promise import simulated_errors

Z = 4.5  # Monte Carlo standard errors


def run(variance, psi, X=None, seed=1):
    m = len(psi)
    X = np.ones((1, m)) if X is None else X
    return simulated_errors(
        variance, psi, X, np.isfinite(psi), [f"A{d}" for d in range(m)], seed, lambda error, left, here: error
    )


def test_areas_without_a_sample_err_by_the_model_variance_and_the_mean():
    psi = np.r_[np.full(400, 1.0), np.inf, np.inf]
    mse, error = run(np.full(3000, 0.5), psi)
    expected = 0.5 + 1.5 / 400  # A and the variance of the fitted mean
    assert (np.abs(mse[-2:] - expected) < Z * error[-2:]).all()
    gamma = 0.5 / 1.5  # with 400 areas the variance is nearly known
    mean = mse[:400].mean()
    assert abs(mean - 0.5 * (1 - gamma) * (1 + 4 / 400)) < 0.01 * mean


def test_a_census_leaves_no_error():
    mse, error = run(np.full(50, 0.5), np.r_[np.zeros(3), np.full(30, 1.0)])
    assert (mse[:3] < 1e-25).all() and (error[:3] < 1e-25).all() and (mse[3:] > 0.1).all()


def test_each_replicate_has_its_own_variance():
    psi = np.r_[np.full(200, 1.0), np.inf]
    mse, error = run(np.tile([0.1, 2.0], 1500), psi)
    assert abs(mse[-1] - (1.05 + (1.1 + 3.0) / 2 / 200)) < Z * error[-1]
    # concave in A: below the error at the mean variance, which is what is not simulated
    low = np.mean([A / (A + 1) for A in (0.1, 2.0)])
    assert abs(mse[:200].mean() / low - 1) < 0.03 and low < 1.05 / 2.05


def test_streams_are_named_by_the_area():
    one, _ = run(np.full(20, 0.5), np.full(40, 1.0))
    again, _ = run(np.full(20, 0.5), np.full(40, 1.0))
    other, _ = run(np.full(20, 0.5), np.full(40, 1.0), seed=2)
    assert (one == again).all() and (one != other).all()
