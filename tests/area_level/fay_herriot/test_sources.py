"""Several sources of an area in one fit: one row per area, the bias of a source among the coefficients."""

import warnings

import numpy as np
import pandas as pd
import pytest

import sae
from sae.errors import SaeInputError, SaeSpecError

SAME = 1e-12  # the same numbers, summed in another order
SPEC = sae.FayHerriot("y ~ x", source="survey")


def areas(m):
    return pd.DataFrame({"domain": [f"{k:02d}" for k in range(m)], "x": np.linspace(-1.0, 1.0, m)})


def rows(rng, m=60, bias=0.5, both=0.5, A=0.25):
    """LFS in most areas, SILC in some; the last three areas are in neither."""
    names, x = areas(m)["domain"], areas(m)["x"]
    theta = 1.0 + x + np.sqrt(A) * rng.normal(size=m)
    parts = []
    for name, share, D, b, n in (("lfs", 0.9, 0.2, 0.0, 200), ("silc", both, 0.4, bias, 90)):
        kept = np.flatnonzero(rng.random(m - 3) < share)
        y = theta[kept] + b + np.sqrt(D) * rng.normal(size=len(kept))
        part = pd.DataFrame(
            {"domain": names[kept], "survey": name, "y": y, "vardir": D, "n": n, "x": x[kept]}
        )
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def table(frame, survey):
    part = frame[frame["survey"] == survey].rename(columns={"y": "estimate"})
    part = part.assign(indicator="y", region=part["domain"], geo=part["domain"], time="2022", status="ok")
    part["se"] = np.sqrt(part["vardir"])
    return sae.DirectEstimates(part.drop(columns=["survey", "x"]), ("region",))


def test_one_row_per_area_and_the_bias_among_the_coefficients(rng):
    frame = rows(rng)
    fit = SPEC.fit(frame.drop(columns="x"), areas=areas(60))
    got = fit.estimates.frame
    assert len(got) == 60 and got["domain"].is_unique
    assert list(fit.coefficients.index) == ["Intercept", "x", "survey[silc]"]
    bias, se = fit.coefficients.loc["survey[silc]", ["coef", "se"]]
    assert abs(bias - 0.5) < 4.0 * se and "survey[silc]" in fit.summary()
    counts = frame.groupby("domain")["n"].sum().reindex(got["domain"])
    np.testing.assert_array_equal(got["n"].to_numpy(dtype=float, na_value=np.nan), counts)
    assert got["in_sample"].to_numpy(dtype=bool).tolist() == counts.notna().tolist()
    assert "told by" in fit.messages[-1].text or "told by" in fit.messages[0].text
    assert np.isfinite(got[["estimate", "mse", "ci_low", "ci_high"]].to_numpy()).all()


def test_the_estimate_is_the_weighted_mean_of_direct_and_regression(rng):
    fit = SPEC.fit(rows(rng))
    got, coef = fit.estimates.frame, fit.coefficients["coef"]
    fitted = coef["Intercept"] + coef["x"] * fit.areas["x"].to_numpy()
    gamma, direct = got["gamma"].to_numpy(), got["direct"].to_numpy()
    np.testing.assert_allclose(got["estimate"], gamma * direct + (1.0 - gamma) * fitted, rtol=1e-9)


@pytest.mark.parametrize("method", ["reml", "ml"])
@pytest.mark.parametrize("m", [20, 70])
def test_one_source_is_the_plain_model(rng, method, m):
    frame = rows(rng, m).query("survey == 'lfs'")
    plain = sae.FayHerriot("y ~ x", method=method).fit(frame, areas=areas(m))
    found = sae.FayHerriot("y ~ x", method=method, source="survey").fit(frame, areas=areas(m))
    for name in ("n", "direct", "direct_se", "estimate", "mse", "gamma"):
        one, other = (fit.estimates[name].to_numpy(dtype=float, na_value=np.nan) for fit in (plain, found))
        np.testing.assert_allclose(one, other, rtol=SAME, err_msg=name)
    for name in ("ci_low", "ci_high"):  # of few areas by other nodes
        np.testing.assert_allclose(plain.estimates[name], found.estimates[name], atol=1e-6)
    for name in ("domain", "geo", "time", "in_sample", "interval", "mse_method"):
        assert plain.estimates[name].tolist() == found.estimates[name].tolist()
    pd.testing.assert_frame_equal(plain.diagnostics, found.diagnostics, rtol=SAME)
    pd.testing.assert_frame_equal(plain.residuals, found.residuals, rtol=1e-9)
    assert "one source" in found.messages[-1].text


