"""FayHerriot on frames and on DirectEstimates: names, refusals, rows without a sample, intervals, seeds."""

import warnings

import numpy as np
import pandas as pd
import pytest

from sae.area_level import FayHerriot
from sae.errors import (
    BoundaryVarianceWarning,
    ExtrapolationWarning,
    SaeInputError,
    SaeSpecError,
    SmallSampleWarning,
)
from sae.numerics.fay_herriot.fit import fit_batch
from sae.numerics.fay_herriot.mixture import area_mixture
from sae.numerics.fay_herriot.posterior import Areas, place_nodes
from sae.numerics.inference.priors import FLAT_VARIANCE
from sae.tables import DirectEstimates

EXACT = 1e-10


def areas_frame(rng, n=30, A=0.5):
    x, D = rng.normal(size=n), rng.uniform(0.3, 1.0, n)
    y = 2.0 + x + rng.normal(size=n) * np.sqrt(A + D)
    return pd.DataFrame({"area": [f"A{k:02d}" for k in range(n)], "y": y, "x": x, "vardir": D})


@pytest.fixture
def frame(rng):
    return areas_frame(rng)


SPEC = FayHerriot("y ~ x", domain="area")


def make_direct(rng, regions=60, groups=("native", "foreign"), periods=("2024",)):
    rows = [
        {"region": f"R{r:02d}", "birth": group, "period": period}
        for r in range(regions)
        for group in groups
        for period in periods
    ]
    table = pd.DataFrame(rows)
    n = rng.integers(20, 200, len(table))
    p = np.clip(
        0.6 + 0.1 * rng.normal(size=len(table)) + rng.normal(size=len(table)) * 0.5 / np.sqrt(n), 0.02, 0.98
    )
    v = p * (1 - p) / n
    by = ["region", "birth", *(["period"] if len(periods) > 1 else [])]
    table = table.assign(
        indicator="rate",
        definition="rate v1",
        geo=table["region"],
        time=table["period"],
        domain=table["region"] + " / " + table["birth"],
        n=n,
        n_eff=n.astype(float),
        estimate=p,
        variance=v,
        se=np.sqrt(v),
        cv=np.sqrt(v) / p,
        vardir=v,
        status="ok",
    )
    table = table.drop(columns=[] if "period" in by else ["period"])
    direct = DirectEstimates(table, tuple(by), units={"rate": "share"}, log=("made for a test",))
    covariates = pd.DataFrame(
        {
            "region": [f"R{r:02d}" for r in range(regions)],
            "x": rng.normal(size=regions),
            "population": rng.integers(1_000, 9_000, regions),
            "nation": ["N1", "N2"] * (regions // 2),
        }
    )
    return direct, covariates


# rows and names


def test_permuted_rows_give_the_same_table(frame, rng):
    a = SPEC.fit(frame).to_frame().set_index("domain")
    b = SPEC.fit(frame.sample(frac=1.0, random_state=3)).to_frame().set_index("domain").loc[a.index]
    for name in ("estimate", "mse", "ci_low", "ci_high", "gamma"):
        np.testing.assert_allclose(a[name], b[name], rtol=1e-9)


def test_rescaled_outcome_gives_rescaled_estimates(frame):
    a = SPEC.fit(frame)
    b = SPEC.fit(frame.assign(y=1e5 * frame["y"], vardir=1e10 * frame["vardir"]))
    np.testing.assert_allclose(b.estimates["estimate"], 1e5 * a.estimates["estimate"], rtol=1e-8)
    np.testing.assert_allclose(b.estimates["gamma"], a.estimates["gamma"], rtol=1e-8)
    np.testing.assert_allclose(b.estimates["ci_low"], 1e5 * a.estimates["ci_low"], rtol=1e-7)


def test_a_missing_direct_estimate_is_predicted(frame):
    frame.loc[[3, 7], "y"] = np.nan
    frame.loc[[3], "vardir"] = np.nan
    table = SPEC.fit(frame).to_frame()
    out = ~table["in_sample"].astype(bool)
    assert table["domain"][out].tolist() == ["A03", "A07"]
    assert (table["gamma"][out] == 0).all()
    assert table.loc[out, ["direct", "direct_se", "direct_cv"]].isna().all(axis=None)
    assert table.loc[out, ["estimate", "mse", "ci_low", "ci_high"]].notna().all(axis=None)
    assert len(table) == 30


def test_areas_only_among_the_covariates_are_predicted(frame):
    data, covariates = frame.drop(columns="x").iloc[:25], frame[["area", "x"]]
    table = SPEC.fit(data, areas=covariates).to_frame()
    assert table["domain"].tolist() == frame["area"].tolist()
    assert (~table["in_sample"]).sum() == 5


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf])
def test_vardir_that_is_not_positive_is_refused_by_name(frame, value):
    # emdi and sae give such areas weight 1 and MSE 0: "certainly no poverty"
    frame.loc[[4, 9], "vardir"] = value
    with pytest.raises(
        SaeInputError, match=r"2 of 30 areas .* A04 \(.*\), A09 \(.*Fay–Herriot needs vardir > 0"
    ) as error:
        SPEC.fit(frame)
    assert error.value.areas == ("A04", "A09")
    assert "smoothing" in error.value.hint


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: f.drop(columns="x"), "no column 'x'"),
        (lambda f: f.drop(columns="y"), "no column 'y'"),
        (lambda f: f.drop(columns="vardir"), "no column 'vardir'"),
        (lambda f: f.drop(columns="area"), "no column 'area'"),
        (lambda f: f.assign(x=f["x"].where(f["area"] != "A05")), "x is missing in 1 of 30 areas: A05"),
        (lambda f: f.assign(x=1.0), "x is constant"),
        (lambda f: pd.concat([f, f.iloc[:1]]), "more than once: A00"),
        (lambda f: f.assign(y=np.nan), "No area has a direct estimate"),
        (lambda f: f.iloc[:2], "2 coefficients cannot be estimated from 2 areas"),
        (lambda f: f.iloc[:1], "cannot be estimated from 1 areas"),
        (lambda f: f.iloc[:0], "no rows"),
        (lambda f: f.assign(y=f["y"].astype(str) + " kg"), "y holds text"),
        (lambda f: f.assign(y=f["y"].where(f["area"] != "A02", np.inf)), "infinite in A02"),
        (lambda f: f.assign(area=f["area"].where(f["area"] != "A02")), "1 of 30 rows have no label"),
    ],
)
def test_unusable_frames_are_refused_by_name(frame, change, words):
    with pytest.raises(SaeInputError, match=words):
        SPEC.fit(change(frame))


