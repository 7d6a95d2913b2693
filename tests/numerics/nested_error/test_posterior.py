"""Exact posterior of the nested error model: dense quadrature, draws, streams, leave-one-out."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from sae.numerics.inference.priors import FLAT_SD, FLAT_VARIANCE, HALF_CAUCHY, HALF_NORMAL, PC, log_prior
from sae.numerics.nested_error.loo import leave_area_out
from sae.numerics.nested_error.mse import AreaMeans
from sae.numerics.nested_error.posterior import HyperPrior, nested_error_posterior
from sae.numerics.nested_error.posterior_draws import draw_nested_error
from sae.numerics.nested_error.posterior_means import area_mixture, coefficient_mixture, sd_quantiles
from sae.numerics.nested_error.profile import area_sums

QUADRATURE = 1e-6  # the dense trapezoid is good to 1e-7 where a flat prior leaves long tails
SIGMAS = 4.5  # Monte-Carlo errors that a mean of seeded draws may be off
PRIORS = [
    HyperPrior(HALF_NORMAL, 1.5),
    HyperPrior(HALF_NORMAL, 0.2),  # far from the data
    HyperPrior(HALF_CAUCHY, 0.5),
    HyperPrior(PC, 0.7),
    HyperPrior(FLAT_SD),
    HyperPrior(FLAT_VARIANCE),
    HyperPrior(FLAT_VARIANCE, ratio=True),
    HyperPrior(HALF_NORMAL, 0.8, ratio=True),
]
AREAS = 9


@pytest.fixture(scope="module")
def units():
    rng = np.random.default_rng(3)
    area = np.repeat(np.arange(8), [1, 2, 2, 3, 4, 4, 5, 2])
    X = np.column_stack([np.ones(len(area)), rng.normal(size=len(area))])
    return X @ [1, 2] + rng.normal(size=8)[area] + 0.7 * rng.normal(size=len(area)), X, area


@pytest.fixture(scope="module")
def problem(units):
    y, X, area = units
    sums = area_sums(y, X, area, AREAS)
    rng = np.random.default_rng(4)
    sizes = np.array([9, np.inf, 20, 3, 40, np.inf, 60, 2, 30.0])
    means = AreaMeans(np.column_stack([np.ones(AREAS), rng.normal(size=AREAS)]), sizes)
    means.x_mean[[3, 7]] = sums.x_mean[[3, 7]]  # a census: nothing is unknown
    return sums, means


class Dense:
    """The posterior on a grid of (log σu, log σe), n x n matrices at every point."""

    def __init__(self, y, X, area, prior, means=None, sums=None, points=(191, 61)):
        u, e = np.linspace(-16, 6, points[0]), np.linspace(-2, 2, points[1])
        n, p = X.shape
        same = (area[:, None] == area).astype(float)
        sigma_u, sigma_e = (grid.ravel() for grid in np.meshgrid(np.exp(u), np.exp(e), indexing="ij"))
        V = sigma_u[:, None, None] ** 2 * same + sigma_e[:, None, None] ** 2 * np.eye(n)
        W = np.linalg.inv(V)
        XW = X.T @ W
        Q = np.linalg.inv(XW @ X)
        beta = np.einsum("kab,kb->ka", Q, XW @ y)
        rss = np.einsum("i,kij,j->k", y, W, y) - np.einsum("ka,ka->k", beta, XW @ y)
        logs = -0.5 * (np.linalg.slogdet(V)[1] - np.linalg.slogdet(Q)[1] + rss + (n - p) * np.log(2 * np.pi))
        scale = (prior.code, prior.scale)
        # dσu = σu d log σu; dσe² / σe² = 2 d log σe
        logs += (
            log_prior(scale, sigma_u / sigma_e) - np.log(sigma_e)
            if prior.ratio
            else log_prior(scale, sigma_u)
        )
        logs += np.log(sigma_u)
        weights = np.exp(logs - logs.max())
        self.log_evidence = logs.max() + np.log(weights.sum() * (u[1] - u[0]) * (e[1] - e[0]))
        self.weights, self.beta, self.Q, self.W = weights / weights.sum(), beta, Q, W
        self.sigma_u, self.sigma_e, self.XW = sigma_u, sigma_e, XW

    def moments(self, units, sums, means, d):
        y, X, area = units
        here = (area == d).astype(float)
        n, N = sums.n[d], means.units[d]
        f = n / N
        x_out = means.x_mean[d] if f == 0 or f == 1 else (means.x_mean[d] - f * sums.x_mean[d]) / (1 - f)
        v = self.sigma_u[:, None] ** 2 * here
        b = np.einsum("kij,kj->ki", self.W, v)
        centre = self.beta @ x_out + np.einsum("ki,ki->k", b, y - self.beta @ X.T)
        a = x_out - b @ X
        spread = self.sigma_u**2 - (v * b).sum(axis=1) + np.einsum("ka,kab,kb->k", a, self.Q, a)
        spread = (1 - f) ** 2 * spread + (1 - f) / N * self.sigma_e**2
        centre = f * (y[area == d].mean() if n else 0.0) + (1 - f) * centre
        mean = self.weights @ centre
        return mean, np.sqrt(self.weights @ (spread + (centre - mean) ** 2))


@pytest.mark.parametrize("prior", PRIORS, ids=str)
def test_moments_are_those_of_the_dense_posterior(units, problem, prior):
    sums, means = problem
    dense = Dense(*units, prior)
    posterior = nested_error_posterior(sums, prior)
    mean, sd = area_mixture(posterior, sums, means).moments()
    for d in range(AREAS):
        ours, theirs = (mean[d], sd[d]), dense.moments(units, sums, means, d)
        np.testing.assert_allclose(ours, theirs, rtol=20 * QUADRATURE, atol=1e-7)
    # the far tail of a flat prior with 8 areas lies beyond the grid: compare what has a mean
    beta, root_of_cov = posterior.coefficients()
    np.testing.assert_allclose(beta, dense.weights @ dense.beta, rtol=20 * QUADRATURE)
    if prior.code not in (FLAT_VARIANCE, FLAT_SD, HALF_CAUCHY):
        np.testing.assert_allclose(posterior.mean(1, 1), dense.weights @ dense.sigma_u, rtol=QUADRATURE)
        np.testing.assert_allclose(posterior.mean(2, 2), dense.weights @ dense.sigma_u**2, rtol=QUADRATURE)
        np.testing.assert_allclose(posterior.mean(0, 1), dense.weights @ dense.sigma_e, rtol=QUADRATURE)
        variance = (root_of_cov**2).sum(axis=1)
        np.testing.assert_allclose(variance, coefficient_mixture(posterior).moments()[1] ** 2, rtol=1e-10)
    assert posterior.error < 1e-10


@pytest.mark.parametrize("prior", PRIORS, ids=str)
def test_draws_are_those_of_the_nodes(problem, prior):
    """Means, spreads and two quantiles of 20,000 draws, variances and coefficients with them."""
    sums, means = problem
    posterior = nested_error_posterior(sums, prior)
    mixture = area_mixture(posterior, sums, means)
    mean, sd = mixture.moments()
    draws = draw_nested_error(posterior, sums, means, range(AREAS), 20_000, 1)
    certain = sd < 1e-9  # the two censuses
    assert certain.sum() == 2
    np.testing.assert_allclose(draws.values[:, certain] - mean[certain], 0.0, atol=1e-9)
    z = (draws.values[:, ~certain] - mean[~certain]) / sd[~certain]
    root = np.sqrt(20_000)
    if prior.code not in (FLAT_VARIANCE, FLAT_SD, HALF_CAUCHY):  # else means of draws have heavy tails
        assert np.abs(z.mean(axis=0) * root).max() < SIGMAS
        beta, root_of_cov = posterior.coefficients()
        assert (
            np.abs(draws.coefficients.mean(axis=0) - beta)
            < SIGMAS * np.sqrt((root_of_cov**2).sum(axis=1)) / root
        ).all()
    probabilities = np.array([0.05, 0.4, 0.9])
    tables = [
        (mixture.quantiles(probabilities)[:, ~certain], draws.values[:, ~certain]),
        (coefficient_mixture(posterior).quantiles(probabilities), draws.coefficients),
        (sd_quantiles(posterior, probabilities, tau_power=1)[:, None], draws.sigma_u[:, None]),
        (sd_quantiles(posterior, probabilities, tau_power=0)[:, None], draws.sigma_e[:, None]),
    ]
    for quantiles, values in tables:
        for probability, quantile in zip(probabilities, quantiles, strict=True):
            off = (values < quantile).mean(axis=0) - probability
            assert np.abs(off).max() < SIGMAS * np.sqrt(probability * (1 - probability)) / root


def test_quantiles_invert_probabilities(problem):
    sums, means = problem
    mixture = area_mixture(nested_error_posterior(sums, PRIORS[0]), sums, means)
    for probability, values in zip([0.025, 0.5], mixture.quantiles(np.array([0.025, 0.5])), strict=True):
        inside = mixture.moments()[1] > 1e-9
        np.testing.assert_allclose(mixture.probability(values)[inside], probability, atol=1e-10)


def test_leave_one_area_out_is_a_ratio_of_dense_evidences(units, problem):
    y, X, area = units
    prior = PRIORS[0]
    whole = Dense(y, X, area, prior).log_evidence
    ours = leave_area_out(nested_error_posterior(problem[0], prior), problem[0])
    for d in (0, 4):
        keep = area != d
        left = Dense(y[keep], X[keep], area[keep], prior).log_evidence
        np.testing.assert_allclose(ours[d], whole - left, atol=1e-5)
    assert len(ours) == 8 and np.isfinite(ours).all()
    # a column that lives in one area: the others do not tell it
    own = area_sums(y, np.column_stack([X, area == 4]), area, AREAS)
    without = leave_area_out(nested_error_posterior(own, prior), own)
    assert np.isnan(without[4]) and np.isfinite(without[:4]).all()


def test_streams_are_named_by_content(problem):
    sums, means = problem
    posterior = nested_error_posterior(sums, PRIORS[0])
    labels = [f"area {d}" for d in range(AREAS)]
    many = draw_nested_error(posterior, sums, means, labels, 200, 7, effects=True)
    few = draw_nested_error(posterior, sums, means, labels, 70, 7)
    np.testing.assert_array_equal(many.values[:70], few.values)
    np.testing.assert_array_equal(many.sigma_u[:70], few.sigma_u)
    # an area less: the others keep their draws, and so in another order
    order = [8, 2, 0]
    less = type(sums)(
        sums.n[order],
        sums.x_mean[order],
        sums.y_mean[:, order],
        sums.xx[order],
        sums.xy[:, order],
        sums.yy[:, order],
    )
    some = draw_nested_error(
        posterior, less, AreaMeans(means.x_mean[order], means.units[order]), [labels[d] for d in order], 70, 7
    )
    np.testing.assert_allclose(some.values, few.values[:, order], rtol=1e-13)


_HASH = """
import hashlib, numpy as np
from concurrent.futures import ThreadPoolExecutor
from sae.numerics.nested_error.posterior_draws import draw_nested_error
from sae.numerics.nested_error.mse import AreaMeans
from sae.numerics.nested_error.posterior import HyperPrior, nested_error_posterior
from sae.numerics.nested_error.profile import area_sums
rng = np.random.default_rng(3)
area = np.repeat(np.arange(8), 3)
X = np.column_stack([np.ones(24), rng.normal(size=24)])
sums = area_sums(rng.normal(size=24) + rng.normal(size=8)[area], X, area, 8)
posterior = nested_error_posterior(sums, HyperPrior(2, 1.0))
means = AreaMeans(sums.x_mean, np.full(8, 30.0))
def draw(seed):
    return draw_nested_error(posterior, sums, means, range(8), 300, seed).values
