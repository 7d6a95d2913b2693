"""Calibration: another package's weights, optimality by brute force, residuals, unreachable totals."""

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize

import sae
from sae.errors import SaeError, SaeInputError, SaeSpecError, SaeWarning
from sae.numerics.design.calibration import calibrate, weighted_gram
from sae.survey import Survey
from sae.survey.calibration import recalibrate

ORACLE = (
    1e-10  # the package stops its Newton steps at 1e-7 of the totals: on raking 1e-12 is left in its weights
)
EXACT = 1e-12  # rounding of sums over some hundred records
SOLVER = 1e-5  # a general optimiser on the same convex problem

DESIGNS = {
    "apiclus1": {"weights": "pw", "psu": "dnum", "fpc": "fpc"},
    "apiclus2": {"weights": "pw", "psu": ["dnum", "snum"], "fpc": ["fpc1", "fpc2"]},
    "apistrat": {"weights": "pw", "strata": "stype", "fpc": "fpc"},
}
STYPE = {"E": 4421, "H": 755, "M": 1018}
TOTALS = {"1": 6194, "stype": STYPE, "api99": 3914069}
METHODS = [("linear", None), ("raking", None), ("logit", (0.5, 2.0))]


@pytest.fixture(params=sorted(DESIGNS))
def case(request, shared_data, reference):
    survey = sae.read_survey(shared_data / f"survey_{request.param}.csv", **DESIGNS[request.param])
    return survey, reference(f"survey_{request.param}")["outputs"]


@pytest.mark.parametrize(
    ("key", "method", "bounds"),
    [
        ("greg_linear_stype_api99", "linear", None),
        ("raking_stype_api99", "raking", None),
        ("logit_bounds_0.5_2", "logit", (0.5, 2.0)),
    ],
)
def test_weights_of_another_package(case, key, method, bounds):
    survey, expected = case
    calibrated = survey.calibrate(TOTALS, method=method, bounds=bounds)
    np.testing.assert_allclose(calibrated.weights, expected[key]["weights"], rtol=ORACLE)
    sums = calibrated.calibration.X.T @ calibrated.weights
    np.testing.assert_allclose(sums, calibrated.calibration.totals, rtol=EXACT)
    assert calibrated.calibration.base_weights is survey.weights and survey.calibration is None


@pytest.mark.parametrize("case", ["apiclus1", "apiclus2"], indirect=True)
def test_post_stratified_estimates_of_another_package(case):
    survey, expected = case
    after = survey.post_stratify("stype", STYPE)
    y = survey.frame["api00"].to_numpy()
    target = expected["poststratified_stype"]["mean"]["est"][0]
    assert y @ after.weights / after.weights.sum() == pytest.approx(target, rel=ORACLE)
    linear = survey.calibrate({"stype": STYPE})
    np.testing.assert_allclose(after.weights, linear.weights, rtol=EXACT)  # the same by algebra
    np.testing.assert_array_equal(after.calibration.X, linear.calibration.X)


# ---------------------------------------------------------------- numerics on arrays


def problem(rng, n=60):
    X = np.column_stack([np.ones(n), rng.normal(3, 1, n), rng.integers(0, 2, n)])
    d = rng.uniform(1, 5, n)
    return X, d, X.T @ (d * rng.uniform(0.8, 1.25, n))


DISTANCES = {  # Deville and Särndal (1992), table 1: the function whose sum over d is least
    "linear": lambda g, low, high: (g - 1) ** 2 / 2,
    "raking": lambda g, low, high: g * np.log(g) - g + 1,
    "logit": lambda g, low, high: (
        ((g - low) * np.log((g - low) / (1 - low)) + (high - g) * np.log((high - g) / (high - 1)))
        * (1 - low)
        * (high - 1)
        / (high - low)
    ),
}


