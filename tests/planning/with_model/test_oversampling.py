"""Plans from fitted models: what is taken from the fit, golden sentence, promises, refusals."""

import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import sae
from sae.errors import SaeError, SaeInputError, SaeSpecError, SaeWarning
from sae.planning import CV, HalfWidth, Published, Regulation, confirm, national_check, oversample
from sae.planning.with_model.arrays import Reach
from sae.planning.with_model.fitted import FittedModel

EXACT = 1e-9  # sums in another order
FRACTION = 1e-3  # quantiles interpolated between nodes
STEP = 0.02  # difference quotient of a cost over a 1 % step


def areas(seed=1, m=40, sigma_u=0.05, deff=1.5):
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, m)
    truth = 0.5 + 0.1 * x + sigma_u * rng.normal(size=m)
    n = rng.integers(20, 120, m)
    vardir = deff * truth * (1 - truth) / n
    return pd.DataFrame(
        {
            "area": [f"A{d:02d}" for d in range(m)],
            "x": x,
            "y": truth + np.sqrt(vardir) * rng.normal(size=m),
            "vardir": vardir,
            "n": n,
            "n_eff": n / deff,
        }
    )


def frame_of(table, **columns):
    return pd.DataFrame({"domain": table["area"], "population": 50_000.0, **columns})


@pytest.fixture(scope="module")
def table():
    frame = areas()
    frame.loc[[7, 21], ["y", "vardir", "n", "n_eff"]] = np.nan  # two areas without a sample
    return frame


@pytest.fixture(scope="module")
def fit(table):
    return sae.FayHerriot("y ~ x", domain="area").fit(table)


@pytest.fixture(scope="module")
def bayes(table):
    return sae.FayHerriot("y ~ x", domain="area", method="bayes").fit(table)


@pytest.fixture(scope="module")
def plan(bayes, table):
    return oversample(bayes, frame_of(table), targets=0.08)


@pytest.mark.parametrize(
    "options", [{}, {"method": "bayes"}, {"transform": "arcsin"}], ids=["reml", "bayes", "arcsin"]
)
def test_the_sampling_variances_come_from_the_fit(table, options):
    model = FittedModel.of(sae.FayHerriot("y ~ x", domain="area", **options).fit(table, seed=1))
    seen = table["n"].notna().to_numpy()
    expected = 0.25 / table["n_eff"] if "transform" in options else table["vardir"]
    np.testing.assert_array_equal(model.vardir[seen], expected[seen])
    assert np.isnan(model.vardir[~seen]).all() and (model.n[~seen] == 0).all()
    assert (model.unit > 0).all() and model.weights.sum() == pytest.approx(1.0)
    np.testing.assert_allclose(model.X, [np.ones(len(table)), table["x"]])
    if "transform" in options:
        np.testing.assert_allclose(model.deff, 1.5, rtol=EXACT)


def test_the_posterior_is_the_fits_own(bayes):
    model, found = FittedModel.of(bayes), bayes.variance_components
    low, middle, high = np.sqrt(model.quantiles([0.025, 0.5, 0.975]))
    scale = float(found["sigma_u_high"])
    assert [low, middle, high] == pytest.approx(
        [found["sigma_u_low"], found["sigma_u_median"], found["sigma_u_high"]], abs=0.02 * scale
    )
    assert model.weights @ model.variance == pytest.approx(float(found["sigma2_u"]), rel=FRACTION)


