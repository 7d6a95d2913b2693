"""The exact posterior against plain quadrature, another package and its limits."""

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import quad
from scipy.special import ndtr

from sae.numerics.fay_herriot import fit_batch
from sae.numerics.posterior import area_mixture, variance_posterior

QUADRATURE = 1e-7  # adaptive quadrature's own request
# hbsae keeps the sampling variances near 1 by a very strong prior instead of fixing them (its README)
HBSAE = 2e-5
TRAPEZOID = 1e-8  # the reference: 20,001 points on log A


def milk(shared_data):
    frame = pd.read_csv(shared_data / "sae_milk.csv")
    X = np.vstack([np.ones(43), *[(frame["MajorArea"] == k).astype(float) for k in (2, 3, 4)]])
    return frame["yi"].to_numpy(), frame["SD"].to_numpy() ** 2, X


def simulated(shared_data):
    frame = pd.read_csv(shared_data / "sim_fh_d200.csv")
    return (
        frame["y"].to_numpy(), frame["vardir"].to_numpy(),
        np.vstack([np.ones(200), frame["x1"], frame["x2"]]),
    )  # fmt: skip


def brute_posterior(y, D, X, power):
    """Posterior moments of A and of every area by adaptive quadrature over the standard deviation."""

    def parts(A):
        w = 1.0 / (A + D)
        Q = np.linalg.inv((X * w) @ X.T)
        beta = Q @ (X * w) @ y
        residual = y - beta @ X
        logs = 0.5 * (np.log(w).sum() + np.linalg.slogdet(Q)[1] - (w * residual**2).sum())
        B = D * w
        mean = beta @ X + (1 - B) * residual
        return logs, mean, B * A + B**2 * np.einsum("pm,pq,qm->m", X, Q, X)

    top = max(parts(A)[0] for A in np.geomspace(1e-6, 1e3, 200))

    def integral(f):
        def inner(s):
            logs, mean, variance = parts(s * s)
            return np.exp(logs - top) * 2.0 * s ** (2.0 * power + 1.0) * f(s * s, mean, variance)

        return quad(inner, 0.0, np.inf, epsabs=0.0, epsrel=1e-10, limit=500)[0]

    norm = integral(lambda A, m, v: 1.0)
    mean = np.array([integral(lambda A, m, v, i=i: m[i]) for i in range(len(y))]) / norm
    square = np.array([integral(lambda A, m, v, i=i: v[i] + m[i] ** 2) for i in range(len(y))]) / norm
    return integral(lambda A, m, v: A) / norm, mean, np.sqrt(square - mean**2)


@pytest.mark.parametrize(("prior", "power"), [("flat-variance", 0.0), ("flat-sd", -0.5)])
def test_moments_by_adaptive_quadrature(rng, prior, power):
    n = 12
    X = np.vstack([np.ones(n), rng.normal(size=n)])
    D = np.exp(rng.normal(size=n))
    y = rng.normal(size=n) * np.sqrt(D + 0.5)
    posterior = variance_posterior(y, D, X, prior=prior)
    mean, sd = area_mixture(posterior, y, D, X, np.ones(n, bool)).moments()
    expected_A, expected_mean, expected_sd = brute_posterior(y, D, X, power)
    assert posterior.mean == pytest.approx(expected_A, rel=QUADRATURE)
    np.testing.assert_allclose(mean, expected_mean, rtol=QUADRATURE, atol=QUADRATURE)
    np.testing.assert_allclose(sd, expected_sd, rtol=QUADRATURE)


def test_milk_against_hbsae_and_quadrature(shared_data, reference):
    y, D, X = milk(shared_data)
    case = reference("hbsae_milk_fh_area")["outputs"]
    posterior = variance_posterior(y, D, X)
    mean, sd = area_mixture(posterior, y, D, X, np.ones(43, bool)).moments()
    np.testing.assert_allclose(mean, case["HB"]["est"], rtol=HBSAE)
    np.testing.assert_allclose(sd, case["HB"]["se"], rtol=HBSAE)
    assert posterior.mean == pytest.approx(case["HB"]["sv2"], rel=HBSAE)
    assert mean.sum() == pytest.approx(40.76568, abs=5e-6)  # printed figures, methods.md section 4
    assert sd.sum() == pytest.approx(4.40189, abs=5e-6)


