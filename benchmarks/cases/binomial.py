"""Binomial model of 1,000 areas to all draws, and of 12 groups at once; beta-binomial of 52 domains."""

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from harness import Case

AREAS, P, DRAWS = 1000, 5, 4000
NUTS_DRAWS, CHAINS = 500, 2


@dataclass(frozen=True)
class Counts:
    """Counts with covariates, and the modules that the timed calls use."""

    y: Any
    n: Any
    X: Any
    np: Any


def counts():
    """Draw counts of 5 to 80 trials with σ = 0.5 on the logit scale."""
    import numpy as np

    rng = np.random.default_rng(20261122)
    n = rng.integers(5, 80, AREAS).astype(float)
    X = np.column_stack([np.ones(AREAS), rng.normal(size=(AREAS, P - 1))])
    eta = X @ np.array([-0.5, 0.4, 0.2, 0.0, -0.1]) + 0.5 * rng.normal(size=AREAS)
    return Counts(rng.binomial(n.astype(int), 1 / (1 + np.exp(-eta))).astype(float), n, X, np)


def posterior_of(data):
    from sae.numerics.glmm.likelihoods import Binomial
    from sae.numerics.inference.priors import HALF_NORMAL
    from sae.numerics.inference.transforms import TRANSFORMS
    from sae.samplers.grid import GridPosterior

    return GridPosterior(
        Binomial(data.y, data.n),
        data.X,
        data.np.ones(AREAS, dtype=bool),
        (HALF_NORMAL, 1.0),
        TRANSFORMS["logit"],
        [str(d) for d in range(AREAS)],
    )


def fit_and_draw(data):
    return posterior_of(data).values(DRAWS, 1)


def moments(data):
    return posterior_of(data).moments()


def own_normals(data):
    from sae.numerics.random.normals import normals_of

    return normals_of(data.np.uint64(1), 0, DRAWS * AREAS)


def nuts_with_pymc(data):
    """Write the same model in PyMC; nutpie compiles it before the clock starts."""
    import nutpie
    import pymc

    with pymc.Model() as model:
        beta, sigma = pymc.Flat("beta", shape=P), pymc.HalfNormal("sigma", 1.0)
        z = pymc.Normal("z", shape=AREAS)
        pymc.Binomial(
            "y", n=data.n.astype(int), logit_p=data.X @ beta + sigma * z, observed=data.y.astype(int)
        )
    return nutpie.compile_pymc_model(model)


def setup_nuts():
    data = counts()
    return data, nuts_with_pymc(data)


def nuts(both):
    import nutpie

    return nutpie.sample(
        both[1], draws=NUTS_DRAWS, tune=500, chains=CHAINS, cores=1, seed=1, progress_bar=False
    )


def same_posterior(both, ours, theirs):
    """Compare the areas' means, within what the effective draws of NUTS allow, and say how many these are."""
    from sae.numerics.inference.psis import ess

    data, np = both[0], both[0].np
    found = {name: theirs.posterior[name].to_numpy() for name in ("beta", "sigma", "z")}
    eta = found["beta"] @ data.X.T + found["sigma"][:, :, None] * found["z"]
    shares = (1 / (1 + np.exp(-eta))).reshape(-1, AREAS)
    apart = (ours.mean(axis=0) - shares.mean(axis=0)) / ours.std(axis=0)
    effective = ess(found["sigma"])
    assert np.abs(apart).max() < 0.25, np.abs(apart).max()
    assert abs(np.mean(apart)) < 4 / np.sqrt(effective), np.mean(apart)


def domains():
    """Draw beta-binomial counts of 52 domains of 20 to 1,400 persons, as of provinces in a survey."""
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(20261122)
    n = np.exp(rng.uniform(np.log(20), np.log(1400), 52)).astype(int)
    x = rng.normal(size=52)
    share = 1 / (1 + np.exp(1.2 - 0.3 * x - 0.35 * rng.normal(size=52)))
    y = rng.binomial(n, rng.beta(30 * share, 30 * (1 - share)))
    return pd.DataFrame({"area": range(52), "y": y, "n": n, "x": x})


def groups():
    """Draw effective counts of 12 groups of 120 regions, a fifth of them without a record."""
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(20261122)
    size = 12 * 120
    n = np.exp(rng.uniform(np.log(3.0), np.log(150.0), size))
    x, z = rng.normal(size=(2, size))
    centre = np.repeat(rng.uniform(-3.0, 0.5, 12), 120)
    share = 1 / (1 + np.exp(-(centre + 0.3 * x + 0.1 * z + 0.4 * rng.normal(size=size))))
    return pd.DataFrame(
        {
            "domain": np.tile(np.arange(120), 12),
            "group": np.repeat(np.arange(12), 120),
            "x": x,
            "z": z,
            "n_eff": n,
            "y": np.where(n < 5.0, np.nan, rng.binomial(np.ceil(n).astype(int), share) / np.ceil(n) * n),
        }
    )


def fit_groups(frame):
    import sae

    return sae.BinomialMixed("y ~ x + z", trials="n_eff", per="group").fit(frame)


def fit_beta_binomial(frame):
    import sae

    return sae.BetaBinomialMixed("y ~ x", domain="area").fit(frame)


def ten_million_exponentials(frame):
    import numpy as np

    for _ in range(1000):
        np.exp(np.zeros(10_000))


CASES = [
    Case(
        name="binomial_1000_fit_and_draw",
        setup=counts,
        run=fit_and_draw,
        peer=own_normals,
        peer_name="as many standard normals of the house's own generator",
        check=lambda data, ours, theirs: None,
        unit="area and draw",
        units=DRAWS * AREAS,
        peer_units=DRAWS * AREAS,
    ),
    Case(
        name="binomial_1000_moments",
        setup=counts,
        run=moments,
        peer=own_normals,
        peer_name="as many standard normals as weighted points of all areas",
        check=lambda data, ours, theirs: None,
        unit="area and point",
        units=4096 * AREAS,
        peer_units=DRAWS * AREAS,
    ),
    Case(
        name="binomial_12_groups",
        setup=groups,
        run=fit_groups,
        peer=ten_million_exponentials,
        peer_name="ten million exponentials of numpy",
        check=lambda frame, ours, theirs: None,
        unit="fit of 120 areas",
        units=12,
        repeat=3,
    ),
    Case(
        name="beta_binomial_52_domains",
        setup=domains,
        run=fit_beta_binomial,
        peer=ten_million_exponentials,
        peer_name="ten million exponentials of numpy",
        check=lambda frame, ours, theirs: None,
        unit="fit",
        target="at most 1 s: 100 times the peer; 300 MB",
    ),
]
if all(find_spec(name) for name in ("pymc", "nutpie")):
    CASES.append(
        Case(
            name="binomial_1000_nuts",
            setup=setup_nuts,
            run=lambda both: fit_and_draw(both[0]),
            peer=nuts,
            peer_name="NUTS by nutpie, non-centred",
            check=same_posterior,
            unit="draw of all areas",
            units=DRAWS,
            peer_units=NUTS_DRAWS * CHAINS,
        )
    )
