"""Whether covariates separate the outcomes, so that a logistic likelihood has no maximum."""

from __future__ import annotations

import numpy as np

__all__ = ["separating"]

_SMALLEST = 1e-7  # sum of distances that counts as separated, columns of size one


def separating(X: np.ndarray, ends: np.ndarray) -> np.ndarray | None:
    """Find coefficients along which the likelihood never falls, shape (p,); None where there are none.

    Such a direction raises x'β in no row at the lower end, lowers it in none at the upper end, and leaves it
    in all others. A linear program looks for one.

    Parameters
    ----------
    X : ndarray, shape (n, p)
    ends : ndarray of int, shape (n,)
        -1 where all outcomes are 0, 1 where all are 1, else 0.

    References
    ----------
    Albert and Anderson (1984), Biometrika 71, 1-10; Konis (2007), DPhil thesis, University of Oxford.

    Examples
    --------
    >>> X = np.array([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]])
    >>> separating(X, np.array([-1, 1, 1])) is None, separating(X, np.array([-1, 1, -1])) is None
    (False, True)
    """
    from scipy.optimize import linprog

    inner = ends == 0
    scaled = X / np.linalg.norm(X, axis=0)
    if np.linalg.matrix_rank(scaled[inner]) == X.shape[1]:
        return None
    outer = scaled[~inner] * ends[~inner, None]
    equal = scaled[inner] if inner.any() else None
    found = linprog(
        -outer.sum(axis=0),
        A_ub=-outer,
        b_ub=np.zeros(len(outer)),
        A_eq=equal,
        b_eq=None if equal is None else np.zeros(len(equal)),
        bounds=(-1.0, 1.0),
        method="highs",
    )
    return None if found.status != 0 or -found.fun < _SMALLEST else np.asarray(found.x)
