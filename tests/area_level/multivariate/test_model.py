"""MultivariateFayHerriot: names and refusals, limiting cases, contrasts, direct estimates, real tables."""

import warnings

import numpy as np
import pandas as pd
import pytest

from sae.area_level import FayHerriot
from sae.area_level.multivariate.model import MultivariateFayHerriot
from sae.errors import (
    BoundaryVarianceWarning,
    ConvergenceWarning,
    ExtrapolationWarning,
    SaeInputError,
    SaeSpecError,
)
from sae.numerics.multivariate.fit import mse_blocks
from sae.tables import DirectEstimates

EXACT = 1e-8  # same maximum, another climb
NODES = 0.002  # 2,048 Sobol nodes against exact quadrature, in widths of the interval
VARDIR = {"a": "va", "b": "vb", ("a", "b"): "cab"}


def spec(**options):
    return MultivariateFayHerriot(["a ~ x", "b ~ x"], domain="area", vardir=VARDIR, **options)


def simulated(rng, n=60, correlation=0.7):
    x = rng.normal(size=n)
    u = rng.multivariate_normal([0, 0], [[1.0, correlation], [correlation, 1.0]], size=n)
    root = rng.normal(size=(n, 2, 2))
    psi = 0.3 * root @ root.swapaxes(1, 2) + 0.2 * np.eye(2)
    y = np.column_stack([1.0 + 2.0 * x, 3.0 - x]) + u
    y += np.einsum("drs,ds->dr", np.linalg.cholesky(psi), rng.normal(size=(n, 2)))
    return pd.DataFrame(
        {
            "area": [f"A{k:02d}" for k in range(n)],
            "x": x,
            "a": y[:, 0],
            "b": y[:, 1],
            "va": psi[:, 0, 0],
            "vb": psi[:, 1, 1],
            "cab": psi[:, 0, 1],
        }
    )


@pytest.fixture
def frame(rng):
    frame = simulated(rng)
    frame.loc[0, "a"] = frame.loc[1, "b"] = np.nan
    frame.loc[2, ["a", "b", "va"]] = np.nan
    return frame


@pytest.fixture
def fitted(frame):
    return spec().fit(frame)


COMPARED = ("estimate", "mse", "ci_low", "ci_high", "gamma")


# one component, order, units


@pytest.mark.parametrize("method", ["reml", "ml"])
def test_one_component_is_the_plain_model(frame, method):
    one = MultivariateFayHerriot("a ~ x", domain="area", vardir={"a": "va"}, method=method).fit(frame)
    plain = FayHerriot("a ~ x", domain="area", vardir="va", method=method).fit(frame)
    for name in ("estimate", "gamma", "direct", "direct_se"):
        np.testing.assert_allclose(one.estimates[name], plain.estimates[name], rtol=EXACT)
    np.testing.assert_allclose(one.coefficients, plain.coefficients, rtol=1e-6)
    # the variance of the REML variance has another form of the same order: tr(PP) for Σ 1/(A + D)²
    np.testing.assert_allclose(one.estimates["mse"], plain.estimates["mse"], rtol=0.01)
    assert one.estimates["interval"].eq(plain.estimates["interval"]).all()
    assert one.diagnostics["loglik"].iloc[0] == pytest.approx(plain.diagnostics["loglik"].iloc[0], rel=1e-10)


