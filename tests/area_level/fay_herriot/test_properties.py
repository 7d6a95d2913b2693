"""What every area-level model must do whatever its data: order, units, shifts, limits, columns without a say.

Traps of other packages (methods, section 1) and the test of each:

===================================================  =====================================================
trap                                                 test
===================================================  =====================================================
levels in another order in the population            specs/test_design: level_order_and_dtype_do_not_matter,
                                                     new_levels_are_refused_by_name; here: levels_by_name
adjusted likelihood that underflows                  fay_herriot/test_adjusted: emdis_yoshimori_lahiri
                                                     here: many_areas_do_not_underflow
a rate of 0 with variance 0 gets weight 1, MSE 0     here: a_variance_of_zero_is_refused; smoothing offered
covariances in row order taken for another order     multivariate/test_model: covariances_under_the_wrong;
                                                     here: covariances_go_by_name
arcsine jackknife with the slope not squared         fay_herriot/test_jackknife: the_slope_enters_a_variance
ML out-of-sample bias of the wrong sign              fay_herriot/test_oracles: out_of_sample_under_ml_has
variance 8e-5 where the maximum is 0                 fay_herriot/test_oracles: arcsin_exact;
                                                     numerics/fay_herriot/test_fit: boundary_is_exactly_zero
coefficients silently 0 at a tiny group variance     here: a_tiny_variance_does_not_cost_the_coefficients
domain's standard error from the subset alone        test_direct_traps: domain_error_keeps_the_units_without
missing values that make PSUs vanish                 test_direct_traps: a_unit_whose_answers_are_all_missing
degrees of freedom of the frame                      test_direct_traps: degrees_of_freedom_of_a_small_domain
poverty rate linearised on the subset                test_direct_traps: the_poverty_rate_of_a_domain_carries
lonely PSUs dropped                                  test_direct_rows: a_lonely_stratum_is_refused_by_name
===================================================  =====================================================
"""

import ast
import re
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sae.area_level import AR1, SAR, FayHerriot, MultivariateFayHerriot, TwoFoldFayHerriot
from sae.errors import SaeInputError, SaeWarning

EXACT = 1e-9  # one kernel, another order of summation
CLIMBED = 1e-6  # two or more variances: a climb that stops at a relative change of 1e-9 of a flat likelihood
LIMIT = 1e-5  # a variance of 1e-10 of the others' is not 0
AREAS, YEARS = 52, 2  # from 50 areas on intervals need no posterior or bootstrap, which is most of the time
SCALES = [1e-4, 0.03, 1.0, 7.0, 1e3, 1e6]
COMPARED = ("estimate", "mse", "ci_low", "ci_high", "gamma")
pytestmark = pytest.mark.filterwarnings("ignore::sae.errors.SaeWarning")
few = settings(max_examples=2, derandomize=True, deadline=None)
seeds = st.integers(0, 2**32 - 1)

NAMES = [f"A{k:02d}" for k in range(AREAS)]
EDGES = pd.DataFrame({"a": NAMES[:-2], "b": NAMES[1:-1]})
METHODS = ("reml", "ml", "fh", "pr", "ll-reml", "ll-ml", "yl-reml", "yl-ml")
PLAIN = {method: FayHerriot("y ~ x", method=method) for method in METHODS}
TRANSFORMED = {
    "log": FayHerriot("y ~ x", transform="log"),
    "logit": FayHerriot("p ~ x", vardir="pvar", transform="logit", replicates=4),
    "arcsin": FayHerriot("p ~ x", n_eff="size", transform="arcsin", replicates=4),
}
STRUCTURED = {
    "sar": FayHerriot("y ~ x", spatial=SAR(EDGES), replicates=4),
    "ar1": FayHerriot("y ~ x", temporal=AR1("year"), replicates=4),
    "twofold": TwoFoldFayHerriot("y ~ x", area="city", replicates=4),
    "multivariate": MultivariateFayHerriot(
        ["y ~ x", "z ~ x"], vardir={"y": "vardir", "z": "zvar", ("y", "z"): "cov"}
    ),
}
MODELS = {**PLAIN, **TRANSFORMED, **STRUCTURED}
LINEAR = {**PLAIN, **STRUCTURED}  # estimates on the scale of the model
# one method of each kind always, all of them where labels are at stake: the order of the rows
CORE = [
    "reml",
    "fh",
    "yl-ml",
    "sar",
    "multivariate",
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("ml", "ll-reml", "ar1", "twofold")),
]


