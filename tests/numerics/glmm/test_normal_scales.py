"""Normal observations with variances of few degrees of freedom, against panels of Gauss–Legendre nodes."""

import numpy as np
import pytest
from scipy.stats import norm
from scipy.stats import t as student

from sae.numerics.glmm.normal_scales import NormalScales

MARGINAL = 3e-7  # of a log density: steps of 0.45 in log v
MOMENT = 1e-6  # posterior deviations, from the same sums

Y = np.array([0.0, 3.0, -1.0, 100.0, 0.2])
DEGREES = np.array([1.0, 2.0, 0.5, 40.0, 1e6])
SCALE = np.array([1e-8, 1e-2, 1.0, 4.0, 0.5])
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(24)


def panels(d, mean, sigma, more=()):
    """Nodes and weights over θ of area d, with panels around its two modes, and their density."""
    sd = np.sqrt(SCALE[d])
    away = np.concatenate([[0.0], 10.0 ** np.arange(-2.0, 9.0, 0.5)])
    edges = np.concatenate(
        [mean + sigma * np.linspace(-30, 30, 241), Y[d] + sd * away, Y[d] - sd * away, more]
    )
    edges = np.unique(edges[np.abs(edges - mean) <= 30.0 * sigma])
    half = 0.5 * np.diff(edges)[:, None]
    x = edges[:-1, None] + half * (1.0 + _NODES)
    density = student.pdf((Y[d] - x) / sd, DEGREES[d]) / sd * norm.pdf(x, mean, sigma)
    return x, half * _WEIGHTS * density


@pytest.mark.parametrize("sigma", [1e-5, 0.01, 0.3, 4.0, 60.0])
@pytest.mark.parametrize("mean", [0.0, 0.6, 25.0])
def test_sums_over_variances_are_integrals_over_true_values(sigma, mean):
    scales = NormalScales.of(Y, DEGREES, SCALE, np.ones((5, 1)))
    beta, at = np.array([[mean]]), np.array([sigma])
    found = scales.marginals(beta, at, by_area=True)[0]
    centre, variance = scales.moments(beta, at)
    for d in range(5):
        x, mass = panels(d, mean, sigma)
        assert found[d] == pytest.approx(np.log(mass.sum()), abs=MARGINAL)
        first = (mass * (x - mean)).sum() / mass.sum()
        second = (mass * (x - mean - first) ** 2).sum() / mass.sum()
        assert centre[0, d] - mean == pytest.approx(first, abs=MOMENT * np.sqrt(second))
        assert variance[0, d] == pytest.approx(second, rel=10 * MOMENT)
    assert scales.marginals(beta, at)[0] == pytest.approx(found.sum())


def test_quantiles_and_draws_are_of_both_modes():
    scales = NormalScales.of(Y, DEGREES, SCALE, np.ones((5, 1)))
    beta, sigma = np.array([[0.6]]), np.array([0.3])
    places = np.array([0.025, 0.3, 0.5, 0.9, 0.975])
    mean, variance = scales.moments(beta, sigma)
    quantiles = scales.quantiles(beta, sigma, places, mean[0], np.sqrt(variance[0]))
    size = 20_000
    keys, z = np.arange(5, dtype=np.uint64) * np.uint64(7919), np.random.default_rng(1).normal(size=(size, 5))
    drawn = scales.draw(np.repeat(beta, size, axis=0), np.repeat(sigma, size), keys, z)
    error = np.sqrt(places * (1 - places) / size)
    for d in range(5):
        x, mass = panels(d, 0.6, 0.3, quantiles[:, d])
        below = np.array([mass[x < q].sum() for q in quantiles[:, d]]) / mass.sum()
        assert below == pytest.approx(places, abs=2e-6)  # nodes of a share below 1e-8 are left out
        assert np.abs(((drawn[:, [d]] < quantiles[:, d]).mean(axis=0) - places) / error).max() < 4.5
    assert scales.below(beta, sigma, quantiles[2]) == pytest.approx(0.5, abs=1e-9)


def test_slopes_are_differences():
    scales = NormalScales.of(Y, DEGREES, SCALE, np.column_stack([np.ones(5), [0.0, 1.0, 2.0, 1.0, 0.5]]))
    beta, step = np.array([0.4, 0.3]), 1e-4
    for sigma in (0.05, 1.0):
        first, second = scales.derivatives(beta, sigma)
        for k in range(2):
            moved = [beta + sign * step * np.eye(2)[k] for sign in (-1, 1)]
            low, high = scales.marginals(np.array(moved), np.full(2, sigma))
            assert first[k] == pytest.approx((high - low) / (2 * step), rel=1e-5, abs=1e-4)
            slopes = [scales.derivatives(at, sigma)[0] for at in moved]
            assert second[k] == pytest.approx((slopes[0] - slopes[1]) / (2 * step), rel=1e-5, abs=1e-3)
