"""The order of the rows is no information: permuted data give the same table, random steps included."""

import warnings
from dataclasses import fields

import numpy as np
import pandas as pd
import pytest

import sae
from sae.area_level.glmm import inflated_beta_fit

# sums run in another order, and stopping rules of the climbs may end one step elsewhere
CLOSE = 1e-5  # standard errors
CELLS = 36


def data():
    rng = np.random.default_rng(7)
    n = rng.integers(30, 90, CELLS)
    x, other = rng.normal(size=(2, CELLS))
    share = 1.0 / (1.0 + np.exp(-(-0.4 + 0.5 * x + 0.4 * rng.normal(size=CELLS))))
    observed = rng.binomial(n, share)
    y = observed / n
    frame = pd.DataFrame({"domain": [f"A{k:02d}" for k in range(CELLS)], "x": x, "other": other, "n": n})
    frame = frame.assign(
        n_eff=n * 0.8, df=n - 1.0, successes=observed, y=y, y2=y + 0.05 * rng.normal(size=CELLS)
    )
    frame = frame.assign(vardir=share * (1 - share) / n, vardir2=share * (1 - share) / n, cov=0.0)
    frame.loc[4, ["y", "y2", "successes"]] = np.nan
    return frame


def ring():
    names = [f"A{k:02d}" for k in range(CELLS)]
    return pd.DataFrame({"area": names, "neighbour": names[1:] + names[:1]})


MODELS = {
    "reml": lambda: sae.FayHerriot("y ~ x"),
    "bootstrap": lambda: sae.FayHerriot("y ~ x", mse="bootstrap"),
    "bayes": lambda: sae.FayHerriot("y ~ x", method="bayes"),
    "arcsin": lambda: sae.FayHerriot("y ~ x", transform="arcsin"),
    "spatial": lambda: sae.FayHerriot("y ~ x", spatial=sae.SAR(sae.auxiliary.neighbours(ring()))),
    "bym2": lambda: sae.FayHerriot(
        "y ~ x", method="bayes", spatial=sae.BYM2(sae.auxiliary.neighbours(ring()))
    ),
    "robust": lambda: sae.RobustFayHerriot("y ~ x"),
    "student": lambda: sae.StudentFayHerriot("y ~ x", draws=400),
    "horseshoe": lambda: sae.HorseshoeFayHerriot("y ~ x + other", draws=400),
    "binomial": lambda: sae.BinomialMixed("successes ~ x"),
    "beta_binomial": lambda: sae.BetaBinomialMixed("successes ~ x"),
    "poisson": lambda: sae.PoissonMixed("successes ~ x", exposure="n"),
    "beta": lambda: sae.BetaFayHerriot("y ~ x"),
    "unmatched": lambda: sae.UnmatchedFayHerriot("y ~ x"),
    "you_chapman": lambda: sae.YouChapman("y ~ x"),
}


def test_chains_of_inflated_shares_do_not_see_the_order_of_the_rows(monkeypatch):
    seen = []

    def catch(panel, *_, **__):
        seen.append(panel)
        raise StopIteration

    monkeypatch.setattr(inflated_beta_fit, "sample_inflated", catch)
    frame = pd.concat([data().assign(year=year) for year in (1, 2)], ignore_index=True)
    model = sae.InflatedBetaFayHerriot(
        "y ~ x", spatial=sae.BYM2(sae.auxiliary.neighbours(ring())), temporal=sae.AR1("year")
    )
    for rows in (frame, frame.sample(frac=1.0, random_state=3)):
        with pytest.raises(StopIteration):
            model.fit(rows, seed=11)
    for field in fields(seen[0]):
        np.testing.assert_array_equal(*(getattr(panel, field.name) for panel in seen), err_msg=field.name)


@pytest.mark.parametrize("name", MODELS)
def test_permuted_rows_give_the_same_table(name):
    frame = data()
    tables = []
    for rows in (frame, frame.sample(frac=1.0, random_state=3)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tables.append(MODELS[name]().fit(rows, seed=11).to_frame().set_index("domain").sort_index())
    first, second = tables
    for column in ("estimate", "se", "ci_low", "ci_high"):
        apart = (first[column] - second[column]).abs() / first["se"]
        assert apart.max() < CLOSE, (column, apart.max())
