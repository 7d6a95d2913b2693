"""EBP: limiting cases, levels and groups, and what is refused before work starts."""

import numpy as np
import pandas as pd
import pytest

import sae
from sae.errors import SaeInputError, SaeSpecError, SaeWarning

ROUNDING = 1e-9  # sums of some hundred units in another order

AREAS = ["01", "02", "03", "04", "05", "06", "07", "08"]


@pytest.fixture(scope="module")
def people():
    """Persons of 8 areas in 2 regions; the last area has no sample."""
    rng = np.random.default_rng(7)
    frame = pd.DataFrame({"area": np.repeat(AREAS, 60), "id": np.arange(480)})
    frame["region"] = np.where(frame["area"] < "05", "east", "west")
    frame["birth"] = np.where(rng.random(480) < 0.3, "foreign", "native")
    frame["age"] = rng.integers(20, 65, size=480)
    frame["persons"] = rng.integers(1, 6, size=480)
    effect = dict(zip(AREAS, 0.25 * rng.normal(size=8), strict=True))
    score = 8.9 + 0.01 * frame["age"] - 0.2 * (frame["birth"] == "foreign") + frame["area"].map(effect)
    frame["income"] = np.exp(score + 0.4 * rng.normal(size=480))
    return frame


@pytest.fixture(scope="module")
def sample(people):
    return people[people["area"] != "08"].groupby("area").sample(15, random_state=1).reset_index(drop=True)


def fitted(sample, people, formula="income ~ age + birth", seed=1, **options):
    given = {
        "domain": "area",
        "threshold": 9_000.0,
        "transform": "log",
        "mse": "none",
        "draws": 40,
        **options,
    }
    return sae.EBP(formula, **given).fit(sample, areas=people, seed=seed)


def figures(fit, indicator="head_count", **where):
    frame = fit.estimates.frame
    for name, value in {"indicator": indicator, **where}.items():
        frame = frame[frame[name] == value]
    return frame.set_index("domain")["estimate"]


def test_mean_is_the_eblup(sample, people):
    ebp = figures(fitted(sample, people, transform="none", indicators=["mean"]), "mean")
    eblup = sae.NestedError("income ~ age + birth", domain="area").fit(
        sample,
        areas=people.groupby("area", as_index=False).agg(
            **{"age": ("age", "mean"), "birth[T.native]": ("birth", lambda b: (b == "native").mean())}
        ),
    )
    np.testing.assert_allclose(ebp, eblup.estimates["estimate"], rtol=ROUNDING)


def test_linked_mean_is_the_eblup_of_a_finite_population(sample, people):
    linked = figures(fitted(sample, people, transform="none", indicators=["mean"], linked="id"), "mean")
    eblup = sae.NestedError("income ~ age + birth", domain="area", population="one").fit(
        sample, areas=people.assign(one=1)
    )
    np.testing.assert_allclose(linked, eblup.estimates["estimate"], rtol=ROUNDING)


def test_closed_forms_take_no_seed(sample, people):
    one, two = (fitted(sample, people, seed=seed, transform="box-cox") for seed in (None, 4))
    np.testing.assert_array_equal(one.estimates["estimate"], two.estimates["estimate"])


def test_simulation_takes_a_seed(sample, people):
    with pytest.raises(SaeSpecError, match="gini comes from simulated populations"):
        fitted(sample, people, indicators=["gini"], seed=None)
    with pytest.raises(SaeSpecError, match="bootstrap"):
        fitted(sample, people, mse="bootstrap", seed=None)


def test_levels_and_groups_add_up(sample, people):
    fit = fitted(sample, people, levels="region", groups="birth", population_weights="persons")
    assert fit.estimates.groups == ("level", "birth")
    area = figures(fit, level="area", birth="total")
    region = figures(fit, level="region", birth="total")
    size = people.groupby("area")["persons"].sum()
    east = [name for name in AREAS if name < "05"]
    assert region["east"] == pytest.approx(np.average(area[east], weights=size[east]), rel=ROUNDING)
    parts = [figures(fit, level="area", birth=b)["03"] for b in ("foreign", "native")]
    weights = people[people["area"] == "03"].groupby("birth")["persons"].sum()
    assert area["03"] == pytest.approx(np.average(parts, weights=weights), rel=ROUNDING)


