"""Replicate weights: variances against closed forms and another package; files with faults named."""

import numpy as np
import pandas as pd
import pytest

import sae
from sae.errors import SaeError, SaeInputError, SaeSpecError
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
        (table(), {"columns": 5, "method": "brr"}, SaeSpecError, "a prefix or a list of columns, not 5"),
        (table(), {"columns": ["r1", "r2", "r1"], "method": "brr"}, SaeSpecError, "r1 more than once"),
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
            table(r3=[1, -1, 0, 0]),
            {"columns": "r", "method": "brr"},
            SaeInputError,
            "1 of 12 .* add up to 0 or less: r3",
        ),
        (table(r3=[2.0] * 4), {"columns": "r", "method": "brr"}, SaeInputError, "1 replicate column .*: r3"),
        (table(), {"columns": "r", "method": "brr", "factors": 1}, SaeSpecError, "true or false"),
        (table(), {"columns": "r", "method": "brr", "scale": "x"}, SaeSpecError, "are numbers"),
        (table(), {"columns": "r", "method": "brr", "scale": np.inf}, SaeSpecError, "is positive"),
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


def drawn(rng, n=60, size=40, normalised=True):
    """A file with bootstrap factors, the same as weights, and an outcome; the survey made in memory."""
    frame = pd.DataFrame({"w": rng.gamma(3, 1, n), "y": rng.normal(size=n)})
    if normalised:
        frame["w"] /= frame["w"].mean()
    made = Survey.from_frame(frame, weights="w").with_replicates("bootstrap", replicates=size, seed=1)
    weights = pd.DataFrame(made.replicates.weights, columns=[f"r{r + 1}" for r in range(size)])
    factors = (weights.T / frame["w"]).T.add_prefix("f")
    return pd.concat([frame, weights, factors], axis=1), made


def error(survey):
    return sae.direct(survey, "y")["se"][0]


@pytest.mark.parametrize("normalised", [True, False])
def test_factors_are_refused_as_weights_and_taken_as_factors(rng, normalised):
    frame, made = drawn(rng, normalised=normalised)
    roles = {"weights": "w", "replicates": {"columns": "fr", "method": "bootstrap"}}
    with pytest.raises(SaeInputError, match=r"replicates\['factors'\] = true") as caught:
        Survey.from_frame(frame, **roles)
    assert caught.value.column == "fr1"
    roles["replicates"]["factors"] = True
    declared = Survey.from_frame(frame, **roles)
    np.testing.assert_allclose(declared.replicates.weights, made.replicates.weights, rtol=1e-12)
    assert error(declared) == pytest.approx(error(made), rel=EXACT)
    assert "40 bootstrap replicate factors (fr1 .. fr40)" in declared.summary()
    with pytest.raises(SaeInputError, match=r"The replicate factors are .* on average"):
        Survey.from_frame(
            frame, weights="w", replicates={"columns": "r", "method": "bootstrap", "factors": True}
        )


@pytest.mark.parametrize("method", ["jk1", "bootstrap", "jkn", "brr"])
def test_true_replicate_weights_are_never_taken_for_factors(method, rng):
    for _ in range(25):
        per_stratum = [12] if method == "jk1" else [2] * 6
        survey = stratified(rng, per_stratum)
        options = {"replicates": 20, "seed": rng} if method == "bootstrap" else {}
        made = survey.with_replicates(method, **options).replicates
        frame = survey.frame[["w"]].join(pd.DataFrame(made.weights).add_prefix("r"))
        given = {"columns": [f"r{r}" for r in range(made.weights.shape[1])], "method": method}
        given["rscales"] = made.rscales
        read = Survey.from_frame(frame, weights="w", replicates=given)
        np.testing.assert_array_equal(read.replicates.weights, made.weights)


def test_the_full_weight_is_no_replicate(rng):
    frame, made = drawn(rng, normalised=False)
    weight = frame["w"]  # itself, at another scale, in whole numbers
    for name, values in (("r0", weight), ("r00", 7 * weight), ("r0", weight.round())):
        file = frame.drop(columns="y").assign(**{name: values})
        file["y"] = frame["y"]
        read = Survey.from_frame(file, weights="w", replicates={"columns": "r", "method": "bootstrap"})
        assert read.replicates.weights.shape == (60, 40) and error(read) == pytest.approx(error(made))
        assert any(f"{name} repeats the weights" in note for note in read.notes)
    given = {"columns": ["w", "r1", "r2", "r3"], "method": "bootstrap"}
    with pytest.raises(SaeInputError, match="1 replicate column repeats the weights: w"):
        Survey.from_frame(frame, weights="w", replicates=given)
    filler = Survey.from_frame(frame, weights="w", replicates={**given, "scale": 1 / 3})
    assert filler.replicates.weights.shape == (60, 4)
    # replicates that are numbered from 0 stay
    zero = frame.rename(columns={f"r{r}": f"r{r - 1}" for r in range(1, 41)})
    read = Survey.from_frame(zero, weights="w", replicates={"columns": "r", "method": "bootstrap"})
    assert error(read) == pytest.approx(error(made))


