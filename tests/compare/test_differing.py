"""Differences, ratios and gaps: against dense matrices, draws, hand cases, and by their coverage.

Tolerances: 1e-9 where both sides are the same sums in another order; draws of 20,000 give a standard
deviation to 0.5 % (three times that is allowed) and a probability to 0.0035; coverage by simulation is taken
as right within three of its standard errors, plus 0.5 % for variances that are estimated.
"""

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import sae
from sae.compare import differences, gaps, ratios
from sae.errors import SaeInputError, SaeSpecError


@pytest.fixture(scope="module")
def fit():
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"domain": [f"A{k:02d}" for k in range(60)], "x": rng.normal(size=60)})
    frame["y"] = 3.0 + 0.5 * frame["x"] + rng.normal(size=60) * 0.6 + rng.normal(size=60) * 0.4
    frame["people"] = rng.integers(1_000, 90_000, 60)
    return sae.FayHerriot("y ~ x").fit(frame.assign(vardir=0.16, n=40), seed=1)


def direct_groups(rng, areas=40, df=30.0, overlap=0.0):
    """Return direct estimates of two groups in each city, and their covariance."""
    frame = pd.DataFrame({"city": np.repeat([f"C{k:02d}" for k in range(areas)], 2)})
    frame["birth"] = ["native", "foreign"] * areas
    frame["domain"] = frame["city"] + " / " + frame["birth"]
    size = len(frame)
    se = rng.uniform(0.02, 0.05, size)
    covariance = np.diag(se**2)
    own = np.arange(0, size, 2)
    covariance[own, own + 1] = covariance[own + 1, own] = overlap * se[own] * se[own + 1]
    truth = np.tile([0.7, 0.6], areas) + 0.03 * rng.normal(size=size)
    frame["estimate"] = truth + np.linalg.cholesky(covariance) @ rng.normal(size=size)
    frame = frame.assign(
        indicator="employment_rate", n=80, n_eff=70.0, df=df, se=se, variance=se**2, vardir=se**2, status="ok"
    )
    index = pd.MultiIndex.from_frame(frame.assign(time="")[["indicator", "domain", "time"]])
    labelled = pd.DataFrame(covariance, index=index, columns=index) if overlap else None
    units = {"employment_rate": "share"}
    return sae.DirectEstimates(frame, ("city", "birth"), labelled, units), truth


def test_against_one_area_by_the_dense_matrix(fit):
    made = differences(fit, "A07").frame
    joint = fit.joint.covariance()
    rows = np.array([k for k in range(60) if k != 7])
    variance = joint[rows, rows] + joint[7, 7] - 2.0 * joint[rows, 7]
    np.testing.assert_allclose(made["se"], np.sqrt(variance), rtol=1e-9)
    np.testing.assert_allclose(made["estimate"], made["value"] - made["other"], rtol=1e-12)
    assert made["domain"].tolist() == [f"A{k:02d}" for k in rows]
    half = (made["ci_high"] - made["ci_low"]) / 2
    from scipy.stats import t

    np.testing.assert_allclose(half / made["se"], t.ppf(0.975, 58), rtol=1e-9)  # 60 areas, 2 coefficients
    np.testing.assert_allclose(made["p_above"], t.cdf(made["estimate"] / made["se"], 58), rtol=1e-9)
    assert set(made["interval"]) == {"t on the joint MSE"}
    told = (made["ci_low"] > 0) | (made["ci_high"] < 0)
    assert (told == (made["verdict"] != "cannot be told apart")).all()
    assert made["n"].eq(40).all() and made["n_other"].eq(40).all()


def test_against_the_weighted_mean_whose_error_is_shared(fit):
    made = differences(fit, weights="people").frame
    share = fit.areas["people"].to_numpy() / fit.areas["people"].sum()
    slopes = np.eye(60) - share
    joint = fit.joint.covariance()
    np.testing.assert_allclose(made["se"], np.sqrt(np.diag(slopes @ joint @ slopes.T)), rtol=1e-9)
    np.testing.assert_allclose(made["other"], share @ made["value"], rtol=1e-12)
    assert made["n_other"].eq(60 * 40).all()
    assert abs(share @ made["estimate"]) < 1e-12


