"""Information criteria and stepwise selection against emdi and sae, and on data with a known answer."""

import numpy as np
import pandas as pd
import pytest

from sae.area_level import FayHerriot, criteria_table, select
from sae.errors import SaeSpecError
from sae.numerics.fay_herriot.fit import fit_batch
from sae.tables import Covariates, Origin

EMDI = 1e-8  # emdi's variance is off by 4e-7 relative; the likelihood is flat there
SAE = 2e-6  # this fit has sae's default precision of 1e-4 in the variance
Z = 4.0  # Monte Carlo references: standard errors


@pytest.fixture
def incomes(shared_data):
    return pd.read_csv(shared_data / "emdi_eusilcA_smpAgg.csv"), pd.read_csv(
        shared_data / "emdi_eusilcA_popAgg.csv"
    )


def spec(right, method="ml"):
    return FayHerriot(f"Mean ~ {right}", domain="Domain", vardir="Var_Mean", method=method)


def steps(trace):
    """emdi's printed trace as lists of (change, value), one per step."""
    found = []
    for line in trace:
        if "df" in line.split():
            found.append([])
        else:
            words = line.split()
            change = "none" if words[0] == "<none>" else f"- {words[1]}"
            found[-1].append((change, float(words[-1])))
    return found


@pytest.mark.parametrize("criterion", ["AIC", "BIC", "KIC"])
def test_steps_as_emdi(incomes, reference, criterion):
    expected = reference(f"emdi_step_{criterion}")["outputs"]
    sample, population = incomes
    chosen = select(
        spec("cash + self_empl + unempl_ben + age_ben + rent"),
        sample,
        areas=population,
        criterion=criterion.lower(),
    )
    for step, lines in enumerate(steps(expected["trace"]), start=1):
        ours = chosen.trace[chosen.trace["step"] == step]
        assert ours["change"].tolist() == [change for change, _ in lines]
        np.testing.assert_allclose(ours[criterion.lower()], [value for _, value in lines], rtol=EMDI)
    assert chosen.trace["step"].max() == len(steps(expected["trace"]))
    assert chosen.spec.formula in expected["final_call"][0]
    assert f"chosen by {criterion}: Mean ~ cash" in repr(chosen)


def test_steps_by_kicb2_as_emdi(incomes, reference):
    expected = reference("emdi_step_KICb2_mc")["outputs"]
    sample, population = incomes
    chosen = select(
        spec("cash + self_empl + unempl_ben"),
        sample,
        areas=population,
        criterion="kicb2",
        seed=1,
        replicates=1000,
    )
    assert chosen.spec.formula in expected["final_call"][0]
    for step, lines in enumerate(steps(expected["trace"]), start=1):
        ours = chosen.trace[chosen.trace["step"] == step].set_index("change")
        for change, value in lines:
            error = ours.loc[change, "kicb2_error"] * np.sqrt(1 + 1000 / 50)  # emdi: 50 replicates
            assert abs(ours.loc[change, "kicb2"] - value) < Z * error


@pytest.mark.parametrize(
    ("case", "method"),
    [("emdi_fh_ml_ic_mc", "ml"), ("emdi_fh_reml_ic_mc", "reml"), ("sae_milk_fh_reml_ic_mc", "reml")],
)
def test_bootstrap_criteria(request, oracle_data, reference, case, method):
    expected = reference(case)["outputs"]
    expected = expected.get("model_select") or expected["goodness"]
    if "milk" in case:
        sample, areas = pd.read_csv(oracle_data / "milk.csv").assign(vardir=lambda f: f["SD"] ** 2), None
        right, model = "C(MajorArea)", FayHerriot("yi ~ 1", domain="SmallArea", method=method)
    else:
        sample, areas = request.getfixturevalue("incomes")
        right, model = "cash + self_empl", spec("1", method)
    row = criteria_table(model, sample, [right], areas=areas, seed=1, replicates=1000).iloc[0]
    for name in ("AIC", "BIC", "KIC"):
        assert row[name.lower()] == pytest.approx(expected[name], rel=SAE if "milk" in case else EMDI)
    wider = np.sqrt(1 + 1000 / 200)  # the references draw 200 replicates
    for name in ("AICc", "AICb1", "AICb2"):
        assert abs(row[name.lower()] - expected[name]) < Z * row[f"{name.lower()}_error"] * wider
    if method == "ml":
        for name in ("KICc", "KICb1", "KICb2"):
            assert abs(row[name.lower()] - expected[name]) < Z * row[f"{name.lower()}_error"] * wider


