"""Degrees of freedom of a mean squared error: against dense matrices and limiting cases."""

import numpy as np
import pytest

from sae.numerics.ebp.freedom import error_freedom
from sae.numerics.ebp.population import Level, Population
from sae.numerics.ebp.units import SampleUnits
from sae.numerics.nested_error.mse import variance_information

STEPS = 1e-3  # two numerical derivatives
N = np.array([40, 15, 30, 0, 25, 60])
SAMPLED = np.array([3, 0, 8, 0, 20, 5])
AREA = np.repeat(np.arange(6), SAMPLED)


def case():
    rng = np.random.default_rng(2)
    X = np.column_stack([np.ones(len(AREA)), rng.normal(size=len(AREA))])
    units = SampleUnits.of(X, AREA, 6)
    people = Population(
        np.column_stack([np.ones(N.sum()), rng.normal(size=N.sum())]), np.concatenate([[0], np.cumsum(N)])
    )
    return units, people, units.sums(rng.normal(size=(1, len(AREA))))


def dense(units, people, part, u2, e2):
    """Variance of the error of the mean of some areas: of effects, of the coefficients, of the persons."""
    V = u2 * np.equal.outer(AREA, AREA) + e2 * np.eye(len(AREA))
    inverse = np.linalg.inv(V)
    Q = np.linalg.inv(units.X.T @ inverse @ units.X)
    of = np.repeat(np.arange(6), N)
    share = np.where(part, N, 0) / N[part].sum()
    C = u2 * share[AREA]  # covariance of Σ s u with the units
    b = C @ inverse
    x = people.X[np.isin(of, np.flatnonzero(part))].mean(axis=0)
    a = x - b @ units.X
    seen = part & (N > 0)
    return u2 * (share**2).sum() - b @ C + a @ Q @ a + e2 * (share[seen] ** 2 / N[seen]).sum()


@pytest.mark.parametrize(("u2", "e2"), [(0.3, 1.0), (0.0, 2.0), (5.0, 0.1)])
def test_by_dense_matrices(u2, e2):
    units, people, sums = case()
    levels = [Level.of_areas(6), Level(np.array([0, 0, 1, 1, 0, 1]), 2)]
    got = error_freedom(people, sums, levels, u2, e2)
    assert np.isnan(got[0][3])
    spread = variance_information(sums.n, sums.precision, u2, e2)
    step_u, step_e = 1e-5 * (u2 + 0.1 * e2), 1e-5 * e2
    for level, values in zip(levels, got, strict=True):
        for k in range(level.size):
            part = level.part == k
            if N[part].sum() == 0:
                continue
            at = dense(units, people, part, u2, e2)
            slope = np.array(
                [
                    (dense(units, people, part, u2 + step_u, e2) - at) / step_u,
                    (dense(units, people, part, u2, e2 + step_e) - at) / step_e,
                ]
            )
            assert values[k] == pytest.approx(2.0 * at**2 / (slope @ spread @ slope), rel=STEPS)


def test_an_area_without_units_has_the_freedom_of_the_areas_alone():
    """With σu² far above σe² and few coefficients: an analysis of variance of m means."""
    m = 200
    area = np.repeat(np.arange(m), 4)
    units = SampleUnits.of(np.ones((len(area), 1)), area, m + 1)
    sums = units.sums(np.random.default_rng(1).normal(size=(1, len(area))))
    people = Population(np.ones((50 * (m + 1), 1)), 50 * np.arange(m + 2))
    (freedom,) = error_freedom(people, sums, [Level.of_areas(m + 1)], 100.0, 1.0)
    assert freedom[m] == pytest.approx(m, rel=0.01)
    assert freedom[0] == pytest.approx(3 * m, rel=0.02)  # units within areas
