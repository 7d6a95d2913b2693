import numpy as np
import pytest
from scipy import stats

from sae.numerics.inference.psis import effective_draws, ess, fit_pareto, psis, psis_loo, r_hat

# arviz computes the same definitions; its own copies differ in rounding only
SAME = 1e-8


def weights_of(rng, scale, size=4000):
    """Log weights of N(0, scale²) draws for the target N(0, 1)."""
    x = rng.normal(0.0, scale, size)
    return stats.norm.logpdf(x) - stats.norm.logpdf(x, scale=scale), x


def test_pareto_shape_is_found(rng):
    x = np.sort(stats.genpareto.rvs(0.4, scale=2.0, size=200_000, random_state=rng))
    k, sigma = fit_pareto(x)
    # standard error of k is (1 + k) / √n = 0.003
    assert abs(k - 0.4) < 0.013 and abs(sigma - 2.0) < 0.05


@pytest.mark.parametrize("scale", [0.5, 0.8, 1.3])
def test_psis_agrees_with_arviz(rng, scale):
    az = pytest.importorskip("arviz")
    if not hasattr(az, "psislw"):
        pytest.skip("this arviz has no psislw")
    log_weights, _ = weights_of(rng, scale)
    theirs, k_theirs = az.psislw(log_weights.copy())
    ours, k = psis(log_weights)
    assert abs(k - float(k_theirs)) < SAME
    np.testing.assert_allclose(np.exp(ours), np.exp(np.asarray(theirs)), rtol=1e-6, atol=1e-12)


def test_a_proposal_too_narrow_is_told_apart(rng):
    # draws from N(0, s²) for N(0, 1): the weights have a Pareto tail with k = 1 - s²
    assert psis(weights_of(rng, 0.4, 40_000)[0])[1] > 0.7
    assert psis(weights_of(rng, 1.2, 40_000)[0])[1] < 0.3


def test_smoothed_weights_estimate_the_target(rng):
    log_weights, x = weights_of(rng, 0.85, 40_000)
    w = np.exp(psis(log_weights)[0])
    assert abs(w.sum() - 1) < 1e-12
    assert abs(w @ x**2 - 1.0) < 4 * np.sqrt(2.0 / effective_draws(log_weights))


def test_degenerate_weights():
    smoothed, k = psis(np.zeros(100))
    assert k == -np.inf and np.allclose(np.exp(smoothed), 0.01)
    assert psis(np.array([0.0, -1.0, -2.0]))[1] == np.inf
    assert effective_draws(np.zeros(50)) == pytest.approx(50)


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.9, -0.5])
def test_ess_and_r_hat_agree_with_arviz(rng, phi):
    az = pytest.importorskip("arviz")
    chains = np.empty((4, 1000))
    chains[:, 0] = rng.normal(size=4)
    for t in range(1, 1000):
        chains[:, t] = phi * chains[:, t - 1] + np.sqrt(1 - phi**2) * rng.normal(size=4)
    theirs = float(np.asarray(az.ess(chains, method="bulk")).ravel()[0]) if hasattr(az, "psislw") else None
    if theirs is not None:
        assert ess(chains) == pytest.approx(theirs, rel=0.02)  # arviz ends Geyer's sequence one pair apart
        assert r_hat(chains) == pytest.approx(float(az.rhat(chains)), rel=SAME)
    # the effective size of an AR(1) chain's mean
    expected = 4000 * (1 - phi) / (1 + phi)
    assert 0.7 * expected < ess(chains) < 1.4 * expected


def test_r_hat_sees_a_chain_apart(rng):
    chains = rng.normal(size=(4, 500))
    assert r_hat(chains) < 1.02
    chains[0] += 2.0
    assert r_hat(chains) > 1.2


def test_loo_of_a_normal_mean_by_refitting(rng):
    """y_i ~ N(μ, 1), μ flat: p(y_i | others) is N(mean of the others, 1 + 1 / (n - 1))."""
    y = rng.normal(size=30)
    mu = rng.normal(y.mean(), 1 / np.sqrt(30), size=40_000)
    elpd, k = psis_loo(stats.norm.logpdf(y, mu[:, None]))
    others = (y.sum() - y) / 29
    exact = stats.norm.logpdf(y, others, np.sqrt(1 + 1 / 29))
    assert np.abs(elpd - exact).max() < 0.01 and k.max() < 0.7