def test_five_areas_and_many_without_a_sample_have_intervals(rng):
    """With three areas beyond the coefficients σ has no mean; intervals of one source are the plain ones."""
    frame = rows(rng, both=1.0).query("domain in ['10', '20', '30', '40', '50']")
    lfs = frame.query("survey == 'lfs'")
    plain = sae.FayHerriot("y ~ x").fit(lfs, areas=areas(60)).estimates
    alone = SPEC.fit(lfs, areas=areas(60)).estimates
    for name in ("ci_low", "ci_high"):
        np.testing.assert_allclose(alone[name], plain[name], rtol=1e-5)
    both = SPEC.fit(frame, areas=areas(60)).estimates
    assert np.isfinite(both[["ci_low", "ci_high"]].to_numpy()).all()


def test_combined_tables_and_a_plain_frame_give_the_same(rng):
    frame = rows(rng)
    both = sae.combine({name: table(frame, name) for name in ("lfs", "silc")})
    found = SPEC.fit(both, areas=areas(60).rename(columns={"domain": "region"}))
    plain = SPEC.fit(frame.drop(columns="x"), areas=areas(60))
    names = ["domain", "geo", "estimate", "mse", "ci_low", "ci_high", "direct", "gamma"]
    one, other = (fit.estimates.frame.sort_values("domain")[names] for fit in (found, plain))
    pd.testing.assert_frame_equal(one.reset_index(drop=True), other.reset_index(drop=True), rtol=1e-9)
    assert found.estimates.groups == ("region",) and found.estimates["time"].unique().tolist() == ["2022"]


def test_rows_in_another_order_give_the_same(rng):
    frame = rows(rng)
    one = SPEC.fit(frame).estimates.frame.set_index("domain")
    other = SPEC.fit(frame.sample(frac=1.0, random_state=1)).estimates.frame.set_index("domain")
    np.testing.assert_allclose(other.loc[one.index, "estimate"], one["estimate"], rtol=1e-9)
    np.testing.assert_allclose(other.loc[one.index, "mse"], one["mse"], rtol=1e-9)


def test_few_areas_have_the_exact_posterior_and_joint_draws(rng):
    halves = areas(20).assign(half=["N", "S"] * 10)
    fit = SPEC.fit(rows(rng, 20, both=0.8).drop(columns="x"), areas=halves)
    got = fit.estimates.frame
    assert got["interval"].str.startswith("posterior, flat-variance").all()
    draws = fit.draws(4000, seed=1).values
    inside = (draws > got["ci_low"].to_numpy()) & (draws < got["ci_high"].to_numpy())
    assert inside.mean() == pytest.approx(0.95, abs=0.01)
    north = np.array(["N", "S"] * 10)[got["domain"].astype(int)] == "N"
    total = fit.aggregate("half").frame.iloc[0]
    assert total["se"] == pytest.approx(draws[:, north].sum(axis=1).std(), rel=0.05)


def test_the_reference_is_the_larger_source_or_the_named_one(rng):
    frame = rows(rng)
    lfs, silc = SPEC.fit(frame), sae.FayHerriot("y ~ x", source="survey", reference="silc").fit(frame)
    bias = lfs.coefficients.loc["survey[silc]", "coef"]
    assert silc.coefficients.loc["survey[lfs]", "coef"] == pytest.approx(-bias, rel=1e-9)
    np.testing.assert_allclose(silc.estimates["estimate"], lfs.estimates["estimate"] + bias, rtol=1e-7)
    with pytest.raises(SaeInputError, match="No direct estimate is of the source 'census'"):
        sae.FayHerriot("y ~ x", source="survey", reference="census").fit(frame)
    with pytest.raises(SaeInputError, match=r"most records: lfs \(unknown\), silc \(unknown\)"):
        SPEC.fit(frame.drop(columns="n"))
    named = sae.FayHerriot("y ~ x", source="survey", reference="lfs").fit(frame.drop(columns="n"))
    np.testing.assert_array_equal(named.estimates["estimate"], lfs.estimates["estimate"])


