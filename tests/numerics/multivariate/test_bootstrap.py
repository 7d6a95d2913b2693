"""Posterior and bootstrap of multivariate models, and the climb near singular covariances of the effects."""

from dataclasses import replace

import numpy as np
import pytest

from sae.numerics.fay_herriot.mixture import area_mixture
from sae.numerics.fay_herriot.posterior import Areas, place_nodes
from sae.numerics.inference.priors import FLAT_VARIANCE
from sae.numerics.multivariate import climb
from sae.numerics.multivariate.areas import BlockAreas
from sae.numerics.multivariate.bootstrap import bootstrap_blocks
from sae.numerics.multivariate.covariances import STRUCTURES
from sae.numerics.multivariate.fit import fit_blocks, mse_blocks, root_of
from sae.numerics.multivariate.flat_prior import flat_posterior
from sae.numerics.multivariate.importance import BlockPosterior, CovarianceNodes, marginal_blocks

NODES = 5e-4  # a lattice against exact quadrature, in widths of the interval
GRID = 0.01  # the same against a coarse grid


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
    ours = flat_posterior(fit_blocks(*data, structure), BlockAreas(*data)).mixture(np.ones((30, 1, 1)))
    areas = Areas.of(y, psi, X.T, seen)
    exact = area_mixture(place_nodes(areas, [(FLAT_VARIANCE, 1.0)]), areas)
    width = exact.quantile(0.975) - exact.quantile(0.025)
    for probability in (0.025, 0.5, 0.975):
        gap = np.abs(ours.quantile(probability) - exact.quantile(probability)) / width
        assert gap.max() < NODES


def axis(n):
    """Middles of cells of variances from 0 to 25, finer near 0, and the widths of the cells."""
    edges = 25.0 * np.linspace(0.0, 1.0, n + 1) ** 2
    return 0.5 * (edges[1:] + edges[:-1]), np.diff(edges)


def flat_grids():
    """Parameters that have a flat prior, and the volumes of their cells."""
    (a, da), (b, db) = axis(40), axis(24)
    ends = np.linspace(-0.999, 0.999, 61)
    rho = 0.5 * (ends[1:] + ends[:-1])
    sinh, step = np.linspace(-2.5, 2.5, 50, retstep=True)
    two = np.stack(np.meshgrid(a, a, indexing="ij"), -1).reshape(-1, 2)
    tied = np.stack(np.meshgrid(a, rho, indexing="ij"), -1).reshape(-1, 2)
    three = np.stack(np.meshgrid(b, b, rho[::2], indexing="ij"), -1).reshape(-1, 3)
    areas = np.repeat(np.outer(db, db).ravel(), len(rho[::2]))
    elements = np.array([[[v, r * (v * w) ** 0.5], [r * (v * w) ** 0.5, w]] for v, w, r in three])
    free = np.stack(np.meshgrid(b, b, np.sinh(sinh), indexing="ij"), -1).reshape(-1, 3)

    def built(structure, thetas):
        return np.array([STRUCTURES[structure](theta, 2)[0] for theta in thetas])

    return {
        "diagonal": (built("diagonal", two), np.outer(da, da).ravel()),
        "common": (built("common", a[:, None]), da),
        "ar1": (built("ar1", tied), np.repeat(da, len(rho))),
        "har1": (built("har1", free), np.outer(np.outer(db, db).ravel(), step * np.cosh(sinh)).ravel()),
        "unstructured": (elements, areas * np.sqrt(three[:, 0] * three[:, 1])),
    }


