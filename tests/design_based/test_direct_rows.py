"""What a table of direct estimates says: rows, labels, statuses, errors that name their cause."""

import numpy as np
import pandas as pd
import pytest

import sae
from sae.errors import SaeError, SaeInputError, SaeSpecError
from sae.survey import Survey

EXACT = 1e-12  # the same sums in another order


def frame(n=400, seed=1):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "w": rng.uniform(1, 5, n),
            "stratum": np.repeat(np.arange(4), n // 4),
            "psu": np.arange(n) // 10,
            "region": rng.choice(["north", "south", "west"], n),
            "birth": rng.choice(["native", "foreign"], n, p=[0.8, 0.2]),
            "quarter": rng.choice(["2024Q1", "2024Q2"], n),
            "works": rng.integers(0, 2, n),
            "income": rng.lognormal(9, 0.5, n),
        }
    )


def survey(data=None, **options):
    return Survey.from_frame(
        frame() if data is None else data, **{"weights": "w", "strata": "stratum", "psu": "psu", **options}
    )


def test_rows_cross_all_observed_levels_in_sorted_order():
    data = frame()
    data = data[~((data["region"] == "west") & (data["birth"] == "foreign"))].reset_index(drop=True)
    got = sae.direct(survey(data), "works", by=["region", "birth"])
    assert got["domain"].tolist() == [
        f"{r} / {b}" for r in ("north", "south", "west") for b in ("foreign", "native")
    ]
    assert got["geo"].tolist() == got["region"].astype(str).tolist()
    empty = got.to_frame().iloc[4]
    assert (empty["n"], empty["status"]) == (0, "no sample")
    assert empty[["estimate", "variance", "se", "vardir", "ci_low", "ci_high", "df", "n_eff"]].isna().all()
    assert (got["status"][[0, 1, 2, 3, 5]] == "ok").all()


def test_time_is_a_column_or_the_pooled_period():
    with_time = survey(time="quarter")
    got = sae.direct(with_time, "works", by=["region", "quarter"])
    assert got["time"].tolist() == ["2024Q1", "2024Q2"] * 3
    assert got["domain"].tolist()[:2] == ["north", "north"]
    assert got["geo"].tolist()[:2] == ["north", "north"]
    assert set(sae.direct(with_time, "works", by="region")["time"]) == {"2024Q1/2024Q2"}
    one = with_time.subset("quarter == '2024Q2'")
    assert set(sae.direct(one, "works", by="region")["time"]) == {"2024Q2"}
    assert set(sae.direct(survey(), "works")["time"]) == {""}
    whole = sae.direct(with_time, "works", by="quarter")
    assert whole["domain"].tolist() == ["all", "all"]
    assert whole["geo"].tolist() == ["", ""]


def test_levels_keep_their_dtype_and_numbers_read_as_whole():
    data = frame().assign(
        code=np.repeat([2.0, 10.0], 200),
        ordered=pd.Categorical(
            np.tile(["low", "high"], 200), categories=["low", "middle", "high"], ordered=True
        ),
    )
    got = sae.direct(survey(data), "works", by=["code", "ordered"])
    assert got["domain"].tolist() == ["2 / low", "2 / high", "10 / low", "10 / high"]
    assert got["code"].dtype == float


def test_a_missing_grouping_value_is_counted_not_dropped_silently():
    data = frame()
    data.loc[[3, 5, 8], "region"] = None
    got = sae.direct(survey(data), "works", by="region")
    assert got["n"].sum() == 397
    assert any("by region: 3 records have no value" in line for line in got.log)


def test_item_non_response_is_counted_by_indicator():
    data = frame().assign(works=lambda d: d["works"].astype(float))
    data.loc[data["region"] == "west", "works"] = np.nan
    got = sae.direct(survey(data), "works", by="region")
    assert got["status"].tolist() == ["ok", "ok", "no answer"]
    missing = int((data["region"] == "west").sum())
    assert any(line.startswith(f"works: {missing} of 400 records have no answer") for line in got.log)