def test_against_a_benchmarked_mean_is_against_a_number(fit):
    """The mean of benchmarked estimates has no error of its own: se of the area alone is left."""
    weights = dict(zip(fit.estimates.frame["domain"], fit.areas["people"], strict=True))
    final = fit.benchmark(3.1, weights="people")
    made = differences(final, weights=weights).frame
    np.testing.assert_allclose(made["other"], 3.1, rtol=1e-12)
    np.testing.assert_allclose(made["se"], np.sqrt(final.joint.mse()), rtol=1e-6)


def test_against_a_number(fit):
    made = differences(fit, 3.0)
    np.testing.assert_allclose(made["se"], fit.estimates.frame["se"], rtol=1e-9)
    np.testing.assert_allclose(made["ci_low"] + 3.0, fit.estimates.frame["ci_low"], rtol=1e-9)
    assert made["n_other"].isna().all()
    assert made["against"].eq("3").all()


def test_draws_say_the_same_as_the_joint_error(fit):
    plain, drawn = differences(fit, "A07").frame, differences(fit, "A07", seed=1, draws=20_000).frame
    assert np.abs(plain["p_above"] - drawn["p_above"]).max() < 0.015
    width = (drawn["ci_high"] - drawn["ci_low"]) / (plain["ci_high"] - plain["ci_low"])
    # the draws are normal, the other ends Student's t of 58 degrees of freedom, 2.1 % wider
    assert width.min() > 0.93 and width.max() < 1.03


def test_ratios_by_the_delta_method_and_by_draws(fit):
    made = ratios(fit, "A07").frame
    joint, estimate = fit.joint.covariance(), fit.estimates.frame["estimate"].to_numpy()
    k = 12
    slopes = np.zeros(60)
    slopes[k], slopes[7] = 1 / estimate[k], -1 / estimate[7]
    row = made[made["domain"] == "A12"].iloc[0]
    assert row["estimate"] == pytest.approx(estimate[k] / estimate[7], rel=1e-12)
    assert row["se"] == pytest.approx(np.sqrt(slopes @ joint @ slopes), rel=1e-9)
    assert row["ci_low"] * row["ci_high"] == pytest.approx(row["estimate"] ** 2, rel=1e-9)
    drawn = ratios(fit, "A07", seed=1, draws=20_000).frame
    assert np.abs(np.log(drawn["ci_high"] / made["ci_high"])).max() < 0.05
    with pytest.raises(SaeInputError, match="not positive"):
        ratios(fit, -1.0)
    with pytest.raises(SaeInputError, match="1 of 1 ratios"):
        frame = pd.DataFrame({"domain": ["a", "b"], "estimate": [0.0, 1.0], "se": 0.1})
        ratios(frame, "b")


