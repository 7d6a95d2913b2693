"""Logit model of units, summed to cells: against the exponentials it is made of; the kernel, a whole fit."""

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


@dataclass(frozen=True)
class Survey:
    """Units of a survey as a frame, and the module that the timed calls use."""

    frame: Any
    np: Any


def survey():
    """Draw 3,090 units of 60 areas with a covariate that no two of them share: every unit is a cell."""
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(20261122)
    area = np.sort(rng.integers(0, 60, 3090))
    x, z = rng.normal(size=3090), rng.integers(0, 2, 3090)
    eta = -0.5 + 0.4 * x + 0.3 * z + 0.5 * rng.normal(size=60)[area]
    y = rng.binomial(1, 1 / (1 + np.exp(-eta)))
    return Survey(pd.DataFrame({"area": area, "y": y, "x": x, "z": z}), np)


def fit(data):
    import sae

    return sae.LogitMixed("y ~ x + z", domain="area").fit(data.frame, areas=data.frame[["area", "x", "z"]])


def ten_million_exponentials(data):
    for _ in range(1000):
        data.np.exp(data.np.zeros(10_000))


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
    ),
    Case(
        name="logit_mixed_3090_units",
        setup=survey,
        run=fit,
        peer=ten_million_exponentials,
        peer_name="ten million exponentials of numpy, most of which a fit needs",
        check=lambda data, ours, theirs: None,
        unit="fit",
        target="at most 0.3 s: 30 times the peer",
    ),
]