def test_item_non_response_is_counted_within_the_universe():
    data = frame().assign(works=lambda d: d["works"].astype(float), age=30.0)
    data.loc[:99, ["works", "age"]] = np.nan, 7.0  # children, who are not asked
    data.loc[100:104, "works"] = np.nan
    data.loc[105:107, "age"] = np.nan  # whether they are asked is not known
    read = survey(data)
    assert read.missing["works"] == 105
    got = sae.direct(read, sae.Indicator("works", id="works", universe="age >= 18"), by="region")
    counts = [line for line in got.log if "item non-response" in line]
    assert counts == ["works: item non-response (records with age >= 18): works 5, age 3"]


def test_statuses_of_tiny_domains():
    data = frame().assign(tiny="rest", works=1)
    data.loc[0, "tiny"] = "one"
    data.loc[[1, 2], "tiny"] = "cluster"  # both of PSU 0
    data.loc[[15, 115], "tiny"] = "two strata"  # one PSU in each of two strata
    data.loc[data.index % 7 == 3, "works"] = 0
    data.loc[[1, 15], "works"] = 0
    data.loc[[2, 115], "works"] = 1
    data.loc[200:205, "tiny"] = "constant"
    data.loc[300:305, "tiny"] = "constant"
    data.loc[data["tiny"] == "constant", "works"] = 1
    got = sae.direct(survey(data), "works", by="tiny").to_frame().set_index("domain")
    assert got["status"].to_dict() == {
        "cluster": "one cluster",
        "constant": "zero variance",
        "one": "one record",
        "rest": "ok",
        "two strata": "no degrees of freedom",
    }
    assert got.loc[["cluster", "one"], ["variance", "vardir"]].isna().all(axis=None)
    assert got.loc["constant", "variance"] == 0.0
    assert np.isnan(got.loc["constant", "vardir"])
    # a share of 1 in a dozen records is not certain
    assert got.loc["constant", "interval"] == "one-sided Korn-Graubard"
    assert got.loc["constant", "ci_low"] < 0.9
    assert 0 < got.loc["constant", "n_eff"] <= 12


def test_a_denominator_of_zero_is_a_status():
    data = frame().assign(hours=lambda d: np.where(d["region"] == "west", 0.0, 30.0))
    got = sae.direct(survey(data), sae.Indicator("income", "hours"), by="region")
    assert got["status"].tolist() == ["ok", "ok", "denominator zero"]
    assert np.isnan(got["estimate"][2])


def test_a_constant_that_is_no_binary_fraction_has_no_variance():
    got = sae.direct(survey(frame().assign(income=0.1)), "income", by="region")
    assert got["variance"].tolist() == [0.0] * 3
    assert set(got["status"]) == {"zero variance"}


def test_several_indicators_and_their_covariance():
    got = sae.direct(survey(), ["works", "income"], by="region", covariance=True)
    assert got["indicator"].tolist() == ["works"] * 3 + ["income"] * 3
    assert got.units == {"works": "share", "income": ""}
    matrix = got.covariance
    assert matrix.index.names == ["indicator", "domain", "time"]
    np.testing.assert_allclose(np.diag(matrix), got["variance"].astype(float), rtol=0)
    np.testing.assert_allclose(matrix, matrix.T, rtol=1e-9)
    assert np.linalg.eigvalsh(np.corrcoef(matrix)).min() > -1e-9
    one = sae.direct(survey(), "works", by="region", covariance=True).covariance
    np.testing.assert_allclose(matrix.iloc[:3, :3], one, rtol=1e-9)


@pytest.mark.parametrize("method", ["replicate", "bootstrap", "poisson"])
def test_covariances_of_the_other_methods_have_the_variances_on_their_diagonal(method):
    data = survey()
    options = {"seed": 7, "replicates": 50} if method == "bootstrap" else {}
    if method == "replicate":
        data = data.with_replicates("jkn")
    if method == "poisson":
        options = {"domain_sizes": {"north": 400, "south": 400, "west": 400}}
    got = sae.direct(data, ["works", "income"], by="region", variance=method, covariance=True, **options)
    np.testing.assert_allclose(np.diag(got.covariance), got["variance"].astype(float), rtol=EXACT)
    assert (np.linalg.eigvalsh(got.covariance) > -1e-6).all()