@pytest.mark.parametrize("areas", [60, 12])
def test_gaps_of_components_are_the_contrasts_of_the_fit(areas):
    """With 60 areas t on the joint MSE, with 12 quantiles of the posterior of the intervals."""
    rng = np.random.default_rng(3)
    wide = pd.DataFrame({"city": [f"C{k:02d}" for k in range(areas)], "x": rng.normal(size=areas)})
    wide["foreign"] = 0.6 + 0.1 * wide["x"] + 0.06 * rng.normal(size=areas)
    wide["native"] = 0.7 + 0.05 * wide["x"] + 0.06 * rng.normal(size=areas)
    wide = wide.assign(v_f=0.002, v_n=0.001, v_fn=0.0004)
    model = sae.MultivariateFayHerriot(
        ["foreign ~ x", "native ~ x"],
        domain="city",
        vardir={"foreign": "v_f", "native": "v_n", ("foreign", "native"): "v_fn"},
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = model.fit(wide)
    gap, contrast = (
        gaps(fit, "indicator", "foreign", "native").frame,
        fit.contrast({"foreign": 1, "native": -1}),
    )
    for name in ("estimate", "se", "ci_low", "ci_high"):
        np.testing.assert_allclose(gap[name], contrast[name], rtol=1e-9, atol=1e-12)
    drawn = gaps(fit, "indicator", "foreign", "native", seed=1, draws=20_000).frame
    assert np.abs(gap["p_above"] - drawn["p_above"]).max() < 0.02
    ratio = ratios(fit, {"indicator": "native"}).frame
    np.testing.assert_allclose(ratio["ci_high"], fit.ratio("foreign", "native")["ci_high"], rtol=1e-9)


def test_gaps_of_the_groups_of_direct_estimates_count_their_covariance():
    rng = np.random.default_rng(4)
    direct, _ = direct_groups(rng, overlap=0.6)
    made = gaps(direct, "birth", "foreign", "native")
    frame = made.frame
    se = direct["se"].to_numpy().reshape(-1, 2)
    variance = (se**2).sum(axis=1) - 1.2 * se[:, 0] * se[:, 1]
    np.testing.assert_allclose(frame["se"], np.sqrt(variance), rtol=1e-6)
    assert frame["domain"].tolist() == [f"C{k:02d}" for k in range(40)]
    assert "covariances of the direct estimates" in made.summary()
    alone = gaps(replace(direct, covariance=None), "birth", "foreign", "native")
    np.testing.assert_allclose(alone["se"], np.sqrt((se**2).sum(axis=1)), rtol=1e-9)
    assert "independent of each other" in alone.summary()
    # a share: reliable up to 5 points
    np.testing.assert_array_equal(alone["reliable"], alone["half_width"] <= 0.05)
    assert 0 < gaps(direct, "birth", "foreign", "native", half_width=0.08)["reliable"].sum() < 40
    assert gaps(direct, "birth", "foreign", "native", half_width=0.5)["reliable"].all()


def test_degrees_of_freedom_of_a_difference_are_satterthwaites():
    direct, _ = direct_groups(np.random.default_rng(5), df=4.0)
    frame = direct.frame.assign(se=np.tile([0.03, 0.03], 40), variance=0.0009)
    made = gaps(replace(direct, frame=frame), "birth", "foreign", "native").frame
    from scipy.stats import t

    half = (made["ci_high"] - made["ci_low"]) / 2
    np.testing.assert_allclose(half, t.ppf(0.975, 8.0) * 0.03 * np.sqrt(2.0), rtol=1e-9)
    assert set(made["interval"]) == {"t on the independent errors"}


def test_coverage_of_gaps_and_differences_of_fits():
    """Gaps of two groups within an area and differences from one area cover, in 30 simulated tables."""
    rng = np.random.default_rng(6)
    inside = {"gap": [], "difference": []}
    areas = 60
    x = rng.normal(size=areas)
    mean = np.stack([0.7 + 0.03 * x, 0.6 + 0.05 * x], axis=1)
    effects = np.linalg.cholesky([[0.0064, 0.004], [0.004, 0.0081]])
    model = sae.MultivariateFayHerriot(
        ["native ~ x", "foreign ~ x"], vardir={"native": "v", "foreign": "w", ("native", "foreign"): 0}
    )
    frame = pd.DataFrame({"domain": [f"A{k:02d}" for k in range(areas)], "x": x, "v": 0.0009, "w": 0.003})
    for _ in range(30):
        truth = mean + rng.normal(size=(areas, 2)) @ effects.T
        seen = truth + rng.normal(size=(areas, 2)) * np.sqrt([0.0009, 0.003])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fit = model.fit(frame.assign(native=seen[:, 0], foreign=seen[:, 1]))
        gap = gaps(fit, "indicator", "foreign", "native").frame
        moved = truth[:, 1] - truth[:, 0]
        inside["gap"].append(((gap["ci_low"] <= moved) & (moved <= gap["ci_high"])).mean())
        away = differences(fit, {"domain": "A00"}).frame
        moved = (truth[1:] - truth[0]).ravel()
        inside["difference"].append(((away["ci_low"] <= moved) & (moved <= away["ci_high"])).mean())
    for name, shares in inside.items():
        share, error = np.mean(shares), np.std(shares) / np.sqrt(len(shares))
        print(f"{name}: {share:.4f} (se {error:.4f})")
        assert abs(share - 0.95) < 3 * error + 0.005, name


def test_publishable_only_where_both_sides_are():
    frame = pd.DataFrame(
        {
            "domain": ["a", "b", "c", "d"],
            "n": [90, 80, 1, 70],
            "estimate": [0.5, 0.6, 0.7, 0.8],
            "se": 0.02,
            "unit": "share",
            "policy": ["p", "p", "p", ""],
            "publishable": [True, False, True, None],
            "reason": "",
            "flag": "",
        }
    )
    table = sae.EstimateTable(frame)
    made = differences(table, "a").frame
    # b failed, c rests on one person, d was judged by nobody
    assert made["publishable"].tolist() == [False, False, pd.NA]
    assert differences(table, "b")["publishable"].tolist() == [False, False, False]
    assert differences(table, 0.5)["publishable"].tolist() == [True, False, False, pd.NA]


def test_what_does_not_compare_is_refused_by_name():
    frame = pd.DataFrame({"domain": list("ab"), "estimate": [0.5, 0.6], "se": 0.02})
    both = frame.assign(unit=["share", "persons"])
    with pytest.raises(SaeInputError, match="differ in unit: 'share', 'persons'"):
        differences(both, "b")
    versions = frame.assign(definition=["v1", "v2"])
    with pytest.raises(SaeInputError, match="differ in definition") as error:
        differences(versions, "b")
    assert "accept=['v2']" in str(error.value)
    assert len(differences(versions, "b", accept="v2")) == 1
    places = frame.assign(geo_version=["NUTS 2016", "NUTS 2021"])
    with pytest.raises(SaeInputError, match="nuts_2016_to_2021"):
        differences(places, "b")
    made = differences(places, "b", accept="nuts_2016_to_2021")
    assert made["breaks"].tolist() == ["nuts_2016_to_2021"]
    assert "lie across a break" in made.summary()
    with pytest.raises(SaeInputError, match="differ in unit"):
        differences(both, weights={"a": 1, "b": 1})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda f: differences(f), "Say what to compare with"),
        (lambda f: differences(f, "b", weights={"a": 1, "b": 1, "c": 1}), "not both"),
        (lambda f: differences(f, "x"), "No row has domain 'x'"),
        (lambda f: differences(f, {"region": "b"}), "no column region"),
        (lambda f: differences(f, np.nan), "no number"),
        (lambda f: differences(f.assign(domain=["1", "2", "3"]), 2), "a domain bears it"),
        (lambda f: differences(f, weights={"a": 1, "b": -1, "c": 1}), "a negative one: b"),
        (lambda f: differences(f, weights={"a": 1, "b": 1}), "No weight for 1 of 3"),
        (lambda f: differences(f.assign(estimate=[1.0, np.nan, 2.0]), weights=dict.fromkeys("abc", 1)), "b"),
        (lambda f: differences(f, "b", level=95), "no probability"),
        (lambda f: differences(f, "b", half_width=0), "no width"),
        (lambda f: differences(f, "b", seed=1, draws=3), "at least 100"),
        (lambda f: differences(f.assign(se=[0.1, np.nan, 0.1]), "c"), "no standard error: b"),
        (lambda f: differences(pd.concat([f, f]), "b"), "more than once"),
        (lambda f: differences(f.head(1), "a"), "No row has another side"),
        (lambda f: gaps(f.assign(g=["x", "y", "y"]), "g", "x", "z"), "No row has g 'z'"),
        (lambda f: gaps(f.assign(g=["x", "y", "y"]), "g", "x", "y"), "No row has another side"),
        (lambda f: differences(3, "b"), "not int"),
    ],
)
def test_refusals(call, message):
    frame = pd.DataFrame({"domain": list("abc"), "estimate": [0.5, 0.6, 0.7], "se": 0.02})
    with pytest.raises((SaeInputError, SaeSpecError), match=message):
        call(frame)


