"""Spatial posteriors: joint draws and moments of BYM2 and Leroux models; own normals and NUTS beside them."""

from dataclasses import dataclass
from functools import partial
from typing import Any

from harness import Case

P = 5  # coefficients
DRAWS = 1000


@dataclass(frozen=True)
class Map:
    """A model on a grid of areas, its posterior, and what the timed calls use."""

    model: Any
    fit: Any
    edges: Any
    np: Any


def grid(rows, columns, kind, by_nodes=False):
    """Draw a figure per area of a grid, and integrate the posterior."""
    import numpy as np

    at = np.arange(rows * columns).reshape(rows, columns)
    across, down = (at[:, :-1].ravel(), at[:, 1:].ravel()), (at[:-1].ravel(), at[1:].ravel())
    edges = np.concatenate([np.column_stack(across), np.column_stack(down)])
    return on_map(edges, rows * columns, kind, by_nodes)


def on_map(edges, D, kind, by_nodes=False):
    """Draw a figure per area, σ = 0.6, ρ = 0.7, variances in (0.1, 1), and integrate the posterior."""
    import dataclasses

    import numpy as np
    from scipy import sparse

    from sae.numerics.inference.priors import HALF_NORMAL
    from sae.numerics.linalg.cholesky import factorise
    from sae.numerics.spacetime.area_field import area_field
    from sae.numerics.spacetime.precision import map_structure
    from sae.samplers.gaussian_field import gaussian_field

    rng = np.random.default_rng(20261122)
    A = sparse.coo_matrix((np.ones(len(edges)), edges.T), shape=(D, D))
    A = (A + A.T).tocsr()
    bym2 = map_structure("bym2", A)
    values = bym2.values(np.ones(1)).copy()
    values[:, bym2.diagonal] += 1e-6
    shared = factorise(bym2.pattern, values).colour(rng.normal(size=(D, 1)))[0, :, 0]
    u = 0.6 * (np.sqrt(0.3) * rng.normal(size=D) + np.sqrt(0.7) * (shared - shared.mean()))
    X = np.column_stack([np.ones(D), rng.normal(size=(D, P - 1))])
    psi = rng.uniform(0.1, 1.0, D)
    y = X.sum(axis=1) + u + np.sqrt(psi) * rng.normal(size=D)
    structure = bym2 if kind == "bym2" else map_structure(kind, A)
    model = area_field(
        structure, y, X, psi[:, None, None], np.arange(D), np.zeros(D, int), priors=((HALF_NORMAL, 1.0),)
    )
    fit = dataclasses.replace(gaussian_field(model), by_nodes=by_nodes)
    return Map(model, fit, edges, np)