def test_population_weights_are_rows_repeated(sample, people):
    wanted = ["mean", "gap"]
    weighted = fitted(sample, people, indicators=wanted, population_weights="persons")
    repeated = fitted(sample, people.loc[people.index.repeat(people["persons"])], indicators=wanted)
    np.testing.assert_allclose(weighted.estimates["estimate"], repeated.estimates["estimate"], rtol=ROUNDING)


def test_neither_order_nor_spelling_of_levels_matters(sample, people):
    plain = fitted(sample, people, indicators=["mean", "gap"])
    turned = people.iloc[::-1].assign(
        birth=pd.Categorical(people["birth"][::-1], categories=["native", "foreign"])
    )
    other = fitted(sample.iloc[::-1], turned, indicators=["mean", "gap"])
    for name in ("mean", "gap"):
        np.testing.assert_allclose(figures(other, name)[AREAS], figures(plain, name)[AREAS], rtol=ROUNDING)


def test_an_area_has_the_same_numbers_alone(sample, people):
    both = fitted(sample, people, indicators=["gini"])
    alone = fitted(sample, people[people["area"] == "03"], indicators=["gini"])
    # the fit adds up the areas of sample and population, one more or less: equal but for rounding
    assert figures(alone, "gini").item() == pytest.approx(figures(both, "gini")["03"], rel=ROUNDING)
    assert "6 areas of the sample are not in the population" in alone.messages[0].text


def test_own_functions(sample, people):
    def top(values, weights):
        return np.average(values > 15_000.0, weights=weights)

    fit = fitted(sample, people, indicators=[top, {"richest": lambda y, w: float(y.max())}, "median"])
    assert list(fit.estimates["indicator"][:3]) == ["top", "richest", "median"]
    assert figures(fit, "top").between(0.0, 1.0).all()
    assert (figures(fit, "richest") > figures(fit, "median")).all()
    with pytest.raises(SaeSpecError, match="names two of them"):
        sae.EBP("income ~ age", domain="area", indicators={"gini": top})


def test_bootstrap_makes_errors_intervals_and_draws(sample, people):
    options = {"mse": "bootstrap", "replicates": 40, "levels": "region", "transform": "box-cox"}
    fit = fitted(sample, people, indicators=["head_count", "gini"], **options)
    frame = fit.estimates.frame
    assert ((frame["ci_low"] < frame["estimate"]) & (frame["estimate"] < frame["ci_high"])).all()
    assert frame["ci_low"].min() > 0.0
    assert frame["mse_method"].iloc[0] == "parametric bootstrap, 40 replicates, se to about 11%"
    assert fit.draws(500, seed=2).values.std(axis=0)[0] == pytest.approx(frame["se"].iloc[0], rel=0.15)
    assert "lambda" in fit.variance_components
    assert "lambda" in fit.summary() and "conditional R²" in fit.summary()
    assert len(fit.provenance["transformation"]["grid"]) == 21
    again = fitted(sample, people, indicators=["head_count", "gini"], **options)
    pd.testing.assert_frame_equal(again.estimates.frame, frame)


def test_figures_without_errors_are_not_drawn(sample, people):
    with pytest.raises(SaeInputError, match='mse="none"'):
        fitted(sample, people).draws(3, seed=1)


def test_what_the_result_holds(sample, people):
    fit = fitted(sample, people, transform="box-cox")
    assert fit.data.scale == "box-cox"
    assert (fit.data.labels[fit.data.row] == np.sort(sample["area"])).all()
    assert fit.diagnostics["r2_conditional"].item() > fit.diagnostics["r2_marginal"].item() > 0.0
    assert {"skewness_e", "kurtosis_u"} <= set(fit.diagnostics)
    assert list(fit.residuals["domain"]) == AREAS[:7]
    assert figures(fit)["08"] > 0.0
    assert not fit.estimates.frame.set_index("domain").loc["08", "in_sample"].any()


def test_direct_figures_are_those_of_the_units(sample, people):
    frame = fitted(sample, people, indicators=["mean", "head_count"], groups="birth").estimates.frame
    row = frame.query("domain == '03' and birth == 'native' and indicator == 'mean'").iloc[0]
    mine = sample.query("area == '03' and birth == 'native'")["income"]
    assert (row["n"], row["direct"]) == (len(mine), pytest.approx(mine.mean()))
    assert row["direct_se"] == pytest.approx(mine.std() / np.sqrt(len(mine)))