def test_golden_worth_and_sentence():
    # V and σ² of the golden numbers; 400 areas tell σ² well enough for an interval
    rng = np.random.default_rng(5)
    truth = 0.25 + 0.03 * rng.normal(size=400)
    vardir = np.full(400, 1.8 * 0.16 / 300)
    data = pd.DataFrame(
        {
            "area": [f"B{d}" for d in range(400)],
            "y": truth + np.sqrt(vardir) * rng.normal(size=400),
            "vardir": vardir,
            "n": 300,
        }
    )
    fit = sae.FayHerriot("y ~ 1", domain="area").fit(data)
    cells = pd.DataFrame({"domain": data["area"], "population": 1e6})
    plan = oversample(fit, cells, targets={"B0": CV(0.05)}, assurance=None)
    worth = plan.worth.set_index("domain").loc["B0"]
    estimate = float(fit.estimates["estimate"].iloc[0])
    V, bound, members = 1.8 * 0.16, (0.05 * estimate) ** 2, 1e6
    assert worth["n_direct"] == np.ceil(V / (bound + V / members))
    assert worth["n_direct"] == plan.domains.set_index("domain").loc["B0", "n_direct"]  # one figure
    assert worth["worth_low"] < 0.288 / 0.0009 < worth["worth_high"]  # V / σ² = 320
    assert worth["n_model"] == pytest.approx(worth["n_direct"] - worth["worth"], rel=EXACT)
    (sentence,) = plan.sentences()
    assert sentence.startswith("Over domains like B0 the model is worth about ")
    assert plan.sentences("cities")[0] == sentence.replace("Over domains", "Over cities")
    assert "95 % interval" in sentence and "instead of" in sentence and "for a CV of 5 %." in sentence


def test_a_variance_that_may_be_0_is_worth_no_bounded_number():
    fit = sae.FayHerriot("y ~ x", domain="area", method="bayes").fit(areas(seed=2, sigma_u=0.0))
    plan = oversample(fit, frame_of(areas(seed=2)), targets=0.08)
    worth = plan.worth
    assert np.isinf(worth["worth_high"]).all()
    assert all("95 % interval" not in line for line in plan.sentences())
    unsure = [line for line in plan.sentences() if "as far as the data" in line]
    assert unsure and all("at least" in line for line in unsure)


def test_whole_numbers_meet_every_target(plan):
    domains = plan.domains
    assert domains["met"].all() and domains["met_direct_only"].all()
    assert (domains["probability"] >= 0.9 - 1e-6).all()
    assert (plan.mse(plan.with_model.n) > 0).all()
    # direct only: n = V / (M + V/N) rounded up, one stratum per domain
    exact = plan.unit / (plan.bound + plan.unit / 50_000)
    np.testing.assert_array_equal(plan.direct.n, np.ceil(exact - 1e-9))
    assert plan.with_model.n.sum() < plan.direct.n.sum()
    for d in np.flatnonzero(np.isfinite(plan.with_model.needed) & (plan.with_model.n > 1))[:5]:
        fewer = plan.with_model.n.copy()
        fewer[d] -= 1
        assert plan.psi(fewer)[d] > plan.with_model.needed[d]


def test_without_assurance_the_mean_error_is_held(bayes, table, plan):
    mean = oversample(bayes, frame_of(table), targets=0.08, assurance=None)
    held = mean.planned.weights @ mean.mse(mean.with_model.n)
    assert (held <= mean.bound * (1 + 1e-6)).all()
    assert mean.with_model.n.sum() < plan.with_model.n.sum()


def test_the_price_of_a_target_is_what_relaxing_it_saves(bayes, table):
    cells = frame_of(table).assign(
        stratum=[f"S{d % 4}" for d in range(len(table))], cost=[1.0 + d % 4 for d in range(40)]
    )
    one, two = (
        oversample(
            bayes,
            cells,
            targets={name: HalfWidth(0.04 * (f if name == "A03" else 1)) for name in table["area"]},
        )
        for f in (1.0, 1.005)
    )
    at = list(one.cells.domains).index("A03")
    costs = [sizes.continuous @ one.cells.cost for sizes in (one.direct, two.direct)]
    binding = one.domains["price_direct_only"].to_numpy() > 0
    assert 0 < binding.sum() < 40  # strata are shared: few targets bind
    assert 2.0 * (costs[0] - costs[1]) == pytest.approx(
        one.domains["price_direct_only"][at], rel=STEP, abs=1e-9
    )
    total = one.domains["price_direct_only"].sum()  # all standard errors 1 % larger: n falls by 2 %
    assert total == pytest.approx(0.02 * costs[0], rel=STEP)


