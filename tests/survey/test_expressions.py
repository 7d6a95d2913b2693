"""Expressions: Kleene's logic against brute force, every kind of column, and every refusal by name."""

import ast
import itertools
import operator

import numpy as np
import pandas as pd
import pytest

import sae
from sae.errors import SaeError, SaeInputError, SaeSpecError
from sae.survey import Survey
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
            "edu": pd.Categorical(
                ["low", "high", None, "medium", "low"], ["low", "medium", "high"], ordered=True
            ),
            "wish": pd.Categorical(
                ["medium", "low", "high", None, "low"], ["low", "medium", "high"], ordered=True
            ),
            "quarter": ["2020Q4", "2021Q1", None, "2021Q2", "2020Q4"],
            "years": ["9", "18", None, "65", "7"],
            "grade": pd.Categorical([1, 2, 3, None, 1], [3, 2, 1], ordered=True),
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
        ("edu >= 'medium'", [0, 1, 0, 1, 0], [2]),  # by letters: low, medium
        ("edu > 'medium'", [0, 1, 0, 0, 0], [2]),
        ("edu < 'high'", [1, 0, 0, 1, 1], [2]),
        ("'medium' <= edu", [0, 1, 0, 1, 0], [2]),
        ("'low' < edu <= 'high'", [0, 1, 0, 1, 0], [2]),
        ("not edu <= 'medium'", [0, 1, 0, 0, 0], [2]),
        ("edu == 'medium'", [0, 0, 0, 1, 0], [2]),
        ("edu < wish", [1, 0, 0, 0, 0], [2, 3]),
        ("edu == wish", [0, 0, 0, 0, 1], [2, 3]),
        ("quarter >= '2021Q1'", [0, 1, 0, 1, 0], [2]),
        ("quarter < '2020Q5'", [1, 0, 0, 0, 1], [2]),  # no level, but its place is known
        ("years == '9'", [1, 0, 0, 0, 0], [2]),
        ("grade == 3", [0, 0, 1, 0, 0], [3]),
        ("not 1 < 2", [0] * 5, []),
        (f"n < {10**30}", [1] * 5, []),
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
        ("years >= '18'", "have no order that is known"),
        ("'18' <= years", "years is text"),
        ("birth >= 'foreign'", "have no order that is known"),
        ("birth < region", "have no order that is known"),
        ("edu < birth", "have no order that is known"),
        ("region < '2'", "have no order that is known"),
        ("'a' < 'b'", "have no order that is known"),
        ("edu >= 'midium'", "Did you mean medium"),
        ("'midium' <= edu", "'midium' is not a level of edu"),
        ("edu >= 2", "is text and is compared with 2"),
        ("grade >= 2", "ordered 3 < 2 < 1"),
        ("age > " + "9" * 400, "beyond the numbers"),
        ("n in [" + "9" * 400 + "]", "holds numbers, but the list"),
        ("age in [{}]", "holds numbers, but the list holds {}"),
        ("age in {[1]}", "only numbers or quoted text"),
        ("not " * 4000 + "flag", "nests too deeply|cannot be read"),
        ("-" * 900 + "age > 1", "nests too deeply|cannot be read"),
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


def test_every_door_keeps_the_order_of_a_category():
    """A survey, its layout, a subset, a universe, a denominator and a known total."""
    levels = ["low", "medium", "high"]
    frame = pd.DataFrame(
        {"w": [1.0, 2, 4, 8], "edu": pd.Categorical(["low", "high", "medium", "low"], levels, ordered=True)}
    )
    frame = frame.assign(y=[1, 0, 1, 1], code=[1, 3, 2, 1])
    survey = Survey.from_frame(frame, weights="w")
    renamed = Survey.from_frame(frame, weights="w", layout={"columns": {"schooling": "edu"}})
    assert renamed.subset("schooling >= 'medium'").mask.tolist() == [False, True, True, False]
    assert survey.subset("edu >= 'medium'").mask.tolist() == [False, True, True, False]
    assert sae.direct(survey, sae.Indicator("y", universe="edu < 'high'"))["n"][0] == 3
    share = sae.Indicator("edu == 'high'", denominator="edu >= 'medium'")
    assert sae.direct(survey, share)["estimate"][0] == pytest.approx(2 / 6)
    assert survey.calibrate({"edu >= 'medium'": 12.0}).weights[[1, 2]].sum() == pytest.approx(12)
    # levels of a layout's codes stand in an order, but nobody has said that it is theirs
    codes = {"columns": {}, "codes": {"level": {"column": "code", "low": 1, "medium": 2, "high": 3}}}
    coded = Survey.from_frame(frame, weights="w", layout=codes)
    with pytest.raises(SaeSpecError, match="low, medium, high have no order that is known"):
        coded.subset("level >= 'medium'")
    assert coded.subset("level in ['medium', 'high']").mask.tolist() == [False, True, True, False]