def test_levels_of_areas_without_a_sample_must_be_known(frame):
    frame["g"] = ["a", "b"] * 15
    frame.loc[0, ["y", "g"]] = [np.nan, "c"]
    with pytest.raises(SaeInputError, match=r"g has levels that the fit never saw: c \(in A00\)"):
        FayHerriot("y ~ g", domain="area").fit(frame)


def test_other_data_are_refused():
    with pytest.raises(SaeInputError, match="are a dict, not a pandas DataFrame"):
        SPEC.fit({"y": [1, 2]})


# DirectEstimates


def test_direct_estimates_join_by_name(rng):
    direct, covariates = make_direct(rng)
    spec = FayHerriot("rate ~ x + birth")
    fit = spec.fit(direct, areas=covariates.sample(frac=1.0, random_state=1))
    table = fit.to_frame()
    assert table["domain"].tolist() == direct.frame["domain"].tolist()
    assert table["indicator"].unique().tolist() == ["rate"]
    assert table["unit"].unique().tolist() == ["share"]
    assert list(table["region"]) == list(direct.frame["region"])
    rows = direct.frame.merge(covariates, on="region")
    X = np.vstack([np.ones(120), rows["x"], rows["birth"] == "native"]).astype(float)
    A = fit_batch(rows["estimate"], rows["vardir"], X, [0, 120]).variance[0, 0]
    assert fit.variance_components["sigma2_u"] == pytest.approx(A, rel=EXACT)


