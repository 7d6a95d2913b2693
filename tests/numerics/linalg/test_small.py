"""Factor and solution against numpy, to rounding; what is not positive definite is refused."""

import numpy as np
import pytest

from sae.numerics.compile import compiled
from sae.numerics.linalg.small import factor_small, solve_small


@compiled
def solved(H, g):
    if not factor_small(H):
        return False
    solve_small(H, g)
    return True


@pytest.mark.parametrize("p", [1, 2, 7])
def test_solution(p):
    rng = np.random.default_rng(p)
    root = rng.normal(size=(p + 3, p))
    H, g = root.T @ root, rng.normal(size=p)
    L, x = H.copy(), g.copy()
    assert solved(L, x)
    np.testing.assert_allclose(np.tril(L), np.linalg.cholesky(H), rtol=1e-12)
    np.testing.assert_allclose(x, np.linalg.solve(H, g), rtol=1e-10)


@pytest.mark.parametrize("H", [np.ones((2, 2)), np.diag([1.0, -1.0]), np.full((2, 2), np.nan)])
def test_what_is_not_positive_definite_is_refused(H):
    assert not solved(H.copy(), np.ones(2))