@pytest.mark.parametrize("case", ["hbsae_milk_fh_area", "hbsae_sim_fh_d200_area"])
def test_reference_quadrature(shared_data, reference, case):
    y, D, X = milk(shared_data) if "milk" in case else simulated(shared_data)
    expected = reference(case)["outputs"]["exact_quadrature_flat_sigma2"]
    posterior = variance_posterior(y, D, X)
    mean, sd = area_mixture(posterior, y, D, X, np.ones(len(y), bool)).moments()
    assert posterior.mean == pytest.approx(expected["sigma2_mean"], rel=TRAPEZOID)
    np.testing.assert_allclose(mean, expected["theta_mean"], rtol=TRAPEZOID, atol=TRAPEZOID)
    np.testing.assert_allclose(sd, expected["theta_sd"], rtol=TRAPEZOID)
    np.testing.assert_allclose(
        posterior.weights @ posterior.coefficients, expected["beta_mean"], rtol=TRAPEZOID
    )


def test_milk_flat_standard_deviation(shared_data):
    y, D, X = milk(shared_data)
    posterior = variance_posterior(y, D, X, prior="flat-sd")
    mean, sd = area_mixture(posterior, y, D, X, np.ones(43, bool)).moments()
    np.testing.assert_allclose(mean[:3], [1.023568, 1.047379, 1.067708], atol=5e-6)  # methods.md, 6 digits
    np.testing.assert_allclose(sd[:3], [0.114045, 0.071745, 0.074218], atol=5e-6)
    assert posterior.mean == pytest.approx(0.020825, abs=5e-6)


def test_quantiles_invert_the_mixture(rng):
    y, D, X = rng.normal(size=9), np.exp(rng.normal(size=9)), np.ones((1, 9))
    sampled = np.arange(9) != 4
    posterior = variance_posterior(y[sampled], D[sampled], X[:, sampled])
    mixture = area_mixture(posterior, y, D, X, sampled)
    for probability in (1e-4, 0.025, 0.5, 0.975):
        q = mixture.quantile(probability)
        back = mixture.weights @ ndtr((q - mixture.means) / mixture.sds)
        np.testing.assert_allclose(back, probability, rtol=1e-8)


def test_many_areas_approach_the_plug_in(rng):
    n = 4000
    D = rng.uniform(0.5, 1.5, n)
    y = 3.0 + rng.normal(size=n) * np.sqrt(D + 1.0)
    X = np.ones((1, n))
    posterior = variance_posterior(y, D, X)
    A = fit_batch(y, D, X, [0, n]).variance[0, 0]
    _, sd = area_mixture(posterior, y, D, X, np.ones(n, bool)).moments()
    gamma = A / (A + D)
    assert posterior.mean == pytest.approx(A, rel=5e-3)
    np.testing.assert_allclose(sd, np.sqrt(gamma * D), rtol=5e-3)


@pytest.mark.parametrize(("prior", "fewest"), [("flat-variance", 5), ("flat-sd", 4)])
def test_improper_posteriors_are_refused(rng, prior, fewest):
    X = np.vstack([np.ones(fewest), rng.normal(size=fewest)])
    y, D = rng.normal(size=fewest), np.ones(fewest)
    posterior = variance_posterior(y, D, X, prior=prior)
    assert np.isfinite(posterior.weights).all()
    with pytest.raises(ValueError, match="improper"):
        variance_posterior(y[1:], D[1:], X[:, 1:], prior=prior)


@pytest.mark.parametrize("scale", [1e-6, 1e8])
def test_rescaling(rng, scale):
    y, D, X = rng.normal(size=15), np.exp(rng.normal(size=15)), np.ones((1, 15))
    a, b = variance_posterior(y, D, X), variance_posterior(scale * y, scale**2 * D, X)
    assert b.mean == pytest.approx(scale**2 * a.mean, rel=1e-8)