def test_a_side_without_a_figure_stays_and_is_named():
    frame = pd.DataFrame(
        {
            "city": list("aabb"),
            "birth": ["native", "foreign"] * 2,
            "estimate": [0.5, np.nan, 0.6, 0.4],
            "se": 0.02,
        }
    )
    made = gaps(frame, "birth", "foreign", "native", domain="city")
    assert made["verdict"].tolist() == ["no figure", "lower"]
    assert "without a figure on both sides or its error: 1 comparisons of a" in repr(made)
    lone = gaps(frame.iloc[1:], "birth", "foreign", "native", domain="city")
    assert lone["verdict"].tolist() == ["no figure", "lower"]


def test_direct_estimates_of_all_or_nobody_count_as_no_figure():
    direct, _ = direct_groups(np.random.default_rng(7), areas=3)
    frame = direct.frame.assign(se=[0.0, *direct["se"][1:]])
    made = gaps(replace(direct, frame=frame), "birth", "foreign", "native")
    assert made["verdict"].iloc[0] == "no figure"
    assert "1 estimates without a variance above 0 count as no figure: C00 / native" in made.summary()


def test_tables_are_written_and_drawn(tmp_path, fit):
    made = differences(fit, "A07")
    back = pd.read_csv(made.write(tmp_path / "differences.csv"))
    np.testing.assert_allclose(back["estimate"], made["estimate"])
    assert len(made.to_frame()) == 59
    for one in (
        made,
        ratios(fit, weights="people"),
        gaps(direct_groups(np.random.default_rng(8))[0], "birth", "foreign", "native"),
    ):
        figure = one.plot(source="test")
        assert len(figure.axes[0].get_yticks()) == len(one)
        assert repr(one).startswith(f"{len(one)} {one.kind}s, against")


