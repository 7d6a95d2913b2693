"""Bootstrap mean squared errors known to 2 %, beside 200 refits of the batched kernel."""

from functools import partial

from harness import Case


def drawn(areas):
    """Draw one problem of `areas` areas with five coefficients, and 200 outcomes like it."""
    import numpy as np

    rng = np.random.default_rng(20261128)
    X = np.vstack([np.ones(areas), rng.normal(size=(4, areas))])
    vardir = rng.uniform(0.1, 1.0, areas)
    y = X.sum(axis=0) + rng.normal(size=(201, areas)) * np.sqrt(0.25 + vardir)
    return y, vardir, X, np.array([0, areas], dtype=np.int64)


def mse(data):
    import numpy as np

    from sae.numerics.fay_herriot.bootstrap import bootstrap_mse
    from sae.numerics.fay_herriot.fit import fit_batch
    from sae.numerics.inference.transforms import TRANSFORMS

    y, vardir, X, offsets = data
    return bootstrap_mse(
        fit_batch(y[0], vardir, X, offsets, "reml"),
        vardir,
        X,
        offsets,
        np.ones(len(vardir), dtype=bool),
        range(len(vardir)),
        method="reml",
        transform=TRANSFORMS["identity"],
        replicates=None,
        seed=1,
    )


def refits(data):
    from sae.numerics.fay_herriot.fit import fit_batch

    y, vardir, X, offsets = data
    return fit_batch(y[1:], vardir, X, offsets, "reml", full=False)


def known(data, ours, theirs):
    assert ours.share.max() <= 0.02, (ours.share.max(), ours.replicates)


CASES = [
    Case(
        name=f"bootstrap_mse_error_{areas}",
        setup=partial(drawn, areas),
        run=mse,
        peer=refits,
        peer_name="200 refits by the batched kernel",
        check=known,
        unit="MSE of all areas to 2 %",
        target="was known to 10 % with 200 replicates",
    )
    for areas in (50, 1_000, 10_000)
]
