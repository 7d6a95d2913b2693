"""The linear model of multinomial logits by dense matrices, roots of the covariance by their prior."""

import numpy as np
import pytest
from scipy import stats
from scipy.special import log_softmax, ndtr

from sae.numerics.glmm.multinomial import Parabolas, mean_shares, root_of, split_root
from sae.numerics.inference.priors import HALF_CAUCHY, HALF_NORMAL, PC

DENSE = 1e-9  # dense algebra of 20 unknowns against elimination by area
EXACT = 1e-12
CURVED = 1e-5  # third derivatives times the step of a difference, squared
P_VALUE = 1e-4  # of a test on draws that are the same in every run

D, K, P = 4, 4, 2


@pytest.fixture
def linear(rng):
    counts = rng.integers(0, 9, (K, D)) + 0.5
    X = np.vstack([np.ones(D), rng.normal(size=D)])
    return Parabolas.at(counts, X, 0.5 * rng.normal(size=(3, K - 1, D)), wide=2.0)


@pytest.fixture
def roots(rng):
    return root_of(rng.normal(size=(3, 6)), HALF_NORMAL, np.array([0.5, 1.0, 2.0]))


def dense(linear, root):
    """Precision and mean of all coefficients (k, p) and z (k, D), and the log evidence, of one root."""
    k = K - 1
    logits = np.zeros((k, D, k * P + k * D))
    for i in range(k):
        for d in range(D):
            logits[i, d, i * P : (i + 1) * P] = linear.X[:, d]
            logits[i, d, k * P + d :: D] = root[i]
    precision = np.diag(np.r_[np.full(k * P, linear.wide**-2), np.ones(k * D)])
    precision += np.einsum("idm,ijd,jdn->mn", logits, linear.curvature, logits)
    force = np.einsum("id,idm->m", linear.slope, logits)
    mean = np.linalg.solve(precision, force)
    return logits, precision, mean, 0.5 * force @ mean - 0.5 * np.linalg.slogdet(precision)[1]


def test_standard_normals_become_the_normal_posterior_of_the_linear_model(linear, roots, rng):
    k = K - 1
    for root in roots:
        logits, precision, mean, evidence = dense(linear, root)

        def at(white, e, root=root):
            given = linear.given(root[None], white[None])
            return given, given.logits(e[None])[0]

        given, eta = at(np.zeros(k * P), np.zeros((k, D)))
        assert given.log_evidence[0] == pytest.approx(evidence, abs=DENSE)
        np.testing.assert_allclose(given.beta.ravel(), mean[: k * P], atol=DENSE)
        np.testing.assert_allclose(eta, logits @ mean, atol=DENSE)
        # an affine map of standard normals: its columns give the covariance of the logits
        units = np.eye(k * (P + D))
        columns = [(at(u[: k * P], u[k * P :].reshape(k, D))[1] - eta).ravel() for u in units]
        flat = logits.reshape(k * D, -1)
        covariance = flat @ np.linalg.solve(precision, flat.T)
        np.testing.assert_allclose(np.transpose(columns) @ columns, covariance, atol=DENSE)


def test_chains_know_nothing_of_each_other(linear, roots, rng):
    white, e = rng.normal(size=(3, 3 * P)), rng.normal(size=(3, 3, D))
    together = linear.given(roots, white)
    alone = linear.given(roots[1:2], white[1:2])
    np.testing.assert_array_equal(together.logits(e)[1], alone.logits(e[1:2])[0])
    assert together.log_evidence[1] == alone.log_evidence[0]


def test_the_remainder_is_what_the_parabola_leaves_out(rng):
    counts, eta = rng.integers(0, 9, (K, D)).astype(float), rng.normal(size=(1, K - 1, D))
    by_hand = (counts * log_softmax(np.vstack([eta[0], np.zeros(D)]), axis=0)).sum(axis=0)
    flat = Parabolas(counts, np.ones((1, D)), np.zeros((3, D)), np.zeros((3, 3, D)), 1.0)
    np.testing.assert_allclose(flat.remainder(eta)[0], by_hand, rtol=EXACT)
    one = Parabolas.at(counts, np.ones((1, D)), eta, wide=1.0)
    ways = 1e-3 * rng.normal(size=(50, K - 1, D))  # slope and curvature at the point are exact there
    assert np.ptp(one.remainder(eta + ways), axis=0).max() < CURVED
    p, spread = mean_shares(eta)
    shares = np.exp(log_softmax(np.vstack([eta[0], np.zeros(D)]), axis=0))
    np.testing.assert_allclose(p, shares[:-1], rtol=EXACT)
    np.testing.assert_allclose(spread[0, 1], -p[0] * p[1], rtol=EXACT)


@pytest.mark.parametrize(
    ("code", "prior"), [(HALF_NORMAL, stats.halfnorm), (HALF_CAUCHY, stats.halfcauchy), (PC, stats.expon)]
)
def test_scores_are_quantiles_of_the_prior(code, prior):
    x = np.array([-6.0, -2.0, -0.3, 0.0, 0.7, 3.0, 6.0])
    scores = np.column_stack([x, x, x])
    sd, rho = split_root(root_of(scores, code, np.array([1.0, 3.0])))
    upper = prior.isf(ndtr(-x))
    np.testing.assert_allclose(sd, np.column_stack([upper, 3.0 * upper]), rtol=1e-7, atol=1e-15)
    np.testing.assert_allclose(rho[:, 0], 2.0 * ndtr(x) - 1.0, atol=EXACT)


def test_correlations_are_uniform_over_correlation_matrices(rng):
    """All marginals are those of LKJ(1), and the volume of the matrix is distributed as by rejection."""
    scores = rng.normal(size=(4000, 10))
    root = root_of(scores, HALF_NORMAL, np.ones(4))
    sd, rho = split_root(root)
    for column in rho.T:
        assert stats.kstest((column + 1.0) / 2.0, stats.beta(2.0, 2.0).cdf).pvalue > P_VALUE
    some = np.tile(np.eye(4), (60_000, 1, 1))
    row, column = np.tril_indices(4, -1)
    some[:, row, column] = some[:, column, row] = rng.uniform(-1.0, 1.0, (len(some), 6))
    volume = np.linalg.det(some[np.linalg.eigvalsh(some)[:, 0] > 0.0])
    own = np.prod(np.diagonal(root, axis1=1, axis2=2) / sd, axis=1) ** 2
    assert stats.ks_2samp(own, volume).pvalue > P_VALUE


def test_variances_beyond_the_last_digit_have_no_evidence(linear):
    root = np.tile(np.eye(3), (2, 1, 1))
    root[1] = 1e200 * np.tril(np.ones((3, 3)))
    with np.errstate(all="ignore"):
        given = linear.given(root, np.zeros((2, 3 * P)))
    assert np.isfinite(given.log_evidence[0]) and given.log_evidence[1] == -np.inf
