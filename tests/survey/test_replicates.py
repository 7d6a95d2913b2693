"""Replicate weights: variances against closed forms and another package; files with faults named."""

import numpy as np
import pandas as pd
import pytest

import sae
from sae.errors import SaeInputError, SaeSpecError
from sae.survey import Survey
from sae.survey.resampling import hadamard, psu_factors

EXACT = 1e-10  # algebraic identities, rounding only
ORACLE = 1e-9  # digits kept by the package for its jackknife
DRAWS = 4000  # bootstrap replicates: relative sd of a variance sqrt(2 / 4000) = 2.2 %


def variance(survey, statistic):
    made = survey.replicates
    theta = np.array([statistic(made.weights[:, r]) for r in range(made.weights.shape[1])])
    centre = statistic(survey.weights) if made.centre == "estimate" else theta.mean()
    return made.scale * np.sum(made.rscales * (theta - centre) ** 2)


def linear_variance(survey, y):
    """Variance of a weighted total, written out stratum by stratum (first stage only)."""
    stage = survey.stages[0]
    totals = np.bincount(stage.psu, survey.weights * y)
    strata, sizes = stage.stratum_of_psu(), stage.stratum_fpc()
    out = 0.0
    for h in range(stage.n_strata):
        z = totals[strata == h]
        if len(z) > 1:
            out += (1 - len(z) / sizes[h]) * len(z) / (len(z) - 1) * np.sum((z - z.mean()) ** 2)
    return out


def stratified(rng, per_stratum, fpc=None, **options):
    strata = np.repeat(np.arange(len(per_stratum)), per_stratum)
    psu = np.arange(len(strata))
    rows = np.repeat(psu, 3)
    frame = pd.DataFrame(
        {"s": strata[rows], "p": rows, "w": rng.uniform(1, 4, len(rows)), "y": rng.normal(size=len(rows))}
    )
    if fpc is not None:
        frame["f"] = np.asarray(fpc)[frame["s"]]
        options["fpc"] = "f"
    return Survey.from_frame(
        frame.sample(frac=1, random_state=1), weights="w", strata="s", psu="p", **options
    )


@pytest.mark.parametrize("fpc", [None, [4, 9, 6, 20, 3]])
@pytest.mark.parametrize(("method", "rho"), [("jkn", None), ("brr", None), ("fay", 0.3)])
def test_totals_have_the_linearised_variance_exactly(rng, method, rho, fpc):
    survey = stratified(rng, [2] * 5, fpc)
    y = survey.frame["y"].to_numpy()
    made = survey.with_replicates(method, rho=rho)
    assert variance(made, lambda w: w @ y) == pytest.approx(linear_variance(survey, y), rel=EXACT)
    assert made.replicates.method == method and made.stages is survey.stages
    # full orthogonal balance: the replicates average to the estimate (Wolter 2007, section 3.4)
    assert np.mean(y @ made.replicates.weights) == pytest.approx(survey.weights @ y, rel=EXACT)


def test_jackknives_on_unequal_strata(rng):
    survey = stratified(rng, [2, 3, 5, 4], [9, 3, 50, 11])
    y = survey.frame["y"].to_numpy()
    assert variance(survey.with_replicates("jkn"), lambda w: w @ y) == pytest.approx(
        linear_variance(survey, y), rel=EXACT
    )
    single = stratified(rng, [7], [30])
    y = single.frame["y"].to_numpy()
    assert variance(single.with_replicates("jk1"), lambda w: w @ y) == pytest.approx(
        linear_variance(single, y), rel=EXACT
    )


def test_a_certainty_unit_adds_nothing(rng):
    survey = stratified(rng, [2, 1, 3], lonely_psu="certainty")
    y = survey.frame["y"].to_numpy()
    assert variance(survey.with_replicates("jkn"), lambda w: w @ y) == pytest.approx(
        linear_variance(survey, y), rel=EXACT
    )
    average = stratified(rng, [2, 1, 3], lonely_psu="average")
    with pytest.raises(SaeSpecError, match="under the policy 'average'"):
        average.with_replicates("jkn")


@pytest.mark.parametrize("fpc", [None, [4, 9, 12]])
def test_bootstrap_variance_of_a_total_is_unbiased(rng, fpc):
    """Rao and Wu (1988): with n_h - 1 draws the bootstrap variance of a total is the linearised one."""
    survey = stratified(rng, [2, 5, 9], fpc)
    y = survey.frame["y"].to_numpy()
    made = survey.with_replicates("bootstrap", replicates=DRAWS, seed=7)
    assert made.replicates.weights.min() >= 0
    ratio = variance(made, lambda w: w @ y) / linear_variance(survey, y)
    assert abs(ratio - 1) < 4 * np.sqrt(2 / DRAWS)  # four standard errors