def test_the_covariance_of_nobody_is_0_with_replicates_too(rng):
    """Nobody is poor in b; in some replicates the threshold rises and somebody is: no error of the 0."""
    home = np.repeat(np.arange(200), 2)
    region = np.where(home < 100, "a", "b")
    income = np.where(region == "a", rng.lognormal(0, 0.6, 200)[home], 0.63 + rng.random(200)[home])
    data = pd.DataFrame({"w": 1.0, "home": home, "region": region, "income": income})
    data = Survey.from_frame(data, weights="w", household="home")
    got = sae.direct(data, "arpr", by="region", variance="bootstrap", seed=1, covariance=True)
    assert got["estimate"][1] == 0 and got["variance"][1] == 0 < got["variance"][0]
    np.testing.assert_allclose(got.covariance, np.diag(got["variance"]), rtol=EXACT)


def test_the_bootstrap_repeats_with_its_seed_and_is_near_the_linearised_error():
    plain = sae.direct(survey(), ["works", "income"], by="region")
    first, again = (
        sae.direct(survey(), ["works", "income"], by="region", variance="bootstrap", seed=3, replicates=400)
        for _ in range(2)
    )
    pd.testing.assert_frame_equal(first.frame, again.frame)
    assert set(first["variance_method"]) == {"bootstrap, 400 replicates"}
    # a bootstrap variance of 400 replicates has a relative error of sqrt(2/400) = 7 %; five of these
    np.testing.assert_allclose(first["se"], plain["se"], rtol=0.18)


def test_replicates_that_lose_a_domain_are_said():
    data = frame()
    data["small"] = np.where(data["psu"].isin([0, 3]), "small", "rest")
    replicated = survey(data).with_replicates("bootstrap", replicates=60, seed=2)
    got = sae.direct(replicated, "works", by="small").to_frame().set_index("domain")
    drawn = replicated.replicates.weights[data["psu"].isin([0, 3])].sum(axis=0)
    assert got.loc["small", "status"] == f"{int((drawn == 0).sum())} of 60 replicates empty"
    assert got.loc["small", "variance"] > 0


def test_degrees_of_freedom_are_the_domains_own():
    data = frame().assign(area=np.where(np.arange(400) < 130, "few", "many"))
    got = sae.direct(survey(data), "works", by="area").to_frame().set_index("domain")
    assert got["df"].to_dict() == {"few": 13 - 2, "many": 27 - 3}
    jackknife = sae.direct(survey(data).with_replicates("jkn"), "works", by="area")
    assert jackknife["df"].tolist() == [11, 24]


def test_effective_size_is_p_q_over_v_for_shares_and_n_over_deff_for_means():
    got = sae.direct(survey(), ["works", "income"], by="region")
    shares, means = got.to_frame().iloc[:3], got.to_frame().iloc[3:]
    p = shares["estimate"]
    np.testing.assert_allclose(shares["n_eff"], p * (1 - p) / shares["variance"], rtol=EXACT)
    np.testing.assert_allclose(means["n_eff"], means["n"] / means["deff"], rtol=EXACT)


@pytest.mark.parametrize("smoothing", ["deff", "gvf", "arcsin"])
def test_smoothing_gives_every_sampled_domain_a_variance_for_the_model(smoothing):
    data = frame().assign(area=np.arange(400) % 37)
    data.loc[data["area"] == 5, "works"] = 1
    got = sae.direct(survey(data), "works", by="area", smoothing=smoothing).to_frame()
    assert (got["vardir"] > 0).all()
    assert got.loc[5, "variance"] == 0.0
    assert set(got["smoothing"]) == {smoothing}


@pytest.mark.parametrize("kind", ["median", "arpr", "poverty_gap", "qsr", "gini", "threshold"])
def test_income_distribution_over_the_full_design(kind):
    """The variance is that of the total of the scores over the full file, dense."""
    from sae.design_based import poverty
    from sae.indicators import arrays
    from sae.numerics.design.units import design_levels
    from sae.numerics.design.variance import variance_of_totals

    indicator = sae.Indicator("income", kind=kind, id=kind)
    data = survey()
    got = sae.direct(data, indicator, by="region", covariance=True)
    values = arrays(indicator, data)
    codes = np.searchsorted(["north", "south", "west"], data.frame["region"].astype(str))
    found = poverty.estimate(indicator, values.numerator, data.weights, values.inside, codes, 3)
    Z = np.column_stack([found.scores(d) for d in range(3)])
    np.testing.assert_allclose(got["estimate"], found.estimates, rtol=EXACT)
    dense = variance_of_totals(design_levels(data.stages), data.weights, Z)
    np.testing.assert_allclose(got["variance"], np.diag(dense), rtol=1e-9)
    np.testing.assert_allclose(got.covariance, dense, rtol=1e-6, atol=1e-9 * np.abs(dense).max())
    spread = data.weights @ Z**2
    weight = [data.weights[codes == d].sum() for d in range(3)]
    n = got["n"].to_numpy(float)
    np.testing.assert_allclose(got["deff"], np.diag(dense) / (weight * spread / (n - 1)), rtol=1e-9)