"""


def test_same_bits_in_threads_and_in_another_process():
    scope = {}
    exec(_HASH, scope)
    alone = [scope["draw"](seed) for seed in (1, 2)]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(scope["draw"], (1, 2)))
    for a, b in zip(alone, together, strict=True):
        np.testing.assert_array_equal(a, b)
    code = _HASH + "print(hashlib.sha256(np.ascontiguousarray(draw(1)).tobytes()).hexdigest())"
    elsewhere = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    digest = scope["hashlib"].sha256(np.ascontiguousarray(alone[0]).tobytes()).hexdigest()
    assert elsewhere.stdout.strip() == digest


def test_scale_of_the_data_does_not_matter(units, problem):
    y, X, area = units
    sums, means = problem
    mean, sd = area_mixture(nested_error_posterior(sums, HyperPrior(HALF_NORMAL, 1.0)), sums, means).moments()
    for factor in (1e-8, 1e8):
        scaled = area_sums(factor * y, X, area, AREAS)
        posterior = nested_error_posterior(scaled, HyperPrior(HALF_NORMAL, factor))
        again = area_mixture(posterior, scaled, means).moments()
        np.testing.assert_allclose(again[0], factor * mean, rtol=1e-8, atol=1e-9 * factor)
        np.testing.assert_allclose(again[1], factor * sd, rtol=1e-7, atol=1e-9 * factor)


def test_improper_posteriors_are_refused(units):
    y, X, area = units

    def code(prior, areas, columns=1, y=y):
        keep = area < areas
        with pytest.raises(ValueError) as error:
            nested_error_posterior(area_sums(y[keep], X[keep, :columns], area[keep], areas), prior)
        return error.value.args[1]

    assert code(HyperPrior(FLAT_VARIANCE), 3) == -3
    assert code(HyperPrior(FLAT_SD), 2) == -3
    nested_error_posterior(area_sums(y[:8], X[:8, :1], area[:8], 4), HyperPrior(FLAT_VARIANCE))
    assert code(HyperPrior(HALF_NORMAL), 1) == -1  # one area with one unit
    assert code(HyperPrior(HALF_NORMAL), 8, y=np.arange(8.0)[area]) == -2