def voronoi(size):
    """Neighbours of Voronoi cells around points of uneven density on three land masses, with islands."""
    import numpy as np
    from scipy.spatial import Delaunay

    rng = np.random.default_rng(20261128)
    towns = rng.uniform(size=(max(5, size // 500), 2))
    spread = 0.02 * rng.pareto(2.5, len(towns)) + 0.003
    town = rng.integers(len(towns), size=size)
    points = towns[town] + spread[town, None] * rng.normal(size=(size, 2))
    rural = rng.random(size) < 0.4
    points[rural] = rng.uniform(size=(rural.sum(), 2))
    corners = Delaunay(points).simplices
    edges = np.concatenate([corners[:, [0, 1]], corners[:, [1, 2]], corners[:, [0, 2]]])
    edges = np.unique(np.sort(edges, axis=1), axis=0)
    x, y = points.T
    land = (x + 0.3 * np.sin(5.0 * y) > 0.55) + 2 * ((x - 0.2) ** 2 + (y - 0.8) ** 2 < 0.01)
    edges = edges[land[edges[:, 0]] == land[edges[:, 1]]]
    islands = rng.choice(size, max(3, size // 2000), replace=False)
    return points, edges[~np.isin(edges, islands).any(axis=1)]


@dataclass(frozen=True)
class Large:
    """A specification and its frame; how often the peer factorises."""

    spec: Any
    frame: Any
    edges: Any
    factors: int = 100


def large(size):
    """Draw the frame of a large map: a smooth effect and an independent one, four covariates."""
    import numpy as np
    import pandas as pd

    import sae

    points, edges = voronoi(size)
    rng = np.random.default_rng(20261122)
    X, psi = rng.normal(size=(size, P - 1)), rng.uniform(0.1, 1.0, size)
    u = 0.5 * np.sin(6.0 * points[:, 0]) * np.cos(5.0 * points[:, 1]) + 0.3 * rng.normal(size=size)
    names = np.array([f"a{k:06d}" for k in range(size)])
    columns = {f"x{j}": X[:, j] for j in range(P - 1)}
    y = X.sum(axis=1) + u + np.sqrt(psi) * rng.normal(size=size)
    frame = pd.DataFrame({"domain": names, "y": y, "vardir": psi, **columns})
    ends = pd.DataFrame({"a": names[edges[:, 0]], "b": names[edges[:, 1]]})
    formula = "y ~ " + " + ".join(columns)
    return Large(sae.FayHerriot(formula, spatial=sae.BYM2(ends), method="bayes"), frame, edges)


def fit_and_draw(data):
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return data.spec.fit(data.frame).posterior.draw(DRAWS, 1).values.shape


def splu_of(edges, D, count):
    """Factorise a precision matrix of the map by SuperLU, minimum degree, again and again."""
    import numpy as np
    from scipy import sparse
    from scipy.sparse.linalg import splu

    A = sparse.coo_matrix((np.ones(len(edges)), edges.T), shape=(D, D))
    A = A + A.T
    Q = (sparse.diags(np.asarray(A.sum(axis=1)).ravel() + 1.0) - A).tocsc()
    options = {"SymmetricMode": True}
    for _ in range(count):
        splu(Q, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options=options)


def joint_draws(data):
    return data.fit.draw(DRAWS, 1)


def own_normals(data):
    from sae.numerics.random.normals import normals_of

    return normals_of(data.np.uint64(1), 0, DRAWS * data.model.structure.size)


def fit_model(data):
    from sae.samplers.gaussian_field import gaussian_field

    return gaussian_field(data.model)


def factors(data):
    """As many factorisations by SuperLU as the fit has nodes."""
    splu_of(data.edges, data.model.structure.size, len(data.fit.weights))


def large_factors(data):
    splu_of(data.edges, len(data.frame), data.factors)


def nuts(data):
    """Non-centred NUTS by nutpie, four chains of 500 + 500: compilation and sampling."""
    import pymc as pm

    np, structure, Z = data.np, data.model.structure, data.model.Z
    D = structure.size
    # pairwise differences of the scaled intrinsic effects
    scale = structure.parts[0][structure.diagonal].max() / np.bincount(data.edges.ravel()).max()
    with pm.Model():
        beta = pm.Flat("beta", shape=P)
        sigma, rho = pm.HalfNormal("sigma", 1.0), pm.Uniform("rho", 0.0, 1.0)
        s, z = pm.Flat("s", shape=D), pm.Normal("z", shape=D)
        pm.Potential("icar", -0.5 * scale * ((s[data.edges[:, 0]] - s[data.edges[:, 1]]) ** 2).sum())
        pm.Potential("sum", -0.5 * (s.sum() / (1e-3 * D)) ** 2)
        u = sigma * (pm.math.sqrt(1.0 - rho) * z + pm.math.sqrt(rho) * s)
        sd = np.sqrt(data.model.psi[:, 0, 0])
        pm.Normal("y", pm.math.dot(Z[:, :P], beta) + u, sd, observed=Z[:, P])
        return pm.sample(
            500, tune=500, chains=4, cores=1, nuts_sampler="nutpie", random_seed=1, progressbar=False
        )


def agrees(data, ours, theirs):
    centre = ours.hyperparameters() if hasattr(ours, "hyperparameters") else data.fit.hyperparameters()
    other = theirs.posterior["sigma"].mean().item()
    mean, sd = centre["sigma_u"]
    assert abs(other - mean) < sd, (other, mean)


CASES = [
    *(
        Case(
            name=f"{kind}_{way}_{rows * columns}",
            setup=partial(grid, rows, columns, kind, way == "nodes"),
            run=joint_draws,
            peer=own_normals,
            peer_name="its own normals",
            unit="joint draw",
            units=DRAWS,
            peer_units=DRAWS,
            target="<= 15 times its own normals" if way == "draws" else "",
        )
        for kind in ("bym2", "leroux")
        for rows, columns in ((25, 40), (50, 100))
        for way in ("draws", "nodes")
    ),
    *(
        Case(
            name=f"{kind}_fit_{rows * columns}",
            setup=partial(grid, rows, columns, kind),
            run=fit_model,
            peer=factors,
            peer_name="a factorisation by SuperLU for each node",
            unit="fit",
            target=f"<= {limit} s",
        )
        for kind in ("bym2", "leroux")
        for rows, columns, limit in ((25, 40, 0.1), (50, 100, 1.0))
    ),
    Case(
        name="bym2_map_100000",
        setup=partial(large, 100_000),
        run=fit_and_draw,
        peer=large_factors,
        peer_name="100 factorisations by SuperLU",
        unit="fit and 1,000 draws",
        repeat=1,
        target="<= 120 s, 6 GB",
    ),
    Case(
        name="bym2_draws_1000_nutpie",
        setup=partial(grid, 25, 40, "bym2"),
        run=joint_draws,
        peer=nuts,
        repeat=1,
        peer_name="draws by nutpie, compiled once",
        check=agrees,
        unit="joint draw",
        units=DRAWS,
        peer_units=2000,
    ),
]