def test_income_distribution_with_calibrated_weights():
    from sae.design_based import poverty
    from sae.indicators import arrays
    from sae.numerics.design.units import design_levels
    from sae.numerics.design.variance import variance_of_totals

    indicator = sae.Indicator("income", kind="arpr", id="arpr")
    plain = survey()
    data = plain.calibrate({"region": {"north": 420, "south": 400, "west": 390}, "income": 1.2e7})
    values = arrays(indicator, data)
    codes = np.searchsorted(["foreign", "native"], data.frame["birth"].astype(str))
    found = poverty.estimate(indicator, values.numerator, data.weights, values.inside, codes, 2)
    Z = np.column_stack([found.scores(d) for d in range(2)])
    root = np.sqrt(plain.weights)[:, None]
    X = data.calibration.X
    residual = Z - X @ np.linalg.lstsq(root * X, root * Z, rcond=None)[0]
    dense = variance_of_totals(design_levels(data.stages), data.weights, residual)
    got = sae.direct(data, indicator, by="birth", covariance=True)
    np.testing.assert_allclose(got["variance"], np.diag(dense), rtol=1e-9)
    np.testing.assert_allclose(got.covariance, dense, rtol=1e-6)


# ---------------------------------------------------------------- errors


def test_unknown_columns_and_options_are_refused_by_name():
    data = survey()
    with pytest.raises(SaeSpecError, match=r"no column 'regoin'.*\n.*region"):
        sae.direct(data, "works", by="regoin")
    with pytest.raises(SaeSpecError, match="named twice"):
        sae.direct(data, "works", by=["region", "region"])
    with pytest.raises(SaeSpecError, match="asked for twice"):
        sae.direct(data, ["works", "works"])
    with pytest.raises(SaeSpecError, match="No indicator"):
        sae.direct(data, [])
    with pytest.raises(SaeSpecError, match="'taylor' is variance='linearised' here"):
        sae.direct(data, "works", variance="taylor")
    with pytest.raises(SaeSpecError, match="replicate weights"):
        sae.direct(data, "works", variance="replicate")
    with pytest.raises(SaeSpecError, match="seed"):
        sae.direct(data, "works", variance="bootstrap")
    with pytest.raises(SaeSpecError, match="level=95"):
        sae.direct(data, "works", level=95)
    with pytest.raises(SaeSpecError, match="domain_sizes belongs"):
        sae.direct(data, "works", by="region", domain_sizes={"north": 1})


def test_poisson_needs_the_size_of_every_domain_by_name():
    data = survey()
    with pytest.raises(SaeInputError, match="no size for 1 of 3 domains: west") as caught:
        sae.direct(data, "works", by="region", variance="poisson", domain_sizes={"south": 9, "north": 9})
    assert caught.value.areas == ("west",)
    with pytest.raises(SaeInputError, match="above 0, but is not for west"):
        sae.direct(
            data, "works", by="region", variance="poisson", domain_sizes={"south": 9, "north": 9, "west": 0}
        )
    with pytest.raises(SaeSpecError, match="known sizes"):
        sae.direct(data, "works", by="region", variance="poisson")
    with pytest.raises(SaeSpecError, match="no mean of its universe"):
        sae.direct(data, sae.Indicator("income", "works"), variance="poisson", domain_sizes=100)
    low = survey(frame().assign(w=lambda d: d["w"] / 10))
    with pytest.raises(SaeInputError, match="weight below 1"):
        sae.direct(low, "works", variance="poisson", domain_sizes=100)


def test_a_domain_size_that_stands_twice_is_refused():
    twice = pd.Series([9.0, 9.0, 9.0, 5.0], ["south", "north", "west", "north"])
    with pytest.raises(SaeInputError, match="two sizes for north"):
        sae.direct(survey(), "works", by="region", variance="poisson", domain_sizes=twice)
    data = survey(frame().assign(district=lambda d: d["psu"] % 2))
    with pytest.raises(SaeInputError, match="two sizes for 1"):
        sae.direct(data, "works", by="district", variance="poisson", domain_sizes={0: 9, 1: 9, "1": 5})
    with pytest.raises(SaeInputError, match="size of west is 'many'"):
        sae.direct(data, "works", by="region", variance="poisson", domain_sizes={"west": "many"})