@pytest.mark.parametrize(("method", "bounds"), METHODS)
def test_the_distance_is_least(rng, method, bounds):
    """A general constrained optimiser finds the same weights."""
    X, d, totals = problem(rng, n=25)
    solution = calibrate(X, d, totals, method=method, bounds=bounds)
    low, high = bounds or (1e-6, 50.0)
    distance = DISTANCES[method]
    found = minimize(
        lambda g: d @ distance(g, low, high),
        np.ones(len(d)),
        method="SLSQP",
        bounds=[(low + 1e-9, high - 1e-9)] * len(d),
        constraints={"type": "eq", "fun": lambda g: X.T @ (d * g) - totals, "jac": lambda g: X.T * d},
        options={"maxiter": 500, "ftol": 1e-14},
    )
    assert solution.converged and found.success
    assert d @ distance(solution.g, low, high) <= found.fun + SOLVER
    np.testing.assert_allclose(solution.g, found.x, atol=1e-3)


@pytest.mark.parametrize(("method", "bounds"), METHODS)
def test_redundant_auxiliaries_change_nothing(rng, method, bounds):
    X, d, totals = problem(rng)
    twice = np.column_stack([X, X[:, 1] * 2 - X[:, 0]])
    solution = calibrate(twice, d, np.append(totals, 2 * totals[1] - totals[0]), method=method, bounds=bounds)
    alone = calibrate(X, d, totals, method=method, bounds=bounds)
    assert solution.redundant == 1 and alone.redundant == 0 and solution.converged
    np.testing.assert_allclose(solution.g, alone.g, rtol=1e-9)


@pytest.mark.parametrize(("method", "bounds"), METHODS)
def test_units_of_the_auxiliaries_do_not_matter(rng, method, bounds):
    X, d, totals = problem(rng)
    scale = np.array([1.0, 1e9, 1e-7])
    scaled = calibrate(X * scale, d, totals * scale, method=method, bounds=bounds)
    np.testing.assert_allclose(scaled.g, calibrate(X, d, totals, method=method, bounds=bounds).g, rtol=1e-9)


def test_what_is_already_right_stays(rng):
    X, d, _ = problem(rng)
    for method, bounds in METHODS:
        np.testing.assert_allclose(calibrate(X, d, X.T @ d, method=method, bounds=bounds).g, 1, rtol=EXACT)


def test_logit_with_wide_bounds_is_raking(rng):
    """Low -> 0 and high -> infinity gives exp(u) (Deville and Särndal 1992, case 6)."""
    X, d, totals = problem(rng)
    wide = calibrate(X, d, totals, method="logit", bounds=(1e-9, 1e7)).g
    np.testing.assert_allclose(wide, calibrate(X, d, totals, method="raking").g, rtol=1e-5)


def test_logit_stays_inside_its_bounds_and_says_when_it_cannot(rng):
    X, d, totals = problem(rng)
    tight = calibrate(X, d, totals, method="logit", bounds=(0.7, 1.4))
    assert tight.converged and tight.g.min() > 0.7 and tight.g.max() < 1.4
    assert not calibrate(X, d, totals * 2, method="logit", bounds=(0.7, 1.4)).converged


def test_raking_far_away_still_arrives(rng):
    X, d, totals = problem(rng)
    for factor in (1e-3, 1e3):
        solution = calibrate(X[:, :1], d, totals[:1] * factor, method="raking")
        assert solution.converged
        np.testing.assert_allclose(solution.g, totals[0] * factor / d.sum(), rtol=1e-9)


def test_gram_in_blocks(rng):
    X, w = rng.normal(size=(150_000, 2)), rng.uniform(size=150_000)
    np.testing.assert_allclose(weighted_gram(X, w), (X.T * w) @ X, rtol=1e-10)


# ---------------------------------------------------------------- surveys


@pytest.fixture
def survey():
    frame = pd.DataFrame(
        {
            "w": [10.0, 10, 10, 10, 20, 20],
            "sex": ["f", "m", "f", "m", "f", "m"],
            "reg": [1, 1, 2, 2, 2, 1],
            "age": [20, 70, 30, 66, 40, 50],
            "inc": [1.0, 2, np.nan, 4, 5, 6],
        }
    )
    return Survey.from_frame(frame, weights="w")