def test_no_area_with_both_is_refused_with_counts(rng):
    frame = rows(rng)
    lfs = set(frame.query("survey == 'lfs'")["domain"])
    apart = frame[(frame["survey"] == "lfs") | ~frame["domain"].isin(lfs)]
    counts = apart["survey"].value_counts()
    with pytest.raises(SaeInputError) as error:
        SPEC.fit(apart)
    assert error.value.what.startswith(
        f"No area has both lfs ({counts['lfs']} areas) and silc ({counts['silc']} areas)"
    )


def test_a_third_source_needs_no_area_with_the_reference_where_another_links_it(rng):
    frame = rows(rng)
    third = frame.query("survey == 'silc'").head(8).assign(survey="ess", n=10)
    lfs = frame.query("survey == 'lfs' and domain not in @third.domain")
    fit = SPEC.fit(pd.concat([lfs, frame.query("survey == 'silc'"), third]))
    assert list(fit.coefficients.index[2:]) == ["survey[silc]", "survey[ess]"]
    with pytest.raises(SaeInputError, match=r"No area has both lfs .* and ess \(8 areas\)"):
        SPEC.fit(pd.concat([lfs, frame.query("survey == 'silc' and domain not in @third.domain"), third]))


def test_one_fit_per_period_and_the_periods_that_cannot_be_had(rng):
    years = pd.concat([rows(rng).assign(year=year) for year in (2020, 2021)], ignore_index=True)
    spec = sae.FayHerriot("y ~ x", source="survey", per=["year"])
    fit = spec.fit(years)
    assert list(fit.variance_components.index) == [2020, 2021]
    for year in (2020, 2021):
        alone = SPEC.fit(years.query("year == @year")).estimates.frame
        got = fit.estimates.frame[fit.estimates["year"] == year]
        np.testing.assert_allclose(got["estimate"], alone["estimate"], rtol=SAME)
        np.testing.assert_allclose(got["ci_low"], alone["ci_low"], rtol=SAME)
    lone = years[(years["year"] == 2020) | (years["survey"] == "lfs")]
    found, refused = spec.fit_each(lone)
    assert set(found.estimates["year"]) == {2020} and list(refused) == [(2021,)]
    assert "No area in 2021 has both" in refused[2021,].what


def test_covariates_that_differ_between_the_sources_are_refused(rng):
    frame = rows(rng)
    twice = frame[frame["domain"].duplicated()]
    frame.loc[twice.index[0], "x"] += 1.0
    with pytest.raises(
        SaeInputError, match=f"x differs between the sources of 1 areas: {twice['domain'].iloc[0]}"
    ):
        SPEC.fit(frame)
    with pytest.raises(SaeInputError, match="have no column 'survey'"):
        sae.FayHerriot("y ~ x + survey", source="survey").fit(rows(rng))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda frame: frame.drop(columns="survey"), r"no column 'survey' \(of source=\)"),
        (lambda frame: frame.assign(survey=None), "have no label in domain, survey"),
        (lambda frame: frame.assign(vardir=0.0), "sampling variance that is not positive"),
        (lambda frame: pd.concat([frame, frame.head(1)]), "appear more than once"),
        (lambda frame: frame.assign(y=np.nan), "No area has a direct estimate"),
        (
            lambda frame: frame[
                frame["domain"].isin(sorted(frame["domain"][frame["domain"].duplicated()])[:3])
            ],
            "3 coefficients, biases of the sources included, need 4 areas",
        ),
        (lambda frame: frame.to_dict(), "are a dict"),
        (lambda frame: frame.assign(vardir=1e200, y=frame["y"] * 1e100), "above 1e60"),
    ],
)
def test_malformed_rows_are_named(rng, change, match):
    with pytest.raises(SaeInputError, match=match):
        SPEC.fit(change(rows(rng)))


def test_direct_estimates_of_one_survey_are_refused_by_name(rng):
    with pytest.raises(SaeInputError, match=r"no rows by 'survey' \(of source=\)"):
        SPEC.fit(table(rows(rng), "lfs"))