@pytest.mark.parametrize("spread", [1.0, 0.0])
def test_intervals_of_few_areas_are_those_of_the_exact_posterior(rng, spread):
    frame = simulated(rng, n=25)
    frame["a"] = 1.0 + 2.0 * frame["x"] + spread * (frame["a"] - 1.0 - 2.0 * frame["x"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BoundaryVarianceWarning)
        one = MultivariateFayHerriot("a ~ x", domain="area", vardir={"a": "va"}).fit(frame).to_frame()
        plain = FayHerriot("a ~ x", domain="area", vardir="va").fit(frame).to_frame()
    width = plain["ci_high"] - plain["ci_low"]
    for end in ("ci_low", "ci_high"):
        assert (np.abs(one[end] - plain[end]) / width).max() < NODES
    assert one["prior"].iloc[0] == "flat-covariance"  # of one element: the flat variance of the plain model


def test_intervals_say_when_their_weights_cannot_be_trusted(rng, monkeypatch):
    monkeypatch.setattr("sae.area_level.multivariate.eblup.K_LIMIT", -10.0)
    with pytest.warns(ConvergenceWarning, match="The ends of the intervals are not certain"):
        fit = spec(structure="ar1").fit(simulated(rng, n=15))
    assert fit.estimates["ci_low"].notna().all()


@pytest.mark.parametrize("structure", ["unstructured", "diagonal"])
def test_order_of_areas_and_components_does_not_matter(frame, structure):
    a = spec(structure=structure).fit(frame)
    turned = MultivariateFayHerriot(["b ~ x", "a ~ x"], domain="area", vardir=VARDIR, structure=structure)
    b = turned.fit(frame.sample(frac=1.0, random_state=3))
    left, right = (fit.to_frame().set_index(["domain", "indicator"]) for fit in (a, b))
    for name in COMPARED:
        np.testing.assert_allclose(right.loc[left.index, name], left[name], rtol=1e-6)
    np.testing.assert_allclose(
        b.effect_covariance.loc[["a", "b"], ["a", "b"]], a.effect_covariance, rtol=1e-6
    )
    x, z = a.draws(3, seed=1).to_frame(), b.draws(3, seed=1).to_frame()
    np.testing.assert_allclose(z[x.columns], x, rtol=1e-5)  # streams are named, roots do not know an order


def test_components_have_units_of_their_own(frame):
    a = spec().fit(frame)
    b = spec().fit(
        frame.assign(
            a=1e-3 * frame["a"],
            va=1e-6 * frame["va"],
            b=1e6 * frame["b"],
            vb=1e12 * frame["vb"],
            cab=1e3 * frame["cab"],
        )
    )
    for k, unit in enumerate((1e-3, 1e6)):
        for name, power in (("estimate", 1), ("mse", 2), ("ci_low", 1), ("gamma", 0)):
            ours, theirs = a.estimates[name].iloc[k::2], b.estimates[name].iloc[k::2]
            np.testing.assert_allclose(theirs, unit**power * ours, rtol=1e-6)
    np.testing.assert_allclose(b.correlations, a.correlations, rtol=1e-5)


def test_no_correlation_anywhere_is_two_plain_models(frame):
    apart = frame.assign(cab=0.0)
    fit = spec(structure="diagonal").fit(apart).to_frame()
    for k, (y, v) in enumerate([("a", "va"), ("b", "vb")]):
        plain = FayHerriot(f"{y} ~ x", domain="area", vardir=v).fit(apart).to_frame()
        np.testing.assert_allclose(fit["estimate"].iloc[k::2], plain["estimate"], rtol=1e-7)


# rows without a sample


def test_missing_components_are_predicted_from_the_others(frame, fitted):
    table = fitted.to_frame()
    assert len(table) == 120
    out = ~table["in_sample"].astype(bool)
    assert table.loc[out, ["domain", "indicator"]].values.tolist() == [
        ["A00", "a"],
        ["A01", "b"],
        ["A02", "a"],
        ["A02", "b"],
    ]
    assert table.loc[out, "direct"].isna().all()
    assert table.loc[out, ["estimate", "mse", "ci_low", "ci_high"]].notna().all(axis=None)
    # A02 has nothing: the synthetic estimate; A00 has its other component, which narrows the error
    beta = fitted.coefficients["coef"]
    synthetic = beta["a", "Intercept"] + beta["a", "x"] * frame["x"]
    assert table["estimate"].iloc[4] == pytest.approx(synthetic[2], rel=1e-10)
    assert abs(table["estimate"].iloc[0] - synthetic[0]) > 0.01
    assert table["mse"].iloc[0] < table["mse"].iloc[4]


def test_a_direct_estimate_without_information_is_one_that_is_missing(frame):
    gone = frame.copy()
    gone.loc[5, "a"] = np.nan
    vague = frame.copy()
    vague.loc[5, ["va", "cab"]] = [1e12, 0.0]
    a, b = spec().fit(gone).to_frame(), spec().fit(vague).to_frame()
    np.testing.assert_allclose(b["estimate"], a["estimate"], rtol=1e-6)
    np.testing.assert_allclose(b["mse"], a["mse"], rtol=1e-5)


def test_an_exact_direct_estimate_is_kept(frame):
    frame.loc[5, ["va", "cab"]] = [1e-10, 0.0]
    row = spec().fit(frame).to_frame().query("domain == 'A05' and indicator == 'a'").iloc[0]
    assert row["estimate"] == pytest.approx(row["direct"], abs=1e-8)
    assert row["mse"] < 2e-10


def test_areas_only_among_the_covariates_are_predicted(frame):
    full = spec().fit(frame).to_frame()
    data = frame.drop(columns="x").iloc[3:50]
    table = spec().fit(data, areas=frame[["area", "x"]]).to_frame()
    assert sorted(table["domain"].unique()) == sorted(full["domain"].unique())
    assert (~table["in_sample"]).sum() == 2 * (60 - 47)


# refusals


def test_covariances_under_the_wrong_name_are_refused(frame):
    # msae takes variances in another order in silence: 87 of its 150 MSEs turn negative
    swapped = {"a": "va", "b": "cab", ("a", "b"): "vb"}
    with pytest.raises(SaeInputError, match=r"variance that is not positive|not positive definite"):
        MultivariateFayHerriot(["a ~ x", "b ~ x"], domain="area", vardir=swapped).fit(frame)
    frame["cab"] = frame["cab"].where(frame["area"] != "A07", 2.0 * np.sqrt(frame["va"] * frame["vb"]))
    with pytest.raises(SaeInputError, match="1 of 60 areas are not positive definite: A07") as error:
        spec().fit(frame)
    assert error.value.areas == ("A07",)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: f.drop(columns="cab"), "no column 'cab'"),
        (lambda f: f.drop(columns="vb"), "no column 'vb'"),
        (lambda f: f.drop(columns="b"), "no column 'b'"),
        (lambda f: f.assign(cab="much"), "cab holds text"),
        (
            lambda f: f.assign(cab=f["cab"].where(f["area"] != "A09")),
            "1 of 60 areas have .* no covariance .*A09",
        ),
        (
            lambda f: f.assign(vb=f["vb"].where(f["area"] != "A09", 0.0)),
            r"variance that is not positive: A09 \(0\)",
        ),
        (lambda f: f.assign(b=np.nan), "No area has a direct estimate"),
        (lambda f: f.assign(x=1.0), "x is constant of a"),
    ],
)
def test_unusable_frames_are_refused_by_name(frame, change, words):
    with pytest.raises(SaeInputError, match=words):
        spec().fit(change(frame))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"vardir": {"a": "va", "b": "vb"}}, "no column for a × b"),
        ({"vardir": {**VARDIR, "c": "vc"}}, "vardir names c"),
        ({"vardir": {"a": "va", "b": 0, ("a", "b"): 0}}, "vardir for b is 0"),
        ({"components": "birth", "formula": "a ~ x", "vardir": {}}, "needs the direct estimates"),
    ],
)
def test_unusable_specifications_are_refused(frame, options, words):
    given = {"formula": ["a ~ x", "b ~ x"], "vardir": VARDIR, **options}
    with pytest.raises(SaeSpecError, match=words):
        MultivariateFayHerriot(domain="area", **given).fit(frame)