def test_totals_of_levels_numbers_and_expressions(survey):
    after = survey.calibrate({"sex": {"f": 42, "m": 44}, "age >= 65": 25, "age": 3800.0}, method="raking")
    w, frame = after.weights, after.frame
    assert w[frame["sex"] == "f"].sum() == pytest.approx(42, rel=EXACT)
    assert w[frame["age"] >= 65].sum() == pytest.approx(25, rel=EXACT)
    assert w @ frame["age"] == pytest.approx(3800, rel=EXACT)
    assert after.calibration.names == ("sex[f]", "sex[m]", "age >= 65", "age")
    assert any("calibrated (raking) to 4 totals" in note for note in after.notes)
    assert "calibrated: raking, 4 totals" in repr(after)


def test_a_label_counted_twice_is_refused(survey):
    """In a Series a dict would keep the last; and 1 and "1" are one label."""
    twice = pd.Series([42.0, 44.0, 40.0], ["f", "m", "f"])
    with pytest.raises(SaeInputError, match="The cell f of sex has two counts"):
        survey.post_stratify("sex", twice)
    with pytest.raises(SaeInputError, match="The cell f of sex has two counts"):
        survey.calibrate({"sex": twice})
    with pytest.raises(SaeInputError, match="The cell 1 of reg has two counts"):
        survey.calibrate({"reg": {1: 46, "1": 40, 2: 40}})
    pairs = pd.Series(
        [1.0, 2, 3, 4, 5], pd.MultiIndex.from_tuples([*[("f", 1)] * 2, ("f", 2), ("m", 1), ("m", 2)])
    )
    with pytest.raises(SaeInputError, match="The cell f / 1 of sex, reg has two counts"):
        survey.post_stratify(["sex", "reg"], pairs)


def test_two_margins_are_redundant_but_agree(survey):
    after = survey.calibrate({"sex": {"f": 42, "m": 44}, "reg": {1: 46, 2: 40}}, method="raking")
    assert after.weights.sum() == pytest.approx(86, rel=EXACT)
    with pytest.raises(
        SaeInputError, match=r"cannot be calibrated \(raking\)(.|\n)*add up to one population"
    ):
        survey.calibrate({"sex": {"f": 42, "m": 44}, "reg": {1: 46, 2: 41}}, method="raking")


def test_post_stratify_crossed_cells(survey):
    counts = {("f", 1): 12, ("f", 2): 33, ("m", 1): 31, ("m", 2): 9}
    after = survey.post_stratify(["sex", "reg"], counts)
    np.testing.assert_allclose(after.weights, [12, 31 / 3, 11, 9, 22, 62 / 3], rtol=EXACT)
    series = pd.Series(counts)
    series.index = series.index.set_names(["sex", "reg"])
    swapped = survey.post_stratify(["sex", "reg"], series.reorder_levels(["reg", "sex"]))
    np.testing.assert_array_equal(swapped.weights, after.weights)  # matched by name, not by place
    assert after.calibration.method == "poststratified" and after.calibration.names[0] == "f / 1"


def test_replicates_follow_the_calibration(survey):
    made = survey.with_replicates("jk1")
    for after in (made.calibrate({"sex": {"f": 42, "m": 44}}), made.post_stratify("sex", {"f": 42, "m": 44})):
        women = (after.frame["sex"] == "f").to_numpy()
        np.testing.assert_allclose(after.replicates.weights[women].sum(axis=0), 42, rtol=EXACT)
        np.testing.assert_allclose(after.replicates.weights[~women].sum(axis=0), 44, rtol=EXACT)
    later = survey.calibrate({"sex": {"f": 42, "m": 44}}).with_replicates("jk1")
    np.testing.assert_allclose(later.replicates.weights[women].sum(axis=0), 42, rtol=EXACT)