def test_areas_without_covariates_are_named(rng):
    direct, covariates = make_direct(rng)
    with pytest.raises(SaeInputError, match=r"R00, R01") as error:
        FayHerriot("rate ~ x").fit(direct, areas=covariates.iloc[2:])
    assert error.value.areas == ("R00", "R01")


def test_areas_that_the_survey_missed_become_rows(rng):
    direct, covariates = make_direct(rng, periods=("2023", "2024"))
    new = pd.DataFrame({"region": ["Z1"], "x": [0.1], "population": [500], "nation": ["N1"]})
    table = FayHerriot("rate ~ x + birth").fit(direct, areas=pd.concat([covariates, new])).to_frame()
    added = table[table["region"] == "Z1"]
    assert set(zip(added["birth"], added["period"], strict=True)) == {
        (birth, period) for birth in ("native", "foreign") for period in ("2023", "2024")
    }
    assert (added["time"] == added["period"]).all()
    assert added["domain"].unique().tolist() == ["Z1 / native", "Z1 / foreign"]
    assert (added["n"] == 0).all()
    assert not added["in_sample"].any()


def test_unknown_indicator_and_codes_of_another_kind(rng):
    direct, covariates = make_direct(rng)
    with pytest.raises(SaeInputError, match="no indicator 'ratio'"):
        FayHerriot("ratio ~ x").fit(direct, areas=covariates)
    with pytest.raises(SaeInputError, match=r"none of the columns region, birth"):
        FayHerriot("rate ~ x").fit(direct, areas=covariates.rename(columns={"region": "code"}))
    with pytest.raises(SaeInputError, match=r"region is text in .* but numbers in"):
        FayHerriot("rate ~ x").fit(direct, areas=covariates.assign(region=range(60)))


def test_one_fit_per_value_equals_single_fits(rng):
    direct, covariates = make_direct(rng, periods=("2023", "2024", "2025"))
    fit = FayHerriot("rate ~ x + birth", per=("period",)).fit(direct, areas=covariates)
    for period in ("2023", "2024", "2025"):
        part = DirectEstimates(direct.frame[direct.frame["period"] == period], direct.by, units=direct.units)
        single = FayHerriot("rate ~ x + birth").fit(part, areas=covariates)
        assert fit.variance_components.loc[period, "sigma2_u"] == single.variance_components["sigma2_u"]
        np.testing.assert_array_equal(fit.coefficients.loc[period]["coef"], single.coefficients["coef"])
        ours = fit.to_frame().loc[direct.frame["period"] == period]
        np.testing.assert_array_equal(ours["mse"], single.estimates["mse"])
    assert list(fit.diagnostics.index) == ["2023", "2024", "2025"]
    assert "3 fits" not in fit.summary()
    assert "2024" in fit.summary()


def test_a_fit_that_fails_among_several_is_named(rng):
    direct, covariates = make_direct(rng, periods=("2023", "2024"))
    thin = direct.frame.copy()
    thin.loc[(thin["period"] == "2024") & (thin["region"] > "R00"), "estimate"] = np.nan
    with pytest.raises(
        SaeInputError, match="cannot be estimated from 2 areas with a direct estimate in 2024"
    ):
        FayHerriot("rate ~ x + birth", per=("period",)).fit(
            DirectEstimates(thin, direct.by), areas=covariates
        )


# arcsine


def test_arcsin_needs_a_seed(rng):
    direct, covariates = make_direct(rng)
    with pytest.raises(SaeSpecError, match="no seed"):
        FayHerriot("rate ~ x", transform="arcsin").fit(direct, areas=covariates)


