"""Simulation-based calibration of the Fay–Herriot posterior, and the `Posterior` that wraps it."""

import numpy as np
import pytest
from scipy.special import expit

from sae.numerics.fay_herriot.posterior import Areas, draw_areas, draw_hyper, place_nodes, tiles_of
from sae.numerics.inference.priors import HALF_NORMAL
from sae.numerics.inference.transforms import TRANSFORMS
from sae.numerics.random.streams import stream_keys
from sae.samplers.fay_herriot import FayHerriotPosterior

REPLICATES, DRAWS, AREAS = 4000, 99, 20
BAND = 1.95  # of √n · max |ECDF - uniform|: 1 in 1,000 by the Kolmogorov distribution, for each statistic
Z = 4.5
QUADRATURE = 1e-9  # of an integral over 200,000 points


def distance(ranks):
    """√n times the greatest distance of the distribution of ranks 0 .. DRAWS from the uniform one."""
    share = np.cumsum(np.bincount(ranks, minlength=DRAWS + 1)) / len(ranks)
    return np.sqrt(len(ranks)) * np.abs(share - np.arange(1, DRAWS + 2) / (DRAWS + 1)).max()


def calibrate(replicates, seed, wrong=1.0):
    """Ranks of the truth among the draws: σ, one area with and one without sample, the mean, a coefficient.

    The coefficients are flat, so the truth may fix them at 0: everything moves with them alike.
    """
    rng = np.random.default_rng(seed)
    X = np.vstack([np.ones(AREAS), rng.normal(size=(2, AREAS))])
    D = rng.uniform(0.1, 1.0, AREAS)
    sd = np.abs(rng.normal(size=replicates)) * 0.8
    theta = sd[:, None] * rng.normal(size=(replicates, AREAS))
    y = theta + np.sqrt(D) * rng.normal(size=theta.shape)
    sampled = np.tile(np.arange(AREAS) != AREAS - 1, replicates)
    areas = Areas.of(
        y.ravel(), np.tile(D, replicates), np.tile(X, replicates), sampled, np.arange(replicates + 1) * AREAS
    )
    nodes = place_nodes(areas, [(HALF_NORMAL, 0.8 * wrong)] * replicates, fine=True)
    hyper = draw_hyper(nodes, stream_keys(seed, "σ", range(replicates)), DRAWS)
    drawn = draw_areas(hyper, areas, stream_keys(seed, "θ", range(len(tiles_of(areas.offsets)) - 1)))
    drawn = drawn.reshape(DRAWS, replicates, AREAS)
    return {
        "sigma": (sd > hyper.sd.T).sum(0),
        "sampled": (drawn[..., 0] < theta[:, 0]).sum(0),
        "unsampled": (drawn[..., -1] < theta[:, -1]).sum(0),
        "mean": (drawn.mean(2) < theta.mean(1)).sum(0),
        "coefficient": (hyper.coefficients[..., 1].T < 0.0).sum(0),
    }


def test_simulation_based_calibration():
    for name, ranks in calibrate(REPLICATES, 11).items():
        assert distance(ranks) < BAND, name


def test_calibration_finds_a_wrong_prior():
    assert distance(calibrate(REPLICATES, 11, wrong=0.7)["sigma"]) > 2 * BAND


@pytest.fixture
def posterior(rng):
    """Two fits of 25 and 15 areas, rows interleaved, on the logit scale."""
    n = 40
    order = rng.permutation(n)
    D = rng.uniform(0.05, 0.4, n)
    areas = Areas.of(
        -1.0 + rng.normal(size=n) * np.sqrt(D + 0.2),
        D,
        np.ones((1, n)),
        np.arange(n) % 6 != 2,
        np.array([0, 25, 40]),
    )
    return FayHerriotPosterior(
        areas,
        [(HALF_NORMAL, 1.0), (HALF_NORMAL, 0.5)],
        TRANSFORMS["logit"],
        [f"a{i}" for i in range(n)],
        ["2020", "2021"],
        order,
    )