@pytest.mark.parametrize(
    ("totals", "options", "kind", "said"),
    [
        ({}, {}, SaeSpecError, "is not a mapping of names"),
        ({"inc": 5}, {}, SaeInputError, r"'inc' is missing in 1 of 6 records \(rows 3\)"),
        ({"sex": 5}, {}, SaeSpecError, "counts per level"),
        ({"sex": {"f": 5}}, {}, SaeInputError, "1 level of sex in the sample has no count: m"),
        (
            {"sex": {"f": 5, "m": 5, "x": 2}},
            {},
            SaeInputError,
            "1 count of sex has no record in the sample: x",
        ),
        ({"sexx": {"f": 5}}, {}, SaeInputError, "Did you mean sex"),
        ({"sexx == 'f'": 5}, {}, SaeSpecError, "Did you mean sex"),
        ({"age": "many"}, {}, SaeSpecError, "is 'many', not a number"),
        ({"age": np.nan}, {}, SaeInputError, "The total of 'age' is nan"),
        ({"sex": {"f": -5, "m": 5}}, {}, SaeInputError, "count of f is negative"),
        ({"age": 1}, {"method": "greg"}, SaeSpecError, "method = 'greg' does not exist"),
        ({"age": 1}, {"method": "logit"}, SaeSpecError, "bounds= belong"),
        ({"age": 1}, {"bounds": (0.5, 2)}, SaeSpecError, "bounds= belong"),
        ({"age": 1}, {"method": "logit", "bounds": (1.1, 2)}, SaeSpecError, "both sides of 1"),
        ({"age": 1}, {"method": "logit", "bounds": (0.5,)}, SaeSpecError, "are not two numbers"),
        ({"age": 1}, {"method": "logit", "bounds": "wide"}, SaeSpecError, "are not two numbers"),
        (
            {"age": 1},
            {"method": "logit", "bounds": (0.5, 2)},
            SaeInputError,
            r"age \(1, reached .*(.|\n)*widen",
        ),
        ({"age": -5}, {"method": "raking"}, SaeInputError, "cannot be calibrated"),
    ],
)
def test_refusals(survey, totals, options, kind, said):
    with pytest.raises(kind, match=said):
        survey.calibrate(totals, **options)


def test_order_of_steps(survey):
    after = survey.post_stratify("sex", {"f": 42, "m": 44})
    with pytest.raises(SaeSpecError, match=r"already calibrated \(poststratified\)"):
        after.calibrate({"age": 1})
    with pytest.raises(SaeSpecError, match="A subset cannot be calibrated"):
        survey.subset("age > 30").post_stratify("sex", {"f": 42, "m": 44})
    with pytest.raises(SaeSpecError, match="has 1 level, but the cells cross 2 columns"):
        survey.post_stratify(["sex", "reg"], {"f": 1, "m": 2})
    with pytest.raises(SaeInputError, match="1 cell has no weight left: f"):
        recalibrate(after.calibration, np.where(survey.frame["sex"] == "f", 0.0, 1.0))


def test_negative_weights_are_said(survey):
    after = survey.calibrate({"1": 80, "age": 8000})
    assert (after.weights < 0).any()
    assert any("calibrated weights are not positive" in note for note in after.notes)


# ---------------------------------------------------------------- random totals