@pytest.mark.parametrize(
    "options",
    [
        {"formula": ["a ~ x", "a ~ z"]},
        {"formula": ["a ~ x", "b ~ x"], "components": "birth"},
        {"structure": "toeplitz"},
        {"method": "fh"},
        {"mse": "jackknife"},
        {"level": 95},
        {"replicates": 1},
    ],
)
def test_contradictions_are_refused_before_any_data(options):
    with pytest.raises(SaeSpecError):
        MultivariateFayHerriot(**{"formula": ["a ~ x", "b ~ x"], **options})


def test_toml_and_back():
    model = spec(structure="ar1", method="ml")
    assert MultivariateFayHerriot.from_toml(model.to_toml()) == model
    free = MultivariateFayHerriot("rate ~ x", components="birth")
    assert MultivariateFayHerriot.from_toml(free.to_toml()) == free
    assert "models a, b together, with AR(1) effects" in repr(model)


# contrasts


def test_contrast_is_matrix_algebra(frame, fitted):
    table = fitted.contrast({"b": 1, "a": -1}).to_frame()
    y, psi = fitted.rows.direct, fitted.rows.psi
    assert table["indicator"].iloc[0] == "b - a"
    estimate = fitted.estimates["estimate"].to_numpy().reshape(-1, 2)
    np.testing.assert_allclose(table["estimate"], estimate[:, 1] - estimate[:, 0], rtol=1e-12)
    joint = fitted.joint.covariance()
    M = np.array([joint[2 * d : 2 * d + 2, 2 * d : 2 * d + 2] for d in range(60)])
    np.testing.assert_allclose(np.einsum("drr->dr", M).ravel(), fitted.estimates["mse"], rtol=1e-9)
    w = np.array([-1.0, 1.0])
    np.testing.assert_allclose(table["mse"], np.einsum("r,drs,s->d", w, M, w), rtol=1e-9)
    np.testing.assert_allclose(table["direct_se"] ** 2, np.einsum("r,drs,s->d", w, psi, w), rtol=1e-9)
    np.testing.assert_allclose(table["direct"], y @ w, rtol=1e-12)
    assert (~table["in_sample"]).sum() == 3
    assert (
        table.loc[table["in_sample"], "mse"].lt(table.loc[table["in_sample"], "direct_se"] ** 2).mean() > 0.9
    )


