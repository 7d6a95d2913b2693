"""M-quantile models: many regressions on one design against one of statsmodels, areas, and a bootstrap."""

from dataclasses import dataclass
from functools import partial
from typing import Any

from harness import Case

P = 6  # coefficients


@dataclass(frozen=True)
class Units:
    """Units, their areas and cells, and the modules that the timed calls use."""

    y: Any
    X: Any
    area: Any
    areas: int
    rest: Any
    np: Any


def units(number, areas, each=100):
    """Draw units with heavy tails in areas, in coordinates with X'X = n I, and `each` cells an area."""
    import numpy as np

    from sae.numerics.linalg.basis import orthonormal_basis
    from sae.numerics.m_quantile.distribution import Rest

    rng = np.random.default_rng(20261129)
    area = rng.integers(areas, size=number)
    X = np.column_stack([np.ones(number), rng.normal(size=(number, P - 1))])
    y = X.sum(axis=1) + 0.5 * rng.normal(size=areas)[area] + rng.standard_t(3, size=number)
    basis = orthonormal_basis(X, y)
    cells = np.column_stack([np.ones(areas * each), rng.normal(size=(areas * each, P - 1))])
    starts = each * np.arange(areas + 1)
    rest = Rest(basis.of(cells), np.full(len(cells), 3.0), starts, False)
    return Units(y, basis.of(X), area, areas, rest, np)


def regressions(data):
    from sae.numerics.m_quantile.regression import fit_grid

    return fit_grid(data.y, data.X, 1.345)


def statsmodels_fit(data):
    """One robust regression, the order 0.5."""
    import statsmodels.api as sm

    return sm.RLM(data.y, data.X, M=sm.robust.norms.HuberT(1.345)).fit(
        scale_est=sm.robust.scale.mad, tol=1e-10
    )


def same_median(data, ours, theirs):
    # theirs takes the scale about 0 as well
    data.np.testing.assert_allclose(ours.beta[50], theirs.params, atol=1e-5)


def fit(data):
    from sae.numerics.m_quantile.areas import fit_areas

    return fit_areas(data.y, data.X, data.area, data.areas, 1.345)


def bootstrap(data):
    from sae.numerics.m_quantile.bootstrap import bootstrap_errors
    from sae.numerics.m_quantile.distribution import FGT, MEAN, Target

    targets = [Target(MEAN), Target(FGT, 0.5), Target(FGT, 0.5, 1)]
    names = range(data.areas)
    return bootstrap_errors(fit(data), data.rest, targets, adjusted=True, replicates=50, seed=1, names=names)


def memory_pass(data):
    """Read what a regression reads."""
    return data.X.sum() + data.y.sum()


CASES = [
    Case(
        name="m_quantile_101x10000",
        setup=partial(units, 10_000, 500),
        run=regressions,
        peer=statsmodels_fit,
        peer_name="statsmodels RLM, one order",
        check=same_median,
        unit="regression",
        units=101,
        peer_units=1,
        target="under 1 s",
    ),
    Case(
        name="m_quantile_areas_10000x500",
        setup=partial(units, 10_000, 500),
        run=fit,
        peer=memory_pass,
        peer_name="one pass over the same memory",
        unit="regression",
        units=601,
        peer_units=1,
    ),
    Case(
        name="m_quantile_bootstrap_1000x50",
        setup=partial(units, 1_000, 50),
        run=bootstrap,
        repeat=3,
        peer=fit,
        peer_name="one fit",
        unit="replicate",
        units=50,
        peer_units=1,
    ),
]