def test_reasons_name_what_no_budget_can_do(bayes, table):
    cells = frame_of(table, response=1.0)
    cells.loc[3, ["population", "response"]] = [12.0, 0.5]
    with pytest.warns(SaeWarning, match=r"more than the members of the frame: A03\. Is its population"):
        plan = oversample(bayes, cells, targets=0.05)
    reasons = plan.domains.set_index("domain")["reason"]
    assert reasons["A03"].startswith("no budget suffices: the 6 interviews that its 12 members can give")
    assert [reach is Reach.NEVER for reach in plan.reach] == (table["area"] == "A03").tolist()
    assert not plan.domains.set_index("domain").loc["A03", "met"]
    assert plan.domains["met"].sum() == 39
    loose = oversample(
        bayes, frame_of(table), targets={name: 0.6 if d % 2 else 0.05 for d, name in enumerate(table["area"])}
    )
    assert loose.domains["reason"].str.startswith("no own sample needed").tolist() == [False, True] * 20
    assert [reach is Reach.WITHOUT_SAMPLE for reach in loose.reach] == [False, True] * 20
    assert loose.domains["met"].all() and (loose.with_model.n[1::2] == 0).all()
    all_loose = oversample(bayes, frame_of(table), targets=0.6)  # without any sample there is no model
    assert all_loose.domains["met"].all() and 0 < all_loose.with_model.n.sum() <= 40


def test_a_rare_group_pays_for_screening(bayes, table):
    dense = np.where(np.arange(40) % 2 == 0, 0.4, 0.02)
    both = [
        frame_of(table).assign(
            stratum=table["area"] + part, density=density, screening_cost=5.0, cost=40.0, response=0.5
        )
        for part, density in (("+", dense), ("-", 0.02))
    ]
    plan = oversample(bayes, pd.concat(both), targets=0.1)
    strata = plan.strata
    np.testing.assert_allclose(strata["contacts"], strata["n"] / (strata["density"] * 0.5))
    np.testing.assert_allclose(strata["cost_per_interview"], 40 + 5 / (strata["density"] * 0.5))
    rate = strata.set_index("stratum")["contact_rate"]
    kalton_anderson = [np.sqrt(P * 0.5 / (5 + P * 0.5 * 40)) for P in (0.4, 0.02)]
    cells = plan.cells
    exact = dict(zip(cells.strata, plan.with_model.continuous * cells.contacts / cells.persons, strict=True))
    asked = [name for name in table["area"][::2] if rate[f"{name}-"] > 0 and exact[f"{name}-"] > 1e-4]
    assert asked
    for name in asked:
        expected = kalton_anderson[0] / kalton_anderson[1]
        assert exact[f"{name}+"] / exact[f"{name}-"] == pytest.approx(expected, rel=1e-6)
    national = plan.price_for_national_estimates
    assert (national[["group_deff", "total_deff"]] >= 1.0).all(axis=None)
    small = national_check(plan, Regulation("lfs_employment_national"), mean=0.6, size=2e5)
    assert small["exempt"].all() and small["met"].all()  # f(N) < 0 asks nothing
    check = national_check(plan, Regulation("lfs_employment_national"), mean=0.6, size=5e6)
    effective = national["contacts"] / national["total_deff"]
    np.testing.assert_allclose(check["se"], np.sqrt(0.24 / effective))
    f_N = 7800 * np.sqrt(5.0) - 4500
    np.testing.assert_allclose(check["required_se"], np.sqrt(0.24 / f_N))
    assert check["met"].tolist() == (effective >= f_N).tolist()


