"""Fay–Herriot with several sources of every area: the kernel, and the whole table."""

from harness import Case

AREAS = 10_000
SPEC = "y ~ x"


def two_sources():
    """Draw two direct estimates of every area, the second with a bias of 0.3."""
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(20261129)
    x = rng.normal(size=AREAS)
    theta = 1.0 + x + 0.5 * rng.normal(size=AREAS)
    vardir = rng.uniform(0.1, 0.4, 2 * AREAS)
    noise = rng.normal(size=2 * AREAS) * np.sqrt(vardir)
    domain = [f"{k:06d}" for k in range(AREAS)]
    columns = {
        "domain": domain * 2,
        "survey": np.repeat(["lfs", "silc"], AREAS),
        "y": np.concatenate([theta, theta + 0.3]) + noise,
        "vardir": vardir,
        "n": np.repeat([200, 100], AREAS),
        "x": np.tile(x, 2),
    }
    return pd.DataFrame(columns)


def with_sources(frame):
    import sae

    return sae.FayHerriot(SPEC, source="survey").fit(frame)


def plain(frame):
    import sae

    return sae.FayHerriot(SPEC).fit(frame.head(AREAS))


CASES = [
    Case(
        name="fh_sources_10000",
        setup=two_sources,
        run=with_sources,
        peer=plain,
        peer_name="the plain fit of one of the sources",
        unit="area",
        units=AREAS,
        peer_units=AREAS,
        repeat=3,
    ),
]
