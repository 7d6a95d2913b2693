"""The posterior with estimated variances of one and two degrees of freedom, against brute force."""

import numpy as np
import pytest
from scipy.special import logsumexp

from sae.numerics.glmm.likelihoods import StudentVariance
from sae.numerics.inference.priors import HALF_NORMAL
from sae.numerics.inference.transforms import TRANSFORMS
from sae.samplers.student_variance import VariancePosterior

POINTS = 0.02  # posterior deviations: 4096 weighted points
TAIL = 0.05  # the same, of a deviation that rests on few points: the outlying mode of a precise estimate
PLACE = 0.02  # of the distribution function: 512 of them
MCSE = 4.5
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(8)


def brute(y, s2, df, scale, quantiles):
    """Posterior means and deviations of θ, β and σ over a box, and P(θ <= quantiles); intercept alone."""
    near = np.concatenate([[0.0], 10.0 ** np.arange(-1.0, 1.6, 0.25)]) * np.sqrt(s2)[:, None]
    wide = np.arange(y.min() - 6.0, y.max() + 6.0, 0.25)
    beta = np.unique(np.concatenate([wide, *(y[:, None] + near), *(y[:, None] - near)]))
    t = np.linspace(-6.0, np.log(5.0 * scale), 20)
    centre, sigma = (part.ravel() for part in np.meshgrid(beta, np.exp(t), indexing="ij"))
    log_weight = -0.5 * (sigma / scale) ** 2 + np.log(sigma) + np.repeat(np.log(np.gradient(beta)), len(t))
    each = []
    for d in range(len(y)):
        sd = np.sqrt(s2[d])
        away = np.concatenate([[0.0], 10.0 ** np.arange(-1.0, 4.0, 0.5) * sd])
        wide = np.arange(y.min() - 12.0, y.max() + 12.0, 0.5)
        fixed = np.concatenate([wide, y[d] + away, y[d] - away, quantiles[:, d]])
        sums = np.empty((3 + len(quantiles), len(centre)))
        for k in range(len(centre)):
            edges = np.concatenate([fixed, centre[k] + sigma[k] * np.arange(-9.0, 9.1, 1.0)])
            edges = np.sort(edges[np.abs(edges - centre[k]) <= 9.0 * sigma[k]])
            half = 0.5 * np.diff(edges)[:, None]
            x = edges[:-1, None] + half * (1.0 + _NODES)
            density = (1.0 + ((x - y[d]) / sd) ** 2 / df[d]) ** (-0.5 * (df[d] + 1.0))
            mass = half * _WEIGHTS * density * np.exp(-0.5 * ((x - centre[k]) / sigma[k]) ** 2) / sigma[k]
            total = mass.sum()
            parts = [mass[x <= q].sum() for q in quantiles[:, d]]
            sums[:, k] = [
                np.log(total),
                (mass * x).sum() / total,
                (mass * x * x).sum() / total,
                *np.divide(parts, total),
            ]
        each.append(sums)
        log_weight = log_weight + sums[0]
    weight = np.exp(log_weight - logsumexp(log_weight))
    mean = np.array([weight @ sums[1] for sums in each])
    sd = np.sqrt(np.array([weight @ sums[2] for sums in each]) - mean**2)
    places = np.array([weight @ sums[3:].T for sums in each]).T
    return (
        mean,
        sd,
        places,
        (weight @ centre, np.sqrt(weight @ centre**2 - (weight @ centre) ** 2)),
        weight @ sigma,
    )


@pytest.mark.parametrize("df", [1.0, 2.0])
def test_two_modes_are_held(df):
    y, s2 = np.array([0.3, -0.2, 4.0, 0.1]), np.array([0.2, 1e-4, 0.01, 0.5])
    posterior = VariancePosterior(
        StudentVariance(y, s2, np.full(4, df), 0.0, 0.0),
        np.ones((5, 1)),
        np.arange(5) < 4,
        (HALF_NORMAL, 1.0),
        TRANSFORMS["identity"],
        list("abcde"),
    )
    places = np.array([0.025, 0.5, 0.975])
    quantiles = posterior.quantiles(places)
    mean, sd, below, (beta, beta_sd), sigma = brute(y, s2, np.full(4, df), 1.0, quantiles[:, :4])
    got, deviation = posterior.moments()
    assert np.abs((got[:4] - mean) / sd).max() < POINTS
    assert np.abs(deviation[:4] / sd - 1).max() < TAIL
    assert np.abs(below - places[:, None]).max() < PLACE
    points, sigmas, weights = posterior.parameters()
    assert abs(weights @ points[:, 0] - beta) < POINTS * beta_sd
    assert weights @ sigmas == pytest.approx(sigma, rel=POINTS)
    assert posterior.diagnostics["quadrature_error"] < 1e-5 and posterior.diagnostics["k_hat"] < 0.5
    # area c has two modes when few degrees of freedom let its estimate be an outlier: draws lie in both
    sample = posterior.draw(8000, 1)
    assert np.abs((sample.values.mean(axis=0) - got) / deviation).max() < MCSE / np.sqrt(8000) + POINTS
    assert np.isfinite(sample.log_likelihood).all() and np.isfinite(posterior.loo()[0]).all()
    assert posterior.shared().shape[0] == 5
