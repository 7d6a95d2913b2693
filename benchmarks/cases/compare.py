"""Ranks, pairs and segregation of many areas, with the joint error of a fit or of replicates."""

from harness import Case


def figures(areas):
    """Return a fit of so many areas; estimates overlap as those of regions do."""
    import numpy as np
    import pandas as pd

    import sae

    rng = np.random.default_rng(20261129)
    x = rng.normal(size=areas)
    vardir = rng.uniform(0.05, 0.4, areas)
    y = 1.0 + x + 0.5 * rng.normal(size=areas) + rng.normal(size=areas) * np.sqrt(vardir)
    frame = pd.DataFrame({"domain": [f"{k:05d}" for k in range(areas)], "x": x, "y": y, "vardir": vardir})
    return sae.FayHerriot("y ~ x").fit(frame)


def ranked(draws):
    def run(fit):
        import sae

        return sae.compare.ranks(fit, seed=1, draws=draws)

    return run


def paired(fit):
    import sae

    return sae.compare.pairs(fit)


def differences_of_all(number):
    """One pass over the errors of all pairs: what no set of ranks can do without."""

    def run(fit):
        import numpy as np

        errors = np.random.default_rng(1).normal(size=(len(fit.estimates), number)).astype(np.float32)
        best = np.zeros(number, dtype=np.float32)
        for row in errors:
            np.maximum(best, np.abs(errors - row).max(axis=0), out=best)
        return best

    return run


def census():
    """Return 1,000 cities of 50 districts, with counts of two groups."""
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(20261129)
    people = rng.integers(100, 2_000, 50_000)
    foreign = rng.binomial(people, rng.beta(1.2, 8.0, 50_000))
    frame = pd.DataFrame({"city": np.repeat(np.arange(1_000), 50), "district": np.tile(np.arange(50), 1_000)})
    return frame.assign(foreign=foreign, native=people - foreign)


def segregated(frame):
    import sae

    return sae.compare.segregation(
        frame, area="city", domain="district", counts=["foreign", "native"], against="native", seed=1
    )


def members_drawn(frame):
    """Two binomials per district and replicate: what no bootstrap of counts can do without."""
    import numpy as np

    rng = np.random.default_rng(1)
    for name in ("foreign", "native"):
        counts = frame[name].to_numpy()
        rng.binomial(counts.sum(), counts / counts.sum(), (1_000, len(counts)))


def case(name, areas, run, peer, peer_name, repeat, target):
    return Case(
        name=name,
        setup=lambda: figures(areas),
        run=run,
        peer=peer,
        peer_name=peer_name,
        unit="area",
        units=areas,
        peer_units=areas,
        repeat=repeat,
        target=target,
    )


ONE_PASS = "one pass of numpy over the errors of all pairs"
CASES = [
    case("ranks_1000", 1_000, ranked(1_000), differences_of_all(1_000), ONE_PASS, 2, "2 s"),
    case("ranks_10000", 10_000, ranked(200), differences_of_all(200), ONE_PASS, 1, "a minute"),
    Case(
        name="segregation_1000",
        setup=census,
        run=segregated,
        peer=members_drawn,
        peer_name="drawing the members of both groups 1,000 times",
        unit="district",
        units=50_000,
        peer_units=50_000,
        repeat=2,
    ),
    case("pairs_1000", 1_000, paired, differences_of_all(100), ONE_PASS + ", 100 draws", 3, ""),
]