def test_the_bootstrap_confirms_the_promise(plan):
    found = confirm(plan, 400, seed=1)
    assert found["kept"].mean() >= 0.9  # two Monte Carlo errors
    ratio = (found["bootstrap_rmse"] / found["promised_rmse"]).mean()
    assert ratio == pytest.approx(1.0, abs=0.05)  # of second order; 40 areas
    assert confirm(plan, 50, seed=1).equals(confirm(plan, 50, seed=1))


def test_a_nested_error_fit_is_planned_by_its_own_variances():
    rng = np.random.default_rng(3)
    area = np.repeat(np.arange(30), 20)
    x = rng.normal(size=600)
    y = 10 + x + 0.8 * rng.normal(size=30)[area] + 2.0 * rng.normal(size=600)
    units = pd.DataFrame({"domain": [f"C{d}" for d in area], "y": y, "x": x})
    means = pd.DataFrame({"domain": [f"C{d}" for d in range(30)], "x": 0.0})
    cells = pd.DataFrame({"domain": means["domain"], "population": 1e5})
    for method in ("reml", "bayes"):
        fit = sae.NestedError("y ~ x", method=method).fit(units, areas=means)
        plan = oversample(fit, cells, targets=0.04, assurance=None)
        sigma2_e = float(fit.variance_components["sigma2_e"])
        np.testing.assert_allclose(plan.unit, sigma2_e, rtol=EXACT)
        assert plan.domains["met"].all() and plan.with_model.n.sum() < plan.direct.n.sum()


def test_weights_and_scales_of_units_count_in_the_plan():
    rng = np.random.default_rng(3)
    area = np.repeat(np.arange(30), 20)
    units = pd.DataFrame({"domain": [f"C{d}" for d in area], "w": rng.uniform(1, 9, 600), "k": 2.0})
    units["y"] = 10 + 0.8 * rng.normal(size=30)[area] + 2.0 * rng.normal(size=600)
    cells = pd.DataFrame({"domain": units["domain"].unique(), "population": 1e5})
    weighted = sae.NestedError("y ~ 1", weights="w").fit(units)
    plan = oversample(weighted, cells, targets=0.04, assurance=None)
    sigma2_e = float(weighted.variance_components["sigma2_e"])
    kish = units.groupby("domain", sort=False)["w"].agg(lambda w: len(w) * (w**2).sum() / w.sum() ** 2)
    np.testing.assert_allclose(plan.unit, sigma2_e * kish, rtol=EXACT)
    scaled = oversample(
        sae.NestedError("y ~ 1", error_scale="k").fit(units), cells, targets=0.04, assurance=None
    )
    plain = oversample(sae.NestedError("y ~ 1").fit(units), cells, targets=0.04, assurance=None)
    np.testing.assert_allclose(scaled.unit, plain.unit, rtol=1e-7)
    np.testing.assert_array_equal(scaled.with_model.n, plain.with_model.n)