@pytest.mark.parametrize("value", [np.inf, -np.inf])
@pytest.mark.parametrize("kind", ["mean", "total", "median", "gini", "qsr", "arpr"])
def test_infinite_items_are_refused_by_name(kind, value):
    data = frame()
    data.loc[[3, 7], "income"] = value
    with pytest.raises(SaeInputError, match=r"'income' is infinite in 2 records \(rows 4, 8\)") as caught:
        sae.direct(survey(data), sae.Indicator("income", kind=kind), by="region")
    assert caught.value.column == "income"
    with pytest.raises(SaeInputError, match="'income' is infinite"):  # wherever it is used
        sae.direct(survey(data), sae.Indicator("works", universe="income > 5"), by="region")
    with pytest.raises(SaeInputError, match="'income' is infinite"):
        survey(data).calibrate({"income": 1e9})


def test_items_whose_squares_overflow_are_refused():
    with pytest.raises(SaeInputError, match=r"'income' is beyond 1e\+100 in 1 of 400 records \(rows 1\)"):
        sae.direct(survey(frame().assign(income=lambda d: d["income"].mask(d.index == 0, 1e200))), "income")


@pytest.mark.parametrize("kind", ["arpr", "poverty_gap"])
def test_one_record_or_one_cluster_has_no_error_even_where_the_threshold_has(kind):
    """What was left was the error of the national threshold: a CV of some per cent for one poor person."""
    data = frame().assign(income=lambda d: d["income"].mask(d.index.isin([0, 11, 12, 13]), 3000.0))
    data["area"] = np.where(data.index == 0, "one", np.where(data["psu"] == 1, "cluster", "rest"))
    for options in ({}, {"variance": "bootstrap", "seed": 1, "replicates": 50}):
        table = sae.direct(survey(data), sae.Indicator("income", kind=kind), by="area", **options)
        rows = table.frame.set_index("domain")
        assert rows.loc[["cluster", "one"], ["variance", "se", "cv"]].isna().all(axis=None)
        assert rows["status"].to_dict() == {"cluster": "one cluster", "one": "one record", "rest": "ok"}
        judged = sae.quality.assess(table.frame, "statcan")
        assert judged["publishable"].tolist() == [False, False, True]
    # the line itself is the whole population's
    line = sae.direct(survey(data), sae.Indicator("income", kind="threshold"), by="area")
    assert (line["se"] > 0).all()


def test_no_infinite_number_stands_in_a_table():
    data = frame().assign(tiny=5e-320, spread=lambda d: d["works"] * 1e99)
    for indicator in ("tiny", "spread", "works", sae.Indicator("spread", kind="total")):
        table = sae.direct(survey(data), indicator, by="region").frame.select_dtypes("number")
        assert not np.isinf(table.to_numpy(dtype=float)).any()


def test_domain_sizes_are_matched_by_label_whatever_their_order():
    sizes = pd.Series(
        {
            ("west", "native"): 60.0,
            ("west", "foreign"): 20.0,
            ("south", "native"): 80.0,
            ("south", "foreign"): 30.0,
            ("north", "foreign"): 10.0,
            ("north", "native"): 90.0,
        }
    )
    got = sae.direct(survey(), "works", by=["region", "birth"], variance="poisson", domain_sizes=sizes)
    data = frame()
    for row in got.to_frame().itertuples():
        here = (data["region"] == row.region) & (data["birth"] == row.birth)
        total = (data["w"] * data["works"])[here].sum()
        np.testing.assert_allclose(row.estimate, total / sizes[row.region, row.birth], rtol=EXACT)


def test_a_lonely_stratum_is_refused_by_name_at_the_estimation():
    data = frame().assign(psu=lambda d: np.where(d["stratum"] == 2, 25, d["psu"]))
    from dataclasses import replace

    lonely = replace(survey(data, lonely_psu="certainty"), lonely_psu="fail")
    with pytest.raises(SaeInputError, match=r"1 of 4 strata of stage 1 .*: 2\."):
        sae.direct(lonely, "works")


