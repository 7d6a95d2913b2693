"""Formulas to designs: remembered levels, names in every refusal."""

import numpy as np
import pandas as pd
import pytest

from sae.errors import SaeInputError, SaeSpecError
from sae.specs import Design, split_formula
from sae.specs.design import check_rank

NAMES = list("ABCDEF")


@pytest.fixture
def frame():
    return pd.DataFrame(
        {
            "x": [1.0, 2.0, 3.0, 4.0, 5.0, 7.0],
            "g": ["north", "south", "north", "east", "south", "east"],
            "k": [1, 2, 3, 1, 2, 3],
        }
    )


def test_split_formula():
    assert split_formula(" y ~ x + z ") == ("y", "x + z")
    for wrong in ("y", "~ x", "y ~", "y ~ x ~ z", ""):
        with pytest.raises(SaeSpecError, match="does not say"):
            split_formula(wrong)


def test_same_design_on_new_rows(frame):
    design, X = Design.learn("x + g + C(k) + log(x)", frame, NAMES)
    assert design.columns == (
        "Intercept",
        "x",
        "g[T.north]",
        "g[T.south]",
        "C(k)[T.2]",
        "C(k)[T.3]",
        "log(x)",
    )
    np.testing.assert_array_equal(design.rebuild(frame.iloc[[5, 0]], ["F", "A"]), X[[5, 0]])


@pytest.mark.parametrize("dtype", ["object", "string", "category"])
def test_level_order_and_dtype_do_not_matter(frame, dtype):
    # emdi sends coefficients to the wrong dummies when factor levels come in another order
    design, X = Design.learn("x + g", frame, NAMES)
    other = frame.assign(g=frame["g"].astype(dtype)).iloc[::-1]
    if dtype == "category":
        other["g"] = other["g"].cat.reorder_categories(["south", "north", "east"])
    np.testing.assert_array_equal(design.rebuild(other, NAMES[::-1]), X[::-1])


def test_a_category_keeps_its_reference_level(frame):
    ordered = frame.assign(g=pd.Categorical(frame["g"], ["south", "unused", "north", "east"]))
    design, _ = Design.learn("g", ordered, NAMES)
    assert design.columns == ("Intercept", "g[T.north]", "g[T.east]")


def test_new_levels_are_refused_by_name(frame):
    design, _ = Design.learn("x + g + C(k)", frame, NAMES)
    with pytest.raises(SaeInputError, match=r"g has levels that the fit never saw: west \(in Z\)") as error:
        design.rebuild(frame.iloc[:2].assign(g=["north", "west"]), ["A", "Z"])
    assert error.value.areas == ("Z",)
    with pytest.raises(SaeInputError, match="k has levels that the fit never saw: 9"):
        design.rebuild(frame.iloc[:2].assign(k=[1, 9]), ["A", "B"])


def test_levels_inside_an_expression_are_refused_too(frame):
    design, _ = Design.learn("x:C(k)", frame, NAMES)
    with pytest.raises(SaeInputError, match="k has levels that the fit never saw: 9"):
        design.rebuild(frame.iloc[:2].assign(k=[1, 9]), ["A", "B"])


def test_missing_covariates_are_named(frame):
    with pytest.raises(SaeInputError, match=r"no column 'xx' .*\nDid you mean x\?"):
        Design.learn("xx + g", frame, NAMES)
    with pytest.raises(SaeInputError, match="x is missing in 1 of 6 areas: B"):
        Design.learn("x", frame.assign(x=[1, None, 3, 4, 5, 6]), NAMES)
    with pytest.raises(SaeInputError, match=r"log\(x - 1\) is not a finite number in A"):
        Design.learn("log(x - 1)", frame, NAMES)


@pytest.mark.parametrize("formula", ["x +", "x + (g", "foo(x)"])
def test_unreadable_formulas(frame, formula):
    with pytest.raises((SaeSpecError, SaeInputError)):
        Design.learn(formula, frame, NAMES)


def test_no_covariates_and_no_intercept(frame):
    assert Design.learn("1", frame, NAMES)[1].tolist() == [[1.0]] * 6
    design, X = Design.learn("0 + x", frame, NAMES)
    assert design.columns == ("x",)
    assert X[:, 0].tolist() == frame["x"].tolist()


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        (lambda frame: np.full(6, 3.0), "extra is constant"),
        (lambda frame: 2 * frame["x"] + 1, "extra is a linear combination of Intercept, x"),
        (lambda frame: np.zeros(6), "extra is 0 in every area"),
    ],
)
def test_columns_that_explain_each_other_are_named(frame, extra, words):
    design, X = Design.learn("x + extra", frame.assign(extra=extra(frame)), NAMES)
    with pytest.raises(SaeInputError, match=words):
        check_rank(X, design.columns)


def test_more_coefficients_than_areas(frame):
    design, X = Design.learn("x + g + C(k)", frame, NAMES)
    with pytest.raises(SaeInputError, match=r"6 coefficients cannot be estimated from 6 areas .* in 2024"):
        check_rank(X, design.columns, " in 2024")


@pytest.mark.parametrize("p", [1, 2])
def test_the_check_of_the_rank_leaves_the_design_as_it_is(p):
    X = np.full((5, p), 3.0) + np.eye(5)[:, :p]
    before = X.copy()
    check_rank(X, ["a", "b"][:p])
    np.testing.assert_array_equal(X, before)


