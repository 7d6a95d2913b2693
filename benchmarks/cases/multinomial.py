"""Multinomial model of areas with two effects each: CPU seconds per effective draw, against NUTS by PyMC.

Effective draws are the smallest bulk size over coefficients, standard deviations, correlation and all shares.
`multinomial_nuts_first` has NUTS compile its model at every call, as a process does that fits once (without
importing PyMC); for the others it is compiled before. The own sampler's kernels are kept on disk.
"""

from harness import Case

UNITS = (0.5, 0.5)
EFFECTIVE = {100: (3000, 970)}  # by areas: own, by NUTS, both with seed 1


def setup(areas):
    import numpy as np
    from scipy.special import log_softmax

    rng = np.random.default_rng(0)
    X = np.column_stack([np.ones(areas), rng.normal(size=areas)])
    effect = rng.normal(size=(areas, 2)) @ np.array([[0.3, 0.1], [0.0, 0.25]])
    eta = np.column_stack([X @ np.array([[1.0, -1.5], [0.5, -0.3]]) + effect, np.zeros(areas)])
    p = np.exp(log_softmax(eta, axis=1))
    counts = [rng.multinomial(n, q) for n, q in zip(rng.integers(30, 200, areas), p, strict=True)]
    return np.array(counts, dtype=float), X


def own(state):
    import numpy as np

    from sae.numerics.inference.priors import HALF_NORMAL
    from sae.samplers.multinomial import sample_multinomial

    return sample_multinomial(*state, HALF_NORMAL, np.array(UNITS), seed=1)


def nuts(state):
    import numpy as np

    from sae.numerics.inference.priors import HALF_NORMAL
    from sae.unit_level.glmm.multinomial_nuts import sample_by_nuts

    return sample_by_nuts(*state, HALF_NORMAL, np.array(UNITS), seed=1)


def nuts_first(state):
    from sae.samplers import pymc

    pymc._compiled.clear()
    return nuts(state)


def effective(state, chains):
    """Smallest bulk size over the parameters and the shares."""
    import numpy as np
    from scipy.special import log_softmax

    from sae.numerics.inference.psis import ess

    draws = chains.draws
    eta = np.einsum("dp,...pk->...dk", state[1], draws["beta"]) + draws["effect"]
    share = np.exp(log_softmax(np.concatenate([eta, np.zeros((*eta.shape[:-1], 1))], axis=-1), axis=-1))
    series = [draws["beta"], draws["sigma"], draws["correlation"], share]
    flat = [one.reshape(*one.shape[:2], -1) for one in series]
    return min(ess(one[:, :, j]) for one in flat for j in range(one.shape[2]))


def check(state, ours, theirs):
    """Compare the posteriors, and the effective draws with those by which the ratio counts."""
    import numpy as np

    sizes = [effective(state, one) for one in (ours, theirs)]
    own_size, nuts_size = EFFECTIVE[len(state[0])]
    assert sizes[0] > 0.8 * own_size and sizes[1] < 1.3 * nuts_size, sizes
    for name in ours.draws:
        a, b = (one.draws[name] for one in (ours, theirs))
        apart = np.abs(a.mean(axis=(0, 1)) - b.mean(axis=(0, 1)))
        error = np.sqrt(a.var(axis=(0, 1)) / sizes[0] + b.var(axis=(0, 1)) / sizes[1])
        assert (apart < 5.0 * error).all(), name


def case(name, areas, peer, peer_name, repeat):
    return Case(
        name=name,
        setup=lambda: setup(areas),
        run=own,
        peer=peer,
        peer_name=peer_name,
        check=check,
        unit="effective draw",
        units=EFFECTIVE[areas][0],
        peer_units=EFFECTIVE[areas][1],
        repeat=repeat,
        target="a twentieth of NUTS for an effective draw",
    )


CASES = [
    case("multinomial_nuts_first", 100, nuts_first, "NUTS, its model compiled", 1),
    case("multinomial_nuts_100", 100, nuts, "NUTS, compiled before", 3),
]