def test_lonely_policies_differ_as_they_say():
    data = frame().assign(psu=lambda d: np.where(d["stratum"] == 2, 25, d["psu"]))
    certain = sae.direct(survey(data, lonely_psu="certainty"), "works")
    average = sae.direct(survey(data, lonely_psu="average"), "works", covariance=True)
    collapsed = sae.direct(survey(data, lonely_psu="collapse"), "works")
    # three strata with two or more units: the lonely one adds a third of their sum
    np.testing.assert_allclose(average["variance"], certain["variance"] * 4 / 3, rtol=EXACT)
    np.testing.assert_allclose(average.covariance, average["variance"].to_numpy()[:, None], rtol=EXACT)
    assert collapsed["variance"][0] > certain["variance"][0]
    assert any("single sampled unit" in line and "average" in line for line in average.log)


def test_grouping_by_a_name_of_the_table_is_refused():
    with pytest.raises(SaeInputError, match="se"):
        sae.direct(survey(frame().assign(se="x")), "works", by="se")


def test_provenance_and_log_hold_no_clock():
    got = sae.direct(survey(), "works", by="region", variance="bootstrap", seed=3, replicates=20)
    assert got.provenance["seed"] == 3
    assert got.provenance["by"] == ["region"]
    assert "works" in got.provenance["indicators"]


@pytest.mark.parametrize("kind", ["arpr", "gini"])
def test_income_distribution_by_replicates_recomputes_the_threshold(kind):
    data = survey().with_replicates("jkn")
    indicator = sae.Indicator("income", kind=kind, id=kind)
    got = sae.direct(data, indicator, by="region", covariance=True)
    theta = []
    for weights in data.replicates.weights.T:  # each replicate as a survey of its own
        held = weights > 0
        kept = data.frame[held].assign(w=weights[held]).reset_index(drop=True)
        alone = Survey.from_frame(kept, weights="w")
        theta.append(sae.direct(alone, indicator, by="region")["estimate"].to_numpy(float))
    deviation = np.array(theta) - got["estimate"].to_numpy(float)
    expected = data.replicates.scale * (data.replicates.rscales[:, None] * deviation).T @ deviation
    np.testing.assert_allclose(got.covariance, expected, rtol=1e-9)
    assert set(got["variance_method"]) == {"jkn, 40 replicates"}


def test_levels_that_a_subset_does_not_meet_are_named_in_the_log():
    columns = {"region": list("aabbcc"), "born": list("fnfnnn"), "y": [1, 0, 1, 0, 1, 0]}
    frame = pd.DataFrame({"w": 1.0, **columns})
    table = sae.direct(Survey.from_frame(frame, weights="w").subset("born == 'f'"), "y", by="region")
    assert table["domain"].tolist() == ["a", "b"]
    assert "by region: 1 of 3 levels have no record in the subset: c" in table.log


# ---------------------------------------------------------------- random surveys