def test_negative_replicate_weights_are_used(rng):
    """As successive differences give them in real files; the variance is the formula's."""
    n, size = 40, 80
    frame = pd.DataFrame({"w": rng.gamma(3, 10, n), "y": rng.lognormal(size=n), "g": np.arange(n) % 3})
    columns = (frame["w"].to_numpy()[:, None] * (1 + rng.normal(0, 0.5, (n, size)))).round()
    columns[3] = -np.abs(columns[3])
    frame = frame.join(pd.DataFrame(columns, columns=[f"r{r + 1}" for r in range(size)]))
    survey = Survey.from_frame(frame, weights="w", replicates={"columns": "r", "method": "sdr"})
    assert (survey.replicates.weights < 0).any() and "negative, and used" in survey.summary()
    y = frame["y"].to_numpy()
    table = sae.direct(survey, "y", by="g")
    for g in range(3):
        mine = np.arange(n) % 3 == g
        theta = np.array([np.average(y[mine], weights=columns[mine, r]) for r in range(size)])
        expected = np.sqrt(4 / size * np.sum((theta - table["estimate"][g]) ** 2))
        assert table["se"][g] == pytest.approx(expected, rel=EXACT)
    for kind in ("median", "gini", "qsr", "arpr", "poverty_gap", "threshold"):
        one = sae.direct(survey, sae.Indicator("y", kind=kind), by="g")
        assert np.isfinite(one["estimate"]).all() and np.isfinite(one["se"]).all()


@pytest.mark.parametrize(
    ("method", "options", "said"),
    [
        ("bootstrap", {"replicates": 10}, "needs a seed"),
        ("bootstrap", {"seed": 1}, "needs its number of replicates"),
        ("bootstrap", {"seed": 1, "replicates": 2.5}, "a whole one from 2 on, not 2.5"),
        ("bootstrap", {"seed": 1, "replicates": "many"}, "not 'many'"),
        ("bootstrap", {"seed": -1, "replicates": 9}, "negative"),
        ("fay", {"rho": "half"}, "needs rho between 0 and 1, not 'half'"),
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


# ---------------------------------------------------------------- random files


def check_random_files(rng, inputs):
    """Files with replicates of every kind, and what spoils them: the formula's variance, or a SaeError."""
    right = 0
    for _ in range(inputs):
        n, size = int(rng.integers(1, 40)), int(rng.integers(1, 12))
        weights = rng.gamma(3, 1, n) * rng.choice([1.0, 100.0])
        if rng.random() < 0.5:
            weights /= weights.mean()
        weights[rng.random(n) < 0.1] = 0.0
        factors = rng.choice([0.0, 1.0, 2.0, 0.3, 1.7, -0.2], (n, size))
        columns = factors if (is_factor := rng.random() < 0.3) else factors * weights[:, None]
        first = int(rng.integers(0, 2))
        frame = pd.DataFrame(columns, columns=[f"r{first + r}" for r in range(size)])
        frame = frame.assign(w=weights, y=rng.normal(size=n), g=rng.integers(0, 2, n))
        spoilt = rng.integers(0, 8)
        if spoilt == 0:
            frame["r0"] = weights
        if spoilt == 1:
            frame.loc[rng.integers(0, n), f"r{first}"] = rng.choice([np.nan, np.inf])
        if spoilt == 2:
            frame[f"r{first}"] = "text"
        given = {"columns": "r", "method": rng.choice(["brr", "jk1", "bootstrap", "sdr", "fay", "jkn", "no"])}
        for name, values in {
            "scale": [0.5, 0, "x", None],
            "rho": [0.5, 2, "x"],
            "rscales": [np.full(size, 0.5), [1.0], "x"],
            "factors": [True, is_factor, "x"],
            "centre": ["mean", "estimate", "x"],
        }.items():
            if rng.random() < 0.25:
                given[name] = values[rng.integers(0, len(values))]
        try:
            survey = Survey.from_frame(frame, weights="w", replicates=given)
            table = sae.direct(survey, "y", by="g")
        except SaeError:
            continue
        made = survey.replicates
        numbered = sorted(frame.filter(regex=r"^r\d+$"), key=lambda name: int(name[1:]))
        read = frame[numbered].to_numpy(float)[:, -made.weights.shape[1] :]
        if given.get("factors"):
            read = read * weights[:, None]
        np.testing.assert_array_equal(made.weights, read)
        for _, row in table.frame.iterrows():
            mine = (frame["g"] == int(row["domain"])).to_numpy() & (weights > 0)
            if mine.sum() > 1 and row["status"] == "ok":
                y, own = frame["y"].to_numpy()[mine], made.weights[mine]
                theta = y @ own / own.sum(axis=0)
                centre = row["estimate"] if made.centre == "estimate" else theta.mean()
                expected = np.sqrt(made.scale * np.sum(made.rscales * (theta - centre) ** 2))
                assert row["se"] == pytest.approx(expected, rel=1e-6)
                right += 1
    return right


def test_random_files(rng):
    assert check_random_files(rng, 120) > 8


@pytest.mark.slow
def test_ten_thousand_random_files(rng):
    assert check_random_files(rng, 10_000) > 1000