@pytest.mark.parametrize("given", ["60% of the median", "share", 9_000.0])
def test_thresholds(sample, people, given):
    weighted = sample.assign(w=np.where(sample["age"] > 40, 2.0, 1.0))
    line = given if given != "share" else lambda y, w: 0.5 * np.average(y, weights=w)
    weights = None if given == 9_000.0 else "w"
    fit = fitted(weighted, people, threshold=line, weights=weights)
    if given == 9_000.0:
        assert fit.provenance["threshold"] == 9_000.0
    elif given == "share":
        assert fit.provenance["threshold"] == pytest.approx(
            0.5 * np.average(sample["income"], weights=weighted["w"])
        )
    else:
        repeated = sample.loc[sample.index.repeat(weighted["w"].astype(int))]["income"]
        assert fit.provenance["threshold"] == pytest.approx(0.6 * repeated.median())


def test_a_file_is_read_like_a_frame(sample, people, tmp_path):
    people.to_parquet(tmp_path / "people.parquet")
    one, two = (fitted(sample, areas, levels="region") for areas in (people, tmp_path / "people.parquet"))
    pd.testing.assert_frame_equal(one.estimates.frame, two.estimates.frame)


def test_toml_round_trip():
    spec = sae.EBP(
        "y ~ x", domain="a", indicators=["mean", "quantile_10"], threshold="50% of the median", levels="r"
    )
    assert type(spec).from_toml(spec.to_toml()) == spec
    assert 'kind = "ebp"' in spec.to_toml()


def test_welfare_of_nothing(sample, people):
    poor = sample.assign(
        income=sample["income"].where(sample.index > 3, [0.0, -500.0, 0.0, -20.0, *[np.nan] * 101])
    )
    with pytest.raises(SaeInputError, match="0 or negative in 4 of 105 units, which has no logarithm"):
        fitted(poor, people, transform="log")
    with pytest.raises(SaeInputError, match="0 or negative in 1 of 105 units after shift = 100"):
        fitted(poor, people, transform="box-cox", shift=100.0)
    fit = fitted(poor, people, transform="box-cox")
    assert "is added before the transformation box-cox" in fit.messages[0].text
    assert np.isfinite(fitted(poor, people, transform="log-shift").estimates["estimate"]).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda p: p.assign(birth=p["birth"].where(p.index != 5, "unknown")),
            "levels that the fit never saw: unknown",
        ),
        (lambda p: p.assign(area=p["area"].str.lstrip("0")), "zeros in front"),
        (lambda p: p.assign(area=p["area"].astype(int)), "text in the units"),
        (lambda p: p.assign(area="X" + p["area"]), "No area of the units is in the population"),
        (lambda p: p.assign(area=p["area"].where(p.index != 5)), "area is missing in 1 of 480"),
        (
            lambda p: p.assign(age=p["age"].where(p.index != 3)),
            "age is missing in 1 of 480 rows of the population",
        ),
        (
            lambda p: p.assign(persons=p["persons"].where(p["area"] != "02", 0)),
            "no person: persons is 0 in all rows of 02",
        ),
        (lambda p: p.assign(persons=-1), "negative"),
        (lambda p: p.assign(region=p["birth"]), "8 areas lie in several parts of region"),
        (lambda p: p.drop(columns="region"), "no column 'region'"),
        (lambda p: p.assign(id=1), "names 1 of the rows of the population twice"),
        (lambda p: p.assign(id=p["id"] + 1_000), "are not in the population"),
        (lambda p: p.assign(id=np.roll(p["id"], 60)), "lie in another area"),
        (lambda p: p.iloc[:0], "no rows"),
    ],
)
def test_a_population_is_refused_by_name(sample, people, change, message):
    options = {"population_weights": "persons", "levels": "region", "linked": "id"}
    with pytest.raises(SaeInputError, match=message):
        fitted(sample, change(people), **options)