def test_refits_of_the_planned_sizes_meet_the_target():
    """Units drawn at the sizes of the plan and fitted again: the CVs of the refits are those asked."""
    rng = np.random.default_rng(7)
    area = np.repeat(np.arange(40), np.resize([3, 8, 15], 40))
    names = np.array([f"C{d:02}" for d in range(40)])
    units = pd.DataFrame({"domain": names[area], "x": rng.normal(size=len(area))})
    units["y"] = 10 + units["x"] + 0.8 * rng.normal(size=40)[area] + 2.0 * rng.normal(size=len(area))
    means = pd.DataFrame({"domain": names, "x": 0.0})
    spec = sae.NestedError("y ~ x")
    fit = spec.fit(units, areas=means)
    now = fit.estimates["cv"].to_numpy(dtype=float)
    cells = pd.DataFrame({"domain": names, "population": 1e6})
    target = 0.045
    plan = oversample(fit, cells, targets=target, assurance=None)
    assert plan.domains["met"].all() and (now > target).mean() > 0.5
    n, u2, e2 = plan.with_model.n, *(float(fit.variance_components[f"sigma2_{name}"]) for name in "ue")
    # what γ σe²/n alone asks, σu being known: the plan counts what is not known of it and of the coefficients
    bound = (target * fit.estimates["estimate"].to_numpy(dtype=float)) ** 2
    assert (n >= np.floor(np.maximum(e2 * (1.0 / bound - 1.0 / u2), 0.0))).all()
    assert n.sum() < 1.5 * np.maximum(e2 * (1.0 / bound - 1.0 / u2), 0.0).sum()
    beta, cvs, errors = fit.coefficients["coef"].to_numpy(), [], []
    for _ in range(10):
        where, x = np.repeat(np.arange(40), n), rng.normal(size=n.sum())
        u = np.sqrt(u2) * rng.normal(size=40)
        y = beta[0] + beta[1] * x + u[where] + np.sqrt(e2) * rng.normal(size=len(x))
        again = spec.fit(pd.DataFrame({"domain": names[where], "x": x, "y": y}), areas=means)
        cvs.append(np.sqrt(again.estimates["mse"]) / fit.estimates["estimate"])
        errors.append((again.estimates["estimate"] - beta[0] - u) ** 2 / bound)
    assert np.mean(cvs) == pytest.approx(target, rel=0.05)
    assert np.mean(errors) < 1.05 + 4.5 * np.std(errors) / np.sqrt(400)


def test_the_tables_hold_together(plan, table):
    allocation = plan.allocation
    assert allocation.total == plan.with_model.n.sum() and allocation.cost == pytest.approx(plan.cost)
    assert plan.direct_allocation.total == plan.direct.n.sum() and allocation.share_met == 1.0
    assert list(plan.domains["domain"]) == list(table["area"])
    assert plan.domains["n_model"].sum() == pytest.approx(plan.with_model.n.sum())
    assert {"σu", "cost per interview"} <= set(plan.assumptions["assumption"])
    assert plan.provenance["indicator"] == "y"


def test_a_stranger_reads_what_is_asked_and_what_it_takes(plan, bayes, table):
    text = plan.summary()
    assert "asked: CV <= 8 % in 40 domains, 90 % sure" in text
    assert f"with the model: {plan.with_model.n.sum():,} interviews" in text and "40 of 40 met" in text
    assert "not met" not in text and repr(plan).startswith(text) and "30 more domains" in repr(plan)
    cells = frame_of(table, cost=1 / 3 + 100.0, maximum=np.inf)
    cells.loc[3, "maximum"] = 6
    short = oversample(bayes, cells, targets=0.05)
    assert "not met: A03 (no budget suffices: the 6 interviews" in short.summary()
    values = short.assumptions.set_index("assumption")["value"]
    assert values["cost per interview"] == "100" and values["contacts per interview"] == "1"


@pytest.mark.parametrize("strict", [0.07, 0.05, 0.03])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_one_strict_target_among_few_domains_is_met_with_its_own_probability(seed, strict):
    few = areas(seed, m=14, sigma_u=0.02)
    fit = sae.FayHerriot("y ~ x", domain="area", method="bayes").fit(few)
    plan = oversample(fit, frame_of(few), targets=dict.fromkeys(few["area"], 0.08) | {"A03": strict})
    psi, model = plan.psi(plan.with_model.n), plan.equally_likely
    X, D = model.X, len(psi)
    inside = np.zeros(D)
    for A, weight in zip(model.variance, model.weights, strict=True):  # brute force over the nodes
        V = np.diag(A + np.where(np.isfinite(psi), psi, 1e9))
        B = 1.0 - A / np.diag(V)
        g2 = B**2 * np.diag(X.T @ np.linalg.inv(X @ np.linalg.inv(V) @ X.T) @ X)
        g3 = B**2 / np.diag(V) * 2.0 / (np.diag(V) ** -2.0).sum()
        inside += weight * (np.minimum(A * B + g2 + g3, psi) <= plan.bound * (1 + EXACT))
    np.testing.assert_allclose(plan.domains["probability"], inside, atol=EXACT)
    assert (plan.domains["met"] == (inside >= 0.9 - EXACT)).all() and plan.domains["met"].all()
    assert plan.with_model.n[3] <= plan.direct.n[3]  # the model never asks for more


