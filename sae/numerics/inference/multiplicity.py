"""p-values of many tests, adjusted for their number."""

from __future__ import annotations

import numpy as np

__all__ = ["adjusted"]


def adjusted(p: np.ndarray, *, dependent: bool = False) -> np.ndarray:
    """Return p-values such that those up to q have a false discovery rate of at most q.

    q_(k) = min over l >= k of m c p_(l) / l, at most 1; c = 1, or Σ 1/l for tests of any dependence.

    Parameters
    ----------
    p : ndarray of float, shape (m,)
    dependent : bool
        Whether nothing is said of the dependence between the tests (Benjamini and Yekutieli).

    References
    ----------
    Benjamini and Hochberg (1995), J. R. Stat. Soc. B 57, 289-300; Benjamini and Yekutieli (2001), Ann. Stat.
    29, 1165-1188, theorem 1.3.

    Examples
    --------
    >>> from sae.numerics.inference.multiplicity import adjusted
    >>> adjusted(np.array([0.01, 0.04, 0.03])).tolist()
    [0.03, 0.04, 0.04]
    """
    size = len(p)
    order = np.argsort(p, kind="stable")
    place = np.arange(1, size + 1)
    factor = size * ((1.0 / place).sum() if dependent else 1.0)
    steps = np.minimum.accumulate((p[order] * factor / place)[::-1])[::-1]
    made = np.empty(size)
    made[order] = np.minimum(steps, 1.0)
    return made