def test_bootstrap_streams_are_named_by_stratum(rng):
    survey = stratified(rng, [3, 4])
    first = psu_factors(survey.stages[0], "bootstrap", replicates=20, seed=3).factors
    again = psu_factors(survey.stages[0], "bootstrap", replicates=20, seed=3).factors
    np.testing.assert_array_equal(first, again)
    more = stratified(rng, [3, 4, 5])
    np.testing.assert_array_equal(
        psu_factors(more.stages[0], "bootstrap", replicates=20, seed=3).factors[:7], first
    )
    assert not np.array_equal(
        psu_factors(survey.stages[0], "bootstrap", replicates=20, seed=4).factors, first
    )
    generator = psu_factors(
        survey.stages[0], "bootstrap", replicates=20, seed=np.random.default_rng(5)
    ).factors
    np.testing.assert_array_equal(
        generator,
        psu_factors(survey.stages[0], "bootstrap", replicates=20, seed=np.random.default_rng(5)).factors,
    )


def test_jackknife_of_another_package(shared_data, reference):
    cases = {
        "apiclus1": {"weights": "pw", "psu": "dnum", "fpc": "fpc"},
        "apistrat": {"weights": "pw", "strata": "stype", "fpc": "fpc"},
    }
    for name, design in cases.items():
        expected = reference(f"survey_{name}")["outputs"]["jackknife"]
        survey = sae.read_survey(shared_data / f"survey_{name}.csv", **design)
        made = survey.with_replicates(expected["type"].lower(), centre="mean")
        for k, column in enumerate(expected["mean"]["names"]):
            y = survey.frame[column].to_numpy()
            se = np.sqrt(variance(made, lambda w, y=y: w @ y / w.sum()))
            assert se == pytest.approx(expected["mean"]["se"][k], rel=ORACLE)
        for k, column in enumerate(expected["total"]["names"]):
            y = survey.frame[column].to_numpy()
            assert np.sqrt(variance(made, lambda w, y=y: w @ y)) == pytest.approx(
                expected["total"]["se"][k], rel=ORACLE
            )


def test_nhanes_jackknife_with_nested_units(shared_data, reference):
    expected = reference("survey_nhanes")["outputs"]
    survey = sae.read_survey(
        shared_data / "survey_nhanes.csv", weights="WTMEC2YR", strata="SDMVSTRA", psu="SDMVPSU", nest=True
    )
    assert survey.stages[0].n_psu - survey.stages[0].n_strata == expected["degf"]
    made = survey.with_replicates("jkn", centre="mean")
    y = survey.frame["HI_CHOL"].to_numpy()
    known = ~np.isnan(y)

    def mean(w, inside):
        return w[inside] @ y[inside] / w[inside].sum()

    assert np.sqrt(variance(made, lambda w: mean(w, known))) == pytest.approx(
        expected["jkn"]["mean"]["se"][0], rel=ORACLE
    )
    table = expected["jkn"]["by_race"]["table"]
    for race, se in zip(table["race"], table["se"], strict=True):
        inside = known & (survey.frame["race"] == int(race)).to_numpy()
        assert np.sqrt(variance(made, lambda w, inside=inside: mean(w, inside))) == pytest.approx(
            se, rel=ORACLE
        )
    with pytest.raises(SaeInputError, match="nest=True"):
        sae.read_survey(
            shared_data / "survey_nhanes.csv", weights="WTMEC2YR", strata="SDMVSTRA", psu="SDMVPSU"
        )
    with pytest.raises(SaeSpecError, match="1 stratum has more: 86"):
        survey.with_replicates("brr")


@pytest.mark.parametrize("order", range(1, 70))
def test_hadamard(order):
    matrix = hadamard(order)
    size = len(matrix)
    assert size >= order and set(np.unique(matrix)) <= {-1, 1} and np.all(matrix[:, 0] == 1)
    np.testing.assert_array_equal(matrix @ matrix.T, size * np.eye(size))


# ---------------------------------------------------------------- columns of a file


def table(n=4, size=12, **columns):
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"w": np.full(n, 2.0)})
    for r in range(size, 0, -1):  # written backwards: numbers decide the order, not places
        frame[f"r{r}"] = np.arange(n) + r + rng.uniform(size=n) * 0
    frame = frame * 1.0
    frame.loc[:, frame.columns != "w"] *= 8.0 / frame.drop(columns="w").sum()
    return frame.assign(**columns)


