"""Fay–Herriot fits: many small problems in one call, one large problem, the bootstrap."""

from dataclasses import dataclass
from typing import Any

from harness import Case

P = 5  # coefficients
SIGMA_U = 0.5


@dataclass(frozen=True)
class Problems:
    """Concatenated problems: `areas` each, X transposed, and the modules that the timed calls use."""

    y: Any
    vardir: Any
    X: Any
    offsets: Any
    np: Any


def problems(number, areas):
    """Draw problems with vardir ~ U(0.1, 1) and a model variance of 0.25."""
    import numpy as np

    rng = np.random.default_rng(20261122)
    total = number * areas
    X = np.vstack([np.ones(total), rng.normal(size=(P - 1, total))])
    vardir = rng.uniform(0.1, 1.0, total)
    y = X.sum(axis=0) + rng.normal(size=total) * np.sqrt(SIGMA_U**2 + vardir)
    return Problems(y, vardir, X, np.arange(number + 1, dtype=np.int64) * areas, np)


def reml(data):
    from sae.numerics.fay_herriot.fit import fit_batch

    return fit_batch(data.y, data.vardir, data.X, data.offsets, "reml").variance[0]


def scipy_reml(data, number):
    """Fit the first problems one by one: the profile in numpy, the maximum by scipy's bounded search."""
    from scipy.optimize import minimize_scalar

    np = data.np
    found = np.empty(number)
    for k in range(number):
        rows = slice(data.offsets[k], data.offsets[k + 1])
        y, vardir, X = data.y[rows], data.vardir[rows], data.X[:, rows]

        def minus(A, y=y, vardir=vardir, X=X):
            w = 1.0 / (A + vardir)
            XW = X * w
            gram = XW @ X.T
            residual = y - np.linalg.solve(gram, XW @ y) @ X
            return np.linalg.slogdet(gram)[1] - np.log(w).sum() + w @ residual**2

        found[k] = minimize_scalar(minus, bounds=(0.0, 4.0), method="bounded", options={"xatol": 1e-6}).x
    return found


def same_variances(data, ours, theirs):
    """Scipy's bounded search stops near, not at, the maximum, and cannot return its end point 0."""
    data.np.testing.assert_allclose(ours[: len(theirs)], theirs, atol=1e-4)


def fit_and_mse(data):
    """Fit one problem and evaluate the analytical MSE of every area: all the numbers of a table."""
    from sae.numerics.fay_herriot.fit import fit_batch
    from sae.numerics.fay_herriot.mse import predict

    np = data.np
    fits = fit_batch(data.y, data.vardir, data.X, data.offsets, "reml")
    sampled = np.ones(len(data.y), dtype=bool)
    A, beta = float(fits.variance[0, 0]), fits.coefficients[0, 0]
    return predict(A, beta, fits.root[0, 0], data.y, data.vardir, data.X, sampled, "reml").mse


def one_pass(data):
    """Read design, variances and estimates once: what no fit can undercut."""
    return data.X.sum() + data.vardir.sum() + data.y.sum()


def with_frame(data):
    """Put the same problem into a frame, as a user holds it."""
    import pandas as pd

    columns = {f"x{j}": data.X[j] for j in range(1, P)}
    labels = [f"A{i}" for i in range(len(data.y))]
    return data, pd.DataFrame({"domain": labels, "y": data.y, "vardir": data.vardir, **columns})


def public_fit(state):
    import sae

    return sae.FayHerriot("y ~ x1 + x2 + x3 + x4").fit(state[1]).estimates["mse"].to_numpy()


def same_mse(state, ours, theirs):
    state[0].np.testing.assert_allclose(ours, theirs, rtol=1e-9)


BOOTSTRAP = 1000


def bootstrap(data):
    from sae.numerics.fay_herriot.bootstrap import bootstrap_mse
    from sae.numerics.fay_herriot.fit import fit_batch
    from sae.numerics.inference.transforms import TRANSFORMS

    fits = fit_batch(data.y, data.vardir, data.X, data.offsets, "reml")
    return bootstrap_mse(
        fits,
        data.vardir,
        data.X,
        data.offsets,
        data.np.ones(len(data.y), dtype=bool),
        range(len(data.y)),
        method="reml",
        transform=TRANSFORMS["identity"],
        replicates=BOOTSTRAP,
        seed=1,
    )


def normals_of_the_bootstrap(data):
    """Draw as many normals as the bootstrap needs, with numpy's generator."""
    return data.np.random.default_rng(1).standard_normal((BOOTSTRAP, 2, len(data.y)))


def posterior_intervals(data):
    from sae.numerics.fay_herriot.posterior import Areas, area_moments, place_nodes

    areas = Areas.of(data.y, data.vardir, data.X)
    return area_moments(place_nodes(areas, [(0, 1.0)]), areas, [0.025, 0.975])[2]


CASES = [
    Case(
        name="fh_reml_100",
        setup=lambda: problems(2000, 100),
        run=reml,
        peer=lambda data: scipy_reml(data, 100),
        peer_name="scipy minimize_scalar on the same profile, fit by fit",
        check=same_variances,
        unit="fit",
        units=2000,
        peer_units=100,
    ),
    Case(
        name="fh_reml_1000",
        setup=lambda: problems(200, 1000),
        run=reml,
        peer=lambda data: scipy_reml(data, 50),
        peer_name="scipy minimize_scalar on the same profile, fit by fit",
        check=same_variances,
        unit="fit",
        units=200,
        peer_units=50,
    ),
    Case(
        name="fh_single_100000",
        setup=lambda: problems(1, 100_000),
        run=fit_and_mse,
        peer=one_pass,
        peer_name="one pass over design, variances and estimates",
        unit="area",
        units=100_000,
        peer_units=100_000,
    ),
    Case(
        name="fh_table_100000",
        setup=lambda: with_frame(problems(1, 100_000)),
        run=public_fit,
        peer=lambda state: fit_and_mse(state[0]),
        peer_name="its numbers alone, fh_single_100000",
        check=same_mse,
        unit="area",
        units=100_000,
        peer_units=100_000,
        repeat=3,
    ),
    Case(
        name="fh_bootstrap_100",
        setup=lambda: problems(1, 100),
        run=bootstrap,
        peer=normals_of_the_bootstrap,
        peer_name="numpy's normals for the same 1000 replicates",
        unit="replicate",
        units=BOOTSTRAP,
        peer_units=BOOTSTRAP,
    ),
    Case(
        name="fh_intervals_40",
        setup=lambda: problems(1, 40),
        run=posterior_intervals,
        peer=lambda data: scipy_reml(data, 1),
        peer_name="one REML fit by scipy",
        unit="fit",
    ),
]
