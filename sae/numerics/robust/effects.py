"""Robust effects of areas and of areas by periods at given parameters: sparse clipped equations."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import splu

from sae.numerics.linalg.cholesky import factorise
from sae.numerics.spacetime.likelihood import _R1, _R2, _S1, _S2, ar1

__all__ = ["clip_weight", "effect_system", "effects", "seen_rows"]


def clip_weight(r, k):
    """Give psi(r) / r of Huber's psi."""
    return k / np.maximum(np.abs(r), k)


def effect_system(problem, theta):
    """Give incidence on all cells, precision and deviations of the effects, without those of variance 0."""
    n_areas, n_times = problem.seen.shape
    cells = n_areas * n_times
    incidence, precision, sd = [], [], []
    if theta[_S1] > 0:
        at = theta[_R1 : _R1 + 1]
        omega = problem.omega(at)
        diagonal = factorise(problem.pattern, omega).inverse().diagonal()[0]
        incidence.append(sparse.kron(sparse.identity(n_areas), np.ones((n_times, 1))))
        precision.append(problem.as_matrix(omega[0]) / theta[_S1])
        sd.append(np.sqrt(theta[_S1] * diagonal))
    if theta[_S2] > 0:
        covariance = theta[_S2] * ar1(theta[_R2], n_times)[0]
        incidence.append(sparse.identity(cells))
        precision.append(sparse.kron(sparse.identity(n_areas), np.linalg.inv(covariance)))
        sd.append(np.full(cells, np.sqrt(covariance[0, 0])))
    if not sd:
        return sparse.csr_matrix((cells, 0)), sparse.csr_matrix((0, 0)), np.empty(0)
    return sparse.hstack(incidence).tocsr(), sparse.block_diag(precision).tocsr(), np.concatenate(sd)


def effects(problem, theta, beta, k):
    """Solve J' D^-1/2 psi(D^-1/2 (e - J u)) = G^-1 S psi(S^-1 u), S^2 = diag(G).

    Returns the effects of areas, of cells, and the largest equation relative to its largest term.
    """
    n_areas, n_times = problem.seen.shape
    J, precision, sd = effect_system(problem, theta)
    if len(sd) == 0:
        return np.zeros(n_areas), np.zeros((n_areas, n_times)), 0.0
    J, D, e = seen_rows(problem, J, beta)
    noise = np.sqrt(D)

    def equation(u):
        data = J.T @ (np.clip((e - J @ u) / noise, -k, k) / noise)
        prior = precision @ (sd * np.clip(u / sd, -k, k))
        return (data - prior) * sd, max(np.abs(data * sd).max(), np.finfo(float).tiny)

    u = np.zeros(len(sd))
    value, largest = equation(u)
    for count in range(300):
        left, right = (e - J @ u) / noise, u / sd
        newton = count > 3  # clipped terms keep a tenth of their weight: else the system can be singular
        inner, outer = clip_weight(left, k), clip_weight(right, k)
        if newton:
            inner[inner < 1.0] *= 0.1
            outer[outer < 1.0] *= 0.1
        system = splu((J.T @ sparse.diags(inner / D) @ J + precision @ sparse.diags(outer)).tocsc())
        before = np.abs(value).max()
        if newton:
            step = system.solve(value / sd)
            tried = [(part, equation(u + part * step)) for part in (1.0, 0.5, 0.25, 0.125, 0.05)]
            part, (value, largest) = min(tried, key=lambda pair: np.linalg.norm(pair[1][0]))
            u = u + part * step
        else:
            u = system.solve(J.T @ (inner / D * e))
            value, largest = equation(u)
        reached = np.abs(value).max()
        if reached < 1e-13 * largest or (reached < 1e-11 * largest and reached > 0.5 * before):
            break  # only rounding is left
    areas = u[:n_areas] if theta[_S1] > 0 else np.zeros(n_areas)
    cells = u[-problem.seen.size :] if theta[_S2] > 0 else np.zeros(problem.seen.size)
    return areas, cells.reshape(n_areas, n_times), float(np.abs(value).max() / largest)


def seen_rows(problem, J, beta):
    """Rows of J, sampling variances and residuals of the cells with a direct estimate."""
    seen = problem.seen
    residual = problem.Z[seen] @ np.append(-beta, 1.0)
    return J[seen.ravel()], np.einsum("dtt->dt", problem.psi)[seen], residual