def test_reported_scale_against_draws(posterior):
    n = 20_000
    sample = posterior.draw(n, 3)
    mean, sd = posterior.moments()
    assert np.abs((sample.values.mean(0) - mean) / sd * np.sqrt(n)).max() < Z
    np.testing.assert_allclose(sample.values.std(0), sd, rtol=0.05)
    low, high = posterior.quantiles(np.array([0.05, 0.95]))
    inside = ((sample.values > low) & (sample.values < high)).mean(0)
    assert np.abs(inside - 0.9).max() < Z * np.sqrt(0.09 / n)
    above = posterior.exceedance(0.3)
    assert np.abs((sample.values > 0.3).mean(0) - above).max() < Z * 0.5 / np.sqrt(n)
    assert posterior.exceedance(0.0).min() == 1.0 and posterior.exceedance(1.0).max() == 0.0
    np.testing.assert_array_equal(posterior.values(50, 3), sample.values[:50])


def test_sample_of_the_observed_figures(posterior):
    n = 20_000
    sample = posterior.draw(n, 3)
    sampled = posterior.order[posterior.areas.sampled[posterior.order]]
    y, D = posterior.areas.y[sampled], posterior.areas.vardir[sampled]
    theta = np.log(sample.values / (1 - sample.values))[:, posterior.areas.sampled[posterior.order]]
    expected = -0.5 * (np.log(2 * np.pi * D) + (y - theta) ** 2 / D)
    np.testing.assert_allclose(sample.log_likelihood, expected, rtol=1e-9, atol=1e-9)
    noise = np.log(sample.replicated / (1 - sample.replicated)) - theta
    np.testing.assert_allclose(noise.std(0), np.sqrt(D), rtol=0.05)
    assert np.abs(np.corrcoef(noise.T, theta.T) - np.eye(2 * len(D)))[: len(D), len(D) :].max() < 0.05
    assert set(sample.parameters) == {"sigma_u[2020]", "beta[2020]", "sigma_u[2021]", "beta[2021]"}
    found, k = posterior.loo()
    assert np.isfinite(found).all() and np.isnan(k).all() and found.shape == (len(D),)


def test_loo_agrees_with_importance_from_the_draws(posterior):
    """1 / E[1 / p(y | θ)] over draws estimates the same density, if roughly."""
    found, _ = posterior.loo()
    sample = posterior.draw(40_000, 5)
    rough = -np.log(np.exp(-sample.log_likelihood).mean(0))
    assert np.median(np.abs(found - rough)) < 0.02


def test_moments_by_quadrature_on_the_reported_scale(posterior):
    """The mixture of one area on a dense grid of its normal scale."""
    from sae.numerics.fay_herriot.mixture import area_mixture

    mixture = area_mixture(posterior.nodes, posterior.areas, 1)
    grid = np.linspace(-12.0, 10.0, 200_001)
    z = (grid[:, None] - mixture.means[:, 3]) / mixture.sds[:, 3]
    density = (np.exp(-0.5 * z * z) / mixture.sds[:, 3]) @ mixture.weights
    density /= density.sum()
    row = int(np.flatnonzero(posterior.order == 28)[0])
    mean, sd = posterior.moments()
    first = density @ expit(grid)
    assert mean[row] == pytest.approx(first, rel=QUADRATURE)
    assert sd[row] == pytest.approx(np.sqrt(density @ (expit(grid) - first) ** 2), rel=QUADRATURE)


def test_parameters(posterior):
    draws = posterior.draw(40_000, 9)
    deviation = posterior.deviations([0.025, 0.5, 0.975])
    beta = posterior.coefficients([0.1])
    for k, fit in enumerate(posterior.fits):
        sd, b = draws.parameters[f"sigma_u[{fit}]"], draws.parameters[f"beta[{fit}]"][:, 0]
        assert sd.mean() == pytest.approx(deviation.mean[k], abs=Z * deviation.sd[k] / 200)
        shares = (sd[:, None] < deviation.quantiles[:, k]).mean(0)
        np.testing.assert_allclose(shares, [0.025, 0.5, 0.975], atol=Z * 0.5 / 200)
        assert (b < beta.quantiles[0, k, 0]).mean() == pytest.approx(0.1, abs=Z * 0.3 / 200)
    assert posterior.diagnostics["quadrature_error"] < 1e-9
    assert posterior.source.startswith("exact posterior, ")
