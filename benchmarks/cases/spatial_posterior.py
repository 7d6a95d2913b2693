"""Spatial posteriors: joint draws and moments of BYM2 and Leroux models; own normals and NUTS beside them."""

from dataclasses import dataclass
from functools import partial
from typing import Any

from harness import Case

P = 5  # coefficients


@dataclass(frozen=True)
class Map:
    """A model on a grid of areas, its posterior, and what the timed calls use."""

    model: Any
    fit: Any
    draws: int
    edges: Any
    np: Any


def grid(rows, columns, kind, draws, by_nodes=False):
    """Draw a figure per area, σ = 0.6, ρ = 0.7, variances in (0.1, 1), and integrate the posterior."""
    import dataclasses

    import numpy as np
    from scipy import sparse

    from sae.numerics.inference.priors import HALF_NORMAL
    from sae.numerics.linalg.cholesky import factorise
    from sae.numerics.spacetime.posterior import area_field
    from sae.numerics.spacetime.precision import map_structure
    from sae.samplers.gaussian_field import gaussian_field

    rng, D = np.random.default_rng(20261122), rows * columns
    at = np.arange(D).reshape(rows, columns)
    across, down = (at[:, :-1].ravel(), at[:, 1:].ravel()), (at[:-1].ravel(), at[1:].ravel())
    edges = np.concatenate([np.column_stack(across), np.column_stack(down)])
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
    return Map(model, fit, draws, edges, np)


def joint_draws(data):
    return data.fit.draw(data.draws, 1)


def own_normals(data):
    from sae.numerics.random.normals import normals_of

    return normals_of(data.np.uint64(1), 0, data.draws * data.model.structure.size)


def fit_model(data):
    from sae.samplers.gaussian_field import gaussian_field

    return gaussian_field(data.model)


def factors(data):
    """As many factorisations of the field's precision matrix as the fit has nodes."""
    from sae.numerics.linalg.cholesky import factorise

    structure = data.model.structure
    values = structure.values(data.np.full(len(data.fit.weights), 0.5)).copy()
    values[:, structure.diagonal] += 1.0
    return factorise(structure.pattern, values)


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
    found = theirs.posterior["sigma"].mean().item()
    mean, sd = centre["sigma_u"]
    assert abs(found - mean) < sd, (found, mean)


CASES = [
    *(
        Case(
            name=f"{kind}_{way}_{rows * columns}",
            setup=partial(grid, rows, columns, kind, draws, way == "nodes"),
            run=joint_draws,
            peer=own_normals,
            peer_name="its own normals",
            unit="joint draw",
            units=draws,
            peer_units=draws,
        )
        for kind, rows, columns, draws in (
            ("bym2", 25, 40, 2000),
            ("bym2", 50, 100, 500),
            ("leroux", 25, 40, 2000),
            ("leroux", 50, 100, 500),
        )
        for way in ("draws", "nodes")
    ),
    *(
        Case(
            name=f"bym2_moments_{rows * columns}",
            setup=partial(grid, rows, columns, "bym2", 1),
            run=fit_model,
            peer=factors,
            peer_name="a factorisation for each node",
            unit="fit",
        )
        for rows, columns in ((25, 40), (50, 100))
    ),
    Case(
        name="bym2_draws_1000_nutpie",
        setup=partial(grid, 25, 40, "bym2", 2000),
        run=joint_draws,
        peer=nuts,
        repeat=1,
        peer_name="draws by nutpie, compiled once",
        check=agrees,
        unit="joint draw",
        units=2000,
        peer_units=2000,
    ),
]
