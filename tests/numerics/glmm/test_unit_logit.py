"""Logit model by cells: integrals by brute force, maximum against lme4, limits, draws."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import quad
from scipy.special import expit

from sae.errors import SaeConvergenceError
from sae.numerics.glmm.unit_kernels import derivatives, draws, expected, shares
from sae.numerics.glmm.unit_logit import Cells, logistic, maximise, weighted_points
from sae.numerics.glmm.unit_scalar import marginals
from sae.numerics.inference.priors import HALF_CAUCHY, HALF_NORMAL

QUADRATURE = 1e-8  # relative: what scipy.quad is asked for
LME4 = (
    2e-6  # lme4's optimiser stops about here: its answers with 25 and 50 nodes differ by 2e-7 in β, 6e-8 in σ
)
LME4_SE = 2e-6  # lme4 takes second differences
SHARE = 1e-7  # a share has poles beside those of the density: π from the line, as far as the steps allow
LIMIT = 1e-7  # σ = 1e-5 instead of 0: the likelihood changes by σ² times its curvature
Z = 4.0  # the largest of 60 is above in 4 of 1000 runs
SLOPE = 2e-5  # central differences of step 1e-4, relative to the largest entry


def simulated(seed=1, areas=8, most=12, sigma=0.8, p=3):
    rng = np.random.default_rng(seed)
    area = np.repeat(np.arange(areas), rng.integers(1, most, areas))
    X = np.column_stack([np.ones(len(area)), rng.normal(size=(len(area), p - 1)).round(1)])
    u = sigma * rng.normal(size=areas)
    y = rng.binomial(1, expit(X @ np.linspace(-0.5, 0.8, p) + u[area])).astype(float)
    return X, y, np.ones(len(y)), area


def by_quad(cells, d, beta, sigma, of=lambda u: 1.0):
    """(log of the integral over area d's effect, mean of a function of it), by scipy."""
    own = slice(cells.starts[d], cells.starts[d + 1])
    X, y, n = cells.X[own], cells.y[own], cells.n[own]
    eta = X @ beta

    def log_density(z):
        e = eta + sigma * z
        return float(y @ e - n @ np.logaddexp(0.0, e)) - 0.5 * z * z

    grid = np.linspace(-40, 40, 4001)
    values = np.array([log_density(z) for z in grid])
    top, place = values.max(), grid[values.argmax()]
    inside = grid[values > top - 45]
    ends = sorted({inside[0], place, inside[-1]})

    def integrate(f):
        return sum(quad(f, a, b, epsabs=0, epsrel=1e-11, limit=500)[0] for a, b in pairwise(ends))

    weight = integrate(lambda z: np.exp(log_density(z) - top))
    mean = integrate(lambda z: np.exp(log_density(z) - top) * of(sigma * z)) / weight
    return top + np.log(weight) - 0.5 * np.log(2 * np.pi), mean


CASES = {
    "units": (simulated(1), [-0.4, 0.5, 0.2], 0.9),
    "large effects": (simulated(2), [0.4, -0.5, 1.2], 6.0),
    "small effects": (simulated(3), [0.4, -0.5, 1.2], 0.01),
    "far linear predictors": (simulated(4), [30.0, -5.0, 9.0], 2.0),
    "no success": ((np.ones((3, 1)), np.zeros(3), np.array([40.0, 3000.0, 2.0]), np.arange(3)), [1.0], 15.0),
    "counts": (
        (
            np.column_stack([np.ones(4), [0, 1, 2, 1.0]]),
            np.array([90.0, 0, 1000, 2.5]),
            np.array([200.0, 5, 1000, 7.25]),
            np.array([0, 0, 1, 2]),
        ),
        [-0.3, 0.4],
        0.7,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_marginal_likelihood_is_the_integral(name):
    (X, y, n, area), beta, sigma = CASES[name]
    cells, beta = Cells.of(X, y, n, area, area[-1] + 1), np.array(beta)
    ours = cells.log_likelihood(beta[None], np.array([sigma]), by_area=True)[0]
    theirs = [by_quad(cells, d, beta, sigma)[0] for d in range(area[-1] + 1)]
    np.testing.assert_allclose(ours, theirs, rtol=QUADRATURE, atol=QUADRATURE)
    total = cells.log_likelihood(beta[None], np.array([sigma]))
    np.testing.assert_allclose(total, ours.sum(), rtol=1e-13)


def test_the_derivatives_are_those_of_the_likelihood():
    X, y, n, area = simulated(5, p=2)
    cells = Cells.of(X, y, n, area, 8)
    theta, step = np.array([-0.3, 0.6, np.log(0.7)]), 1e-4

    def at(theta):
        return derivatives(*cells.arrays, theta[:2], np.exp(theta[2]))

    value, gradient, information = at(theta)
    np.testing.assert_allclose(value, cells.log_likelihood(theta[None, :2], np.exp(theta[2:])), rtol=1e-12)
    moves = step * np.eye(3)
    slopes = [(at(theta + move)[0] - at(theta - move)[0]) / (2 * step) for move in moves]
    bends = [-(at(theta + move)[1] - at(theta - move)[1]) / (2 * step) for move in moves]
    np.testing.assert_allclose(gradient, slopes, atol=SLOPE * np.abs(gradient).max())
    np.testing.assert_allclose(information, bends, atol=SLOPE * np.abs(information).max())


def test_the_maximum_is_that_of_lme4(oracle_data, reference):
    frame = pd.read_csv(oracle_data / "sim_binlogit_60areas.csv")
    X = np.column_stack([np.ones(len(frame)), frame["x1"], frame["x2"]])
    area = pd.factorize(frame["area"])[0]
    found = maximise(Cells.of(X, frame["y"].to_numpy(float), np.ones(len(X)), area, 60))
    theirs = reference("lme4_sim_binlogit_glmer")["outputs"]["nAGQ50"]
    np.testing.assert_allclose(found.beta, list(theirs["fixed"].values()), rtol=LME4)
    np.testing.assert_allclose(found.sigma, theirs["sigma_u"], rtol=LME4)
    np.testing.assert_allclose(found.log_likelihood, theirs["logLik"], rtol=1e-12)
    se = np.sqrt(np.diag(found.covariance)[:3])
    np.testing.assert_allclose(se, list(theirs["fixed_se"].values()), rtol=LME4_SE)


def test_without_effects_it_is_the_logistic_regression():
    X, y, n, area = simulated(6, areas=30, sigma=0.0)
    cells = Cells.of(X, y, n, area, 30)
    beta, value, _ = logistic(cells)
    np.testing.assert_allclose(X.T @ (y - expit(X @ beta)), 0.0, atol=1e-9)
    np.testing.assert_allclose(cells.log_likelihood(beta[None], np.array([1e-5])), value, atol=LIMIT)


def test_a_variance_of_zero_is_found():
    """Areas more alike than chance: the likelihood falls with σ from 0 on."""
    cells = Cells.of(np.ones((6, 1)), np.array([4.0, 5, 4, 5, 4, 5]), np.full(6, 10.0), np.arange(6), 6)
    found = maximise(cells)
    assert found.sigma == 0.0
    np.testing.assert_allclose(expit(found.beta), 27 / 60, rtol=1e-9)
    assert np.isnan(found.covariance[1, 1]) and np.isfinite(found.covariance[0, 0])


def test_separated_outcomes_have_no_maximum():
    X = np.column_stack([np.ones(6), np.arange(6.0)])
    cells = Cells.of(X, (np.arange(6) > 2).astype(float), np.ones(6), np.arange(6), 6)
    beta = None
    try:
        beta = logistic(cells)[0]
    except SaeConvergenceError:
        return
    assert np.abs(X @ beta).max() > 10  # where it stopped the likelihood is flat


def test_cells_do_not_depend_on_the_order_of_units(rng):
    X, y, n, area = simulated(7, p=2)
    order = rng.permutation(len(y))
    one, other = Cells.of(X, y, n, area, 8), Cells.of(X[order], y[order], n[order], area[order], 8)
    for left, right in zip(one.arrays, other.arrays, strict=True):
        np.testing.assert_array_equal(left, right)
    apart = Cells(*(a[np.argsort(area, kind="stable")] for a in (X, y, n)), one.starts * 0)
    apart = Cells(apart.X, apart.y, apart.n, np.searchsorted(np.sort(area), np.arange(9)))
    assert len(apart.y) > len(one.y)
    at = np.array([[0.1, 0.4]]), np.array([0.6])
    np.testing.assert_allclose(one.log_likelihood(*at), apart.log_likelihood(*at), rtol=1e-12)


def test_expected_shares_are_the_integrals():
    X, y, n, area = simulated(8, areas=4)
    cells = Cells.of(X, y, n, area, 5)  # the last area has no sample
    others, size = np.array([[1.0, 0.3, 1.0], [1.0, -2.0, 0.0]] * 5), np.tile([3.0, 1.0], 5)
    starts, beta, sigma = np.arange(0, 11, 2), np.array([-0.3, 0.5, 0.7]), 1.3
    mean, square = expected(*cells.arrays, others, size, starts, beta[None], np.array([sigma]))[:, 0]
    for d in range(5):
        own = others[2 * d : 2 * d + 2] @ beta

        def share(u, own=own):
            return float(np.array([0.75, 0.25]) @ expit(own + u))

        want = [by_quad(cells, d, beta, sigma, lambda u, k=k: share(u) ** k)[1] for k in (1, 2)]
        np.testing.assert_allclose([mean[d], square[d]], want, rtol=SHARE)


def test_draws_invert_the_distribution():
    """At the drawn effect the distribution function, by scipy, is the uniform number that was put in."""
    X, y, n, area = simulated(9, areas=4)
    cells, beta, sigma = Cells.of(X, y, n, area, 4), np.array([-0.3, 0.5, 0.7]), 2.0
    goals = np.array([0.001, 0.2, 0.5, 0.77, 0.9999])
    uniform = np.tile(goals[:, None], 4)
    u = draws(*cells.arrays, np.tile(beta, (5, 1)), np.full(5, sigma), uniform)
    for d in range(4):
        for s, goal in enumerate(goals):
            edge = u[s, d]
            own = slice(cells.starts[d], cells.starts[d + 1])
            grid = np.linspace(-16, 16, 40001)
            eta = (cells.X[own] @ beta)[:, None] + grid
            log = cells.y[own] @ eta - cells.n[own] @ np.logaddexp(0, eta) - 0.5 * (grid / sigma) ** 2
            w = np.exp(log - log.max())
            F = np.interp(edge, grid, np.cumsum(w) - 0.5 * w) / w.sum()
            assert abs(F - goal) < 2e-5  # cubic interpolation between nodes


def test_shares_are_means_over_the_population(rng):
    X, size, starts = rng.normal(size=(5, 2)), rng.uniform(1, 9, 5), np.array([0, 2, 5])
    beta, u = rng.normal(size=(3, 2)), rng.normal(size=(3, 2))
    found = shares(X, size, starts, beta, u)
    for d, own in enumerate([slice(0, 2), slice(2, 5)]):
        want = [np.average(expit(X[own] @ b + e[d]), weights=size[own]) for b, e in zip(beta, u, strict=True)]
        np.testing.assert_allclose(found[:, d], want, rtol=1e-12)


def test_weighted_points_are_the_posterior():
    """Intercept and σ by a brute-force grid."""
    y, n = np.array([3.0, 9, 1, 6, 4, 10]), np.full(6, 12.0)
    cells = Cells.of(np.ones((6, 1)), y, n, np.arange(6), 6)
    fit = weighted_points(cells, (HALF_NORMAL, 1.0))
    beta, t = np.meshgrid(np.linspace(-5, 5, 161), np.linspace(-9, 2.5, 231), indexing="ij")
    log = cells.log_likelihood(beta.reshape(-1, 1), np.exp(t).ravel())
    log = log.reshape(beta.shape) - 0.5 * np.exp(2 * t) + t
    w = np.exp(log - log.max())
    w /= w.sum()
    for values, drawn in ((beta, fit.beta[:, 0]), (np.exp(t), np.exp(fit.log_sigma))):
        mean = (w * values).sum()
        sd = np.sqrt((w * (values - mean) ** 2).sum())
        assert abs(fit.weights @ drawn - mean) < 0.01 * sd  # 4096 points of a sequence
    assert fit.k_hat < 0.5


@pytest.mark.parametrize("case", ["pgexact", "pgapprox"])
def test_the_posterior_is_that_of_mcmcsae(case, oracle_data, reference):
    """Half-Cauchy(1) of σ, N(0, 100) of β: means within the Monte-Carlo errors, and not by being wide."""
    frame = pd.read_csv(oracle_data / "sim_binlogit_60areas.csv")
    X = np.column_stack([np.ones(len(frame)), frame["x1"], frame["x2"]])
    area = pd.factorize(frame["area"])[0]
    cells = Cells.of(X, frame["y"].to_numpy(float), np.ones(len(X)), area, 60)
    fit = weighted_points(cells, (HALF_CAUCHY, 1.0), 10.0, 2048)
    theirs = reference(f"mcmcsae_sim_binlogit_{case}")["outputs"]
    index = fit.spread(2048)
    beta, sigma = fit.beta[index], np.exp(fit.log_sigma[index])
    u = draws(*cells.arrays, beta, sigma, np.random.default_rng(1).uniform(size=(2048, 60)))
    found = {"beta": (beta, 0.0), "v_sigma": (sigma[:, None], 0.0), "v": (u, 1 / 2048)}
    for name, (values, noise) in found.items():
        sd, mcse = (np.array(theirs[name][key]) for key in ("sd", "mcse_mean"))
        # their error, that of their approximate sampler (of the order of 1% of a deviation), and ours
        error = np.sqrt(mcse**2 + sd**2 * (noise + (0.02**2 if case == "pgapprox" else 0.005**2)))
        z = (values.mean(axis=0) - np.array(theirs[name]["mean"])) / error
        assert np.abs(z).max() < Z, (name, z)
        np.testing.assert_allclose(values.std(axis=0), sd, rtol=0.06)  # 60 deviations of 2048 draws


def test_very_wide_effects_are_integrated_beside_narrow_ones():
    """Areas without successes and others, σ from 0.01 to 300 side by side, against one point at a time."""
    rng = np.random.default_rng(10)
    area = np.repeat(np.arange(4), 30)
    y = np.concatenate([np.zeros(30), np.ones(30), rng.integers(0, 2, 60)]).astype(float)
    cells = Cells.of(np.column_stack([np.ones(120), rng.normal(size=120)]), y, np.ones(120), area, 4)
    sigma = np.geomspace(0.01, 300.0, 80)
    beta = np.tile([0.3, -0.5], (80, 1))
    theirs = marginals(*cells.arrays, beta, sigma, True)
    np.testing.assert_allclose(cells.log_likelihood(beta, sigma, by_area=True), theirs, atol=QUADRATURE)