def test_arcsin_estimates_intervals_and_draws_stay_inside(rng):
    direct, covariates = make_direct(rng)
    fit = FayHerriot("rate ~ x + birth", transform="arcsin", replicates=50).fit(
        direct, areas=covariates, seed=1
    )
    table = fit.to_frame()
    assert table["estimate"].between(0, 1).all()
    assert table["ci_low"].between(0, 1).all()
    assert table["ci_high"].between(0, 1).all()
    assert (table["ci_low"] < table["estimate"]).all()
    assert (table["estimate"] < table["ci_high"]).all()
    assert table["mse_method"].str.fullmatch(r"parametric bootstrap, 50 replicates, se to \d\.\d%").all()
    assert table["interval"].unique().tolist() == ["t on the MSE, arcsin scale"]
    assert ((fit.draws(50, seed=1).values >= 0) & (fit.draws(50, seed=1).values <= 1)).all()


def test_arcsin_by_the_delta_method_where_there_is_no_effective_size(rng):
    p = rng.uniform(0.2, 0.8, 40)
    frame = pd.DataFrame({"area": range(40), "p": p, "vardir": p * (1 - p) / 50, "x": rng.normal(size=40)})
    spec = FayHerriot("p ~ x", domain="area", transform="arcsin", replicates=2)
    a, b = spec.fit(frame, seed=1), spec.fit(frame.assign(n_eff=50.0), seed=1)
    # p (1 - p) / 50 is 1 / (4 · 50) on the arcsine scale
    np.testing.assert_allclose(a.estimates["estimate"], b.estimates["estimate"], rtol=1e-9)
    frame.loc[0, "p"] = 0.0
    frame.loc[0, "vardir"] = 0.01
    with pytest.raises(SaeInputError, match=r"exactly 0 or 1 have no variance .* on the arcsin scale: 0"):
        spec.fit(frame, seed=1)
    assert spec.fit(frame.assign(n_eff=50.0), seed=1).estimates["estimate"].iloc[0] > 0
    with pytest.raises(SaeInputError, match="no positive effective sample size"):
        spec.fit(frame.assign(n_eff=[0.0] + [50.0] * 39), seed=1)


def test_percentages_are_not_shares(frame):
    with pytest.raises(SaeInputError, match=r"lie outside \[0, 1\]"):
        FayHerriot("y ~ x", domain="area", transform="arcsin").fit(frame.assign(y=frame["y"] + 50), seed=1)


def test_same_seed_same_bytes_and_order_changes_nothing(rng):
    direct, covariates = make_direct(rng)
    spec = FayHerriot("rate ~ x", transform="arcsin", replicates=20)
    a, b = spec.fit(direct, areas=covariates, seed=5), spec.fit(direct, areas=covariates, seed=5)
    pd.testing.assert_frame_equal(a.to_frame(), b.to_frame(), check_exact=True)
    other = spec.fit(direct, areas=covariates, seed=6)
    assert not np.allclose(a.estimates["mse"], other.estimates["mse"])
    assert a.estimates["run"].iloc[0] != other.estimates["run"].iloc[0]
    generator = spec.fit(direct, areas=covariates, seed=np.random.default_rng(5))
    assert np.isfinite(generator.estimates["mse"]).all()


# variance 0, few areas, extrapolation


def test_boundary_is_reported_and_the_interval_does_not_collapse(rng):
    frame = areas_frame(rng, n=60, A=0.0)
    frame["y"] = 2.0 + frame["x"] + 0.7 * (frame["y"] - 2.0 - frame["x"])
    with pytest.warns(BoundaryVarianceWarning, match="exactly 0"):
        fit = SPEC.fit(frame)
    assert fit.variance_components["sigma2_u"] == 0.0
    table = fit.to_frame()
    assert table["interval"].unique().tolist() == ["posterior, flat-variance prior"]
    assert table["prior"].unique().tolist() == ["flat-variance"]
    width = table["ci_high"] - table["ci_low"]
    # with A = 0 known, only the coefficients would vary
    naive = 2 * 1.96 * np.sqrt((fit.joint.shared.toarray() ** 2).sum(axis=1))
    assert (width > naive).all()
    assert np.median(width / naive) > 1.3
    assert any("exactly 0" in text for text in fit.provenance["warnings"])


