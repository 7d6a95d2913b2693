"""Structured area effects: one spatial fit, two spatio-temporal fits."""

from dataclasses import dataclass
from typing import Any

from harness import Case


@dataclass(frozen=True)
class Data:
    """A kernel problem on a square map, its free parameters, and dense copies for the peer."""

    problem: Any
    free: Any
    np: Any


def square_map(areas, periods, free):
    """Simulate areas on a square lattice (four neighbours each) with unequal sampling variances."""
    import numpy as np
    from scipy import sparse

    from sae.numerics.spacetime.fit import spacetime_problem

    rng = np.random.default_rng(20261122)
    side = int(np.ceil(np.sqrt(areas)))
    column = np.arange(areas) % side
    pairs = [(i, i + 1) for i in range(areas - 1) if column[i] < side - 1]
    pairs += [(i, i + side) for i in range(areas - side)]
    i, j = np.array(pairs).T
    touch = sparse.coo_matrix((np.ones(len(i)), (i, j)), shape=(areas, areas))
    touch = (touch + touch.T).tocsr()
    W = sparse.diags(1.0 / np.asarray(touch.sum(axis=1)).ravel()) @ touch
    effect = sparse.linalg.spsolve((sparse.identity(areas) - 0.6 * W).tocsc(), 0.7 * rng.normal(size=areas))
    X = np.concatenate([np.ones((areas, periods, 1)), rng.normal(size=(areas, periods, 2))], axis=2)
    vardir = rng.uniform(0.2, 1.0, (areas, periods))
    y = X @ [1.0, 2.0, 1.0] + effect[:, None] + 0.5 * rng.normal(size=(areas, periods))
    return Data(spacetime_problem(y + rng.normal(size=y.shape) * np.sqrt(vardir), X, vardir, W), free, np)


def fit(data):
    from sae.numerics.spacetime.fit import fit_spacetime

    return fit_spacetime(data.problem, data.free).loglik


def dense_likelihood(data):
    """Evaluate the likelihood once with the covariance of all estimates: a search needs dozens of these."""
    np, problem = data.np, data.problem
    areas, periods = problem.seen.shape
    root = np.eye(areas) - 0.6 * problem.weights.toarray()
    between = 0.5 * np.linalg.inv(root.T @ root)
    V = np.kron(between, np.ones((periods, periods)))
    V[np.diag_indices(areas * periods)] += 0.25 + np.diagonal(problem.psi, axis1=1, axis2=2).ravel()
    Z = problem.Z.reshape(areas * periods, -1)
    L = np.linalg.cholesky(V)
    half = np.linalg.solve(L, Z)
    return np.log(np.diag(L)).sum() + (half * half).sum()


SAR = ("sigma2_u", "rho_u")
BOTH = ("sigma2_u", "rho_u", "sigma2_v", "rho_v")


def _case(name, areas, periods, free):
    return Case(
        name=name,
        setup=lambda: square_map(areas, periods, free),
        run=fit,
        peer=dense_likelihood,
        peer_name="one dense likelihood of the same model",
        unit="fit",
    )


CASES = [
    _case("sar_1000", 1000, 1, SAR),
    _case("spacetime_50x20", 50, 20, BOTH),
    _case("spacetime_1000x5", 1000, 5, BOTH),
]