@pytest.mark.parametrize("structure", list(STRUCTURES))
def test_posterior_of_two_components_is_brute_force_on_a_grid(rng, structure):
    y, X, psi = simulated(rng, 20, np.array([[0.5, 0.4], [0.4, 1.0]]))
    areas = BlockAreas(y, X, psi)
    ours = flat_posterior(fit_blocks(y, X, psi, structure), areas)
    assert not ours.nodes.k_hat > 0.5  # a lattice has none
    covariances, cells = flat_grids()[structure]
    values = marginal_blocks(covariances, areas.arrays)
    weights = np.exp(values - values.max()) * cells
    weights /= weights.sum()
    heavy = weights > 1e-9
    weights = weights[heavy] / weights[heavy].sum()
    grid = BlockPosterior(
        areas, CovarianceNodes(weights[:, None], covariances[heavy], np.log(weights), 0.0, 1.0)
    )
    contrasts = np.broadcast_to([[1.0, 0.0], [0.0, 1.0], [1.0, -1.0]], (20, 3, 2))
    ours, grid = ours.mixture(contrasts), grid.mixture(contrasts)
    width = grid.quantile(0.975) - grid.quantile(0.025)
    for probability in (0.025, 0.5, 0.975):
        assert (np.abs(ours.quantile(probability) - grid.quantile(probability)) / width).max() < GRID


def test_bootstrap_agrees_with_the_formula_and_names_its_streams(rng):
    y, X, psi = simulated(rng, 60, np.array([[1.0, 0.5], [0.5, 1.0]]))
    fit = fit_blocks(y, X, psi, "unstructured")
    labels = [f"{d}-{r}" for d in range(60) for r in range(2)]
    errors = mse_blocks(fit, y, X, psi)
    found, _ = bootstrap_blocks(fit, errors, y, X, psi, labels, replicates=60, seed=1)
    expected = errors.mse
    own = np.einsum("drr->dr", found) / np.einsum("drr->dr", expected)
    assert own.mean() == pytest.approx(
        1.0, abs=0.08
    )  # 120 ratios of relative error 0.18, and of a third order
    crossed = (found[:, 0, 1] - expected[:, 0, 1]).mean() / np.abs(expected[:, 0, 1]).mean()
    assert abs(crossed) < 0.3
    order = np.arange(60)[::-1]
    turned = [labels[2 * d + r] for d in order for r in range(2)]
    parts = mse_blocks(fit, y[order], X[order], psi[order])
    again, _ = bootstrap_blocks(fit, parts, y[order], X[order], psi[order], turned, replicates=60, seed=1)
    np.testing.assert_allclose(again, found[order], rtol=1e-3)  # a replicate ends 1e-4 standard errors off


def test_the_climb_is_short_near_a_singular_covariance(rng, monkeypatch):
    """The information about the factor vanishes there; without _bend the climb takes 500 steps and more."""
    y, X, psi = simulated(rng, 40, np.full((3, 3), 0.8))
    calls = []
    evaluate = climb.evaluate
    monkeypatch.setattr(climb, "evaluate", lambda *given: calls.append(1) or evaluate(*given))
    fit = fit_blocks(y, X, psi, "unstructured")
    width = np.sqrt(np.diag(fit.covariance))
    assert np.linalg.eigvalsh(fit.covariance / np.outer(width, width))[0] < 1e-6
    assert len(calls) < 100  # both starts side by side
    # no nearby covariance is better
    areas = BlockAreas(y, X, psi)
    best = marginal_blocks(fit.covariance[None], areas.arrays)[0]
    for _ in range(50):
        root = root_of(fit.covariance) + 0.02 * rng.normal(size=(3, 3))
        assert marginal_blocks((root @ root.T)[None], areas.arrays)[0] < best + 1e-9


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


def test_a_parameter_without_information_has_no_covariance(rng):
    """The climb may halve a Cholesky factor until its information is 1e-310, whose inverse is not finite."""
    fit = fit_blocks(*simulated(rng, 20, np.array([[1.0, 0.5], [0.5, 1.0]])), "unstructured")
    information = fit.information.copy()
    information[-1], information[:, -1] = 1e-157, 1e-157
    information[-1, -1] = 1e-310
    cov = replace(fit, information=information).theta_cov
    assert not cov[-1].any()
    np.testing.assert_allclose(cov[:-1, :-1], np.linalg.inv(information[:-1, :-1]), rtol=1e-8)