def rows(seed, model="reml"):
    rng = np.random.default_rng(seed)
    n = AREAS * (YEARS if model == "ar1" else 1)
    frame = pd.DataFrame({"domain": np.repeat(NAMES, n // AREAS), "year": np.tile(range(n // AREAS), AREAS)})
    frame["city"] = [f"C{k // 4}" for k in range(n)]
    frame["x"], frame["vardir"], frame["zvar"] = rng.normal(size=n), *rng.uniform(0.1, 0.5, (2, n))
    frame["cov"] = 0.5 * np.sqrt(frame["vardir"] * frame["zvar"])
    effect = rng.normal(size=n) + np.repeat(rng.normal(size=n // 4), 4)
    noise = rng.normal(size=(3, n))
    frame["y"] = 12 + frame["x"] + effect + noise[0] * np.sqrt(frame["vardir"])
    frame["z"] = 3 - frame["x"] + 0.7 * effect + noise[1] * np.sqrt(frame["zvar"])
    frame["p"] = 1 / (1 + np.exp(-0.3 * frame["x"] - 0.4 * effect - 0.2 * noise[2]))
    frame["size"] = rng.integers(30, 200, n)
    frame["pvar"] = frame["p"] * (1 - frame["p"]) / frame["size"]
    return frame


def table(model, frame, spec=None):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SaeWarning)
        fit = (spec or MODELS[model]).fit(frame, seed=1)
    keys = ["domain", "indicator", *(["time"] if model == "ar1" else [])]
    return fit.to_frame().set_index(keys)


def same(left, right, model, columns=COMPARED, rtol=None):
    for name in columns:
        tolerance = rtol or (EXACT if model in METHODS or model in TRANSFORMED else CLIMBED)
        ours, theirs = left[name].to_numpy(float), right.loc[left.index, name].to_numpy(float)
        np.testing.assert_allclose(theirs, ours, rtol=tolerance, atol=tolerance * np.nanmax(np.abs(ours)))


@pytest.mark.parametrize("model", MODELS)
@few
@given(seed=seeds)
def test_the_order_of_the_rows_changes_no_labelled_row(model, seed):
    frame = rows(seed, model)
    same(table(model, frame), table(model, frame.sample(frac=1.0, random_state=seed % 1000)), model)


@pytest.mark.parametrize("model", [*CORE, "log", "pr"])
@few
@given(seed=seeds, scale=st.sampled_from(SCALES))
def test_the_unit_of_the_outcome_changes_nothing_but_the_unit(model, seed, scale):
    frame = rows(seed, model)
    other = frame.assign(**{name: scale * frame[name] for name in ("y", "z")})
    other = other.assign(**{name: scale**2 * frame[name] for name in ("vardir", "zvar", "cov")})
    expected = table(model, frame)
    powers = {"estimate": 1, "mse": 2, "ci_low": 1, "ci_high": 1, "gamma": 0}
    same(
        expected.assign(**{name: scale**power * expected[name] for name, power in powers.items()}),
        table(model, other),
        model,
        rtol=1e-7 if model in METHODS or model == "log" else 10 * CLIMBED,
    )


@pytest.mark.parametrize("model", CORE)
@few
@given(seed=seeds, level=st.floats(-50, 50), slope=st.floats(-50, 50))
def test_what_the_covariates_explain_moves_the_estimates_alone(model, seed, level, slope):
    frame = rows(seed, model)
    shift = level + slope * frame["x"]
    expected = table(model, frame)
    moved = np.repeat(shift.to_numpy(), 2 if model == "multivariate" else 1)
    got = table(model, frame.assign(y=frame["y"] + shift, z=frame["z"] + shift))
    same(expected.assign(estimate=expected["estimate"] + moved), got, model, ("estimate",), rtol=CLIMBED)
    same(expected, got, model, ("mse",), rtol=10 * CLIMBED)


@pytest.mark.parametrize("model", [*CORE[:-1], *TRANSFORMED])
@few
@given(seed=seeds)
def test_an_area_without_a_sample_changes_no_other_row(model, seed):
    frame = rows(seed, model)
    new = frame.iloc[-1:].assign(
        domain="new", y=np.nan, z=np.nan, p=np.nan, x=0.5, vardir=np.nan, zvar=np.nan, size=np.nan
    )
    got = table(model, pd.concat([frame, new], ignore_index=True))
    assert not got.xs("new", level="domain")["in_sample"].any()
    assert (got.xs("new", level="domain")["mse"] > 0).all()
    same(table(model, frame), got, model)


@pytest.mark.parametrize("model", CORE)
@few
@given(seed=seeds)
def test_a_direct_estimate_without_error_is_kept(model, seed):
    frame = rows(seed, model)
    sure = frame["domain"] == NAMES[3]
    for name in ("vardir", "zvar", "cov"):
        frame.loc[sure, name] *= 1e-10
    kept = table(model, frame).xs(NAMES[3], level="domain")
    np.testing.assert_allclose(kept["estimate"], kept["direct"], rtol=LIMIT)
    assert (kept["mse"] < 1e-6).all()


# moment methods see an area by its direct estimate whatever that is worth: "pr" weights all areas alike
@pytest.mark.parametrize("model", CORE)
@few
@given(seed=seeds)
def test_a_direct_estimate_without_information_is_none(model, seed):
    frame = rows(seed, model)
    here = frame["domain"] == NAMES[5]
    blind = frame.copy()
    for name in ("vardir", "zvar", "cov"):
        blind.loc[here, name] *= 1e12
    got = table(model, blind).xs(NAMES[5], level="domain")
    if model in ("fh", "yl-reml", "yl-ml"):  # they count the areas, this one too
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SaeWarning)
            beta = PLAIN[model].fit(blind).coefficients["coef"].to_numpy()
        np.testing.assert_allclose(got["estimate"], beta[0] + beta[1] * frame.loc[here, "x"], rtol=LIMIT)
        return
    gone = frame.assign(y=frame["y"].mask(here), z=frame["z"].mask(here))
    same(got, table(model, gone).xs(NAMES[5], level="domain"), model, ("estimate",), rtol=LIMIT)


@pytest.mark.parametrize("model", [m for m in MODELS if m not in METHODS[1:]])
@pytest.mark.parametrize(("extra", "words"), [("constant", "constant"), ("again", "again"), ("both", "both")])
def test_columns_without_a_say_are_refused_by_name(model, extra, words):
    frame = rows(1, model).assign(constant=3.0, again=lambda f: 2 * f["x"] + 1)
    frame["both"] = frame["again"] - 5 * frame["x"]
    spec = MODELS[model]
    one = isinstance(spec.formula, str)
    formula = f"{spec.formula} + {extra}" if one else [f"{part} + {extra}" for part in spec.formula]
    options = {name: value for name, value in vars(spec).items() if name != "formula"}
    with pytest.raises(SaeInputError, match=words):
        type(spec)(formula, **options).fit(frame, seed=1)


# traps


def test_levels_by_name(rng):
    """Another order of the levels, and levels as categories, among areas without a sample."""
    frame = pd.DataFrame(
        {"domain": [f"D{k}" for k in range(30)], "kind": ["b", "a", "c"] * 10, "vardir": 0.1}
    )
    means = {"a": 0.0, "b": 5.0, "c": 10.0}
    frame["y"] = frame["kind"].map(means) + 0.3 * rng.normal(size=30)
    new = pd.DataFrame({"domain": ["N0", "N1", "N2"], "kind": ["c", "a", "b"]})
    areas = pd.concat([new, frame[["domain", "kind"]]])
    areas["kind"] = pd.Categorical(areas["kind"], categories=["c", "a", "b"])
    got = table(
        "reml", frame.drop(columns="kind").merge(areas, on="domain", how="outer"), FayHerriot("y ~ C(kind)")
    )
    for name, kind in zip(new["domain"], new["kind"], strict=True):
        assert got.loc[(name, "y"), "estimate"] == pytest.approx(means[kind], abs=0.6)


@pytest.mark.parametrize("method", ["yl-reml", "yl-ml", "ll-reml", "ll-ml", "reml", "ml"])
def test_many_areas_do_not_underflow(rng, method):
    """A product of 3,000 densities of incomes is 0 in floating point; its logarithm has a maximum."""
    n, A = 3000, 4e6
    frame = pd.DataFrame({"domain": range(n), "x": rng.normal(size=n), "vardir": 1e6 * rng.uniform(1, 9, n)})
    frame["y"] = 2e4 + 1e3 * frame["x"] + np.sqrt(A + frame["vardir"]) * rng.normal(size=n)
    fit = FayHerriot("y ~ x", method=method).fit(frame)
    # standard error of A: √(2 / Σ (A + D)^-2) = 2.2e5
    assert fit.variance_components["sigma2_u"] == pytest.approx(A, abs=1e6)


@pytest.mark.parametrize("model", [m for m in MODELS if m != "arcsin"])
def test_a_variance_of_zero_is_refused_by_name(model):
    column = "pvar" if model == "logit" else "vardir"
    frame = rows(1, model)
    frame.loc[frame["domain"].isin(NAMES[4:6]), column] = 0.0
    with pytest.raises(SaeInputError, match=NAMES[4]) as error:
        MODELS[model].fit(frame, seed=1)
    assert "smooth" in str(error.value).lower()


def test_covariances_go_by_name():
    """Columns in any order give one result, because their names say what they are."""
    frame = rows(2)
    turned = frame[[*reversed(frame.columns)]]
    other = MultivariateFayHerriot(["y ~ x", "z ~ x"], vardir={("z", "y"): "cov", "z": "zvar", "y": "vardir"})
    expected = table("multivariate", frame)
    same(expected, table("multivariate", turned, other), "multivariate")
    swapped = {"y": "cov", "z": "zvar", ("y", "z"): "vardir"}  # a covariance beyond the variances
    with pytest.raises(SaeInputError, match=NAMES[0]):
        MultivariateFayHerriot(["y ~ x", "z ~ x"], vardir=swapped).fit(frame.assign(cov=frame["cov"] / 4))


@pytest.mark.parametrize("model", [*METHODS, *STRUCTURED])
def test_a_tiny_variance_does_not_cost_the_coefficients(rng, model):
    frame = rows(3, model)
    exact = 100 + 5 * frame["x"]
    noise = rng.normal(size=(2, len(frame)))
    frame = frame.assign(
        y=exact + 1e-4 * noise[0], z=exact + 1e-4 * noise[1], vardir=1e-8, zvar=1e-8, cov=0.0
    )
    got = table(model, frame)
    np.testing.assert_allclose(got["estimate"], got["direct"], rtol=1e-5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SaeWarning)
        beta = MODELS[model].fit(frame, seed=1).coefficients["coef"].to_numpy().reshape(-1, 2)
    np.testing.assert_allclose(beta, np.tile([100.0, 5.0], (len(beta), 1)), rtol=1e-4)


def test_every_test_of_the_table_above_exists():
    folder = Path(__file__).parents[2]
    written = {
        node.name.removeprefix("test_")
        for path in folder.rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
    }
    right = "".join(
        line[53:].strip() + " " for line in __doc__.splitlines() if len(line) > 53 and "==" not in line
    )
    named = re.findall(r"[a-z]+(?:_[a-z]+){2,}_?", re.sub(r"_ ", "_", right))
    named = [name for name in named if "/" not in name]
    modules = {path.stem for path in folder.rglob("test_*.py")}
    missing = [n for n in named if n not in modules and not any(w.startswith(n.rstrip("_")) for w in written)]
    assert len(named) > 12
    assert missing == []
