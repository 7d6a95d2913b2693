"""Interviews needed by hand, against `sae.planning`'s formulas and plans, and in a simulation."""

import numpy as np
import pandas as pd
import pytest

import sae
from sae.batch.production.plan_needs import Demand, Rules, direct_need, model_need
from sae.batch.production.sections import PlanTable
from sae.errors import SaeSpecError
from sae.numerics.allocation.with_model import direct_size, model_size

EXACT = 1e-9  # bisections of ψ
VANISHING = 5e-3  # g3 of 20,000 areas
CLOSE = 1.2  # the planner counts the other areas' interviews too, and g3 once
A, DEFF = 0.0009, 1.8


def cells(m, n, *, p=0.2, A=A, rung="fay_herriot", rest=0.0):
    """Cells of one fit whose MSE is g1 + 2 g3 + `rest`."""
    psi = np.full(m, DEFF * p * (1 - p) / n)
    gamma = A / (A + psi)
    s = 2.0 / np.sum((A + psi) ** -2.0)
    mse = A * (1 - gamma) + 2 * s * (1 - gamma) ** 2 / (A + psi) + rest
    return pd.DataFrame(
        {
            "estimate": p,
            "share": True,
            "n": float(n),
            "n_eff": n / DEFF,
            "vardir": psi,
            "gamma": gamma,
            "mse": mse,
            "rung": rung,
            "fit": 0,
            "in_sample": True,
            "confidential": False,
        },
        index=range(m),
    )


def rules(**given):
    return Rules.of(None, PlanTable(**given))


def test_golden_numbers():
    """domain.md 5.10: A = .0009, S² = .16, deff 1.8, θ = .25, CV .10 → 140.8 against 460.8 direct."""
    rows = cells(20_000, 90).assign(estimate=0.25, vardir=DEFF * 0.16 / 90)
    psi = rows["vardir"]
    rows = rows.assign(gamma=A / (A + psi), mse=A * psi / (A + psi))  # g2 and g3 vanish
    target = rules(cv=0.1)
    assert direct_need(rows, target).n[0] == pytest.approx(460.8, rel=EXACT)
    assert model_need(rows, target, 0.0).n[0] == pytest.approx(140.8, rel=VANISHING)


def test_limits_of_the_model():
    """A large A tells nothing: direct; a target above A + g2 takes none beyond those of today."""
    rows = cells(500, 60, A=10.0)
    target = rules(cv=0.1)
    direct = direct_need(rows, target).n
    assert model_need(rows, target, 0.0).n == pytest.approx(direct, rel=1e-3)
    assert (model_need(rows, target, 0.0).n <= direct * (1 + EXACT)).all()
    easy = cells(500, 60, A=1e-5)
    assert model_need(easy, rules(cv=0.3), 0.0).n == pytest.approx(np.full(500, 60.0))


@pytest.mark.parametrize("rung", ["fay_herriot", "fay_herriot/arcsin"])
def test_todays_interviews_are_the_need_of_todays_error(rung):
    """What a cell attains today, as the gate sees it, needs today's interviews."""
    rows = cells(30, 400, rung=rung, rest=0.00004)
    attained = float(np.sqrt(rows["mse"][0]) / rows["estimate"][0])
    assert model_need(rows, rules(cv=attained), 0.0).n == pytest.approx(np.full(30, 400.0), rel=1e-6)
    assert (model_need(rows, rules(cv=attained), 1.28).n > 400.0).all()


def test_kinds_without_gamma_keep_their_part_of_the_precision():
    rows = cells(30, 70, rung="binomial_mixed").assign(gamma=np.nan)
    psi, mse = rows["vardir"][0], rows["mse"][0]
    own = 1.0 / (1.0 / mse - 1.0 / psi)
    target = rules(cv=0.08)
    unit = DEFF * 0.16
    assert model_need(rows, target, 0.0).n[0] == pytest.approx(
        float(model_size((0.08 * 0.2) ** 2, unit, own)), rel=EXACT
    )
    assert direct_need(rows, target).n[0] == pytest.approx(float(direct_size((0.08 * 0.2) ** 2, unit)))


def test_monotone():
    """A tighter target, less knowledge of A, a larger design effect: never fewer interviews."""
    rows = cells(300, 100)
    by_cv = [model_need(rows, rules(cv=cv), 1.28).n[0] for cv in (0.2, 0.15, 0.12, 0.1, 0.07, 0.05)]
    by_quantile = [model_need(rows, rules(cv=0.1), z).n[0] for z in (0.0, 0.5, 1.0, 1.64, 2.3)]
    assert np.all(np.diff(by_cv) > 0) and np.all(np.diff(by_quantile) > 0)
    looser = rows.assign(vardir=rows["vardir"] * 1.5, n_eff=rows["n_eff"] / 1.5)
    assert direct_need(looser, rules(cv=0.1)).n[0] == pytest.approx(
        1.5 * direct_need(rows, rules(cv=0.1)).n[0]
    )
    direct = direct_need(rows, rules(cv=0.1)).n
    assert (model_need(rows, rules(cv=0.1), 2.3).n <= direct * (1 + EXACT)).all()


def test_a_cell_without_a_sample_takes_the_design_of_its_fit():
    rows = cells(300, 100)
    empty = rows.iloc[[0]].assign(
        n=0.0, n_eff=np.nan, vardir=np.nan, gamma=0.0, in_sample=False, mse=A + 1e-5
    )
    rows = pd.concat([rows, empty], ignore_index=True)
    target = rules(cv=0.1)
    assert direct_need(rows, target).n[300] == pytest.approx(direct_need(rows, target).n[0])
    assert 0 < model_need(rows, target, 0.0).n[300] < direct_need(rows, target).n[300]
    assert model_need(rows, rules(cv=0.2), 0.0).n[300] < 1.0  # A + g2 is within the target