@pytest.mark.parametrize(
    ("method", "options", "scale"),
    [
        ("brr", {}, 1 / 12),
        ("fay", {"rho": 0.5}, 4 / 12),
        ("jk1", {}, 11 / 12),
        ("jkn", {"rscales": np.full(12, 0.5)}, 1),
        ("bootstrap", {}, 1 / 12),
        ("sdr", {}, 4 / 12),
        ("sdr", {"scale": 0.1}, 0.1),
    ],
)
def test_defaults_of_each_method(method, options, scale):
    survey = Survey.from_frame(table(), weights="w", replicates={"columns": "r", "method": method, **options})
    made = survey.replicates
    assert made.scale == pytest.approx(scale) and made.centre == "estimate" and made.method == method
    np.testing.assert_array_equal(made.weights[:, 9], survey.frame["r10"])
    np.testing.assert_array_equal(made.rscales, options.get("rscales", np.ones(12)))


def test_a_list_of_columns_keeps_its_order():
    replicates = {"columns": ["r3", "r1"], "method": "bootstrap", "centre": "mean"}
    survey = Survey.from_frame(table(), weights="w", replicates=replicates)
    np.testing.assert_array_equal(survey.replicates.weights, survey.frame[["r3", "r1"]])
    assert "2 bootstrap, scale 0.5, deviations from the mean" in repr(survey)


@pytest.mark.parametrize(
    ("frame", "replicates", "kind", "said"),
    [
        (table(), "r", SaeSpecError, "does not say both the columns and the method"),
        (table(), {"columns": "r"}, SaeSpecError, "does not say both"),
        (table(), {"columns": "r", "method": "jack"}, SaeSpecError, "'jack' is not a method"),
        (table(), {"columns": "r", "method": "fay"}, SaeSpecError, "needs rho between 0 and 1"),
        (
            table(),
            {"columns": "r", "method": "brr", "rho": 0.5},
            SaeSpecError,
            "rho has no meaning with 'brr'",
        ),
        (table(), {"columns": "r", "method": "jkn"}, SaeSpecError, "need their rscales"),
        (
            table(),
            {"columns": "r", "method": "brr", "rscales": [1, 2]},
            SaeSpecError,
            "rscales needs 12 numbers",
        ),
        (
            table(),
            {"columns": "r", "method": "brr", "scale": 0},
            SaeSpecError,
            "scale of replicate weights is positive",
        ),
        (table(), {"columns": "r", "method": "brr", "centre": "median"}, SaeSpecError, "neither 'estimate'"),
        (table(), {"columns": "r", "method": "brr", "factor": 2}, SaeSpecError, "no entry factor"),
        (table(), {"columns": "q", "method": "brr"}, SaeInputError, "'q' gives 0"),
        (
            table(),
            {"columns": ["r1", "r99"], "method": "brr"},
            SaeInputError,
            "replicate weight column 'r99' is not",
        ),
        (
            table(r3=[1, np.nan, 1, 1]),
            {"columns": "r", "method": "brr"},
            SaeInputError,
            r"missing .*: r3 \(in r3: rows 2\)",
        ),
        (
            table(r3=[1, -1, 1, 1]),
            {"columns": "r", "method": "brr"},
            SaeInputError,
            "1 of 12 .* negative values: r3",
        ),
        (
            table(w=[50.0] * 4),
            {"columns": "r", "method": "brr"},
            SaeInputError,
            "add up to 0.04 times the weights",
        ),
    ],
)
def test_faults_of_replicate_columns(frame, replicates, kind, said):
    with pytest.raises(kind, match=said):
        Survey.from_frame(frame, weights="w", replicates=replicates)


@pytest.mark.parametrize(
    ("method", "options", "said"),
    [
        ("bootstrap", {"replicates": 10}, "needs a seed"),
        ("bootstrap", {"seed": 1}, "needs its number of replicates"),
        ("jkn", {"replicates": 10}, "follows from the design"),
        ("jkn", {"seed": 1}, "draws nothing at random"),
        ("jk1", {}, "jk1 is for designs without strata; this one has 2"),
        ("sdr", {}, "'sdr' is not a method of replicate weights here"),
        ("brr", {}, "1 stratum has more: 1"),
    ],
)
def test_refusals_when_making_replicates(rng, method, options, said):
    with pytest.raises(SaeSpecError, match=said):
        stratified(rng, [2, 3]).with_replicates(method, **options)
