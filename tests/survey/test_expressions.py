"""Expressions: Kleene's logic against brute force, every kind of column, and every refusal by name."""

import itertools

import numpy as np
import pandas as pd
import pytest

from sae.errors import SaeSpecError
from sae.survey.expressions import evaluate, names_in


@pytest.fixture
def frame():
    return pd.DataFrame(
        {
            "age": [15.0, 20.0, 64.0, 65.0, np.nan],
            "n": np.array([1, 2, 3, 4, 5], dtype=np.int8),
            "birth": pd.Categorical(["native", "foreign", None, "foreign", "native"], ["native", "foreign"]),
            "region": ["01", "02", "01", None, "03"],
            "employed": [1, 0, 1, 0, 1],
            "flag": [True, False, True, False, True],
            "sch.wide": ["Yes", "No", "Yes", "No", "Yes"],
            "size": pd.array([1, None, 3, 4, 5], dtype="Int64"),
            "answer": pd.array([True, None, False, True, False], dtype="boolean"),
            "band": pd.Categorical([10, 20, None, 10, 30]),
        }
    )


@pytest.mark.parametrize(
    ("expression", "values", "missing"),
    [
        ("20 <= age <= 64", [0, 1, 1, 0, 0], [4]),
        ("not 20 <= age <= 64", [1, 0, 0, 1, 0], [4]),
        ("birth == 'foreign'", [0, 1, 0, 1, 0], [2]),
        ("birth != 'foreign'", [1, 0, 0, 0, 1], [2]),
        ("'foreign' == birth", [0, 1, 0, 1, 0], [2]),
        ("birth in ['foreign', 'native']", [1, 1, 0, 1, 1], [2]),
        ("birth not in ('foreign',)", [1, 0, 0, 0, 1], [2]),
        ("region == '01'", [1, 0, 1, 0, 0], [3]),
        ("region >= '02'", [0, 1, 0, 0, 1], [3]),
        ("'02' <= region", [0, 1, 0, 0, 1], [3]),
        ("region == birth", [0, 0, 0, 0, 0], [2, 3]),
        ("employed and age < 65", [1, 0, 1, 0, 0], [4]),
        ("employed or age < 65", [1, 1, 1, 0, 1], []),
        ("flag and n >= 3", [0, 0, 1, 0, 1], []),
        ("not flag", [0, 1, 0, 1, 0], []),
        ("sch.wide == 'Yes'", [1, 0, 1, 0, 1], []),
        ("size > 3", [0, 0, 0, 1, 1], [1]),
        ("answer", [1, 0, 0, 1, 0], [1]),
        ("not answer", [0, 0, 1, 0, 1], [1]),
        ("band == 10", [1, 0, 0, 1, 0], [2]),
        ("n in [1, -5, 3]", [1, 0, 1, 0, 0], []),
        ("age not in [15, 20]", [0, 0, 1, 1, 0], [4]),
        ("n + 1000 > 1003", [0, 0, 0, 1, 1], []),
        ("birth == 'foreign' and age >= 18 or employed", [1, 1, 1, 1, 1], []),
        ("True", [1] * 5, []),
        ("employed == True", [1, 0, 1, 0, 1], []),
    ],
)
def test_conditions(frame, expression, values, missing):
    result = evaluate(expression, frame)
    assert result.values.dtype == bool and result.missing.dtype == bool
    assert result.values.tolist() == [bool(value) for value in values]
    assert np.flatnonzero(result.missing).tolist() == missing


@pytest.mark.parametrize(
    ("expression", "values"),
    [
        ("age / 2 + 1", [8.5, 11, 33, 33.5, np.nan]),
        ("-n * 100 * 100", [-10000, -20000, -30000, -40000, -50000]),  # int8 would overflow
        ("n - employed", [0, 2, 2, 4, 4]),
        ("employed / (n - 2)", [-1, np.nan, 1, 0, 1 / 3]),  # 0 / 0 is missing, not an infinity
        ("flag * 2", [2, 0, 2, 0, 2]),
        ("7", [7] * 5),
    ],
)
def test_numbers(frame, expression, values):
    result = evaluate(expression, frame)
    np.testing.assert_array_equal(result.values, values)
    assert result.missing.tolist() == np.isnan(values).tolist()


def test_kleene_against_every_completion_of_the_missing_values():
    """A known result must hold for every completion; where a name occurs once, a missing one must not."""
    levels = [0.0, 1.0, np.nan]
    frame = pd.DataFrame(list(itertools.product(levels, repeat=3)), columns=["a", "b", "c"])
    for expression in ["a and b", "a or b", "a and not b or c", "not (a or b) and c", "a == b or c"]:
        result = evaluate(expression, frame)
        for row, record in frame.iterrows():
            holes = [name for name in names_in(expression) if np.isnan(record[name])]
            outcomes = set()
            for fill in itertools.product([0, 1], repeat=len(holes)):
                scope = {**record.fillna(0).astype(int), **dict(zip(holes, fill, strict=True))}
                outcomes.add(bool(eval(expression, {}, scope)))
            if result.missing[row]:
                assert len(outcomes) == 2 and not result.values[row]
            else:
                assert outcomes == {bool(result.values[row])}


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("agee > 3", "Did you mean age"),
        ("birth == 'foriegn'", "Did you mean foreign"),
        ("birth in ['forein']", "Did you mean foreign"),
        ("birth == 1", "is text and is compared with 1"),
        ("age == '20'", "is text and is compared with age"),
        ("age in ['20']", "holds numbers, but the list holds"),
        ("birth in [1]", "holds text, but the list holds"),
        ("birth", "is text, not a condition"),
        ("birth and flag", "cannot stand as a condition"),
        ("age and flag", "numbers other than 0 and 1"),
        ("birth + 1", "cannot be used in arithmetic"),
        ("age in n", "needs a list"),
        ("age in [n]", "only numbers or quoted text"),
        ("__import__('os').system('true')", "is not understood"),
        ("age.__class__", "is not a column"),
        ("(lambda: 1)()", "is not understood"),
        ("age ** 2", "is not understood"),
        ("age[0]", "is not understood"),
        ("~flag", "is not understood"),
        ("age is None", "comparison in .* is not understood"),
        ("age = 3", "cannot be read"),
        ("age >", "cannot be read"),
        ("", "An expression is text"),
        ("age > None", "neither a number nor text"),
    ],
)
def test_refusals_name_the_fault(frame, expression, said):
    with pytest.raises(SaeSpecError, match=said.replace("[", r"\[")):
        evaluate(expression, frame)


def test_dates_are_refused_by_name():
    frame = pd.DataFrame({"day": pd.to_datetime(["2020-01-01", "2020-01-02"])})
    with pytest.raises(SaeSpecError, match="'day' holds datetime"):
        evaluate("day > 3", frame)


def test_text_dtypes_agree():
    texts = ["a", None, "b"]
    for dtype in (object, "string", "category"):
        result = evaluate("t == 'a'", pd.DataFrame({"t": pd.Series(texts, dtype=dtype)}))
        assert result.values.tolist() == [True, False, False]
        assert result.missing.tolist() == [False, True, False]


def test_names_in_order():
    assert names_in("b > 1 and 20 <= sch.wide <= a and b in [1]") == ("b", "sch.wide", "a")