def test_no_population(sample):
    with pytest.raises(SaeInputError, match="No population"):
        fitted(sample, None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"transform": "boxcox"}, "did you mean 'box-cox'"),
        ({"indicators": ["head_cout"], "threshold": 1.0}, "did you mean 'head_count'"),
        ({"indicators": ["gap"]}, "gap needs a threshold"),
        ({"threshold": "median"}, "threshold = 'median' is none"),
        ({"indicators": ["mean"], "transform": "log-shift", "shift": 3.0}, "shift = 3 has no meaning"),
        ({"indicators": []}, "names no indicator"),
        ({"indicators": ["mean"], "replicates": 1}, "at least 2"),
        ({"indicators": ["mean"], "levels": ["a", "a"]}, "names a column twice"),
        ({"indicators": ["mean"], "levels": ["a", "part"]}, "'part' is a name that the result keeps"),
        ({"indicators": ["mean"], "groups": "level"}, "'level' is a name that the result keeps"),
        ({"indicators": ["mean"], "groups": "time"}, "'time' is a name that the result keeps"),
    ],
)
def test_a_specification_is_refused(options, message):
    with pytest.raises(SaeSpecError, match=message):
        sae.EBP("y ~ x", domain="area", **options)


def test_covariates_of_areas_alone_are_refused_unless_asked_for(sample, people):
    rates = people.groupby("area")["age"].mean()
    sample, people = (frame.assign(rate=frame["area"].map(rates)) for frame in (sample, people))
    with pytest.raises(SaeSpecError, match=r"All covariates \(rate\) are the same"):
        fitted(sample, people, "income ~ rate")
    fitted(sample, people, "income ~ rate", unit_context=True)
    fitted(sample, people, "income ~ rate + age")
    fitted(sample, people, "income ~ rate", indicators=["mean"], transform="none")


def test_indicators_levels_and_totals_are_neither_added_up_nor_benchmarked_together(sample, people):
    fit = fitted(sample, people, indicators=["mean", "head_count"], mse="bootstrap", replicates=5)
    size = dict.fromkeys(AREAS, 60.0)
    whole = fit.aggregate("level", weights=size).frame.set_index("indicator")
    for name in ("mean", "head_count"):
        assert whole.loc[name, "estimate"] == pytest.approx(figures(fit, name).mean(), rel=ROUNDING)
    assert whole["unit"].to_dict() == {"mean": "", "head_count": "share"}
    assert whole.loc["mean", "ci_low"] > 1.0  # a mean does not end where shares do
    with pytest.raises(SaeSpecError, match="different indicators"):
        fit.benchmark(0.3, weights=size)
    done = fit.benchmark({"mean": 11_000.0, "head_count": 0.35}, within="indicator", weights=size)
    assert figures(done, "mean").mean() == pytest.approx(11_000.0, rel=ROUNDING)
    assert figures(done).mean() == pytest.approx(0.35, rel=ROUNDING)
    assert done.estimates.frame.query("indicator == 'mean'")["ci_high"].min() > 1.0
    with pytest.raises(SaeInputError, match="no shares from 0 to 1: 35"):
        fit.benchmark({"head_count": 35.0}, within="indicator", weights=size)
    parts = fitted(sample, people, mse="bootstrap", replicates=5, levels="region", groups="birth")
    every = dict.fromkeys(parts.estimates["domain"], 1.0)
    with pytest.raises(SaeSpecError, match=r"Rows of birth .* count the same persons again"):
        parts.aggregate("level", weights=every)
    with pytest.raises(SaeSpecError, match=r"values of level .* counts the same persons again"):
        parts.benchmark({"head_count": 0.3}, within="indicator", weights=every)
    assert len(parts.aggregate(["level", "birth", "indicator"], weights=every)) == 2 * 3 * 3