def test_gaps_of_a_survey_whose_clusters_hold_both_groups():
    """Shared clusters make the two groups go together: the gap has the variance of its own linearised sum."""
    rng = np.random.default_rng(9)
    records = pd.DataFrame({"w": 1.0, "psu": np.repeat(range(60), 10), "city": np.repeat(list("ab"), 300)})
    records["birth"] = np.tile(["native", "foreign"], 300)
    records["y"] = np.repeat(rng.normal(size=60), 10) + 0.3 * rng.normal(size=600)
    survey = sae.Survey.from_frame(records, weights="w", psu="psu")
    direct = sae.direct(survey, sae.Indicator("y"), by=["city", "birth"], covariance=True)
    made = gaps(direct, "birth", "foreign", "native").frame
    for city, row in zip("ab", made.itertuples(), strict=True):
        own = records[records["city"] == city]
        sums = own["y"].where(own["birth"] == "foreign", -own["y"]) / 150
        centred = sums - own.groupby("birth")["y"].transform("mean") * np.sign(sums / own["y"]) / 150
        totals = centred.groupby(own["psu"]).sum().reindex(range(60), fill_value=0.0)
        variance = 60 / 59 * ((totals - totals.mean()) ** 2).sum()
        assert row.se == pytest.approx(np.sqrt(variance), rel=1e-6)
        assert row.se < 0.3 * np.hypot(*direct["se"][direct["city"] == city])


def test_a_percentage_is_no_share_and_one_group_has_no_gap():
    frame = pd.DataFrame(
        {
            "domain": ["a", "a"],
            "birth": ["foreign", "native"],
            "estimate": [0.5, 0.7],
            "se": 0.04,
            "unit": "share",
        }
    )
    with pytest.raises(SaeSpecError, match=r"against=62 is no share.*\nWrite 0.62 for 62 %"):
        differences(frame.iloc[:1], 62)
    assert differences(frame.iloc[:1], 0.62)["estimate"].round(2).tolist() == [-0.12]
    with pytest.raises(SaeSpecError, match="Both groups are 'native'"):
        gaps(frame, "birth", "native", "native")


def test_a_label_of_one_of_several_columns_is_answered_with_the_column_first():
    frame = pd.DataFrame({"city": ["W", "W", "G", "G"], "birth": ["f", "n"] * 2, "estimate": 0.5, "se": 0.1})
    table = sae.EstimateTable(frame.assign(domain=frame["city"] + " / " + frame["birth"]), ("city", "birth"))
    with pytest.raises(
        SaeInputError, match=r"\nThe rows are by city, birth: write against=\{'city': 'W'\}. "
    ):
        differences(table, "W")
    made = differences(table, {"city": "W"})
    assert made["against"].unique().tolist() == ["W"] and len(made) == 2