@pytest.mark.parametrize(
    ("case", "method"),
    [("emdi_fh_ml_ic_mc", "ml"), ("emdi_fh_reml_ic_mc", "reml"), ("sae_milk_fh_reml_ic_mc", "reml")],
)
def test_kullback_term_of_the_references_counts_the_coefficients_twice_under_reml(
    request, oracle_data, reference, case, method
):
    """Exception, explained: what the references add to an AIC to make it a KIC.

    The term is the divergence of the fit φ̂ from its refit φ̂*, E [-2 log f(z; φ̂) + 2 log f(z; φ̂*)] for z drawn
    from φ̂*. Both means are known: Σ log V + (V* + (x'Δβ)²) / V and -Σ log V* - n. In place of the second the
    references take 2 log f(y*; φ̂*) of the very data that φ̂* was fitted to: -Σ log V* - Σ (y* - x'β̂*)² / V*.
    The last sum is n on average under ML, but n - p under REML: p too much.
    """
    expected = reference(case)["outputs"]
    expected = expected.get("model_select") or expected["goodness"]
    if "milk" in case:
        milk = pd.read_csv(oracle_data / "milk.csv")
        y, D = milk["yi"].to_numpy(), milk["SD"].to_numpy() ** 2
        X = np.array([milk["MajorArea"] == k for k in (1, 2, 3, 4)], dtype=float)
    else:
        frame = pd.merge(*request.getfixturevalue("incomes"), on="Domain")
        y, D = frame["Mean"].to_numpy(), frame["Var_Mean"].to_numpy()
        X = np.vstack([np.ones(len(y)), frame["cash"], frame["self_empl"]])
    (p, n), runs = X.shape, 4000
    fit = fit_batch(y, D, X, [0, n], method)
    V, fitted = fit.variance[0, 0] + D, fit.coefficients[0, 0] @ X
    drawn = fitted + np.sqrt(V) * np.random.default_rng(1).normal(size=(runs, n))
    refit = fit_batch(drawn, D, X, [0, n], method)
    again, V_again = refit.coefficients[:, 0] @ X, refit.variance[:, :1] + D
    divergence = (np.log(V / V_again) + (V_again + (again - fitted) ** 2) / V - 1).sum(axis=1)
    too_much = n - ((drawn - again) ** 2 / V_again).sum(axis=1)
    theirs = divergence + too_much
    for kind in ("c", "b1", "b2"):  # one and the same figure in each: 200 replicates
        added = expected[f"KIC{kind}"] - expected[f"AIC{kind}"]
        assert abs(added - theirs.mean()) < Z * theirs.std() * np.sqrt(1 / 200 + 1 / runs)
        if method == "reml":  # and not ours
            assert abs(added - divergence.mean()) > Z * divergence.std() * np.sqrt(1 / 200 + 1 / runs)
    assert divergence.mean() == pytest.approx(p + 1, abs=0.3)  # parameters, asymptotically
    # REML solves Σ r² / V² - ... = 0, so that Σ r² / V is n - p about, not exactly
    assert too_much.mean() == pytest.approx(p if method == "reml" else 0, abs=0.7)


