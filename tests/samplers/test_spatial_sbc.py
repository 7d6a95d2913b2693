"""Simulation-based calibration of spatial and temporal posteriors: ranks of the truth among joint draws."""

import numpy as np
import pytest
from scipy import sparse

from sae.numerics.inference.priors import HALF_NORMAL
from sae.numerics.spacetime.area_field import area_field
from sae.numerics.spacetime.precision import independent, map_structure
from sae.samplers.gaussian_field import gaussian_field

DRAWS, SCALE = 39, 1.0
FEW, MANY = 40, 1000
MODELS = [("bym2", None), ("leroux", None), ("iid", "ar1"), ("car", None), ("sar", None), ("icar", "rw1")]


def calibrate(kind, temporal, replicates, seed, wrong=1.0):
    """Ranks of σ, ρ, a sampled, an unsampled row and the mean of all rows.

    The coefficients are flat, so the truth may fix them at 0: everything moves with them alike. Effects are
    drawn from dense covariances that the test computes itself.
    """
    rng = np.random.default_rng(seed)
    D, T = 8, 1 if temporal is None else 3
    A = np.zeros((D, D))  # a ring of five, a pair, an island
    for a, b in [(0, 1), (1, 2), (2, 3), (3, 4), (4, 0), (5, 6)]:
        A[a, b] = A[b, a] = 1.0
    structure = independent(D) if kind == "iid" else map_structure(kind, sparse.csr_matrix(A))
    area, period = (grid.ravel() for grid in np.meshgrid(range(D), range(T), indexing="ij"))
    X = np.column_stack([np.ones(D * T), rng.normal(size=D * T)])
    psi = rng.uniform(0.1, 0.5, (D, T, 1)) * np.eye(T)
    ranks = []
    for replicate in range(replicates):
        prior = ((HALF_NORMAL, SCALE),) * 2
        empty = area_field(structure, np.zeros(D * T), X, psi, area, period, temporal=temporal, priors=prior)
        # the truth in working values: their prior is normal for ρ; σ by its own quantile
        truth = {
            name: abs(rng.normal()) * SCALE if ends is None else rng.uniform(*ends)
            for name, ends in empty.bounds.items()
        }
        x = effect(kind, A, truth.get("rho_u", 1.0), rng) * truth["sigma_u"]
        v = np.zeros((D, T))
        if temporal == "ar1":
            lag = np.abs(np.subtract.outer(range(T), range(T)))
            v = truth["sigma_v"] * rng.normal(size=(D, T)) @ np.linalg.cholesky(truth["rho_v"] ** lag).T
        elif temporal == "rw1":
            walk = np.cumsum(rng.normal(size=(D, T)), axis=1)
            walk -= walk.mean(axis=1, keepdims=True)
            spread = np.linalg.pinv(np.diff(np.eye(T), axis=0).T @ np.diff(np.eye(T), axis=0), rcond=1e-10)
            v = truth["sigma_v"] * walk / np.exp(0.5 * np.log(np.diag(spread)).mean())
        theta = x[area] + v[area, period]
        y = theta + np.sqrt(psi[area, period, period]) * rng.normal(size=D * T)
        y[-T - 1] = np.nan
        prior = ((HALF_NORMAL, SCALE * wrong),) * 2
        model = area_field(structure, y, X, psi, area, period, temporal=temporal, priors=prior)
        drawn = gaussian_field(model, tolerance=0.05).draw(DRAWS, replicate)
        hyper = [(drawn.parameters[name] < truth[name]).sum() for name in model.bounds]
        rows = [(drawn.values[:, r] < theta[r]).sum() for r in (0, D * T - T - 1)]
        ranks.append([*hyper, *rows, (drawn.values.mean(axis=1) < theta.mean()).sum()])
    return np.array(ranks)


def effect(kind, A, r, rng):
    """One draw of the standardised area effects, from dense matrices."""
    degree = A.sum(axis=1)
    identity, alone = np.eye(len(A)), np.diag((degree == 0).astype(float))
    R = np.diag(degree) - A
    if kind == "iid":
        return rng.normal(size=len(A))
    if kind == "sar":
        return np.linalg.solve(identity - r * A / np.maximum(degree, 1.0)[:, None], rng.normal(size=len(A)))
    if kind in ("car", "leroux"):
        Q = R + alone + (1 - r) * A if kind == "car" else (1 - r) * (identity - alone) + r * R + alone
        return np.linalg.solve(np.linalg.cholesky(Q).T, rng.normal(size=len(A)))
    S = np.linalg.pinv(R, rcond=1e-10)
    for part in ([0, 1, 2, 3, 4], [5, 6]):
        S[np.ix_(part, part)] /= np.exp(np.log(np.diag(S)[part]).mean())
    size, turn = np.linalg.eigh(S + alone)
    shared = turn @ (np.sqrt(np.maximum(size, 0.0)) * rng.normal(size=len(A)))
    return shared if kind == "icar" else np.sqrt(1 - r) * rng.normal(size=len(A)) + np.sqrt(r) * shared


def test_calibrated(assert_uniform):
    assert_uniform(calibrate("bym2", None, FEW, 7), DRAWS)


def test_calibration_finds_a_wrong_prior(assert_uniform):
    with pytest.raises(AssertionError, match="not uniform"):
        assert_uniform(calibrate("leroux", None, FEW, 7, wrong=0.2), DRAWS)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "temporal"), MODELS)
def test_calibrated_with_many_replicates(kind, temporal, assert_uniform):
    assert_uniform(calibrate(kind, temporal, MANY, 8), DRAWS)
