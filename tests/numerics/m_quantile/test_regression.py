"""M-quantile regression against reweighted least squares in numpy, expectiles, and its own symmetries."""

import numpy as np
import pytest

from sae.numerics.linalg.basis import orthonormal_basis
from sae.numerics.m_quantile.regression import GRID, MQuantileFits, fit_at, fit_grid, unit_orders

EXACT = 1e-8  # of the scale: both iterations end at 1e-10 of it
NORMAL_MAD = 0.6744897501960817


def reweighted(y, X, q, k):
    """Iteratively reweighted least squares, to its fixed point."""
    beta = np.linalg.lstsq(X, y, rcond=None)[0]
    for _ in range(5000):
        r = y - X @ beta
        scale = np.median(np.abs(r)) / NORMAL_MAD
        weight = np.minimum(1.0, k * scale / np.maximum(np.abs(r), 1e-300)) * np.where(r > 0, q, 1 - q)
        new = np.linalg.solve(X.T @ (weight[:, None] * X), X.T @ (weight * y))
        if np.abs(X @ (new - beta)).max() < 1e-10 * scale:
            return new, scale
        beta = new
    raise AssertionError("brute force did not converge")


def data(n, p, errors, seed):
    rng = np.random.default_rng(seed)
    X = np.column_stack([np.ones(n), rng.normal(50.0, 2.0, size=(n, p - 1))])
    drawn = {"t": rng.standard_t(2, n), "lognormal": np.exp(rng.normal(size=n)), "normal": rng.normal(size=n)}
    return X.sum(axis=1) + drawn[errors], X


def fitted(y, X, k, order=GRID):
    basis = orthonormal_basis(X, y)
    return basis, y - X @ basis.fitted, basis.of(X), fit_grid(y - X @ basis.fitted, basis.of(X), k, order)


@pytest.mark.parametrize("errors", ["t", "lognormal", "normal"])
@pytest.mark.parametrize(("n", "p", "k"), [(37, 3, 1.345), (200, 4, 0.5), (1201, 6, 1.345)])
def test_all_orders_are_those_of_reweighted_least_squares(n, p, k, errors):
    y, X = data(n, p, errors, seed=n)
    basis, _, _, fits = fitted(y, X, k)
    assert (fits.steps > 0).all()
    for m in (0, 25, 50, 90, 100):
        beta, scale = reweighted(y, X, GRID[m], k)
        assert np.abs(X @ (basis.natural(fits.beta[m]) - beta)).max() < EXACT * scale
        assert fits.scale[m] == pytest.approx(scale, rel=EXACT)


def test_a_large_k_gives_expectiles_and_least_squares():
    y, X = data(150, 3, "t", seed=1)
    basis, _, _, fits = fitted(y, X, 1e9)
    least = np.linalg.lstsq(X, y, rcond=None)[0]
    np.testing.assert_allclose(basis.natural(fits.beta[50]), least, rtol=1e-9)
    r = y - X @ basis.natural(fits.beta[90])
    weighted = np.where(r > 0, GRID[90], 1 - GRID[90]) * r
    np.testing.assert_allclose(X.T @ weighted, 0.0, atol=1e-8 * np.abs(r).sum())


def test_the_mean_fit_rises_with_the_order_and_mirrors_its_outcome():
    y, X = data(400, 4, "lognormal", seed=2)
    _, rest, Z, fits = fitted(y, X, 1.345)
    assert (np.diff(Z.mean(axis=0) @ fits.beta.T) > 0).all()
    mirrored = fit_grid(-rest, Z, 1.345)
    np.testing.assert_allclose(mirrored.beta[::-1], -fits.beta, atol=EXACT * fits.scale[50])
    twice = fit_grid(2.0 * rest, Z, 1.345)
    np.testing.assert_allclose(twice.beta, 2.0 * fits.beta, atol=EXACT * fits.scale[50])


def test_any_order_is_fitted_between_those_of_the_grid():
    y, X = data(120, 3, "t", seed=3)
    basis, rest, Z, grid = fitted(y, X, 1.345)
    order = np.array([0.437, 0.5, 0.9713, 0.002])
    fits = fit_at(rest, Z, order, grid)
    for m, q in enumerate(order):
        beta, scale = reweighted(y, X, q, 1.345)
        assert np.abs(X @ (basis.natural(fits.beta[m]) - beta)).max() < EXACT * scale


def test_an_outlier_moves_the_robust_fit_hardly():
    y, X = data(80, 2, "normal", seed=4)
    basis, _, _, before = fitted(y, X, 1.345)
    wild = y.copy()
    wild[0] += 1e6
    after_basis, _, _, after = fitted(wild, X, 1.345)
    moved = X @ (after_basis.natural(after.beta[50]) - basis.natural(before.beta[50]))
    assert np.abs(moved).max() < 0.2
    assert np.abs(X @ (after_basis.fitted - basis.fitted)).max() > 1e4  # least squares


def test_units_lie_on_the_regression_of_their_order():
    y, X = data(300, 3, "normal", seed=5)
    _, rest, Z, grid = fitted(y, X, 1.345)
    order, crossed = unit_orders(rest, Z, grid)
    assert crossed == 0
    lines = Z @ grid.beta.T
    inside = (rest > lines[:, 0]) & (rest < lines[:, -1])
    assert 0.8 < inside.mean() < 1.0
    own = np.array([np.interp(q, GRID, line) for q, line in zip(order, lines, strict=True)])
    np.testing.assert_allclose(own[inside], rest[inside], atol=EXACT)
    assert set(order[~inside]) <= {GRID[0], GRID[-1]}
    middle = np.flatnonzero(np.abs(order - 0.5) < 0.4)
    exact = fit_at(
        rest, Z, order[middle], grid
    )  # between two orders of the grid, hardly off the line of its own
    off = rest[middle] - (Z[middle] * exact.beta).sum(axis=1)
    assert np.abs(off).max() < 1e-2 * grid.scale[50]


def test_crossing_regressions_are_sorted_at_a_unit():
    X = np.array([[1.0, -2.0], [1.0, 2.0]])
    beta = np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 0.0]])
    grid = MQuantileFits(np.array([0.25, 0.5, 0.75]), beta, np.ones(3), np.ones(3, int), 1.345)
    order, crossed = unit_orders(np.array([-0.5, 2.5]), X, grid)
    assert crossed == 2  # -1, 0, 2 and 0, 2, 3 when sorted
    np.testing.assert_allclose(order, [0.375, 0.625])


def test_units_on_the_regression_leave_no_scale():
    X = np.column_stack([np.ones(20), np.arange(20.0)])
    y = X @ np.array([1.0, 2.0])
    y[:3] += [5.0, -3.0, 2.0]
    assert (fitted(y, X, 1.345)[3].steps == -2).any()
    assert (fit_grid(np.zeros(5), np.ones((5, 1)), 1.345).steps == -2).all()