def test_joint_error_is_the_mse_matrix_within_areas_and_the_coefficients_between(fitted):
    from sae.area_level.multivariate.model import _designs  # the designs of the same rows

    X, _ = _designs(fitted.rows, ("x", "x"))
    from sae.numerics.multivariate.fit import fit_blocks

    fit = fit_blocks(fitted.rows.direct, X, fitted.rows.psi, "unstructured")
    parts = mse_blocks(fit, fitted.rows.direct, X, fitted.rows.psi)
    joint = fitted.joint.covariance()
    np.testing.assert_allclose(joint[6:8, 6:8], parts.mse[3], rtol=1e-6)
    np.testing.assert_allclose(joint[6:8, 10:12], parts.shared[3] @ parts.shared[5].T, rtol=1e-6, atol=1e-12)


def test_contrast_with_a_constant_and_one_component(fitted):
    alone = fitted.contrast({"a": 1}).to_frame()
    own = fitted.to_frame().iloc[0::2].reset_index(drop=True)
    for name in ("estimate", "mse", "ci_low", "ci_high", "direct", "direct_se"):
        np.testing.assert_allclose(alone[name], own[name], rtol=1e-9)
    rest = fitted.contrast({"a": -1, "b": -2}, constant=1).to_frame()
    assert rest["indicator"].iloc[0] == "1 - a - 2 b"
    np.testing.assert_allclose(
        rest["estimate"],
        1 - own["estimate"] - 2 * fitted.to_frame()["estimate"].iloc[1::2].to_numpy(),
        rtol=1e-10,
    )


def test_ratio_is_the_delta_method(frame):
    fit = spec().fit(frame.assign(a=frame["a"] + 100.0, b=frame["b"] + 50.0))
    table, draws = fit.ratio("a", "b").to_frame(), fit.draws(20_000, seed=1).values
    a, b = draws[:, 0::2], draws[:, 1::2]
    np.testing.assert_allclose(table["se"], (a / b).std(axis=0), rtol=0.03)  # 0.5 % Monte Carlo error
    low, high = np.quantile(a / b, [0.025, 0.975], axis=0)
    np.testing.assert_allclose(
        (table["ci_high"] - table["ci_low"]) / (high - low), 1.02, atol=0.06
    )  # t, not normal
    with pytest.raises(SaeInputError, match="no positive estimates"):
        spec().fit(frame).ratio("a", "b")
    with pytest.raises(SaeSpecError, match="no component c"):
        fit.ratio("a", "c")


def test_contrasts_of_wrong_names_or_nothing_are_refused(fitted):
    with pytest.raises(SaeSpecError, match="no component c"):
        fitted.contrast({"c": 1})
    with pytest.raises(SaeSpecError, match="not all 0"):
        fitted.contrast({"a": 0})


def test_few_areas_contrast_rests_on_the_posterior(rng):
    fit = spec().fit(simulated(rng, n=30))
    table, frame = fit.contrast({"a": 1}).to_frame(), fit.to_frame()
    assert frame["interval"].eq("posterior, flat-covariance prior").all()
    np.testing.assert_allclose(table["ci_low"], frame["ci_low"].iloc[0::2], rtol=1e-9)
    gap = fit.contrast({"a": 1, "b": -1}).to_frame()
    t = (gap["ci_high"] - gap["ci_low"]) / (2 * 1.96 * gap["se"])
    assert t.between(0.9, 1.4).all()