def test_few_areas_take_the_exact_posterior(frame):
    table = SPEC.fit(frame).to_frame()
    assert table["interval"].unique().tolist() == ["posterior, flat-variance prior"]
    y, D = frame["y"].to_numpy(), frame["vardir"].to_numpy()
    X = np.vstack([np.ones(30), frame["x"]])
    areas = Areas.of(y, D, X)
    mixture = area_mixture(place_nodes(areas, [(FLAT_VARIANCE, 1.0)]), areas)
    np.testing.assert_allclose(table["ci_low"], mixture.quantile(0.025), rtol=1e-9)
    np.testing.assert_allclose(table["ci_high"], mixture.quantile(0.975), rtol=1e-9)


def test_many_areas_take_t_on_the_mse(rng):
    table = SPEC.fit(areas_frame(rng, n=80)).to_frame()
    assert table["interval"].unique().tolist() == ["t on the MSE"]
    half = (table["ci_high"] - table["ci_low"]) / 2
    np.testing.assert_allclose(half / np.sqrt(table["mse"]), 1.9908470688, rtol=1e-9)  # t with 78 df


@pytest.mark.parametrize(("n", "words"), [(5, "flat-variance"), (4, "flat-sd"), (3, "none: too few areas")])
def test_ever_fewer_areas(rng, n, words):
    # p = 2: flat on the variance is proper from 5 areas on, flat on its square root from 4 on
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BoundaryVarianceWarning)
        if n == 3:
            with pytest.warns(SmallSampleWarning, match="No interval in 3 of 3"):
                table = SPEC.fit(areas_frame(rng, n=n)).to_frame()
            assert table["ci_low"].isna().all()
        else:
            table = SPEC.fit(areas_frame(rng, n=n)).to_frame()
            assert np.isfinite(table["ci_low"]).all()
    assert words in table["interval"].iloc[0]
    assert np.isfinite(table["estimate"]).all()


def test_extrapolation_is_named(frame):
    frame.loc[2, ["y", "x"]] = [np.nan, 99.0]
    with pytest.warns(ExtrapolationWarning, match=r"\(x\) in 1 of 1 areas without a sample: A02"):
        fit = SPEC.fit(frame)
    assert "A02" in fit.summary()


@pytest.mark.slow
def test_intervals_cover_with_few_areas(rng):
    hits, runs = 0, 300
    x, D = rng.normal(size=15), rng.uniform(0.3, 1.0, 15)
    for _ in range(runs):
        truth = 2.0 + x + 0.5 * rng.normal(size=15)
        frame = pd.DataFrame(
            {"area": range(15), "x": x, "vardir": D, "y": truth + np.sqrt(D) * rng.normal(size=15)}
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            table = SPEC.fit(frame).to_frame()
        hits += ((table["ci_low"] <= truth) & (truth <= table["ci_high"])).sum()
    # 4,500 intervals, correlated within a run: se about 0.006; flat priors cover a little more than 95 %
    assert 0.94 <= hits / (15 * runs) <= 0.99


def test_provenance_holds_no_clock_and_what_a_rerun_needs(frame):
    fit = SPEC.fit(frame)
    assert set(fit.provenance) == {"sae", "model", "seed", "run", "warnings", "direct"}
    assert FayHerriot.from_toml(fit.provenance["model"]) == SPEC
    run = fit.estimates["run"].iloc[0]
    assert len(run) == 12
    assert int(run, 16) >= 0
    assert SPEC.fit(frame.assign(y=frame["y"] + 1e-9)).estimates["run"].iloc[0] != run


def test_standard_errors_of_the_bootstrap_hardly_move_with_the_seed_and_say_by_how_much(rng):
    frame = pd.DataFrame({"domain": [f"A{k:02d}" for k in range(25)], "n_eff": 60.0})
    frame["y"] = rng.binomial(60, 0.2 + 0.2 * rng.random(25)) / 60
    fits = [FayHerriot("y ~ 1", transform="arcsin").fit(frame, seed=seed) for seed in range(6)]
    se = np.array([fit.to_frame()["se"] for fit in fits])
    assert (se.std(axis=0) / se.mean(axis=0)).max() < 0.03
    assert any("Monte Carlo error is" in message.text for message in fits[0].messages)
