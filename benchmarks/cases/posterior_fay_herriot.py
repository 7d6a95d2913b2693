"""Exact posteriors of Fay–Herriot models: joint draws beside their own normals, moments, batches."""

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from harness import Case

P = 5  # coefficients
SIGMA_U = 0.5
PRIOR = (2, 1.0)  # half-normal(1)
SIZES = {100: 20_000, 1_000: 2_000, 10_000: 200, 100_000: 50}  # areas: draws
GOALS = {100: 2.2, 1_000: 1.5, 10_000: 1.8, 100_000: 2.2}  # of joint draws beside their own normals
CALLS = {100: 300, 1_000: 100, 10_000: 10, 100_000: 1}
BATCH, AREAS = 3_600, 1_000
REDUCED = 180  # problems of the batch whose draws are reduced: a twentieth, with as many draws each


@dataclass(frozen=True)
class Setting:
    """Areas of one or more problems, the modules, keys of the streams, and how many draws."""

    areas: Any
    posterior: Any
    np: Any
    keys: Any
    tiles: Any
    draws: int


def problems(number, areas, draws):
    """Draw problems with vardir ~ U(0.1, 1) and a model variance of 0.25."""
    import numpy as np

    from sae.numerics.fay_herriot import posterior

    rng = np.random.default_rng(20261122)
    total = number * areas
    X = np.vstack([np.ones(total), rng.normal(size=(P - 1, total))])
    vardir = rng.uniform(0.1, 1.0, total)
    y = X.sum(axis=0) + rng.normal(size=total) * np.sqrt(SIGMA_U**2 + vardir)
    data = posterior.Areas.of(y, vardir, X, None, np.arange(number + 1) * areas)
    tiles = np.arange(len(posterior.tiles_of(data.offsets)) - 1, dtype=np.uint64)
    return Setting(data, posterior, np, np.arange(number, dtype=np.uint64) + np.uint64(7), tiles, draws)


def hyper(s):
    problems_ = len(s.areas.offsets) - 1
    return s.posterior.draw_hyper(
        s.posterior.place_nodes(s.areas, [PRIOR] * problems_, fine=True), s.keys, s.draws
    )


def joint_draws(s):
    return s.posterior.draw_areas(hyper(s), s.areas, s.tiles)


def own_normals(s):
    """Fill as many normals from the kernels' own stream: one per area, coefficient and deviation."""
    from sae.numerics.random.normals import normals_of

    return normals_of(s.keys[0], 0, s.draws * (len(s.areas.y) + P + 1))


def numpy_normals(s):
    return s.np.random.default_rng(1).standard_normal(s.draws * (len(s.areas.y) + P + 1))


def moments(s):
    for _ in range(CALLS[len(s.areas.y)]):
        nodes = s.posterior.place_nodes(s.areas, [PRIOR])
        result = s.posterior.area_moments(nodes, s.areas)
    return result


def passes(s):
    return [one_pass(s) for _ in range(CALLS[len(s.areas.y)])]


def mean_and_square(draws):
    import numpy as np

    return draws.mean(axis=0), np.einsum("sm,sm->m", draws, draws)


def reduced(s):
    fine = s.posterior.place_nodes(s.areas, [PRIOR] * REDUCED, fine=True)
    return s.posterior.reduced_draws(fine, s.areas, s.keys, s.tiles, s.draws, mean_and_square)


def normals_in_turn(s):
    """Fill as many normals, one problem after the other."""
    from sae.numerics.random.normals import normals_of

    for key in s.keys:
        normals_of(key, 0, s.draws * (AREAS + P + 1))


def intervals(s):
    nodes = s.posterior.place_nodes(s.areas, [PRIOR] * (len(s.areas.offsets) - 1))
    return s.posterior.area_moments(nodes, s.areas, [0.025, 0.975])


def one_pass(s):
    """Read design, variances and estimates once: what no fit can undercut."""
    return s.areas.X.sum() + s.areas.vardir.sum() + s.areas.y.sum()


def with_nutpie(areas):
    """Compile the same model, not centred, by PyMC and nutpie."""
    import nutpie
    import pymc as pm

    s = problems(1, areas, 4_000)
    X, y, D = s.areas.X.T, s.areas.y, s.areas.vardir
    with pm.Model() as model:
        sd, beta = pm.HalfNormal("sd", 1.0), pm.Flat("beta", shape=P, initval=s.np.zeros(P))
        z = pm.Normal("z", shape=areas)
        theta = pm.Deterministic("theta", X @ beta + sd * z)
        pm.Normal("y", theta, D**0.5, observed=y)
    return s, nutpie.compile_pymc_model(model)


def nuts(state):
    import nutpie

    return nutpie.sample(state[1], draws=1000, tune=1000, chains=4, cores=1, seed=1, progress_bar=False)


def draws_case(areas, peer, name, words):
    return Case(
        name=f"{name}_{areas}",
        setup=lambda: problems(1, areas, SIZES[areas]),
        run=joint_draws,
        peer=peer,
        peer_name=words,
        unit="joint draw",
        units=SIZES[areas],
        peer_units=SIZES[areas],
        repeat=5,
        target=f"<= {GOALS[areas]}" if peer is own_normals else "",
    )


CASES = [
    *(draws_case(areas, own_normals, "fh_draws", "its own normals") for areas in SIZES),
    *(draws_case(areas, numpy_normals, "fh_draws_numpy", "numpy's normals") for areas in SIZES),
    *(
        Case(
            name=f"fh_moments_{areas}",
            setup=lambda areas=areas: problems(1, areas, 1),
            run=moments,
            peer=passes,
            peer_name="one pass over design, variances and estimates",
            unit="fit",
            units=CALLS[areas],
            peer_units=CALLS[areas],
            repeat=5,
            target={100: "<= 0.15 ms", 1_000: "<= 0.6 ms"}.get(areas, ""),
        )
        for areas in SIZES
    ),
    Case(
        name="fh_batch_intervals",
        setup=lambda: problems(BATCH, AREAS, 1),
        run=intervals,
        peer=one_pass,
        peer_name="one pass over design, variances and estimates",
        unit="problem",
        units=BATCH,
        peer_units=BATCH,
        repeat=2,
        target="<= 4 s",
    ),
    Case(
        name="fh_batch_reduced",
        setup=lambda: problems(REDUCED, AREAS, 1_000),
        run=reduced,
        peer=normals_in_turn,
        peer_name="its own normals",
        unit="problem",
        units=REDUCED,
        peer_units=REDUCED,
        repeat=3,
        target="<= 2.2",
    ),
]

if all(find_spec(name) for name in ("pymc", "nutpie")):
    CASES.append(
        Case(
            name="fh_draws_nutpie_100",
            setup=lambda: with_nutpie(100),
            run=lambda state: joint_draws(state[0]),
            peer=nuts,
            peer_name="PyMC and nutpie: 4 chains of 1,000 dependent draws, as many to tune",
            unit="joint draw",
            units=4_000,
            peer_units=4_000,
            repeat=1,
        )
    )
