"""Residuals on calibration variables: what is left of a linearised variable after the known totals.

A calibrated estimator has the variance of the residuals e = z - x'B, weighted by the calibrated weights,
with B from the regression of z on x under the weights before calibration.

References
----------
Deville and Särndal (1992), JASA 87, 376-382, equations (3.3) and (3.4).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from scipy import sparse

from sae.numerics.compile import compiled
from sae.numerics.design.units import Cells, Level
from sae.numerics.design.variance import units_variance

__all__ = [
    "Matrix",
    "Regression",
    "domain_coefficients",
    "regression",
    "residuals",
    "shared_variance",
    "weighted_totals",
]

_BLOCK = 2_000_000  # numbers in a dense block of unit totals: 16 MB

Matrix: TypeAlias = Any  # ndarray or scipy sparse matrix


@dataclass(frozen=True, eq=False)
class Regression:
    """The calibration variables with what every regression on them shares.

    Attributes
    ----------
    X : ndarray or sparse matrix of float, shape (n, q)
    base : ndarray of float, shape (n,)
        Weights before calibration.
    inverse : ndarray of float, shape (q, q)
        Pseudo-inverse of Σ base x x': dummies of a full set of groups may be collinear.
    """

    X: Matrix
    base: np.ndarray
    inverse: np.ndarray


def regression(X: Matrix, base: np.ndarray) -> Regression:
    """Prepare regressions on `X` under the weights `base`."""
    gram = np.zeros((X.shape[1], X.shape[1]))
    for start in range(0, X.shape[0], 100_000):  # no weighted copy of all of X
        part = X[start : start + 100_000]
        product = part.T @ (sparse.diags(base[start : start + 100_000]) @ part)
        gram += product.toarray() if sparse.issparse(product) else product
    scale = 1.0 / np.sqrt(np.maximum(np.diag(gram), np.finfo(float).tiny))
    inverse = scale[:, None] * np.linalg.pinv(gram * np.outer(scale, scale), hermitian=True) * scale
    return Regression(X, base, inverse)


def residuals(model: Regression, z: np.ndarray) -> np.ndarray:
    """Return z - X B for one linearised variable of shape (n,)."""
    return z - model.X @ (model.inverse @ (model.X.T @ (model.base * z)))


def weighted_totals(group: np.ndarray, n_groups: int, weights: np.ndarray, X: Matrix) -> Matrix:
    """Σ w x by group, shape (n_groups, q); a record with group -1 counts nowhere.

    Parameters
    ----------
    group : ndarray of int, shape (n,)
    n_groups : int
    weights : ndarray of float, shape (n,)
    X : ndarray or sparse matrix, shape (n, q)
    """
    known = group >= 0
    members = sparse.csr_matrix(
        (np.where(known, weights, 0.0), np.where(known, group, 0), np.arange(group.size + 1)),
        shape=(group.size, n_groups),
    )
    return members.T @ X


def domain_coefficients(model: Regression, domain: np.ndarray, z: np.ndarray, n_domains: int) -> np.ndarray:
    """Coefficients B_d, shape (q, n_domains), of 1(d) z on the calibration variables.

    Parameters
    ----------
    model : Regression
    domain : ndarray of int32, shape (n,)
    z : ndarray of float, shape (n,)
        Linearised variable of each record in its own domain, 0 outside the universe.
    n_domains : int
    """
    products = weighted_totals(domain, n_domains, model.base * z, model.X)
    return model.inverse @ (products.toarray() if sparse.issparse(products) else products).T


def shared_variance(
    level: Level, cells: Cells, totals: np.ndarray, shared: Matrix, coefficients: np.ndarray, average: bool
) -> np.ndarray:
    """Variance by domain at one level where every unit carries every domain, in blocks of domains.

    The total of unit c for domain d is its cell total - shared_c'B_d, which is not zero outside the domain.

    Parameters
    ----------
    level : Level
    cells : Cells
    totals : ndarray of float, shape (n_cells,)
        Σ w z of each cell.
    shared : ndarray or sparse matrix, shape (n_units, r)
        Σ w x of each unit.
    coefficients : ndarray of float, shape (r, n_domains)
    average : bool
        As in `cell_variance`.

    Returns
    -------
    ndarray of float, shape (n_domains,)
    """
    n_domains = coefficients.shape[1]
    block = max(1, _BLOCK // level.n_units)
    out = np.empty(n_domains)
    for first in range(0, n_domains, block):
        dense = np.ascontiguousarray(shared @ -coefficients[:, first : first + block])
        _add_cells(dense, cells.starts, cells.domain, totals, first)
        out[first : first + block] = units_variance(level, dense, average)
    return out


@compiled
def _add_cells(dense, starts, domain, totals, first):
    for u in range(starts.size - 1):
        for c in range(starts[u], starts[u + 1]):
            d = domain[c] - first
            if 0 <= d < dense.shape[1]:
                dense[u, d] += totals[c]