# benchmark, aggregate, draws


def test_indicators_are_benchmarked_and_aggregated_apart(frame, fitted):
    frame["nation"] = np.repeat(["N", "S"], 30)
    frame["people"] = np.arange(1.0, 61.0)
    fit = spec().fit(frame)
    whole = fit.aggregate("nation", weights="people").to_frame()
    assert whole[["nation", "indicator"]].values.tolist() == [["N", "a"], ["N", "b"], ["S", "a"], ["S", "b"]]
    table = fit.to_frame()
    first = table["estimate"].iloc[0:60:2]
    assert whole["estimate"].iloc[0] == pytest.approx(
        np.average(first, weights=frame["people"][:30]), rel=1e-10
    )
    w = np.zeros(120)
    w[0:60:2] = frame["people"][:30] / frame["people"][:30].sum()
    assert whole["mse"].iloc[0] == pytest.approx(w @ fit.joint.covariance() @ w, rel=1e-9)
    with pytest.raises(SaeSpecError, match="no meaning"):
        fit.benchmark(1.0, weights="people")
    done = fit.benchmark({"a": 1.1, "b": 2.9}, within="indicator", weights="people", method="difference")
    new = done.to_frame()["estimate"]
    assert np.average(new.iloc[0::2], weights=frame["people"]) == pytest.approx(1.1, rel=1e-12)
    gap = done.contrast({"a": 1, "b": -1}).to_frame()
    np.testing.assert_allclose(
        gap["estimate"], new.iloc[0::2].to_numpy() - new.iloc[1::2].to_numpy(), rtol=1e-10
    )
    assert np.average(gap["estimate"], weights=frame["people"]) == pytest.approx(1.1 - 2.9, rel=1e-12)


def test_summary_names_what_was_learnt(fitted):
    text = fitted.summary()
    for words in (
        "60 areas × 2 components",
        "57 areas sampled in every component",
        "a, b",
        "median CV",
        "checks:",
    ):
        assert words in text


def test_bootstrap_needs_a_seed_and_agrees_with_the_formula(rng):
    frame = simulated(rng, n=60)
    model = spec(mse="bootstrap", replicates=60)
    with pytest.raises(SaeSpecError, match="no seed"):
        model.fit(frame)
    a, b = model.fit(frame, seed=1), model.fit(frame, seed=1)
    assert a.estimates.frame.equals(b.estimates.frame)
    ratio = a.estimates["mse"] / spec().fit(frame).estimates["mse"]
    assert ratio.mean() == pytest.approx(1.0, abs=0.08)  # 120 rows of relative error 0.18 each: 0.02


def test_a_variance_of_zero_is_warned_of_and_gets_posterior_intervals(rng):
    frame = simulated(rng)
    frame["a"] = 1.0 + 2.0 * frame["x"] + 0.01 * frame["a"]
    with pytest.warns(BoundaryVarianceWarning, match="exactly 0 for a"):
        fit = spec(structure="diagonal").fit(frame)
    assert fit.variance_components.loc["a", "sigma2_u"] == 0.0
    assert fit.estimates["prior"].eq("flat-variance").all()
    assert (fit.estimates["ci_high"] > fit.estimates["ci_low"]).all()


@pytest.mark.slow
@pytest.mark.parametrize("correlation", [0.0, 0.8])
def test_mse_and_interval_of_the_gap_by_simulation(rng, correlation):
    """400 samples from the model with known truth: estimated MSE without bias, intervals that cover."""
    _gap_by_simulation(rng, correlation, 400)


def test_mse_of_the_gap_by_simulation(rng):
    _gap_by_simulation(rng, 0.8, 25)


