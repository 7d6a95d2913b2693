"""Second-order MSE of the EBLUPs of `spacetime`: g1 + g2 + 2 g3 - g4, less the bias of the ML estimates.

Written with the covariance of all D T effects, so it is meant for up to some thousands of them. It serves the
spatial model; where effects over time are estimated too the information on the correlations is too weak for
an expansion (the MSE can come out negative), and the parametric bootstrap serves.

References
----------
Singh, Shukla and Kundu (2005), Survey Methodology 31, 183-195; Molina, Salvati and Pratesi (2009),
Computational Statistics 24, 441-458, section 3; Prasad and Rao (1990); Datta and Lahiri (2000).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sae.numerics.linalg.cholesky import factorise
from sae.numerics.spacetime.fit import PARAMETERS, SpaceTimeFit, SpaceTimeProblem, ar1

__all__ = ["SpaceTimeMse", "mse_spacetime"]


@dataclass(frozen=True, eq=False)
class SpaceTimeMse:
    """Parts of the MSE, each of shape (D, T), and what they stand on.

    Attributes
    ----------
    g1, g2, g3, g4 : ndarray
        Predicting the effects, estimating the coefficients, estimating the parameters, and the curvature of
        the covariance in its parameters (0 where it is linear in them).
    bias : ndarray
        Bias of g1 at the ML estimates, to be taken off; 0 for REML.
    mse : ndarray
    information : ndarray, shape (q, q)
        Expected Fisher information of the parameters in `names`.
    names : tuple of str
        Free parameters; the correlation of a variance estimated 0 is none.
    joint : ndarray, shape (D T, D T)
        g1 + g2 as a matrix over all areas and periods, area by area.
    """

    g1: np.ndarray
    g2: np.ndarray
    g3: np.ndarray
    g4: np.ndarray
    bias: np.ndarray
    mse: np.ndarray
    information: np.ndarray
    names: tuple[str, ...]
    joint: np.ndarray


def _curvatures(problem: SpaceTimeProblem, theta: np.ndarray) -> tuple[np.ndarray, dict, dict]:
    """Covariance of the effects, and its first and second derivatives, by parameter name."""
    s1, r1, s2, r2 = theta
    n_areas, n_times = problem.seen.shape
    at = np.array([r1])
    spread = factorise(problem.pattern, problem.omega(at)).solve(np.eye(n_areas))[0]
    slope, bend = problem.as_matrix(problem.omega_slope(at)[0]), problem.as_matrix(2.0 * problem.square)
    once = -spread @ (slope @ spread)
    twice = -2.0 * spread @ (slope @ once) - spread @ (bend @ spread)
    step = 1e-4  # of a smooth function of one number: its slope is exact, its curvature good to 1e-8
    time, turn = ar1(r2, n_times)
    curl = (ar1(r2 + step, n_times)[1] - ar1(r2 - step, n_times)[1]) / (2 * step)

    def area(matrix: np.ndarray) -> np.ndarray:
        return np.kron(matrix, np.ones((n_times, n_times)))

    def within(matrix: np.ndarray) -> np.ndarray:
        return np.kron(np.eye(n_areas), matrix)

    G = area(s1 * spread) + within(s2 * time)
    first = {
        "sigma2_u": area(spread),
        "rho_u": area(s1 * once),
        "sigma2_v": within(time),
        "rho_v": within(s2 * turn),
    }
    second = {
        ("sigma2_u", "rho_u"): area(once),
        ("rho_u", "rho_u"): area(s1 * twice),
        ("sigma2_v", "rho_v"): within(turn),
        ("rho_v", "rho_v"): within(s2 * curl),
    }
    return G, first, second


def mse_spacetime(
    problem: SpaceTimeProblem, fit: SpaceTimeFit, free: tuple[str, ...], *, method: str = "reml"
) -> SpaceTimeMse:
    """MSE of the EBLUP of every area and period, sampled or not.

    Parameters
    ----------
    problem, fit, free, method
        As given to and returned by `fit_spacetime`.
    """
    n_areas, n_times, p = problem.X.shape
    G, first, second = _curvatures(problem, fit.parameters)
    alive = dict(zip(PARAMETERS, fit.parameters, strict=True))
    names = tuple(
        name
        for name in free
        if not name.startswith("rho") or (alive["sigma2_u"] if name.endswith("_u") else alive["sigma2_v"]) > 0
    )
    s = np.flatnonzero(problem.seen.ravel())
    noise = np.zeros_like(G)
    for d in range(n_areas):
        block = slice(d * n_times, (d + 1) * n_times)
        noise[block, block] = problem.psi[d]
    V = G[np.ix_(s, s)] + noise[np.ix_(s, s)]
    V_inv = np.linalg.inv(V)
    X = problem.X.reshape(-1, p)
    weights = G[:, s] @ V_inv
    loose = X - weights @ X[s]
    inside = [first[name][np.ix_(s, s)] for name in names]
    P = V_inv - V_inv @ X[s] @ fit.beta_cov @ X[s].T @ V_inv if method == "reml" else V_inv
    products = [P @ d for d in inside]
    information = 0.5 * np.array([[np.sum(a * b.T) for b in products] for a in products]).reshape(
        len(names), -1
    )
    cov = np.linalg.inv(information)
    bends = [(first[name][:, s] - weights @ d) @ V_inv for name, d in zip(names, inside, strict=True)]
    joint = G - weights @ G[s] + loose @ fit.beta_cov @ loose.T
    g2 = np.einsum("ij,jk,ik->i", loose, fit.beta_cov, loose)
    g1 = np.diag(joint) - g2
    D = np.diag(noise)[s]
    share = D / np.diag(V)
    tiny = share < 1e-3  # from the other end: Psi - Psi V^-1 Psi
    other = D - np.einsum("ij,jk,ik->i", noise[np.ix_(s, s)], V_inv, noise[np.ix_(s, s)], optimize=True)
    g1[s[tiny]] = other[tiny]
    g3, g4, bias = np.zeros_like(g1), np.zeros_like(g1), np.zeros_like(g1)
    for i, a in enumerate(names):
        for j, b in enumerate(names):
            g3 += cov[i, j] * np.einsum("ij,ij->i", bends[i] @ V, bends[j])
            curvature = second.get((a, b), second.get((b, a)))
            if curvature is not None:
                g4 += 0.5 * cov[i, j] * _along(curvature, weights, s)
    if method == "ml":
        lost = [np.sum(fit.beta_cov * (X[s].T @ V_inv @ d @ V_inv @ X[s])) for d in inside]
        drift = -0.5 * cov @ np.array(lost).reshape(len(names))
        for i, name in enumerate(names):
            bias += drift[i] * _along(first[name], weights, s)
    for part in (g4, bias):  # of the order of the square of the share: rounding is more
        part[s[share < 1e-8]] = 0.0
    total = g1 + g2 + 2 * g3 - g4 - bias
    g1, g2, g3, g4, bias, total = (part.reshape(n_areas, n_times) for part in (g1, g2, g3, g4, bias, total))
    return SpaceTimeMse(g1, g2, g3, g4, bias, total, information, names, joint)


def _along(change: np.ndarray, weights: np.ndarray, s: np.ndarray) -> np.ndarray:
    """Change of g1 when the covariance of the effects changes: diag (I - B S) change (I - B S)'."""
    inner = np.einsum("ij,jk,ik->i", weights, change[np.ix_(s, s)], weights, optimize=True)
    return np.diag(change) - 2 * np.einsum("ij,ij->i", weights, change[:, s]) + inner
