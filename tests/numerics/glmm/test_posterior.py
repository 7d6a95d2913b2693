"""Area effects on grids against brute force, oracles and limiting cases."""

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize
from scipy.special import expit

from sae.errors import SaeConvergenceError
from sae.numerics.glmm.integrals import area_marginals, area_moments, draw_effects, expected, holds, marginals
from sae.numerics.glmm.likelihoods import Beta, Binomial, Poisson, StudentVariance, Unmatched
from sae.numerics.glmm.posterior import GridProblem, draw_all_effects, fit_grid, log_marginals
from sae.numerics.glmm.predictors import conditional_means, sampled_mixture, unsampled_mixture
from sae.numerics.glmm.small_effects import NARROW, narrow_posterior
from sae.numerics.glmm.tables import build_tables
from sae.numerics.inference.priors import HALF_CAUCHY, HALF_NORMAL
from sae.numerics.inference.transforms import TRANSFORMS
from sae.numerics.random.streams import stream_keys

MARGINAL = (
    2e-8  # of an area's log integral: strides err by 6e-9 at most where all is normal, twice that next to 1
)
CDF = 4e-5  # of the distribution function that draws invert: the cubic errs by 2e-5 in skewed posteriors
NARROW_VALUE = 1e-7  # nine nodes, with observations tens of standard errors away
NARROW_SKEW = 2e-4  # of the distribution function where a skewness of order NARROW^(3/2) = 1e-3 is left out
GLMER = 2e-5  # glmer's optimiser stops there
MCSE = 4.0  # Monte-Carlo standard errors of the reference


def likelihoods(n, rng):
    """One of each kind for n areas, observations at and near the ends among them."""
    trials = rng.integers(1, 60, n).astype(float)
    y = rng.binomial(trials.astype(int), 0.3).astype(float)
    y[0], y[1] = 0.0, trials[1]
    y[2], trials[2] = 3.4, 17.3  # an effective sample size
    if n > 3:
        y[3], trials[3] = 400_000.0, 1_000_000.0
    share = np.clip(rng.beta(6.0, 14.0, n), 0.01, 0.99)
    share[0], share[1] = 1e-4, 1 - 1e-4
    estimate = rng.normal(1.0, 0.5, n)
    estimate[0] = 9.0  # an outlier: two modes under the Student likelihood
    counts = rng.poisson(4.0, n).astype(float)
    counts[0] = 0.0
    positive = rng.gamma(3.0, 1.0, n)
    positive[0] = -0.3
    return {
        "binomial": Binomial(y, trials),
        "poisson": Poisson(counts, rng.uniform(0.5, 9.0, n)),
        "beta": Beta(share, rng.uniform(3.0, 60.0, n)),
        "unmatched log": Unmatched(positive, rng.uniform(0.05, 0.5, n), TRANSFORMS["log"]),
        "unmatched logit": Unmatched(share, rng.uniform(0.001, 0.02, n), TRANSFORMS["logit"]),
        "student": StudentVariance(estimate, rng.uniform(0.05, 0.5, n), rng.uniform(3.0, 12.0, n), 0.0, 0.0),
        "student, flat": StudentVariance(estimate, np.full(n, 0.2), np.full(n, 4.0), -1.0, 0.0),
    }


KINDS = tuple(likelihoods(8, np.random.default_rng(1)))


def dense(log_likelihood, mean, sigma, nodes=40_001, reach=12.0):
    """Nodes and log densities of η by brute force."""
    eta = mean[:, None] + sigma * np.linspace(-reach, reach, nodes)
    log_density = log_likelihood(eta) - 0.5 * ((eta - mean[:, None]) / sigma) ** 2
    return eta, log_density - np.log(sigma * np.sqrt(2.0 * np.pi))


def log_integral(eta, log_density):
    top = log_density.max(axis=1)
    return top + np.log(np.exp(log_density - top[:, None]).sum(axis=1) * (eta[:, 1] - eta[:, 0]))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sigma", [0.1, 0.6, 2.5])