ARGENTINA = Path(__file__).parents[3] / "benchmarks" / "accuracy" / "argentina_plan.py"


def test_argentine_cities(shared_data):
    """The foreign-born of 32 real cities: a fifth of the interviews saved at a CV of 8 %."""
    assert shared_data / "real" / "ar_eph2013_2014_persons.csv.gz"  # which the study reads
    spec = importlib.util.spec_from_file_location("argentina_plan", ARGENTINA)
    study = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(study)
    plan = oversample(*study.study(), targets=0.08)
    domains = plan.domains
    assert len(domains) == 32 and domains["met"].all() and (domains["probability"] >= 0.9 - EXACT).all()
    assert 0.6 < plan.with_model.n.sum() / plan.direct.n.sum() < 0.9
    kept = json.loads((ARGENTINA.parent / "results" / "argentina_plan.json").read_text(encoding="utf-8"))
    assert study.line(plan) == kept["plans"]["CV 8%"]


def test_own_design_effects_replace_the_fits(bayes, table):
    for columns in ({"deff": 2.0, "sd": 0.5}, {"deff": 9.0, "deff_y": 2.0, "sd_y": 0.5}):
        plan = oversample(bayes, frame_of(table, **columns), targets=HalfWidth(0.1))
        np.testing.assert_allclose(plan.unit, 0.5)


def test_refusals_name_the_offender(fit, bayes, table):
    good = frame_of(table)
    with pytest.raises(SaeInputError, match="not in the fit: Z9"):
        oversample(bayes, good.assign(domain=["Z9", *table["area"][1:]]), targets=0.1)
    with pytest.raises(SaeInputError, match="no column 'population'"):
        oversample(bayes, good.drop(columns="population"), targets=0.1)
    with pytest.raises(SaeInputError, match="twice: A00 × A00"):
        oversample(bayes, pd.concat([good, good[:1]]), targets=0.1)
    with pytest.raises(SaeInputError, match=r"density is not in \(0, 1\] in 1 of 40 cells: A00"):
        oversample(bayes, good.assign(density=[0.0, *[1.0] * 39]), targets=0.1)
    with pytest.raises(SaeInputError, match="does not have: nowhere"):
        oversample(bayes, good, targets={"nowhere": 0.1})
    with pytest.raises(SaeSpecError, match=r"assurance = 0\.2"):
        oversample(bayes, good, targets=0.1, assurance=0.2)
    without = sae.FayHerriot("y ~ x", domain="area").fit(table.drop(columns=["n", "n_eff"]))
    with pytest.raises(SaeInputError, match="sample size of 38 of 38 areas"):
        oversample(without, good, targets=0.1)
    several = sae.FayHerriot("y ~ x", domain="area", per="half").fit(table.assign(half=["a", "b"] * 20))
    with pytest.raises(SaeSpecError, match="2 fits"):
        oversample(several, good, targets=0.1)


def test_domains_without_strata_are_refused_or_named(bayes, table):
    truncated = frame_of(table)[:9]
    with pytest.raises(SaeInputError, match="31 of 40 domains of the fit have no strata in the frame: A09"):
        oversample(bayes, truncated, targets=0.08)
    with pytest.raises(SaeInputError, match="domains that the frame does not have: A39"):
        oversample(bayes, truncated, targets={"A01": 0.08, "A39": 0.08})
    with pytest.warns(SaeWarning, match=r"31 domains of the fit .* the plan is not about them: A09"):
        part = oversample(bayes, truncated, targets=dict.fromkeys(table["area"][:9], 0.08))
    assert part.assumptions["value"].str.contains("31 domains of the fit").any()
    assert "9 of 9 met" in part.summary()