def test_gaps_of_groups_and_sizes_of_what_is_aggregated(sample, people):
    fit = fitted(
        sample,
        people,
        mse="bootstrap",
        replicates=5,
        levels="region",
        groups="birth",
        population_weights="persons",
    )
    gaps = sae.compare.gaps(fit, "birth", "foreign", "native").to_frame()
    gaps = gaps.query("level == 'area' and indicator == 'head_count'").set_index("domain")["estimate"]
    foreign, native = (figures(fit, level="area", birth=one) for one in ("foreign", "native"))
    np.testing.assert_allclose(gaps, (foreign - native)[gaps.index], atol=ROUNDING)
    ranks = sae.compare.ranks(fit, seed=1).to_frame().groupby(["level", "birth", "indicator"])
    assert ranks["rank"].max().max() == len(AREAS)  # not among rows that count the same persons again
    assert sae.compare.pairs(fit).within == ("level", "birth", "indicator")
    middle = sae.compare.differences(fit, weights="population").to_frame()
    middle = middle.query("level == 'area' and birth == 'total' and indicator == 'gap'").set_index("domain")
    every = figures(fit, "gap", level="area", birth="total")
    persons = people.groupby("area")["persons"].sum()
    np.testing.assert_allclose(middle["estimate"], every - np.average(every, weights=persons), atol=ROUNDING)
    with pytest.raises(
        SaeSpecError, match="one number, and the figures have several units: mean, head_count"
    ):
        sae.compare.differences(fit, 0.3)
    nations = fit.aggregate(["level", "birth"], weights="population").frame
    nations = nations.query("indicator == 'head_count'").set_index(["level", "birth"])["estimate"]
    np.testing.assert_allclose(nations["area"], nations["region"], rtol=ROUNDING)
    sizes = people.query("birth == 'foreign'").groupby("area")["persons"].sum()
    assert nations["area", "foreign"] == pytest.approx(np.average(foreign, weights=sizes), rel=ROUNDING)


def test_a_group_named_as_the_total_is_refused(sample, people):
    named = [side.assign(birth=side["birth"].replace("native", "total")) for side in (sample, people)]
    with pytest.raises(SaeInputError, match="birth names a group 'total'"):
        fitted(*named, formula="income ~ age", groups="birth")


@pytest.mark.parametrize("line", [lambda y, w: None, lambda y, w: np.array([1.0, 2.0]), True, [9_000.0]])
def test_thresholds_that_are_no_number(sample, people, line):
    with pytest.raises((SaeInputError, SaeSpecError), match=r"threshold .*no number"):
        fitted(sample, people, threshold=line)


def test_means_of_areas_are_no_population(sample, people):
    means = people.groupby("area", as_index=False)["age"].mean().assign(birth="native")
    with pytest.warns(SaeWarning, match="fewer units than the sample in 7 of 8 areas: 01, 02"):
        fitted(sample, means)


@pytest.mark.parametrize("transform", ["none", "log", "log-shift", "box-cox", "dual-power"])
@pytest.mark.parametrize("value", [5.0, 1e6])
def test_welfare_that_is_the_same_for_all_is_refused(sample, people, transform, value):
    with pytest.raises(SaeInputError, match="does not vary within areas"):
        fitted(sample.assign(income=value), people, transform=transform)


@pytest.mark.parametrize(
    ("function", "match"),
    [
        (lambda y, w: 1 / 0, "share of indicators ended in ZeroDivisionError"),
        (lambda y, w: "high", "share of indicators ended in ValueError"),
        (lambda y: 1.0, "share of indicators ended in TypeError"),
    ],
)
def test_a_function_that_fails_is_named(sample, people, function, match):
    with pytest.raises(SaeInputError, match=match):
        fitted(sample, people, indicators={"share": function})


@pytest.mark.parametrize("errors", ["empirical", "heteroscedastic"])
def test_errors_that_are_residuals_go_with_weights_files_and_surveys(sample, people, tmp_path, errors):
    """Limiting cases: equal weights, the same persons in a file, and in a survey that has them all."""
    path = tmp_path / "people.parquet"
    people[["area", "birth"]].to_parquet(path)
    options = {"indicators": ["mean", "head_count", "gap"], "errors": errors, "formula": "income ~ birth"}
    plain = fitted(sample, people, mse="bootstrap", replicates=5, **options).estimates.frame
    weighted = fitted(
        sample.assign(w=3.0), people, weights="w", mse="bootstrap", replicates=5, **options
    ).estimates.frame
    for name in ("estimate", "mse"):
        np.testing.assert_allclose(weighted[name], plain[name], rtol=ROUNDING)
    survey = sae.Survey.from_frame(people[["area", "birth"]].assign(w=1.0), weights="w")
    for population in (path, survey):
        frame = fitted(sample, population, **options).estimates.frame
        by = ["domain", "indicator"]
        other, own = (one.set_index(by)["estimate"].sort_index() for one in (frame, plain))
        np.testing.assert_allclose(other, own, rtol=ROUNDING)
