"""The adjusted variance: against a dense likelihood, and never 0."""

import numpy as np
import pytest

from sae.numerics.nested_error.adjusted import adjusted_variance
from sae.numerics.nested_error.fit import fit_nested_error
from sae.numerics.nested_error.profile import area_sums

GRID = 0.02  # steps of λ of 2.6 %, of which the top is off by half a step
AREA = np.repeat(np.arange(7), [3, 8, 5, 2, 9, 4, 6])


def data(seed, sigma_u):
    rng = np.random.default_rng(seed)
    X = np.column_stack([np.ones(len(AREA)), rng.normal(size=len(AREA))])
    return X, X @ [2.0, 1.0] + sigma_u * rng.normal(size=7)[AREA] + rng.normal(size=len(AREA))


def dense(X, y, ratio, method):
    """Log-likelihood profiled in σe², from the whole covariance matrix."""
    V = np.eye(len(y)) + ratio * np.equal.outer(AREA, AREA)
    inverse = np.linalg.inv(V)
    M = X.T @ inverse @ X
    beta = np.linalg.solve(M, X.T @ inverse @ y)
    rss = (y - X @ beta) @ inverse @ (y - X @ beta)
    freedom = len(y) - (2 if method == "reml" else 0)
    value = np.linalg.slogdet(V)[1] + freedom * np.log(rss)
    value += np.linalg.slogdet(M)[1] if method == "reml" else 0.0
    return -0.5 * value, rss / freedom


@pytest.mark.parametrize("method", ["reml", "ml"])
@pytest.mark.parametrize(("seed", "sigma_u"), [(1, 0.0), (2, 0.0), (3, 1.0)])
def test_by_the_whole_matrix(seed, sigma_u, method):
    X, y = data(seed, sigma_u)
    ratios = np.geomspace(1e-4, 1e2, 1500)
    values = np.array([dense(X, y, ratio, method) for ratio in ratios])
    best = int((values[:, 0] + 0.5 * np.log(ratios)).argmax())
    got = adjusted_variance(area_sums(y, X, AREA, 7), method)
    assert got == pytest.approx(ratios[best] * values[best, 1], rel=GRID)


def test_it_is_positive_at_the_boundary_and_above_the_estimate_elsewhere():
    X, y = data(1, 0.0)
    sums = area_sums(y, X, AREA, 7)
    plain = fit_nested_error(sums)
    assert plain.sigma2_u[0] == 0.0
    assert 0.01 < adjusted_variance(sums) < 0.3
    X, y = data(3, 1.0)
    sums = area_sums(y, X, AREA, 7)
    plain = fit_nested_error(sums).sigma2_u[0]
    assert plain < adjusted_variance(sums) < 1.6 * plain