@pytest.mark.parametrize(
    ("column", "meant"),
    [
        ("densty", "density"),
        ("Density", "density"),
        ("density_foreign", "density"),
        ("n_nwo", "n_now"),
        ("N now", "n_now"),
        ("n-now", "n_now"),
        ("respnse", "response"),
        ("costs", "cost"),
        ("screening_costs", "screening_cost"),
        ("maximun", "maximum"),
        ("deff_Y", "deff_y"),
        ("stratun", "stratum"),
    ],
)
def test_a_misspelt_column_is_refused_with_the_one_that_is_meant(bayes, table, column, meant):
    with pytest.raises(SaeInputError, match=column) as refused:
        oversample(bayes, frame_of(table, **{column: 0.5}), targets=0.08)
    assert f"Did you mean {meant}" in str(refused.value)


def test_a_column_that_no_plan_reads_is_named(bayes, table):
    with pytest.warns(
        SaeWarning, match="does not read 2 columns of the frame of strata: remark, m"
    ) as caught:
        oversample(bayes, frame_of(table, remark="x", mayor="y"), targets=0.08)
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    ("column", "value", "told"),
    [
        ("n_now", 2.5, "n_now is not a whole number"),
        ("n_now", -1, "n_now is not a whole number"),
        ("n_now", np.inf, "n_now is not a whole number"),
        ("minimum", 1.5, "minimum is not a whole number"),
        ("minimum", np.inf, "minimum is not a whole number"),
        ("maximum", 10.5, "maximum is not a whole number"),
        ("population", np.inf, "population is not at least 1"),
        ("population", 0.35, "population is not at least 1"),  # millions
        ("cost", np.inf, "cost is not positive"),
        ("density", np.nan, "density is not in"),
        ("response", 1.2, "response is not in"),
    ],
)
def test_numbers_out_of_range_are_refused_by_name(bayes, table, column, value, told):
    frame = frame_of(table, **{column: 2.0 if column not in ("density", "response") else 1.0})
    frame.loc[5, column] = value
    with pytest.raises(SaeInputError, match=f"{told}.*: A05"):
        oversample(bayes, frame, targets=0.08)


@pytest.mark.parametrize(
    "targets",
    [None, True, "0.1", [0.1], np.inf, np.nan, -0.1, {}, {"A01": "0.1"}, {1: 0.1, "1": 0.2}, {None: 0.1}],
)
def test_targets_that_are_none_are_refused(bayes, table, targets):
    with pytest.raises(SaeError):
        oversample(bayes, frame_of(table), targets=targets)


def test_a_rule_without_a_limit_on_the_error_is_said_to_ask_nothing(bayes, table):
    rule = Published("eurostat_silc", grade="publishable")
    with pytest.warns(SaeWarning, match="limits no error: it asks nothing of the model in 40 domains, A00"):
        plan = oversample(bayes, frame_of(table), targets=rule)
    assert "in 0 domains" in plan.summary() and not plan.has_target.any()


def test_one_value_of_deff_for_each_domain(bayes, table):
    both = pd.concat(
        [frame_of(table, stratum=table["area"] + part, sd=0.5, deff=d) for part, d in ("a1", "b2")]
    )
    with pytest.raises(SaeInputError, match="deff differs between the strata of 40 domains"):
        oversample(bayes, both.assign(deff=both["deff"].astype(float)), targets=0.1)


