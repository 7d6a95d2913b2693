"""Influence of areas: each left out in truth, variances held."""

import numpy as np

from sae.numerics.nested_error.fit import fit_nested_error
from sae.numerics.nested_error.influence import area_influence
from sae.numerics.nested_error.profile import area_sums

EXACT = 1e-9  # rounding only


def test_left_out_areas_move_the_coefficients_as_a_refit_does(rng):
    area = np.repeat(np.arange(7), [1, 2, 3, 3, 4, 5, 7])
    X = np.column_stack([np.ones(25), rng.normal(size=25), area == 6])  # the last area alone tells a column
    k = rng.uniform(0.5, 2.0, 25)
    y = X.sum(axis=1) + rng.normal(size=7)[area] + k * rng.normal(size=25)
    for scale in (None, k):
        sums = area_sums(y, X, area, 8, scale)
        fits = fit_nested_error(sums)
        u2, e2 = fits.sigma2_u[0], fits.sigma2_e[0]
        V = u2 * (area[:, None] == area) + e2 * np.diag(np.ones(25) if scale is None else k**2)
        ours = area_influence(sums, u2, e2, fits.coefficients[0])
        precision = X.T @ np.linalg.solve(V, X)
        for d in range(6):
            kept = area != d
            W = np.linalg.inv(V[np.ix_(kept, kept)])
            move = fits.coefficients[0] - np.linalg.solve(X[kept].T @ W @ X[kept], X[kept].T @ W @ y[kept])
            np.testing.assert_allclose(ours.move[d], move, rtol=1e-7, atol=EXACT)
            np.testing.assert_allclose(ours.cook[d], move @ precision @ move / 3, rtol=1e-7, atol=EXACT)
            gap = sums.y_mean[0, d] - sums.x_mean[d] @ (fits.coefficients[0] - move)
            np.testing.assert_allclose(ours.deleted[d], gap, rtol=1e-7)
            Q = np.linalg.inv(X[kept].T @ W @ X[kept])
            error = u2 + e2 / sums.precision[d] + sums.x_mean[d] @ Q @ sums.x_mean[d]
            np.testing.assert_allclose(ours.spread[d], np.sqrt(error), rtol=1e-7)
        assert np.isnan(ours.cook[6]) and len(ours.cook) == 7
