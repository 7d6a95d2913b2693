"""Zero/one-inflated beta shares by the house's chains, against NUTS with and without its compiling.

`check` prints the effective draws of both, the least of all numbers, and asserts that ours are not fewer: the
ratio per fit bounds that per effective draw from above.
"""

from importlib.util import find_spec

from harness import Case

AREAS, YEARS = 38, 5


def panel_of(*, mapped):
    """Draw shares of 38 areas, 10 to 60 effective persons each: five years on a map, or one year."""

    def setup():
        import numpy as np
        import pandas as pd

        import sae
        from sae.area_level.glmm.inflated_beta_fit import read_shares

        rng = np.random.default_rng(20261128)
        names = [f"a{k:02d}" for k in range(AREAS)]
        x = rng.normal(size=(AREAS, 1))
        eta = -2.0 + 0.5 * x + 0.4 * rng.normal(size=(AREAS, 1)) + 0.25 * rng.normal(size=(AREAS, YEARS))
        n = rng.integers(10, 60, (AREAS, YEARS))
        frame = pd.DataFrame(
            {
                "domain": np.repeat(names, YEARS),
                "year": np.tile(np.arange(YEARS), AREAS),
                "x": np.repeat(x[:, 0], YEARS),
                "poor": (rng.binomial(n, 1 / (1 + np.exp(-eta))) / n).ravel(),
                "n_eff": n.ravel().astype(float),
            }
        )
        if not mapped:
            return read_shares(frame[frame["year"] == 0], None, "poor ~ x").panel
        pairs = [(names[i], names[j]) for i in range(AREAS) for j in (i + 1, i + 6) if j < AREAS]
        edges = pd.DataFrame(pairs, columns=["a", "b"])
        return read_shares(frame, None, "poor ~ x", spatial=sae.BYM2(edges), temporal=sae.AR1("year")).panel

    return setup


def ours(panel):
    from sae.numerics.inference.priors import HALF_NORMAL
    from sae.samplers.inflated_beta import sample_inflated

    return sample_inflated(panel, (HALF_NORMAL, 0.8), seed=1)


def nuts(panel):
    from sae.numerics.inference.priors import HALF_NORMAL
    from sae.samplers.inflated_beta_nuts import sample_by_nuts

    return sample_by_nuts(panel, (HALF_NORMAL, 0.8), seed=1)


def nuts_compiled(panel):
    from sae.samplers import pymc

    pymc._compiled.clear()
    return nuts(panel)


def as_effective(panel, own, theirs):
    print(
        f"    effective draws {own.ess:.0f}, R-hat {own.r_hat:.3f};",
        f"NUTS {theirs.ess:.0f}, {theirs.r_hat:.3f}",
    )
    assert own.ess > theirs.ess, (own.ess, theirs.ess)


CASES = []
if all(find_spec(name) for name in ("pymc", "nutpie")):
    CASES = [
        Case(
            name=f"inflated_beta_{name}_{label}",
            setup=panel_of(mapped=mapped),
            run=ours,
            peer=peer,
            peer_name=words,
            check=as_effective,
            unit="fit",
            repeat=1,
            target="1/20 per effective draw, compiling included",
        )
        for name, mapped in (("38", False), ("bym2_ar1_190", True))
        for label, peer, words in (
            ("nuts", nuts, "NUTS by nutpie, 4 chains of 1,000, compiled before"),
            ("nuts_compiled", nuts_compiled, "NUTS by nutpie, 4 chains of 1,000, with compiling"),
        )
    ]