def test_an_infinite_value_is_refused_by_name(frame):
    frame["income"] = [1.0, np.inf, 2, -np.inf, 3]
    with pytest.raises(SaeInputError, match=r"'income' is infinite in 2 records \(rows 2, 4\)"):
        evaluate("income > 1", frame)
    frame["income"] = pd.Categorical([1.0, np.inf, 2, 1, 1])
    with pytest.raises(SaeInputError, match=r"'income' is infinite in 1 record \(rows 2\)"):
        evaluate("income > 1", frame)


# ---------------------------------------------------------------- random expressions

COMPARE = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
ARITHMETIC = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}
RANK = {"low": 0, "medium": 1, "high": 2}


def joined(parts, stop):
    """Kleene's "and" (`stop` False) and "or" (`stop` True)."""
    return stop if stop in parts else (None if None in parts else not stop)


def by_hand(node, record):
    """One expression on one record, None where missing: nothing of the package is in it."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        return record[node.id]
    if isinstance(node, ast.UnaryOp):
        value = by_hand(node.operand, record)
        if value is None:
            return None
        return not value if isinstance(node.op, ast.Not) else -value
    if isinstance(node, ast.BoolOp):
        parts = [by_hand(part, record) for part in node.values]
        parts = [None if part is None else bool(part) for part in parts]
        return joined(parts, isinstance(node.op, ast.Or))
    if isinstance(node, ast.BinOp):
        left, right = by_hand(node.left, record), by_hand(node.right, record)
        if left is None or right is None or (isinstance(node.op, ast.Div) and right == 0):
            return None
        return ARITHMETIC[type(node.op)](float(left), float(right))
    parts, left = [], node.left
    for op, right in zip(node.ops, node.comparators, strict=True):
        values = [by_hand(left, record), None if isinstance(right, ast.List) else by_hand(right, record)]
        if isinstance(right, ast.List):
            listed = [item.value for item in right.elts]
            parts.append(None if values[0] is None else (values[0] in listed) == isinstance(op, ast.In))
        elif None in values:
            parts.append(None)
        else:
            ranked = all(value in RANK for value in values if isinstance(value, str))
            parts.append(COMPARE[type(op)](*[RANK.get(v, v) if ranked else v for v in values]))
        left = right
    return joined(parts, False)


def random_number(rng, depth):
    kind = rng.integers(0, 3 if depth else 2)
    if kind == 0:
        return str(rng.choice(["age", "n", "size", "band"]))
    if kind == 1:
        return str(rng.choice(["0", "1", "20", "2.5", "-3"]))
    return f"({random_number(rng, depth - 1)} {rng.choice(list('+-*/'))} {random_number(rng, depth - 1)})"


def random_condition(rng, depth):
    if depth and rng.random() < 0.5:
        kind = rng.integers(0, 3)
        inner = random_condition(rng, depth - 1)
        if kind == 0:
            return f"not ({inner})"
        return f"({inner}) {'and' if kind == 1 else 'or'} ({random_condition(rng, depth - 1)})"
    signs = ["==", "!=", "<", "<=", ">", ">="]
    sign, other = rng.choice(signs), rng.choice(signs)
    return str(
        rng.choice(
            [
                "flag",
                "answer",
                "employed",
                f"{random_number(rng, 2)} {sign} {random_number(rng, 2)}",
                f"{random_number(rng, 1)} {sign} {random_number(rng, 1)} {other} {random_number(rng, 1)}",
                f"edu {sign} '{rng.choice(list(RANK))}'",
                f"'{rng.choice(list(RANK))}' {sign} edu {other} wish",
                f"region {sign} '0{rng.integers(1, 4)}'",
                f"quarter {sign} '202{rng.integers(0, 2)}Q{rng.integers(1, 5)}'",
                f"birth {rng.choice(['==', '!=', '<'])} '{rng.choice(['native', 'foreign', 'other'])}'",
                f"birth {rng.choice(['in', 'not in'])} ['native']",
                f"n {rng.choice(['in', 'not in'])} [1, 2.5, 4]",
            ]
        )
    )


def check_random_conditions(frame, rng, inputs):
    records = frame.astype(object).where(frame.notna(), None).to_dict("records")
    right = 0
    for _ in range(inputs):
        expression = random_condition(rng, 3)
        try:
            result = evaluate(expression, frame)
        except SaeError:
            continue
        tree = ast.parse(expression, mode="eval").body
        expected = [by_hand(tree, record) for record in records]
        assert result.missing.tolist() == [value is None for value in expected], expression
        assert result.values.tolist() == [bool(value) for value in expected], expression
        right += 1
    return right


TOKENS = [
    *[
        "age",
        "n",
        "size",
        "birth",
        "edu",
        "flag",
        "sch.wide",
        "years",
        "grade",
        "nothing",
        "é",
        "True",
        "None",
    ],
    *[
        "and",
        "or",
        "not",
        "in",
        "is",
        "if",
        "else",
        "lambda",
        "for",
        "await",
        "<",
        "<=",
        "==",
        "!=",
        ">",
        ">=",
    ],
    *[
        "+",
        "-",
        "*",
        "/",
        "**",
        "%",
        "//",
        "@",
        "&",
        "|",
        "~",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        ",",
        ":",
        "=",
        ".",
    ],
    *[
        "1",
        "0",
        "-3",
        "1e308",
        "1e400",
        "9" * 30,
        "2j",
        "'low'",
        "'foreign'",
        "'9'",
        "''",
        "b'a'",
        "f'{n}'",
        "\\",
    ],
]


def check_random_tokens(frame, rng, inputs):
    known = 0
    for _ in range(inputs):
        tokens = rng.choice(TOKENS, int(rng.integers(1, 9)))
        try:
            result = evaluate(" ".join(tokens), frame)
        except SaeError as fault:
            assert str(fault)
            continue
        assert result.values.shape == result.missing.shape == (len(frame),)
        assert result.values.dtype in (np.dtype(bool), np.dtype(float)) and result.missing.dtype == bool
        empty = result.values[result.missing]
        assert not empty.any() if empty.dtype == bool else np.isnan(empty).all()
        known += 1
    return known


def test_random_conditions_and_tokens(frame, rng):
    assert check_random_conditions(frame, rng, 400) > 200
    assert check_random_tokens(frame, rng, 1500) > 5


@pytest.mark.slow
def test_ten_thousand_random_conditions_and_tokens(frame, rng):
    assert check_random_conditions(frame, rng, 10_000) > 5_000
    assert check_random_tokens(frame, rng, 40_000) > 200


@pytest.mark.parametrize(
    ("expression", "hint"),
    [
        ("age > 20 & age < 30", "Write a and b."),
        ("(age > 20) | (age < 30)", "Write a or b."),
        ("~(age > 20)", "Write not a."),
        ("region.isin(['01'])", "Write region in ('01', '02')."),
        ("age = 20", "cannot be read: invalid syntax.\nWrite it as in Python"),
    ],
)
def test_what_pandas_writes_in_another_way_is_answered(expression, hint):
    frame = pd.DataFrame({"age": [20, 40], "region": ["01", "02"]})
    with pytest.raises(SaeSpecError) as caught:
        evaluate(expression, frame)
    assert hint in str(caught.value)


def test_a_column_whose_name_has_blanks_is_answered_with_the_layout():
    frame = pd.DataFrame({"w": 1.0, "Alter in Jahren": [20, 40], "works": [1, 0]})
    survey = Survey.from_frame(frame, weights="w")
    way = "layout, columns = {'alter': 'Alter in Jahren'}."
    for call in (
        lambda: survey.subset("20 <= Alter in Jahren"),
        lambda: sae.direct(survey, sae.Indicator("works", universe="20 <= Alter in Jahren <= 64")),
    ):
        with pytest.raises(SaeSpecError) as caught:
            call()
        assert way in str(caught.value)
    with pytest.raises(SaeSpecError, match=r"An expression is sae\.Indicator\(numerator='works == 1'\)\.$"):
        sae.direct(survey, "works == 1")