def test_the_policy_asks_of_each_kind_of_row():
    made = Rules.of("eurostat_silc", PlanTable())
    assert made.direct.least_n == 20 and not made.direct.bound(cells(2, 5))[0] < np.inf
    assert made.model.least_n == 2 and made.model.bound(cells(2, 5))[0] == pytest.approx((0.333 * 0.2) ** 2)
    lfs = Rules.of("eurostat_lfs", PlanTable())
    assert lfs.model.least_n == 4  # records of fewer are confidential
    with pytest.raises(SaeSpecError, match="no target"):
        Rules.of({"name": "x", "rules": [{"measure": "pcmiss", "suppress_above": 0.5}]}, PlanTable())


def drawn(rng, theta, vardir, x):
    frame = pd.DataFrame({"domain": [f"A{k:02d}" for k in range(len(theta))], "x": x, "vardir": vardir})
    frame["y"] = theta + rng.normal(size=len(theta)) * np.sqrt(vardir)
    frame["n"] = np.round(0.288 / vardir)
    return frame


def as_rows(fit, vardir):
    table = fit.estimates.frame
    names = ["estimate", "n", "n_eff", "gamma", "mse", "in_sample"]
    rows = table[names].assign(share=False, vardir=vardir, rung="fay_herriot", fit=0, confidential=False)
    return rows.astype({"n": float})


def test_agrees_with_the_planner():
    rng = np.random.default_rng(3)
    x = rng.uniform(0.0, 1.0, 150)
    theta = 0.3 + 0.1 * x + rng.normal(0, 0.03, 150)
    frame = drawn(rng, theta, np.full(150, 0.288 / 90), x)
    fit = sae.FayHerriot("y ~ x").fit(frame)
    strata = pd.DataFrame({"domain": frame["domain"], "population": 1e9})
    plan = sae.planning.oversample(fit, strata, targets=0.05, assurance=None)
    rows, target = as_rows(fit, frame["vardir"]), rules(cv=0.05)
    assert np.ceil(direct_need(rows, target).n - 1e-6) == pytest.approx(plan.domains["n_direct"], rel=1e-3)
    ratio = model_need(rows, target, 0.0).n / plan.domains["n_model"].to_numpy()
    assert 1.0 <= ratio.mean() < CLOSE and ratio.min() > 0.95 and ratio.max() < 1.3


def test_the_promised_error_is_reached():
    """60 areas, planned from one survey and sampled anew: the squared error is within the target."""
    rng, limit = np.random.default_rng(8), 0.02
    ratio, asked, target = [], 0, Rules(*(2 * [Demand((sae.planning.RMSE(limit),))]))
    for _ in range(30):
        x = rng.uniform(0.0, 1.0, 60)
        theta = 0.3 + 0.1 * x + rng.normal(0, 0.03, 60)
        now = 0.288 / rng.integers(60, 200, 60)
        fit = sae.FayHerriot("y ~ x").fit(drawn(rng, theta, now, x))
        rows = as_rows(fit, now)
        need = model_need(rows, target, 1.2816).n
        then = np.minimum(0.288 / np.maximum(need, 1.0), now)
        again = sae.FayHerriot("y ~ x").fit(drawn(rng, theta, then, x))
        short = need > 0.288 / now
        asked += short.sum()
        ratio += (((again.estimates.frame["estimate"] - theta) ** 2) / limit**2)[short].tolist()
    assert asked > 1000
    error = np.std(ratio) / np.sqrt(len(ratio))
    assert 0.6 < np.mean(ratio) < 1.0 + 2 * error


def test_the_promised_cv_is_reached_in_the_synthetic_country():
    """Employment of the foreign-born in 120 regions: sampled, planned, sampled anew, against the truth."""
    land = sae.datasets.country(seed=1)
    persons = land.population
    persons = persons[persons["age"].between(20, 64) & (persons["birth_group"] != "native")]
    code, names = pd.factorize(persons["region"], sort=True)
    works = (persons["labour_status"] == "employed").to_numpy(dtype=float)
    regions = [works[code == k] for k in range(len(names))]
    truth = np.array([one.mean() for one in regions])
    x = land.areas.set_index("region").loc[names, "share_tertiary"].to_numpy()
    rng, target = np.random.default_rng(5), rules(cv=0.08)

    def survey(n):
        y = np.array([rng.choice(one, size).mean() for one, size in zip(regions, n, strict=True)])
        mean = np.average(y, weights=n)
        return pd.DataFrame({"domain": names, "x": x, "y": y, "n": n, "vardir": mean * (1 - mean) / n})

    errors, model, direct = [], 0, 0
    for _ in range(8):
        now = rng.integers(8, 40, len(names))
        first = survey(now)
        rows = as_rows(sae.FayHerriot("y ~ x").fit(first), first["vardir"])
        rows = rows.assign(share=True, n_eff=rows["n"])
        need = model_need(rows, target, 1.2816).n
        then = np.maximum(np.ceil(need), now).astype(int)
        again = sae.FayHerriot("y ~ x").fit(survey(then)).estimates.frame["estimate"]
        errors += ((again - truth) / truth)[need > now].tolist()
        model += (then - now).sum()
        direct += np.maximum(np.ceil(direct_need(rows, target).n) - now, 0).sum()
    assert len(errors) > 500
    assert 0.06 < np.sqrt(np.mean(np.square(errors))) < 0.085  # 0.078 over 25 surveys
    assert model < 0.6 * direct