@pytest.mark.parametrize("gap", [1e-2, 1e-6, 1e-8])
def test_nearly_alike_is_not_alike(gap):
    rng = np.random.default_rng(1)
    X = rng.normal(size=(40, 1)) + gap * rng.normal(size=(40, 2))
    check_rank(X, ["a", "b"])
    with pytest.raises(SaeInputError, match="linear combination"):
        check_rank(np.column_stack([X, X.sum(axis=1)]), ["a", "b", "c"])


def test_large_offsets_are_not_taken_for_collinear():
    year = np.arange(2015.0, 2025.0)
    design, X = Design.learn("year + I(year ** 2)", pd.DataFrame({"year": year}), list(year))
    check_rank(X[:, :2], design.columns[:2])


@pytest.mark.parametrize("kind", ["int64", "float64", "Int64", "string", "object", "category"])
def test_codes_are_levels_whatever_holds_them(frame, kind):
    design, X = Design.learn("k", frame.assign(k=frame["k"].astype("string")), NAMES)
    assert design.columns == ("Intercept", "k[T.2]", "k[T.3]")
    np.testing.assert_array_equal(design.rebuild(frame.assign(k=frame["k"].astype(kind)), NAMES), X)


def test_a_number_that_turns_into_text_is_refused(frame):
    design, _ = Design.learn("x", frame, NAMES)
    np.testing.assert_array_equal(design.rebuild(frame.assign(x=["2"] * 6), NAMES)[:, 1], [2.0] * 6)
    with pytest.raises(SaeInputError, match=r"x holds text where numbers .*: 'many' \(A\)"):
        design.rebuild(frame.assign(x=["many", *"23457"]), NAMES)


def test_rows_outside_the_range_of_the_fit(frame):
    design, X = Design.learn("x + g", frame, NAMES)
    assert not design.outside(X).any()
    new = design.rebuild(pd.DataFrame({"x": [0.5, 7.0, 7.0 + 1e-12, 8.0], "g": "south"}), list("PQRS"))
    outside = design.outside(new)
    assert outside.any(axis=1).tolist() == [True, False, False, True]
    assert [design.columns[j] for j in np.flatnonzero(outside.any(axis=0))] == ["x"]


@pytest.mark.parametrize(
    "formula", ["x + g", "g + x + C(code)", 'C(g, Treatment("b")) + I(x**2) + x:z', "g + flag", "0 + x + z"]
)
def test_plain_designs_are_those_of_formulaic(monkeypatch, formula):
    rng = np.random.default_rng(2)
    frame = pd.DataFrame(
        {
            "x": rng.normal(size=30),
            "z": rng.normal(size=30),
            "g": pd.Categorical(rng.choice(["b", "a", "c"], 30), categories=["c", "a", "b", "d"]),
            "code": rng.integers(1, 4, 30),
            "flag": rng.random(30) < 0.5,
        }
    )
    names = [f"A{k}" for k in range(30)]
    ours, X = Design.learn(formula, frame, names)
    again = ours.rebuild(frame.iloc[::-1], names)
    monkeypatch.setattr("sae.specs.design._plain", lambda terms, coded: False)
    theirs, expected = Design.learn(formula, frame, names)
    assert ours._model_spec is None and theirs._model_spec is not None
    assert ours.columns == theirs.columns and ours.levels == theirs.levels
    np.testing.assert_array_equal(X, expected)
    np.testing.assert_array_equal(again, expected[::-1])


@pytest.mark.parametrize("formula", ["x + log(z)", "scale(x) + z", "g + x", "poly(x, 2)"])
def test_a_design_learnt_on_some_rows_has_the_others_too(formula):
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({"x": rng.normal(size=20), "z": rng.uniform(1, 2, 20), "g": ["a", "b"] * 10})
    names, rows = [f"A{k}" for k in range(20)], np.arange(20) % 3 > 0
    design, X = Design.learn(formula, frame, names, rows)
    alone, some = Design.learn(
        formula, frame[rows], [name for name, on in zip(names, rows, strict=True) if on]
    )
    np.testing.assert_allclose(X[rows], some, rtol=1e-14)
    np.testing.assert_array_equal(X, alone.rebuild(frame, names))
    np.testing.assert_array_equal(design.low, alone.low)
    np.testing.assert_array_equal(design.high, alone.high)


def test_a_category_is_spelt_by_its_values():
    frame = pd.DataFrame({"birth": ["b", "a", "c", "b"], "age": [1.0, 2.0, 3.0, 4.0]})
    design, X = Design.learn("birth * age", frame, list("ABCD"))
    category = frame.assign(birth=pd.Categorical(frame["birth"], categories=["z", "c", "b", "a"]))
    np.testing.assert_array_equal(design.rebuild(category, list("ABCD")), X)
    numbers = frame.assign(birth=pd.Categorical([2, 1, 3, 2], categories=[3, 2, 1]))
    design, X = Design.learn("C(birth)", numbers.astype({"birth": int}), list("ABCD"))
    np.testing.assert_array_equal(design.rebuild(numbers, list("ABCD")), X)
    with pytest.raises(SaeInputError, match=r"levels that the fit never saw: 9 \(in B\)"):
        design.rebuild(numbers.assign(birth=pd.Categorical([2, 9, 3, 2])), list("ABCD"))