def check_random_surveys(rng, inputs):
    """Means, ratios and totals with weights of 0, gaps, zeros and tiny domains: by hand, or a SaeError."""
    right = 0
    for _ in range(inputs):
        n = int(rng.integers(1, 40))
        data = pd.DataFrame(
            {
                "w": rng.gamma(2, 1, n) * (rng.random(n) < 0.9),
                "s": rng.integers(0, 2, n),
                "g": rng.choice(["a", "b", "c", None], n),
                "y": np.where(rng.random(n) < 0.1, np.nan, rng.choice([0.0, 3, 5, -2, 1e6], n)),
                "x": np.where(rng.random(n) < 0.1, np.nan, rng.choice([0.0, 2, 3], n)),
                "age": np.where(rng.random(n) < 0.1, np.nan, rng.integers(0, 90, n)),
            }
        )
        data.loc[0, ["y", "x"]] = 3.0  # no column of 0 and 1 alone, which would be a condition
        if rng.random() < 0.05:
            data.loc[0, str(rng.choice(["y", "x", "age", "w"]))] = rng.choice([np.inf, -np.inf, 1e120])
        kind = str(rng.choice(["ratio", "mean", "total"]))
        bottom = "x" if kind == "ratio" else None
        universe = str(rng.choice(["age >= 18", "20 <= age <= 64"])) if rng.random() < 0.5 else None
        policy = str(rng.choice(["fail", "certainty", "average", "collapse"]))
        try:
            made = Survey.from_frame(data, weights="w", strata="s", lonely_psu=policy)
            table = sae.direct(made, sae.Indicator("y", bottom, universe, kind), by="g").frame
        except SaeError as fault:
            assert str(fault)
            continue
        age = data["age"]
        inside = data["y"].notna() & (data["w"] > 0)
        inside &= data["x"].notna() if bottom else True
        if universe:
            inside &= age >= 18 if universe == "age >= 18" else (age >= 20) & (age <= 64)
        numbers = table.select_dtypes("number").to_numpy(dtype=float)
        assert not np.isinf(numbers).any()
        assert table["domain"].tolist() == sorted(data.loc[data["w"] > 0, "g"].dropna().unique())
        for row in table.itertuples():
            mine = data[inside & (data["g"] == row.domain)]
            assert row.n == len(mine)
            top = mine["w"] @ mine["y"]
            below = 1.0 if kind == "total" else mine["w"] @ (mine["x"] if bottom else np.ones(len(mine)))
            if len(mine) == 0 or below == 0:
                assert np.isnan(row.estimate) and np.isnan(row.variance)
                assert row.status in ("no sample", "no answer", "denominator zero")
                continue
            assert row.estimate == pytest.approx(top / below, rel=1e-9, abs=1e-9)
            assert not row.variance < 0
            if row.n == 1:
                assert row.status == "one record"
                assert np.isnan(row.variance) or kind == "total"
            right += 1
    return right


def test_random_surveys(rng):
    assert check_random_surveys(rng, 40) > 50


@pytest.mark.slow
def test_ten_thousand_random_surveys(rng):
    assert check_random_surveys(rng, 10_000) > 10_000


def test_the_place_is_no_variable_of_persons_and_smoothing_pools_over_places():
    """A table by birth × region is that by region × birth: its geo says where, its peers share the birth."""
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(
        {
            "w": rng.uniform(1, 4, 600),
            "works": rng.random(600) < 0.6,
            "birth": rng.choice(["native", "foreign"], 600, p=[0.8, 0.2]),
            "region": rng.choice(list("abcdef"), 600),
        }
    )
    survey = sae.Survey.from_frame(frame, weights="w")
    one = sae.direct(survey, "works", ["birth", "region"], smoothing="deff").frame
    other = sae.direct(survey, "works", ["region", "birth"], smoothing="deff").frame
    assert one["geo"].tolist() == one["region"].tolist()
    keys = ["birth", "region"]
    both = one.merge(other, on=keys, suffixes=("", "_other"), validate="one_to_one")
    np.testing.assert_allclose(both["vardir"], both["vardir_other"], rtol=1e-12)
    assert sae.direct(survey, "works", ["birth"]).frame["geo"].tolist() == ["", ""]


def test_a_row_of_one_year_names_the_periods_of_that_year():
    """All rows bore the periods of the whole file, so that each year seemed to lie across a break."""
    quarters = [f"{year}Q{quarter}" for year in (2021, 2022) for quarter in (1, 2, 3, 4)]
    frame = pd.DataFrame(
        {"quarter": quarters * 4, "region": list("AABB") * 8, "w": 1.0, "y": [0, 1, 1, 0] * 8}
    )
    frame["year"] = frame["quarter"].str[:4].astype(int)
    survey = Survey.from_frame(frame, weights="w", time="quarter")
    rate = sae.Indicator(id="rate", numerator="y == 1", denominator="y >= 0")
    table = sae.direct(survey, rate, by=["region", "year"])
    spans = {"2021": "2021Q1/2021Q4", "2022": "2022Q1/2022Q4"}
    assert table["time"].tolist() == [spans[str(year)] for year in table["year"]]
    assert set(sae.direct(survey, rate, by="region")["time"]) == {"2021Q1/2022Q4"}
    frame = pd.DataFrame({"region": ["A", "A", "B", "B", "C", "C"], "year": [2021, 2022] * 3, "x": range(6)})
    smooth = sae.DirectEstimates(table.frame.assign(vardir=0.01), table.by)
    fitted = sae.FayHerriot("rate ~ 1").fit(smooth, areas=frame).estimates
    assert fitted["time"].tolist()[-2:] == list(spans.values()) and fitted["region"].tolist()[-1] == "C"