def test_integrals_over_effects_are_those_of_brute_force(kind, sigma, rng):
    found = likelihoods(8, rng)[kind].log_likelihood
    X = np.column_stack([np.ones(8), rng.normal(size=8)])
    beta = np.array([-0.2, 0.3])
    tables = build_tables(found, X @ beta, sigma, reach=0.5)
    for moved in (beta, beta + np.array([0.15, -0.05])):
        for width in (sigma, 1.15 * sigma, sigma / 1.15):
            got = area_marginals(tables, X, moved[None], np.array([width]))[0]
            expected_value = log_integral(*dense(found, X @ moved, width))
            assert np.isfinite(got).all()
            assert np.abs(got - expected_value).max() < MARGINAL
            total = marginals(tables, X, moved[None], np.array([width]))[0]
            assert total == pytest.approx(got.sum(), abs=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_moments_and_draws_are_those_of_brute_force(kind, rng):
    found = likelihoods(8, rng)[kind].log_likelihood
    X, beta, sigma = np.ones((8, 1)), np.array([0.1]), 0.7
    tables = build_tables(found, X @ beta, sigma)
    eta, log_density = dense(found, X @ beta, sigma, 200_001)
    density = np.exp(log_density - log_density.max(axis=1, keepdims=True))
    density /= density.sum(axis=1, keepdims=True)
    first = (density * (eta - 0.1)).sum(axis=1)
    second = (density * (eta - 0.1) ** 2).sum(axis=1)
    assert np.abs(area_moments(tables, X, beta, sigma) - [first, second]).max() < 1e-8
    # the same once more, with all nodes where the posterior is
    spread = np.sqrt(second - first**2)[:, None]
    eta = (0.1 + first)[:, None] + spread * np.linspace(-12.0, 12.0, 200_001)
    log_density = found(eta) - 0.5 * ((eta - 0.1) / sigma) ** 2
    density = np.exp(log_density - log_density.max(axis=1, keepdims=True))
    density /= density.sum(axis=1, keepdims=True)
    size = 4000
    keys = stream_keys(1, "draws", range(8))
    draws = draw_effects(
        tables, X, np.tile(beta, (size, 1)), np.full(size, sigma), np.arange(size, dtype=np.uint64), keys
    )
    for d in range(8):
        cdf = density[d].cumsum() - 0.5 * density[d]
        level = np.interp(draws[:, d], eta[d], cdf)
        # the uniforms that were inverted, from those of an area whose posterior is known
        assert np.abs(level - uniforms(keys[d : d + 1], size)).max() < CDF


def uniforms(keys, size):
    """The uniforms of a stream: the distribution function of normal draws is exact to many more digits."""
    from scipy.special import ndtr

    normal = Unmatched(np.zeros(1), np.ones(1), TRANSFORMS["identity"]).log_likelihood
    wide = build_tables(normal, np.zeros(1), 1.0)
    eta = draw_effects(
        wide, np.ones((1, 1)), np.zeros((size, 1)), np.ones(size), np.arange(size, dtype=np.uint64), keys
    )
    return ndtr(eta[:, 0] * np.sqrt(2.0))


def test_windows_follow_the_mean_along_long_grids(rng):
    found = likelihoods(8, rng)["poisson"].log_likelihood
    X, sigma = np.ones((8, 1)), 0.02
    tables = build_tables(found, np.zeros(8), sigma, reach=0.6)
    assert tables.likelihood.shape[1] > 200
    for shift in (-0.5, -0.11, 0.3, 0.55):
        got = area_marginals(tables, X, np.array([[shift]]), np.array([sigma]))[0]
        assert np.abs(got - log_integral(*dense(found, np.full(8, shift), sigma))).max() < MARGINAL
    assert not holds(tables, X, np.array([[3.0]]), np.array([sigma]))[0]
    assert np.isnan(marginals(tables, X, np.array([[3.0]]), np.array([sigma]))[0])


@pytest.mark.parametrize("kind", ["binomial", "poisson", "unmatched logit"])
def test_narrow_effects_need_no_grid(kind, rng):
    found = likelihoods(3, rng)[kind].log_likelihood
    X, beta = np.ones((3, 1)), np.array([[-0.3]])
    mean = X[:, 0] * beta[0]
    step = 1e-4
    three = found(mean[:, None] + step * np.array([-1.0, 0.0, 1.0]))
    bend = np.abs(three @ [1.0, -2.0, 1.0]).max() / step**2
    sigma = np.sqrt(NARROW / bend)
    value, centre, sd = narrow_posterior(found, X, beta, np.array([sigma]))
    eta, log_density = dense(found, mean, sigma)
    assert np.abs(value[0] - log_integral(eta, log_density)).max() < NARROW_VALUE
    density = np.exp(log_density - log_density.max(axis=1, keepdims=True))
    density /= density.sum(axis=1, keepdims=True)
    assert np.abs((density * eta).sum(axis=1) - centre[0]).max() < 1e-6 * sigma
    from scipy.special import ndtr

    apart = density.cumsum(axis=1) - 0.5 * density - ndtr((eta - centre[0][:, None]) / sd[0][:, None])
    assert np.abs(apart).max() < NARROW_SKEW


def test_a_likelihood_that_no_grid_holds_is_refused():
    with pytest.raises(SaeConvergenceError, match=r"No grid holds.* 1, 2") as caught:
        build_tables(lambda eta: np.where(eta > 0.3, 0.0, -50.0), np.zeros(2), 1.0)
    assert caught.value.areas == ("0", "1")


@pytest.fixture(scope="module")
def small():
    """Twelve areas, two of them at the ends, and their fit."""
    rng = np.random.default_rng(5)
    n = rng.integers(4, 30, 12).astype(float)
    X = np.column_stack([np.ones(12), rng.normal(size=12)])
    y = rng.binomial(n.astype(int), expit(X @ [-0.5, 0.6] + 0.6 * rng.normal(size=12))).astype(float)
    y[0], y[5] = 0.0, n[5]
    found = Binomial(y, n).log_likelihood
    problem = GridProblem(found, X, (HALF_NORMAL, 0.8), coefficient_sd=2.0)
    return problem, fit_grid(problem, (np.zeros(2), 0.5), 1 << 14)


def brute_posterior(problem):
    """Weighted nodes of (β, log σ) on a dense box, likelihoods by sums that have converged."""
    t = np.linspace(-7.0, 1.4, 31)
    a, b = np.linspace(-3.6, 2.6, 27), np.linspace(-2.6, 3.6, 27)
    beta = np.stack(np.meshgrid(a, b, indexing="ij"), axis=-1).reshape(-1, 2)
    mean = beta @ problem.X.T
    z = np.linspace(-8.0, 8.0, 81)
    normal = np.exp(-0.5 * z * z)
    normal /= normal.sum()
    values, first = np.empty((len(t), len(beta))), np.empty((len(t), len(beta), mean.shape[1]))
    for k, sigma in enumerate(np.exp(t)):
        eta = mean[:, :, None] + sigma * z
        likelihood = np.exp(
            problem.log_likelihood(np.moveaxis(eta, 1, 0).reshape(mean.shape[1], -1)).reshape(
                mean.shape[1], len(beta), -1
            )
        )
        total = likelihood @ normal
        first[k] = ((likelihood * expit(np.moveaxis(eta, 1, 0))) @ normal / total).T
        values[k] = np.log(total).sum(axis=0)
        values[k] += problem.log_prior(beta, np.full(len(beta), t[k]))
    weights = np.exp(values - values.max())
    weights /= weights.sum()
    return t, beta, weights, first


def test_the_posterior_is_that_of_a_dense_box(small):
    problem, fit = small
    t, beta, weights, first = brute_posterior(problem)
    over_t, over_beta = weights.sum(axis=1), weights.sum(axis=0)
    mean, sd = over_t @ np.exp(t), np.sqrt(over_t @ np.exp(2 * t) - (over_t @ np.exp(t)) ** 2)
    # weighted Sobol' points: 16 384 of them err by a few thousandths of a posterior deviation
    assert fit.weights @ np.exp(fit.log_sigma) == pytest.approx(mean, abs=0.005 * sd)
    centre = over_beta @ beta
    spread = np.sqrt(over_beta @ (beta - centre) ** 2)
    assert np.abs((fit.weights @ fit.beta - centre) / spread).max() < 0.005
    shares = np.einsum("kb,kbd->d", weights, first)
    found, deviation = sampled_mixture(fit).moments(expit)
    assert np.abs((found - shares) / deviation).max() < 0.005
    assert fit.k_hat < 0.3
    assert fit.error < 1e-6


def test_draws_have_the_moments_and_quantiles_of_the_mixture(small):
    _, fit = small
    mixed = sampled_mixture(fit)
    size = 20_000
    beta, sigma = fit.resample(size, np.random.default_rng(3))
    eta = draw_all_effects(fit, beta, sigma, stream_keys(1, "u", range(12)))
    mean, sd = mixed.moments(lambda x: x)
    assert np.abs((eta.mean(axis=0) - mean) / sd).max() < 4.5 / np.sqrt(size)
    probabilities = np.array([0.01, 0.3, 0.5, 0.975])
    quantiles = mixed.quantiles(probabilities)
    below = (eta < quantiles[:, None, :]).mean(axis=1)
    error = np.sqrt(probabilities * (1 - probabilities) / size)[:, None]
    assert np.abs((below - probabilities[:, None]) / error).max() < 4.5
    cdf = mixed.cdf
    assert np.abs(np.array([cdf(row) for row in quantiles]) - probabilities[:, None]).max() < 1e-9


def test_conditional_means_average_to_the_mean(small):
    problem, fit = small
    sampled = np.arange(13) < 12
    X = np.vstack([problem.X, [1.0, 0.5]])
    means = conditional_means(fit, X, sampled, expit, 256)
    inside, sd = sampled_mixture(fit).moments(expit)
    outside, wide = unsampled_mixture(fit, X[12:]).moments(expit)
    # 256 points of the hyperparameters stand for all of them
    assert np.abs((means.mean(axis=0) - np.append(inside, outside)) / np.append(sd, wide)).max() < 0.06
    one = log_marginals(problem, fit.path, fit.beta[:1], fit.log_sigma[:1], fit.tables, by_area=True)
    assert one.shape == (1, 12)


def test_expected_values_of_one_are_one(small):
    problem, fit = small
    tables = next(iter(fit.tables.values()))
    beta, sigma = fit.path.at(np.array([np.log(tables.sigma)]))[0], np.array([tables.sigma])
    assert expected(tables, problem.X, beta, sigma, np.ones_like(tables.likelihood)) == pytest.approx(1.0)


def test_maximum_likelihood_is_that_of_glmer(reference, oracle_data):
    case = reference("lme4_sim_binomial_grouped_glmer")["outputs"]["nAGQ25"]
    data = pd.read_csv(oracle_data / "sim_binomial_grouped_40areas.csv")
    X = np.column_stack([np.ones(len(data)), data["x"]])
    found = Binomial(data["successes"].to_numpy(float), data["trials"].to_numpy(float)).log_likelihood
    fixed = np.array([case["fixed"]["(Intercept)"], case["fixed"]["x"]])
    tables = build_tables(found, X @ fixed, case["sigma_u"], reach=0.1)

    def loss(point):
        with np.errstate(over="ignore"):
            value = marginals(tables, X, point[None, :2], np.exp(point[2:]))[0]
        return -value if np.isfinite(value) else np.inf

    start = [*(fixed + 0.03), np.log(case["sigma_u"]) - 0.03]
    best = minimize(loss, start, method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-12})
    assert np.abs(best.x[:2] - fixed).max() < GLMER
    assert np.exp(best.x[2]) == pytest.approx(case["sigma_u"], abs=GLMER)
    u = area_moments(tables, X, best.x[:2], float(np.exp(best.x[2])))[0]
    assert np.corrcoef(u, case["ranef"])[0, 1] > 0.999  # modes there, means here


