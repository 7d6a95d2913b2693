"""Logit model of 50,000 units in 1,000 areas, summed to cells: against the exponentials it is made of."""

from dataclasses import dataclass
from typing import Any

from harness import Case

AREAS, UNITS, POINTS, P = 1000, 50_000, 256, 5


@dataclass(frozen=True)
class Units:
    """Units and hyperparameters, and the module that the timed calls use."""

    cells: Any
    beta: Any
    sigma: Any
    np: Any


def units():
    """Draw units whose covariates are four binary ones and so make 16 cells an area, at most."""
    import numpy as np

    from sae.numerics.glmm.unit_logit import Cells

    rng = np.random.default_rng(20261122)
    X = np.column_stack([np.ones(UNITS), rng.integers(0, 2, (UNITS, P - 1))]).astype(float)
    area = rng.integers(0, AREAS, UNITS)
    eta = X @ np.array([-0.5, 0.4, 0.2, 0.0, -0.1]) + 0.5 * rng.normal(size=AREAS)[area]
    y = rng.binomial(1, 1 / (1 + np.exp(-eta))).astype(float)
    beta = np.array([-0.5, 0.4, 0.2, 0.0, -0.1]) + 0.03 * rng.normal(size=(POINTS, P))
    sigma = 0.5 * np.exp(0.05 * rng.normal(size=POINTS))
    return Units(Cells.of(X, y, np.ones(UNITS), area, AREAS), beta, sigma, np)


def marginal(data):
    return data.cells.log_likelihood(data.beta, data.sigma)


def exponentials(data):
    """One exponential per cell and point, and nothing else."""
    return data.np.exp(data.cells.X @ data.beta.T)


def finite(data, ours, theirs):
    assert len(ours) == POINTS and data.np.isfinite(ours).all()
    assert theirs.shape == (len(data.cells.y), POINTS)


CASES = [
    Case(
        name="cells_1000_marginal",
        setup=units,
        run=marginal,
        peer=exponentials,
        peer_name="one exponential per cell and point",
        check=finite,
        unit="unit and point",
        units=UNITS * POINTS,
        peer_units=UNITS * POINTS,
    )
]