def _gap_by_simulation(rng, correlation, repetitions):
    n, V = 60, np.array([[1.0, correlation], [correlation, 1.0]])
    base = simulated(rng, n=n)
    psi = np.empty((n, 2, 2))
    psi[:, 0, 0], psi[:, 1, 1] = base["va"], base["vb"]
    psi[:, 0, 1] = psi[:, 1, 0] = base["cab"]
    root = np.linalg.cholesky(psi)
    errors, claimed, covered = [], [], []
    for _ in range(repetitions):
        truth = np.column_stack([1.0 + 2.0 * base["x"], 3.0 - base["x"]])
        truth = truth + rng.multivariate_normal([0, 0], V, size=n)
        y = truth + np.einsum("drs,ds->dr", root, rng.normal(size=(n, 2)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", BoundaryVarianceWarning)
            gap = spec().fit(base.assign(a=y[:, 0], b=y[:, 1])).contrast({"a": 1, "b": -1}).to_frame()
        wanted = truth[:, 0] - truth[:, 1]
        errors.append(((gap["estimate"] - wanted) ** 2).mean())
        claimed.append(gap["mse"].mean())
        covered.append(((gap["ci_low"] <= wanted) & (wanted <= gap["ci_high"])).mean())
    four = 4.0 * np.std(np.array(errors) / np.mean(claimed)) / np.sqrt(repetitions)  # standard errors
    assert np.mean(errors) / np.mean(claimed) == pytest.approx(1.0, abs=max(four, 0.03))
    assert np.mean(covered) == pytest.approx(0.95, abs=0.01 + 4.0 * np.std(covered) / np.sqrt(repetitions))


# direct estimates


def direct_estimates(rng, regions=60, covariance=True):
    table = pd.DataFrame(
        [{"region": f"R{r:02d}", "birth": group} for r in range(regions) for group in ("native", "foreign")]
    )
    effect = np.repeat(0.05 * rng.normal(size=regions), 2)
    n = np.where(table["birth"] == "native", 400, 60)
    v = 0.24 / n
    p = 0.6 + effect + rng.normal(size=len(table)) * np.sqrt(v)
    domain = table["region"] + " / " + table["birth"]
    table = table.assign(
        indicator="rate",
        definition="rate v1",
        geo=table["region"],
        time="2024",
        domain=domain,
        n=n,
        n_eff=n.astype(float),
        estimate=p,
        variance=v,
        se=np.sqrt(v),
        cv=np.sqrt(v) / p,
        vardir=v,
        status="ok",
    )
    table.loc[[3, 8], ["estimate", "variance", "se", "cv", "vardir"]] = np.nan
    index = pd.MultiIndex.from_tuples(
        [("rate", name, "2024") for name in domain], names=["indicator", "domain", "time"]
    )
    matrix = np.diag(v)
    for r in range(regions):
        matrix[2 * r, 2 * r + 1] = matrix[2 * r + 1, 2 * r] = 0.2 * np.sqrt(v[2 * r] * v[2 * r + 1])
    shuffled = pd.DataFrame(matrix, index=index, columns=index).sample(frac=1.0, random_state=1)
    shuffled = shuffled[shuffled.index]
    return DirectEstimates(
        table, ("region", "birth"), covariance=shuffled if covariance else None, units={"rate": "share"}
    )


BY_BIRTH = MultivariateFayHerriot("rate ~ x", components="birth")


def test_levels_of_a_column_are_components(rng):
    direct = direct_estimates(rng)
    covariates = pd.DataFrame(
        {"region": [f"R{r:02d}" for r in range(61)], "x": rng.normal(size=61), "people": 1.0}
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExtrapolationWarning)
        fit = BY_BIRTH.fit(direct, areas=covariates)
    table = fit.to_frame()
    assert table[["region", "birth", "domain", "unit"]].iloc[-1].tolist() == [
        "R60",
        "foreign",
        "R60 / foreign",
        "share",
    ]
    assert len(table) == 122
    np.testing.assert_allclose(fit.rows.psi[0, 0, 1], 0.2 * 0.24 / np.sqrt(400 * 60), rtol=1e-12)
    gap = fit.contrast({"foreign": 1, "native": -1}, name="gap").to_frame()
    assert gap[["region", "domain", "time", "geo"]].iloc[4].tolist() == ["R04", "R04", "2024", "R04"]
    assert gap["n"].iloc[0] == 460
    assert gap["in_sample"].tolist()[:5] == [True, False, True, True, False]
    whole = fit.aggregate("birth", weights="people").to_frame()
    assert whole["birth"].tolist() == ["foreign", "native"]
    done = fit.benchmark(0.61, weights="people")
    assert done.to_frame()["estimate"].mean() == pytest.approx(0.61, rel=1e-12)


def test_smoothed_variances_keep_the_correlations(rng):
    direct = direct_estimates(rng)
    smooth = DirectEstimates(
        direct.frame.assign(vardir=4.0 * direct.frame["vardir"]), direct.by, direct.covariance, direct.units
    )
    covariates = pd.DataFrame({"region": [f"R{r:02d}" for r in range(60)], "x": rng.normal(size=60)})
    a, b = (BY_BIRTH.fit(data, areas=covariates).rows.psi for data in (direct, smooth))
    np.testing.assert_allclose(b, 4.0 * a, rtol=1e-12)


def test_direct_estimates_without_covariances_are_refused(rng):
    direct = direct_estimates(rng, covariance=False)
    with pytest.raises(SaeInputError, match="bring no covariances"):
        MultivariateFayHerriot("rate ~ 1", components="birth").fit(direct)
    with pytest.raises(SaeSpecError, match='components="sex" is not one of'):
        MultivariateFayHerriot("rate ~ 1", components="sex").fit(direct_estimates(rng))
    cut = direct_estimates(rng)
    cut = DirectEstimates(cut.frame.iloc[:-1], cut.by, cut.covariance, cut.units)
    with pytest.raises(SaeInputError, match=r"1 components of areas have no row: R59.*\(foreign\)"):
        MultivariateFayHerriot("rate ~ 1", components="birth").fit(cut)


def test_a_survey_end_to_end():
    import sae

    survey = sae.datasets.lfs_like(seed=1)
    areas = sae.datasets.lfs_like_areas(seed=1)
    direct = sae.direct(survey, "employment_rate", by=["region", "birth"], covariance=True, smoothing="gvf")
    covariate = next(name for name in areas if pd.api.types.is_float_dtype(areas[name].dtype))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = MultivariateFayHerriot(f"employment_rate ~ {covariate}", components="birth").fit(
            direct, areas=areas
        )
    gap = fit.contrast({"foreign": 1, "native": -1}).to_frame()
    assert gap["mse"].gt(0).all()
    assert gap["estimate"].abs().max() < 1.0


@pytest.mark.parametrize("method", ["reml", "ml", "bayes"])
def test_means_and_scales_of_covariates_and_outcome_cost_no_digits(rng, method):
    n = 20
    frame = pd.DataFrame({"domain": [f"A{k:02}" for k in range(n)], "x": rng.normal(size=n)})
    frame = frame.assign(va=rng.uniform(0.1, 0.4, n), vb=rng.uniform(0.1, 0.4, n), c=0.05)
    effect = rng.normal(size=n)
    frame["a"] = 1 + 0.5 * frame["x"] + 0.6 * effect + rng.normal(0, 0.5, n)
    frame["b"] = 2 - 0.3 * frame["x"] + 0.4 * effect + rng.normal(0, 0.6, n)
    frame.loc[3, "b"] = np.nan
    vardir = {"a": "va", "b": "vb", ("a", "b"): "c"}
    spec = MultivariateFayHerriot(["a ~ x", "b ~ x"], vardir=vardir, method=method)
    fit = spec.fit(frame)
    base, unit = fit.to_frame(), fit.to_frame()["se"].mean()
    up = frame.assign(a=frame["a"] + 1e6, b=frame["b"] + 1e6)
    # a column of mean 1e8 stores eight digits of its spread, the outcomes ten
    for moved, shift, slope in (
        (frame.assign(x=frame["x"] + 1e8), 0.0, 1.0),
        (frame.assign(x=frame["x"] * 1e-8), 0.0, 1e8),
        (up, 1e6, 1.0),
    ):
        result = spec.fit(moved)
        got = result.to_frame()
        for name, off in (("estimate", shift), ("se", 0.0), ("ci_low", shift), ("ci_high", shift)):
            np.testing.assert_allclose(got[name] - off, base[name], rtol=0, atol=1e-5 * unit)
        right = slope * fit.coefficients.iloc[[1, 3], :2].to_numpy()
        np.testing.assert_allclose(result.coefficients.iloc[[1, 3], :2], right, rtol=1e-5)
        for column in ("residual", "standardised"):
            one, two = (one.residuals[column] for one in (result, fit))
            np.testing.assert_allclose(one, two, rtol=0, atol=1e-5)
        if method == "bayes":
            one, two = (one.source.posterior.draw(9, 1) for one in (result, fit))
            np.testing.assert_allclose(one.values - shift, two.values, rtol=0, atol=1e-5)
            beta = slope * two.parameters["beta"][:, [1, 3]]
            np.testing.assert_allclose(one.parameters["beta"][:, [1, 3]], beta, rtol=1e-5, atol=1e-5 * slope)