def test_bootstrap_penalty_is_the_parameters_in_the_limit(rng):
    n = 400
    frame = pd.DataFrame({"area": range(n), "x": rng.normal(size=n)})
    frame = frame.assign(y=frame["x"] + rng.normal(size=n) * np.sqrt(1.5), vardir=0.5)
    row = criteria_table(
        FayHerriot("y ~ x", domain="area", method="ml"), frame, ["x"], seed=1, replicates=400
    ).iloc[0]
    # three parameters: 2 × 3 for either criterion, 3 more for Kullback's
    for name, value in {
        "aicb1": 6.0,
        "aicb2": 6.0,
        "kicb1": 9.0,
        "kicb2": 9.0,
        "aicc": 6.0,
        "kicc": 9.0,
    }.items():
        penalty = row[name] + 2 * row["loglik"]
        assert abs(penalty - value) < Z * row[f"{name}_error"] + 0.3


def known(rng, n=80):
    x, w, z = rng.normal(size=(3, n))
    y = 2 * x - w + rng.normal(size=n)
    return pd.DataFrame(
        {
            "area": range(n),
            "x": x,
            "w": w,
            "z": z,
            "g": ["a", "b"] * (n // 2),
            "y": y,
            "vardir": 0.3,
        }
    )


@pytest.mark.parametrize("direction", ["backward", "forward", "both"])
def test_what_is_there_is_found(rng, direction):
    model = FayHerriot("y ~ x + w + z + C(g)", domain="area", method="ml")
    chosen = select(model, known(rng), criterion="bic", direction=direction)
    assert chosen.spec.formula == "y ~ x + w"
    last = chosen.trace[chosen.trace["step"] == chosen.trace["step"].max()]
    assert last["change"][last["chosen"]].tolist() == ["none"]
    assert chosen.spec.method == "ml"


def test_interactions_hold_their_terms(rng):
    frame = known(rng)
    frame["y"] += 3 * frame["x"] * frame["z"]
    chosen = select(FayHerriot("y ~ x * z + w", domain="area", method="ml"), frame, criterion="bic")
    assert chosen.spec.formula == "y ~ x + z + w + x:z"
    assert set(chosen.trace["change"]) == {"none", "- w", "- x:z"}


def test_without_an_intercept_one_term_stays(rng):
    frame = known(rng).assign(y=lambda f: f["y"] * 0.001)
    chosen = select(FayHerriot("y ~ 0 + z", domain="area", method="ml"), frame)
    assert chosen.spec.formula == "y ~ 0 + z"


@pytest.mark.parametrize(
    ("options", "call", "words"),
    [
        ({"method": "fh"}, {}, 'method="fh" has none'),
        ({"per": ("g",)}, {}, "cannot be selected with per="),
        ({}, {"criterion": "aicb2"}, "aicb2 comes from a bootstrap"),
        ({}, {"criterion": "bci"}, "did you mean 'bic'"),
        ({}, {"direction": "back"}, "direction = 'back' does not exist"),
    ],
)
def test_refusals(rng, options, call, words):
    model = FayHerriot("y ~ x + w", domain="area", **{"method": "ml", **options})
    with pytest.raises(SaeSpecError, match=words):
        select(model, known(rng), **call)


def test_same_seed_same_trace(rng):
    frame, model = known(rng, 40), FayHerriot("y ~ x + z", domain="area", method="ml")
    a, b = (select(model, frame, criterion="kicb2", seed=3, replicates=20).trace for _ in range(2))
    pd.testing.assert_frame_equal(a, b, check_exact=True)


def test_covariates_with_their_origin_are_taken_like_a_frame():
    rng = np.random.default_rng(1)
    data = pd.DataFrame({"domain": [f"A{k}" for k in range(40)], "vardir": 0.5})
    areas = data[["domain"]].assign(x=rng.normal(size=40), w=rng.normal(size=40))
    data["Mean"] = 2 * areas["x"] + rng.normal(size=40)
    table = Covariates(areas, {"x": Origin("register", "share", "2020")})
    full = FayHerriot("Mean ~ x + w", method="ml")
    chosen = [select(full, data, areas=some).trace for some in (areas, table)]
    pd.testing.assert_frame_equal(*chosen)
    compared = [criteria_table(full, data, ["x", "x + w"], areas=some) for some in (areas, table)]
    pd.testing.assert_frame_equal(*compared)