@pytest.mark.parametrize("draws", ["pgexact", "pgapprox"])
def test_posterior_is_that_of_polya_gamma_chains(draws, reference, oracle_data):
    case = reference(f"mcmcsae_sim_binomial_grouped_{draws}")["outputs"]
    data = pd.read_csv(oracle_data / "sim_binomial_grouped_40areas.csv")
    X = np.column_stack([np.ones(len(data)), data["x"]])
    found = Binomial(data["successes"].to_numpy(float), data["trials"].to_numpy(float)).log_likelihood
    fit = fit_grid(GridProblem(found, X, (HALF_CAUCHY, 1.0), 10.0), (np.zeros(2), 0.5))
    beta = fit.weights @ fit.beta
    assert np.abs((beta - case["beta"]["mean"]) / case["beta"]["mcse_mean"]).max() < MCSE
    sigma = fit.weights @ np.exp(fit.log_sigma)
    assert abs(sigma - case["v_sigma"]["mean"][0]) < MCSE * case["v_sigma"]["mcse_mean"][0]
    mean, sd = sampled_mixture(fit).moments(lambda x: x)
    effects = mean - X @ beta
    assert np.abs((effects - case["v"]["mean"]) / case["v"]["mcse_mean"]).max() < MCSE
    assert np.isfinite(sd).all()
    again = fit_grid(GridProblem(found, X, (HALF_CAUCHY, 1.0), 10.0), (np.zeros(2), 0.5))
    assert (again.beta == fit.beta).all() and (again.log_weights == fit.log_weights).all()
