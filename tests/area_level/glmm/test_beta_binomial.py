"""Beta-binomial model against brute force and limiting cases."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, ndtr
from scipy.stats import betabinom, binom

import sae
from sae.errors import SaeConvergenceError, SaeSpecError
from sae.numerics.glmm.dispersion import _followed, _Line, _Nodes, _Scores, fit_dispersion
from sae.numerics.glmm.likelihoods import BetaBinomial
from sae.numerics.glmm.posterior import GridProblem
from sae.numerics.inference.priors import HALF_NORMAL
from sae.numerics.inference.transforms import TRANSFORMS
from sae.samplers.beta_binomial import BetaBinomialPosterior

RISING = 1e-9  # of a log-likelihood: sums of rounding in scipy's log-gammas of 1e3
POINTS = 0.02  # posterior deviations: 512 weighted points at each node of ρ, and the spacing of the nodes
BINOMIAL = 0.02  # the same, for ρ of 1e-5
MCSE = 4.5  # standard errors of means of draws


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(3)
    size, M = 12, 9.0
    x, n = rng.normal(size=size), rng.integers(8, 60, size)
    P = expit(-0.7 + 0.5 * x + 0.4 * rng.normal(size=size))
    y = rng.binomial(n, rng.beta(M * P, M * (1 - P))).astype(float)
    y[4] = np.nan
    return pd.DataFrame({"area": [f"A{k}" for k in range(size)], "x": x, "n": n, "y": y})


def test_the_likelihood_is_beta_binomial():
    n = np.array([1.0, 7.0, 60.0, 700.0])
    y = np.array([1.0, 0.0, 31.0, 90.0])
    eta = np.linspace(-30.0, 30.0, 41) * np.ones((4, 1))
    for rho in (1e-3, 0.2, 0.97):
        M = (1 - rho) / rho
        found = BetaBinomial(y, n, rho).log_likelihood(eta)
        a, b = M * expit(eta), M * expit(-eta)
        assert np.abs(found - betabinom.logpmf(y[:, None], n[:, None], a, b)).max() < RISING
    each = BetaBinomial(y, n, np.full(41, 0.97)).log_likelihood(eta)
    assert (each == found).all()
    # hardly any correlation is none: log-gammas of 1e15 would differ by rounding of whole units
    near = BetaBinomial(y, n, 1e-14).log_likelihood(0.1 * eta)
    assert np.abs(near - binom.logpmf(y[:, None], n[:, None], expit(0.1 * eta))).max() < 1e-6
    # counts that are not whole go another way to the same values
    near = BetaBinomial(y * (1 - 1e-9), n * (1 - 1e-9), 0.2).log_likelihood(eta / 10)
    assert near == pytest.approx(BetaBinomial(y, n, 0.2).log_likelihood(eta / 10), abs=1e-5)


ETA = np.linspace(-20.0, 20.0, 2001)
BOX = np.linspace(-4.8, 3.0, 53), np.linspace(-6.0, 1.3, 45), np.linspace(-4.0, 4.0, 41)


def brute(y, n, prior_sd, scale, shapes=(1.0, 1.0), box=BOX):
    """Posterior means and deviations of ρ, σ, β and P by sums over a box of nodes of Φ⁻¹(ρ), log σ and β.

    The nodes of β are among those of η: effects narrower than the distance of these are then none at all.
    """
    z, t, beta = box
    sigma, centre = (part.ravel() for part in np.meshgrid(np.exp(t), beta, indexing="ij"))
    normal = np.exp(-0.5 * ((ETA[:, None] - centre) / sigma) ** 2)
    normal /= normal.sum(axis=0)
    prior = -0.5 * (sigma / scale) ** 2 + np.log(sigma) - 0.5 * (centre / prior_sd) ** 2
    total, sums = 0.0, np.zeros((2, 3 + len(y)))
    for node in z:
        rho = ndtr(node)
        M = (1 - rho) / rho
        table = betabinom.pmf(y[:, None], n[:, None], M * expit(ETA), M * expit(-ETA))
        joint = prior - 0.5 * node**2 + (shapes[0] - 1) * np.log(rho) + (shapes[1] - 1) * np.log1p(-rho)
        likelihood = table @ normal
        joint = np.exp(joint + np.log(likelihood).sum(axis=0) - level(y, n))
        shares = (table * expit(ETA)) @ normal / likelihood
        squares = (table * expit(ETA) ** 2) @ normal / likelihood
        total += joint.sum()
        one = np.vstack([np.full(len(sigma), rho), sigma, centre, shares])
        two = np.vstack([np.full(len(sigma), rho**2), sigma**2, centre**2, squares])
        sums += np.array([one @ joint, two @ joint])
    mean, square = sums / total
    return mean, np.sqrt(square - mean**2)


def level(y, n):
    """A log-likelihood of about the size of the largest, against numbers too small for the machine."""
    return betabinom.logpmf(y, n, 2.0 * y.sum() / n.sum(), 2.0 * (1.0 - y.sum() / n.sum())).sum()


def test_the_posterior_is_that_of_brute_force():
    y, n = np.array([3.0, 0.0, 9.0, 14.0]), np.array([10.0, 6.0, 40.0, 15.0])
    posterior = BetaBinomialPosterior(
        BetaBinomial(y, n, 0.5),
        np.ones((4, 1)),
        np.ones(4, dtype=bool),
        (HALF_NORMAL, 0.8),
        TRANSFORMS["logit"],
        list("abcd"),
        1.5,
    )
    mean, sd = brute(y, n, 1.5, 0.8)
    beta, sigma, weights = posterior.parameters()
    rho, rho_sd, quantiles = posterior.further(np.array([0.1, 0.5, 0.9]))["rho"]
    found = np.array([rho, weights @ sigma, weights @ beta[:, 0], *posterior.moments()[0]])
    assert np.abs((found - mean) / sd).max() < POINTS
    assert np.abs(posterior.moments()[1] / sd[3:] - 1).max() < POINTS
    assert rho_sd == pytest.approx(sd[0], rel=POINTS)
    assert (np.diff(quantiles) > 0).all()
    # draws are of the same posterior, also jointly: correlations of ρ and σ
    sample = posterior.draw(20_000, 1)
    drawn = np.column_stack([*(sample.parameters[k] for k in ("rho", "sigma_u")), sample.parameters["beta"]])
    apart = (np.column_stack([drawn, sample.values]).mean(axis=0) - mean) / sd
    assert np.abs(apart).max() < MCSE / np.sqrt(20_000) + POINTS
    assert np.corrcoef(drawn[:, 0], drawn[:, 1])[0, 1] < -0.05  # they stand for each other
    elpd, k = posterior.loo()
    assert np.isfinite(elpd).all() and k.max() < 0.7


def test_no_correlation_is_the_binomial_model(frame):
    options = {"domain": "area", "prior": "half-normal(0.6)"}
    found = sae.BetaBinomialMixed("y ~ x", rho_prior="beta(1, 100000)", **options).fit(frame)
    exact = sae.BinomialMixed("y ~ x", **options).fit(frame)
    a, b = found.estimates.frame, exact.estimates.frame
    for name in ("estimate", "ci_low", "ci_high"):
        assert np.abs((a[name] - b[name]) / b["se"]).max() < BINOMIAL
    assert np.abs(a["se"] / b["se"] - 1).max() < BINOMIAL
    assert found.variance_components["rho_high"] < 1e-4


def test_a_whole_result_names_the_prior_and_shows_rho(frame):
    spec = sae.BetaBinomialMixed("y ~ x", domain="area")
    assert type(spec).from_toml(spec.to_toml()) == spec
    fit = spec.fit(frame)
    table = fit.estimates.frame
    assert table["prior"].str.contains("ρ uniform").all() and "rho" in fit.summary()
    assert (table["ci_low"] < table["estimate"]).all() and (table["estimate"] < table["ci_high"]).all()
    assert {"k_hat", "rho_error"} <= set(fit.diagnostics) and fit.diagnostics["rho_error"].iloc[0] < 0.1
    draws = fit.draws(4000, seed=1).values
    apart = (draws.mean(axis=0) - table["estimate"]) / table["se"]
    assert np.abs(apart).max() < MCSE / np.sqrt(4000) + POINTS
    assert np.diag(fit.joint.covariance()) == pytest.approx(table["se"] ** 2)
    # an area more without a sample changes no draw
    more = pd.concat([frame, pd.DataFrame({"area": ["B"], "x": [0.3], "n": [0]})], ignore_index=True)
    assert (spec.fit(more).draws(50, seed=1).values[:, :12] == fit.draws(50, seed=1).values).all()
    half = fit.source.posterior.quantiles(np.array([0.5]))[0]
    assert fit.source.posterior.exceedance(half) == pytest.approx(0.5, abs=1e-9)


@pytest.mark.parametrize("text", ["jeffreys", "beta(0, 1)", "beta(1)"])
def test_priors_of_rho_that_do_not_exist_are_refused(text):
    with pytest.raises(SaeSpecError, match="rho_prior"):
        sae.BetaBinomialMixed("y ~ x", rho_prior=text)


def ridge(seed, size, rho=0.3, sigma=0.4):
    """Counts whose ρ and σ stand for each other, a long ridge with a cliff at its end; true shares."""
    rng = np.random.default_rng(seed)
    x, n, M = rng.normal(size=size), rng.integers(10, 200, size), (1 - rho) / rho
    P = expit(-0.7 + 0.5 * x + sigma * rng.normal(size=size))
    y = rng.binomial(n, rng.beta(M * P, M * (1 - P))).astype(float)
    return pd.DataFrame({"area": [f"A{k}" for k in range(size)], "x": x, "n": n, "y": y}), P


def test_nodes_reach_the_end_of_a_ridge():
    data, _ = ridge(1, 24)
    y, n = data["y"].to_numpy(), data["n"].to_numpy(float)
    posterior = BetaBinomialPosterior(
        BetaBinomial(y, n, 0.5),
        np.ones((24, 1)),
        np.ones(24, dtype=bool),
        (HALF_NORMAL, 1.5),
        TRANSFORMS["logit"],
        list(data["area"]),
        1.5,
    )
    box = np.linspace(-4.2, 0.9, 43), np.linspace(-6.0, 1.6, 39), np.arange(-21.0, 8.0) / 10.0
    mean, sd = brute(y, n, 1.5, 1.5, box=box)
    beta, sigma, weights = posterior.parameters()
    found = np.array([posterior.nodes.rho_moments()[0], weights @ sigma, weights @ beta[:, 0]])
    assert np.abs((found - mean[:3]) / sd[:3]).max() < POINTS
    assert np.abs((posterior.moments()[0] - mean[3:]) / sd[3:]).max() < POINTS
    assert np.abs(posterior.moments()[1] / sd[3:] - 1).max() < POINTS
    assert posterior.nodes.rho_moments()[1] == pytest.approx(sd[0], rel=POINTS)


@pytest.mark.parametrize(
    ("seed", "size", "shapes"), [(1, 30, (1.0, 1.0)), (2, 8, (1.0, 1.0)), (3, 12, (2.0, 20.0))]
)
def test_the_stored_error_is_no_less_than_that_against_a_finer_grid(seed, size, shapes):
    data, _ = ridge(seed, size)
    design = np.column_stack([np.ones(size), data["x"]])
    counts = BetaBinomial(data["y"].to_numpy(), data["n"].to_numpy(float), 0.5)

    def problem_at(rho):
        return GridProblem(replace(counts, rho=rho).log_likelihood, design, (HALF_NORMAL, 1.0), 3.0)

    start = np.zeros(2), 0.5
    found = fit_dispersion(problem_at, start, shapes, 256)
    step = 0.5 * (found.s[1] - found.s[0])
    line = _Line(problem_at, start, shapes)
    fine = _Nodes(line, _Scores.of(*_followed(line)), 256).gathered(step)

    def moments(fit):
        values = [np.column_stack([part.beta, part.log_sigma]) for part in fit.fits]
        weights = [w * part.weights for w, part in zip(fit.weights, fit.fits, strict=True)]
        all_values, all_weights = np.concatenate(values), np.concatenate(weights)
        mean = all_weights @ all_values
        return np.append(mean, fit.rho_moments()[0]), np.append(
            np.sqrt(all_weights @ (all_values - mean) ** 2), fit.rho_moments()[1]
        )

    mean, sd = moments(fine)
    # 256 points at each node say the same of it in both, but for 2e-3 of a deviation
    assert np.abs((moments(found)[0] - mean) / sd).max() < found.error + 2e-3
    assert found.error < 0.1
    peak = fine.log_density.max()
    assert max(fine.log_density[0], fine.log_density[-1]) < peak - 4.0


def test_hills_far_apart_are_all_found():
    def line(z):
        line.values[z] = np.logaddexp(-0.5 * ((z + 3.3) / 0.1) ** 2, -0.5 * ((z - 1.0) / 0.02) ** 2)
        return line.values[z]

    line.values = {}
    scores = _Scores.of(*_followed(line))
    # the heights are equal, so that the masses are as the widths
    share = np.interp(0.0, scores.edges, scores.cumulated)
    assert share == pytest.approx(0.1 / 0.12, abs=0.05)
    assert scores.z(np.array([-3.0]))[0] < -3.5 and scores.z(np.array([3.0]))[0] > 1.03


@pytest.mark.parametrize("rho_prior", ["beta(0.001, 1)", "beta(1, 0.001)"])
def test_a_posterior_of_rho_that_does_not_end_is_refused(rho_prior, frame):
    data = frame.dropna(subset="y")
    if rho_prior == "beta(1, 0.001)":  # all or none in every area: trials may agree completely
        data = data.assign(n=1, y=(data["y"] > data["y"].median()).astype(float))
    with pytest.raises(SaeConvergenceError, match="posterior of rho does not fall off"):
        sae.BetaBinomialMixed("y ~ 1", domain="area", rho_prior=rho_prior).fit(data)


@pytest.mark.slow
def test_intervals_hold_along_the_ridge():
    inside = []
    for seed in range(25):
        data, P = ridge(seed, 120)
        table = sae.BetaBinomialMixed("y ~ x", domain="area").fit(data).estimates.frame
        inside.append(np.mean((table["ci_low"] < P) & (table["ci_high"] > P)))
    error = np.std(inside, ddof=1) / np.sqrt(len(inside))
    assert abs(np.mean(inside) - 0.95) < 3 * error + 0.01  # the true σ is a small one under its prior