def test_interviews_taken_away_are_told(bayes, table):
    """Two strata a domain: what one loses does not hide in what the other gains."""
    parts = [
        frame_of(table, stratum=table["area"] + part, n_now=now, cost=cost)
        for part, now, cost in (("+", 400, 1.0), ("-", 0, 1.5))
    ]
    plan = oversample(bayes, pd.concat(parts), targets=0.1)
    strata, change = plan.strata, plan.change
    n = strata["n"].to_numpy() - strata["n_now"].to_numpy()
    assert (
        change.now == 16_000 and change.added == n[n > 0].sum() > 0 and change.removed == -n[n < 0].sum() > 0
    )
    np.testing.assert_array_equal(strata["added"] - strata["removed"], strata["extra"])
    domains = plan.domains
    assert (domains["n_now"] == 400).all() and (domains["removed"] > 0).all() and (domains["added"] > 0).all()
    np.testing.assert_allclose(domains["extra"], domains["n_model"] - domains["n_now"])
    words = f"{change.added:,} added, {change.removed:,} taken away, {change.net:+,} net"
    assert words in plan.summary()
    notes = plan.assumptions.query("assumption == 'note'")["value"]
    assert notes.str.contains("Today's interviews are those of the frame, 16,000").any()


def test_without_the_model_is_one_figure(bayes, table):
    parts = [
        frame_of(table, stratum=table["area"] + part) for part in "abc"
    ]  # three strata: rounded up thrice
    plan = oversample(bayes, pd.concat(parts), targets=0.08)
    shown = plan.domains.set_index("domain")["n_direct"]
    told = [line for line in plan.sentences() if "instead of" in line]
    assert len(told) > 20
    for line in told:
        name = re.search(r"like (\S+) the", line)[1]
        assert int(re.search(r"instead of ([\d,]+) for", line)[1].replace(",", "")) == round(shown[name])
    np.testing.assert_allclose(plan.worth["n_direct"], shown)
    np.testing.assert_allclose(plan.worth["n_direct"] - plan.worth["worth"], plan.worth["n_model"])


def test_where_no_sample_suffices_without_the_model_no_number_is_told(bayes, table):
    plan = oversample(bayes, frame_of(table, maximum=25), targets=0.08)
    lost = plan.domains["n_direct"].isna()
    assert lost.any() and (plan.domains["n_direct"].notna() == np.isfinite(plan.n_direct)).all()
    for line, name in zip(plan.sentences(), plan.domains["domain"], strict=True):
        assert ("no sample within the bounds" in line) == bool(lost[plan.domains["domain"] == name].all())


# ---- the finite population


def test_a_census_leaves_no_variance_and_meets_every_target(bayes, table):
    plan = oversample(bayes, frame_of(table).assign(population=99), targets=0.02)
    assert (plan.psi(plan.cells.upper) == 0).all() and (plan.mse(plan.cells.upper) == 0).all()
    assert plan.domains["met"].all() and plan.domains["met_direct_only"].all()
    assert (plan.with_model.n <= plan.direct.n).all() and (plan.direct.n < 99).any()
    assert not any(reach is Reach.NEVER for reach in plan.reach)


@pytest.mark.parametrize("assurance", [None, 0.9])
def test_small_plans_are_the_cheapest_by_brute_force(bayes, table, assurance):
    """One domain alone asks: the least n of its 300 members that meets the target, by trying all."""
    frame = frame_of(table, minimum=20).assign(population=300)
    plan = oversample(bayes, frame, targets={"A11": 0.05}, assurance=assurance)
    n = plan.with_model.n.copy()
    direct = plan.unit[11] * (1 / np.arange(1, 301) - 1 / 300)
    assert plan.direct.n[11] == 1 + np.flatnonzero(direct <= plan.bound[11] * (1 + EXACT))[0]
    met = []
    for size in range(20, 301):
        n[11] = size
        met.append(plan.publishable(n, with_model=True)[11])
    assert plan.with_model.n[11] == 20 + np.flatnonzero(met)[0]


def test_more_precision_costs_more(bayes, table):
    costs = [
        [sizes.n.sum() for sizes in (plan.with_model, plan.direct)]
        for limit in (0.12, 0.1, 0.08, 0.06, 0.04, 0.02)
        for plan in [oversample(bayes, frame_of(table).assign(population=400), targets=limit)]
    ]
    assert (np.diff(costs, axis=0) >= 0).all() and (np.array(costs)[:, 0] <= np.array(costs)[:, 1]).all()
    assert costs[-1][1] < 40 * 400
