"""A population of a few areas for the tests of the numerics."""

import numpy as np

from sae.numerics.ebp.population import Parameters, Population
from sae.numerics.ebp.transforms import Scale

SCALES = [
    Scale("none"),
    Scale("log", shift=50.0),
    Scale("log-shift", 3000.0),
    Scale("box-cox", 0.4),
    Scale("box-cox", -0.15),
    Scale("box-cox", -0.15, 0.0, 40_000.0),
    Scale("box-cox", 1e-5),
    Scale("dual-power", 0.3, 100.0),
    Scale("dual-power", 0.0),
]
THRESHOLD = 11_000.0


def population(sizes=(40, 0, 90, 7), groups=2, weighted=True, seed=5):
    rng = np.random.default_rng(seed)
    N = int(np.sum(sizes))
    return Population(
        np.column_stack([np.ones(N), rng.normal(size=(N, 2))]),
        np.concatenate([[0], np.cumsum(sizes)]),
        rng.integers(1, 5, size=N).astype(float) if weighted else None,
        rng.integers(groups, size=N) if groups else None,
        groups,
    )


def parameters(scale, areas):
    """Incomes about 18,000 with a coefficient of variation near 0.4, on any scale."""
    middle = float(scale.forward(np.array(18_000.0)))
    unit = float(scale.forward(np.array(24_000.0))) - middle
    effect = 0.3 * unit * np.cos(np.arange(areas))
    beta = np.array([middle, 0.5 * unit, -0.3 * unit])
    return Parameters(scale, beta, (0.4 * unit) ** 2, (0.8 * unit) ** 2, effect, np.full(areas, 0.25 * unit))
