"""Posterior and bootstrap of multivariate models, and the climb near singular covariances of the effects."""

import numpy as np
import pytest

from sae.numerics.fay_herriot.mixture import area_mixture
from sae.numerics.fay_herriot.posterior import Areas, place_nodes
from sae.numerics.inference.priors import FLAT_VARIANCE
from sae.numerics.multivariate import fit as blocks
from sae.numerics.multivariate.bootstrap import bootstrap_blocks
from sae.numerics.multivariate.fit import BlockData, fit_blocks, mse_blocks, root_of, solve_gls
from sae.numerics.multivariate.posterior import BlockPosterior, block_posterior

NODES = 0.01  # 512 Sobol nodes against exact quadrature, in widths of the interval


def simulated(rng, n, V):
    size = len(V)
    X = np.zeros((n, size, 2 * size))
    for r in range(size):
        X[:, r, 2 * r : 2 * r + 2] = np.column_stack([np.ones(n), rng.normal(size=n)])
    root = rng.normal(size=(n, size, size))
    psi = 0.3 * root @ root.swapaxes(1, 2) + 0.2 * np.eye(size)
    y = rng.multivariate_normal(np.zeros(size), V, size=n)
    y += np.einsum("drs,ds->dr", np.linalg.cholesky(psi), rng.normal(size=(n, size)))
    y[0, -1] = np.nan
    y[1] = np.nan
    return y, X, psi


@pytest.mark.parametrize("structure", ["diagonal", "unstructured"])
@pytest.mark.parametrize("variance", [0.5, 0.0])
def test_posterior_of_one_component_is_the_exact_quadrature(rng, structure, variance):
    X = np.column_stack([np.ones(30), rng.normal(size=30)])
    psi = rng.uniform(0.2, 1.0, 30)
    y = X @ [1.0, 2.0] + rng.normal(size=30) * np.sqrt(variance + psi)
    y[3] = np.nan
    seen = np.isfinite(y)
    data = y[:, None], X[:, None], psi[:, None, None]
    ours = block_posterior(fit_blocks(*data, structure), *data).mixture(np.ones((30, 1, 1)))
    areas = Areas.of(y, psi, X.T, seen)
    exact = area_mixture(place_nodes(areas, [(FLAT_VARIANCE, 1.0)]), areas)
    width = exact.quantile(0.975) - exact.quantile(0.025)
    for probability in (0.025, 0.5, 0.975):
        gap = np.abs(ours.quantile(probability) - exact.quantile(probability)) / width
        assert gap.max() < NODES


def test_posterior_of_two_variances_is_brute_force_on_a_grid(rng):
    y, X, psi = simulated(rng, 15, np.diag([0.5, 1.0]))
    ours = block_posterior(fit_blocks(y, X, psi, "diagonal"), y, X, psi)
    data, t = BlockData.of(y, X, psi), np.linspace(0.0, 1.0, 41)
    axis, steps = 16.0 * t**2, 2.0 * t  # finer near 0
    covariances = np.array([np.diag([a, b]) for a in axis for b in axis])
    values = np.array([solve_gls(data, covariance, True).value for covariance in covariances])
    weights = np.exp(values - values.max()) * np.outer(steps, steps).ravel()
    grid = BlockPosterior(covariances, weights / weights.sum(), y, X, psi)
    contrasts = np.broadcast_to([[1.0, 0.0], [0.0, 1.0], [1.0, -1.0]], (15, 3, 2))
    ours, grid = ours.mixture(contrasts), grid.mixture(contrasts)
    width = grid.quantile(0.975) - grid.quantile(0.025)
    for probability in (0.025, 0.5, 0.975):
        assert (np.abs(ours.quantile(probability) - grid.quantile(probability)) / width).max() < 2 * NODES


def test_bootstrap_agrees_with_the_formula_and_names_its_streams(rng):
    y, X, psi = simulated(rng, 60, np.array([[1.0, 0.5], [0.5, 1.0]]))
    fit = fit_blocks(y, X, psi, "unstructured")
    labels = [f"{d}-{r}" for d in range(60) for r in range(2)]
    found = bootstrap_blocks(fit, y, X, psi, labels, replicates=60, seed=1)
    expected = mse_blocks(fit, y, X, psi).mse
    own = np.einsum("drr->dr", found) / np.einsum("drr->dr", expected)
    assert own.mean() == pytest.approx(
        1.0, abs=0.08
    )  # 120 ratios of relative error 0.18, and of a third order
    crossed = (found[:, 0, 1] - expected[:, 0, 1]).mean() / np.abs(expected[:, 0, 1]).mean()
    assert abs(crossed) < 0.3
    order = np.arange(60)[::-1]
    turned = [labels[2 * d + r] for d in order for r in range(2)]
    again = bootstrap_blocks(fit, y[order], X[order], psi[order], turned, replicates=60, seed=1)
    np.testing.assert_allclose(again, found[order], rtol=1e-3)  # a replicate ends 1e-4 standard errors off


def test_the_climb_is_short_near_a_singular_covariance(rng, monkeypatch):
    """The information about the factor vanishes there; without _bend the climb takes 500 steps and more."""
    y, X, psi = simulated(rng, 40, np.full((3, 3), 0.8))
    calls = []
    evaluate = blocks._evaluate
    monkeypatch.setattr(blocks, "_evaluate", lambda *given: calls.append(1) or evaluate(*given))
    fit = fit_blocks(y, X, psi, "unstructured")
    width = np.sqrt(np.diag(fit.covariance))
    assert np.linalg.eigvalsh(fit.covariance / np.outer(width, width))[0] < 1e-6
    assert len(calls) < 200  # of two starts
    # no nearby covariance is better
    data = BlockData.of(y, X, psi)
    best = solve_gls(data, fit.covariance, True).value
    for _ in range(50):
        root = root_of(fit.covariance) + 0.02 * rng.normal(size=(3, 3))
        assert solve_gls(data, root @ root.T, True).value < best + 1e-9


def test_root_of_covariances_with_zeros_and_units(rng):
    factor = rng.normal(size=(4, 3, 3)) * np.array([1e-3, 1.0, 1e6])[:, None]
    matrices = factor @ factor.swapaxes(1, 2)
    matrices[0, 1] = matrices[0, :, 1] = 0.0
    root = root_of(matrices)
    scale = np.sqrt(np.einsum("drr->dr", matrices))
    scale[0, 1] = 1.0
    gap = (root @ root.swapaxes(1, 2) - matrices) / (scale[:, :, None] * scale[:, None, :])
    assert np.abs(gap).max() < 1e-12


@pytest.mark.parametrize("structure", ["diagonal", "unstructured"])
def test_components_have_units_of_their_own(rng, structure):
    y, X, psi = simulated(rng, 40, np.array([[1.0, 0.5], [0.5, 1.0]]))
    unit = np.array([1e-4, 1e5])
    a = fit_blocks(y, X, psi, structure)
    b = fit_blocks(y * unit, X, psi * np.outer(unit, unit), structure)
    np.testing.assert_allclose(b.eblup / unit, a.eblup, rtol=1e-7)
    mse = mse_blocks(b, y * unit, X, psi * np.outer(unit, unit)).mse / np.outer(unit, unit)
    np.testing.assert_allclose(mse, mse_blocks(a, y, X, psi).mse, rtol=1e-6, atol=1e-12)