@pytest.mark.parametrize(
    "options",
    [
        {"method": "bayes"},
        {"method": "fh"},
        {"transform": "log"},
        {"mse": "bootstrap"},
        {"population": "N"},
        {"per": ["survey"]},
        {"temporal": sae.AR1("year")},
        {"spatial": "sar: map.csv"},
        {"replicates": 100},
    ],
    ids=str,
)
def test_options_without_a_meaning_are_refused_by_name(options):
    with pytest.raises(SaeSpecError, match=f'{next(iter(options))}.* has no meaning with source="survey"'):
        sae.FayHerriot("y ~ x", source="survey", **options)


def test_a_reference_without_sources_is_refused():
    with pytest.raises(SaeSpecError, match="names a source, but source= names no column"):
        sae.FayHerriot("y ~ x", reference="lfs")


def test_the_specification_is_written_and_read():
    spec = sae.FayHerriot("y ~ x", source="survey", reference="lfs")
    assert sae.FayHerriot.from_toml(spec.to_toml()) == spec
    assert "a bias of each survey" in repr(spec)


def test_biases_and_intervals_hold_over_samples():
    """Of 60 samples of 30 areas: the mean bias, and the share of areas inside their intervals."""
    rng, biases, covered = np.random.default_rng(5), [], []
    for _ in range(60):
        m = 30
        x = np.linspace(-1.0, 1.0, m)
        theta = 1.0 + x + 0.5 * rng.normal(size=m)
        parts = [
            pd.DataFrame(
                {
                    "domain": np.arange(m)[kept],
                    "survey": name,
                    "y": theta[kept] + b + np.sqrt(D) * rng.normal(size=len(kept)),
                    "vardir": D,
                    "x": x[kept],
                }
            )
            for name, kept, D, b in (("a", np.arange(m), 0.2, 0.0), ("b", np.arange(0, m, 2), 0.1, 0.5))
        ]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fit = sae.FayHerriot("y ~ x", source="survey", reference="a").fit(pd.concat(parts))
        biases.append(
            (fit.coefficients.loc["survey[b]", "coef"] - 0.5) / fit.coefficients.loc["survey[b]", "se"]
        )
        low, high = (fit.estimates[name].to_numpy() for name in ("ci_low", "ci_high"))
        covered.append(((low < theta) & (theta < high)).mean())
    assert abs(np.mean(biases)) < 3.0 / np.sqrt(60)
    assert np.mean(covered) == pytest.approx(0.95, abs=3.0 * np.std(covered) / np.sqrt(60) + 0.01)


def test_what_knows_one_source_only_refuses_the_fit_by_name(rng):
    with pytest.raises(SaeSpecError, match="source"):
        sae.area_level.select(sae.FayHerriot("y ~ x", source="survey", method="ml"), rows(rng))
    plan = pd.DataFrame({"domain": ["00"], "population": [1000]})
    with pytest.raises(SaeSpecError, match=r"several sources \(source='survey'\)"):
        sae.planning.oversample(SPEC.fit(rows(rng)), plan, targets=0.1)


@pytest.mark.parametrize("label", [2021, True, np.inf])
def test_labels_of_several_kinds_are_texts(rng, label):
    frame = rows(rng)
    odd = frame.assign(survey=frame["survey"].astype("object").where(frame["survey"] == "lfs", label))
    assert SPEC.fit(odd).coefficients.index[-1] == f"survey[{label}]"
    per = sae.FayHerriot("y ~ x", per=["survey"]).fit(odd)  # the same columns tell fits apart
    assert list(per.variance_components.index) == sorted([str(label), "lfs"])


def test_a_quarter_and_a_year_of_two_surveys_are_one_period_of_the_areas():
    """Each survey has its own period; the areas are the same, and their period names both."""
    land = sae.datasets.country(seed=2, regions=30)
    tables = {
        name: sae.direct(survey, "employment_rate", by="region", smoothing="gvf")
        for name, survey in {"lfs": land.lfs(seed=1), "silc": land.silc(seed=1)}.items()
    }
    both = sae.combine(tables, source="survey")
    fit = sae.FayHerriot("employment_rate ~ register_employment", source="survey").fit(both, areas=land.areas)
    assert len(fit.estimates) == len(land.areas)
    assert fit.estimates["time"].unique().tolist() == ["2025 / 2025Q1"]
    assert fit.estimates["n"].sum() == sum(table["n"].sum() for table in tables.values())
    assert "survey[silc]" in fit.summary()