def check_random_totals(rng, inputs):
    """Known totals, right and spoilt: weights that meet every one, or a SaeError that names a thing."""
    met = 0
    odd = [
        np.nan,
        np.inf,
        -5,
        "many",
        None,
        {},
        {"f": 3},
        {"f": 1, "m": 1, "x": 0},
        pd.Series([1.0, 2], ["f", "f"]),
    ]
    for _ in range(inputs):
        n = int(rng.integers(1, 40))
        frame = pd.DataFrame(
            {
                "w": rng.gamma(3, 1, n) * (rng.random(n) < 0.9),
                "sex": rng.choice(["f", "m"], n),
                "reg": rng.choice([1, 2, 3], n),
                "age": rng.integers(0, 90, n),
                "inc": np.where(rng.random(n) < 0.05, np.nan, rng.lognormal(size=n)),
            }
        )
        true = rng.gamma(3, 1, n) * (frame["w"] > 0)
        totals = {
            "sex": true.groupby(frame["sex"]).sum(),
            "reg": true.groupby(frame["reg"]).sum().to_dict(),
            "age": float(true @ frame["age"]),
            "inc": float(true @ frame["inc"].fillna(0)),
            "age >= 65 and sex == 'f'": float(true @ ((frame["age"] >= 65) & (frame["sex"] == "f"))),
            "1": float(true.sum()),
        }
        chosen = {name: totals[name] for name in rng.choice(list(totals), int(rng.integers(1, 4)), False)}
        if rng.random() < 0.3:
            chosen[str(rng.choice(["sex", "age", "nothing", "age >", "sex == 'x'"]))] = odd[
                rng.integers(len(odd))
            ]
        method = str(rng.choice(["linear", "raking", "logit"]))
        bounds = (0.01, 50.0) if method == "logit" else None
        try:
            survey = Survey.from_frame(frame, weights="w")
            if rng.random() < 0.2 and list(chosen) in (["sex"], ["reg"]):
                after = survey.post_stratify(*chosen, *chosen.values())
            else:
                after = survey.calibrate(chosen, method=method, bounds=bounds)
        except SaeError as fault:
            assert str(fault)
            continue
        weights = after.weights
        assert np.isfinite(weights).all() and (weights[frame["w"] == 0] == 0).all()
        if method == "raking":
            assert (weights[frame["w"] > 0] > 0).all()
        for name, total in chosen.items():
            if isinstance(total, pd.Series | dict):
                for level, count in dict(total).items():
                    assert weights[frame[name] == level].sum() == pytest.approx(count, rel=1e-7, abs=1e-7)
            else:
                x = {"age": frame["age"], "inc": frame["inc"].fillna(0), "1": np.ones(n)}.get(
                    name, (frame["age"] >= 65) & (frame["sex"] == "f")
                )
                assert weights @ x == pytest.approx(total, rel=1e-7, abs=1e-7), (name, method)
        met += 1
    return met


def test_random_totals(rng):
    assert check_random_totals(rng, 80) > 15


@pytest.mark.slow
def test_ten_thousand_random_totals(rng):
    assert check_random_totals(rng, 10_000) > 2_000


def test_counts_of_one_period_on_weights_of_several_are_said():
    """Each year would count half of the population."""
    rows = {"w": 10.0, "sex": ["f", "m"] * 4, "year": [2020] * 4 + [2021] * 4}
    survey = sae.Survey.from_frame(pd.DataFrame(rows), weights="w", time="year")
    counts = {"f": 22.0, "m": 20.0}
    for change in (lambda: survey.post_stratify("sex", counts), lambda: survey.calibrate({"sex": counts})):
        with pytest.warns(SaeWarning, match="The counts are 42, the weights of the 2 periods of year"):
            assert change().weights.sum() == pytest.approx(42.0)
    by_year = {(sex, year): n for sex, n in counts.items() for year in ("2020", "2021")}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert survey.post_stratify(["sex", "year"], by_year).weights.sum() == pytest.approx(84.0)
        survey.calibrate({"sex": {"f": 44.0, "m": 40.0}})


def test_counts_that_are_shares_are_warned_of_where_they_are_given():
    survey = Survey.from_frame(pd.DataFrame({"w": 50.0, "sex": ["f", "m"] * 10}), weights="w")
    with pytest.warns(SaeWarning, match="The 20 records stand for 1 now, which is fewer") as caught:
        made = survey.post_stratify("sex", {"f": 0.4, "m": 0.6})
    assert caught[0].filename == __file__ and made.weights.sum() == pytest.approx(1.0)
