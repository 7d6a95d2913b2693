"""The language of formulas: what it reads, what it refuses, and that nothing is executed."""

import random
import time

import numpy as np
import pandas as pd
import pytest

import sae
from sae.errors import SaeError, SaeInputError, SaeSpecError
from sae.specs import Design, parse_terms, split_formula
from sae.specs.formula import parse, spell

NAMES = [f"area {k}" for k in range(40)]


@pytest.fixture
def frame():
    rng = np.random.default_rng(1)
    numbers = {
        name: rng.uniform(0.5, 2.0, 40) for name in ("x", "z", "C", "I", "np", "log", "pop.share", "1")
    }
    return pd.DataFrame({**numbers, "g": rng.choice(["a", "b", "c"], 40), "k": rng.integers(1, 4, 40)})


EXECUTED = [
    '{x + np.__builtins__["__import__"]("os").system("touch executed")}',
    '__import__("os").system("touch executed")',
    'np.savetxt("executed", x)',
    'I(np.savetxt("executed", x))',
    'I(open("executed", "w"))',
    "I((lambda: x)())",
    "x.__class__",
    "I(x[0])",
    'C(g, contr.treatment(base=open("executed", "w")))',
    'Q("x").tofile("executed")',
    "x if x else z",
    "[x for x in z]",
    "hashed(x)",
    "lag(x)",
]


@pytest.mark.parametrize("right", EXECUTED)
def test_no_formula_runs_code(right, frame, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SaeSpecError):
        sae.FayHerriot(f"y ~ {right}")
    with pytest.raises(SaeSpecError):
        Design.learn(right, frame, NAMES)
    with pytest.raises(SaeSpecError):
        sae.FayHerriot.from_toml(f"[model]\nformula = '''y ~ {right}'''\n")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("right", "mend"),
    [
        ("np.log(x)", r"Write log\(x\) in place of np.log\(x\)"),
        ("pop.share", "write `pop.share` in back-ticks"),
        ("x + 2", r"write I\(2 \* x\)"),
        ("lgo(x)", r"Did you mean log\?"),
        ("C(k * 2)", r"C takes a column"),
        ("poly(x)", r"poly\(x, degree=3\)"),
        ("x - z", "takes away z, which is not in it"),
        ("x +", "ends where something is expected"),
        ("x ~ z", "once; here only the covariates"),
        ("I(3)", "uses no column"),
    ],
)
def test_what_is_refused_says_what_to_write(right, mend):
    with pytest.raises(SaeSpecError, match=mend):
        parse_terms(right)


@pytest.mark.parametrize(
    "right",
    [
        "(a + b + c + d + e + f + g)**7",
        "((a + b + c + d + e + f + g)**3)**3",
        "*".join("abcdefghijklmnopqrstuvwxyz"),
        "(" + "+".join(f"x{k}" for k in range(300)) + ")**2",
        "+".join(f"x{k}" for k in range(1500)),
        "(" * 5000 + "x" + ")" * 5000,
        "-" * 5000 + "x",
        "I(" + "x**" * 2000 + "x)",
        "x" * 30_000,
    ],
)
def test_depth_terms_and_time_are_bounded(right):
    start = time.process_time()
    with pytest.raises(SaeSpecError):
        parse_terms(right)
    assert time.process_time() - start < 2.0  # multiplied out, these take minutes to years


def test_terms():
    assert parse_terms("a*b*c").texts == ("a", "b", "c", "a:b", "a:c", "b:c", "a:b:c")
    for power in ("x**2", "x^2", "1 + (z)**3"):  # in R and patsy it is x, in silence
        with pytest.raises(SaeSpecError, match=r"which in a formula is . again"):
            parse_terms(power)
    assert parse_terms("x**1").texts == ("x",)
    assert parse_terms("(a + b + c)**2 - a:b").texts == ("a", "b", "c", "a:c", "b:c")
    assert parse_terms("(a + b)/c").texts == ("a", "b", "a:b:c")
    assert parse_terms("b:a + a:b + a + a").texts == ("a", "b:a")
    assert parse_terms("a + (b - 1)").intercept is False
    assert parse_terms('C(g, Treatment("b")) + Q("a b"):I(x / z)').variables == ("a b", "g", "x", "z")


def test_outcomes_are_names():
    assert split_formula("`a ~ b` ~ x") == ("a ~ b", "x")
    assert split_formula('y ~ Q("a ~ b")') == ("y", 'Q("a ~ b")')
    for wrong in ("log(y) ~ x", "{y} ~ x", "y[0] ~ x"):
        with pytest.raises(SaeSpecError, match="which is no name"):
            split_formula(wrong)


def test_columns_called_as_functions_or_with_dots(frame):
    design, X = Design.learn(
        "C + C(C) - C(C) + C:log + log(log) + I(I**2) + np + `pop.share` + `1`", frame, NAMES
    )
    assert design.columns == (*("Intercept", "C", "log(log)", "I(I ** 2)", "np", "pop.share", "1", "C:log"),)
    by_hand = [
        *(frame["C"], np.log(frame["log"]), frame["I"] ** 2, frame["np"], frame["pop.share"], frame["1"]),
        frame["C"] * frame["log"],
    ]
    np.testing.assert_allclose(X[:, 1:], np.column_stack(by_hand), rtol=1e-15)
    np.testing.assert_array_equal(design.rebuild(frame.iloc[7:9], NAMES[7:9]), X[7:9])


def test_integers_do_not_overflow(frame):
    population = np.arange(3_000_000, 3_000_040)
    design, X = Design.learn(
        "I(population**3) + population:population2",
        frame.assign(population=population, population2=population.astype("int32")),
        NAMES,
    )
    exact = [float(int(value) ** 3) for value in population]
    np.testing.assert_allclose(X[:, design.columns.index("I(population ** 3)")], exact, rtol=1e-15)
    np.testing.assert_allclose(X[:, -1], population.astype(float) ** 2, rtol=1e-15)


@pytest.mark.parametrize(
    "values", [["0,25"], ["25 %", "30 %"], ["1 234", "NA"], ["-3", "4"], ["1e3", "."], ["6.1 b", ": u"]]
)
def test_numbers_that_arrive_as_text_are_refused(values, frame):
    frame["share"] = (values * 40)[:40]
    with pytest.raises(
        SaeInputError, match=r"The covariate share holds text that spells numbers.*\n.*write C\(share\)"
    ):
        Design.learn("x + share", frame, NAMES)


def test_whole_numbers_as_text_are_codes_unless_they_are_many(frame):
    many = pd.concat([frame] * 2, ignore_index=True).assign(v=[str(1000 + k) for k in range(80)])
    with pytest.raises(SaeInputError, match="spells numbers"):
        Design.learn("v", many, range(80))
    assert len(Design.learn("C(v)", many, range(80))[0].columns) == 80
    assert Design.learn("v", frame.assign(v=["01", "2"] * 20), NAMES)[0].columns == ("Intercept", "v[T.2]")


def test_decimals_and_dates_are_refused_and_age_bands_are_levels(frame):
    from decimal import Decimal

    for value, kind in (
        (Decimal("0.25"), "decimal"),
        (pd.Timestamp("2024-01-01"), "datetime64"),
        (1j, "complex"),
    ):
        with pytest.raises(SaeInputError, match=f"of the kind {kind}"):
            Design.learn("v", frame.assign(v=[value] * 40), NAMES)
    bands = frame.assign(v=["15-24", "25", "65+", "25"] * 10)
    assert Design.learn("v", bands, NAMES)[0].columns == ("Intercept", "v[T.25]", "v[T.65+]")
    mixed = frame.assign(v=pd.Series([1, 2.5] * 20, dtype="object"))
    assert Design.learn("v", mixed, NAMES)[0].columns == ("Intercept", "v")


def test_a_term_without_a_column_is_refused_by_name(frame):
    with pytest.raises(SaeInputError, match="The term country yields no column: country is ES in every row"):
        Design.learn("x + country", frame.assign(country="ES"), NAMES)
    with pytest.raises(SaeInputError, match=r"The term C\(k\) yields no column: C\(k\) is 2 in every row"):
        Design.learn("x + C(k)", frame.assign(k=2), NAMES)
    with pytest.raises(SaeSpecError, match="has no column"):
        Design.learn("0", frame, NAMES)


@pytest.mark.parametrize(
    "right", ["poly(x, 3)", "bs(x, df=5)", "cr(x, df=4)", "cs(x, 4)", "scale(x)", "center(x)"]
)
def test_learnt_transformations_are_the_same_out_of_sample(right, frame):
    design, X = Design.learn(f"{right} + g", frame, NAMES)
    assert np.linalg.matrix_rank(X / np.linalg.norm(X, axis=0)) == X.shape[1]
    np.testing.assert_array_equal(design.rebuild(frame.iloc[[30, 3]], [NAMES[30], NAMES[3]]), X[[30, 3]])
    wide = design.rebuild(pd.DataFrame({"x": [-1.0, 9.0], "g": "a"}), ["P", "Q"])  # beyond what was learnt
    assert np.isfinite(wide).all()
    assert design.outside(wide).any(axis=1).all()


def test_polynomials_and_scales_by_hand(frame):
    x = frame["x"].to_numpy()
    _, X = Design.learn("poly(x, 2) + scale(z)", frame, NAMES)
    orthogonal = X[:, 1:3]
    np.testing.assert_allclose(orthogonal.T @ orthogonal, np.eye(2), atol=1e-12)  # rounding of 40 products
    fitted = np.column_stack([np.ones(40), x, x**2])
    np.testing.assert_allclose(
        fitted @ np.linalg.lstsq(fitted, orthogonal, rcond=None)[0], orthogonal, atol=1e-9
    )
    np.testing.assert_allclose(X[:, 3], (frame["z"] - frame["z"].mean()) / frame["z"].std(), rtol=1e-12)
    with pytest.raises(SaeInputError, match="z is constant"):
        Design.learn("scale(z)", frame.assign(z=3.0), NAMES)


def test_reference_levels_and_codings(frame):
    columns = Design.learn('C(g, Treatment("b")) + C(k, Sum)', frame, NAMES)[0].columns
    assert columns == (
        *("Intercept", 'C(g, Treatment("b"))[T.a]', 'C(g, Treatment("b"))[T.c]'),
        *("C(k, Sum)[S.1]", "C(k, Sum)[S.2]"),
    )
    with pytest.raises(SaeInputError, match=r"g has no level 'north'.*\nIts levels are a, b, c"):
        Design.learn('C(g, Treatment("north"))', frame, NAMES)


def test_formulas_of_numbers_alone_need_no_formulaic(frame, monkeypatch):
    import formulaic

    monkeypatch.setattr(formulaic, "Formula", None)
    assert Design.learn("x * z + log(x)", frame, NAMES)[0].columns == ("Intercept", "x", "z", "log(x)", "x:z")


def test_no_step_of_a_search_breaks_a_back_ticked_name():
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({"area": range(40), "a:b": rng.normal(size=40), "w": rng.normal(size=40)})
    frame = frame.assign(y=2 * frame["a:b"] + rng.normal(size=40), vardir=0.5)
    chosen = sae.area_level.select(sae.FayHerriot("y ~ `a:b` * w", domain="area", method="ml"), frame)
    assert chosen.spec.formula.startswith("y ~ `a:b`")


ATOMS = [
    "x",
    "z",
    "g",
    "k",
    "`pop.share`",
    "`1`",
    "C",
    "np",
    "log(x)",
    "I(x**2)",
    "C(g)",
    "C(k)",
    "poly(x,2)",
    "scale(z)",
    "0",
    "1",
    "2",
    "nothing",
]
SIGNS = [
    " + ",
    " - ",
    ":",
    "*",
    "/",
    "**",
    "^",
    "(",
    ")",
    ",",
    "{",
    "}",
    "[",
    "'",
    '"',
    "`",
    ".",
    "~",
    "=",
    "%in%",
    "\x00",
    "é",
    "e\u0301",
    " ",
]


def _scramble(random_: random.Random) -> str:
    pieces = [random_.choice(ATOMS)]
    for _ in range(random_.randrange(6)):
        if random_.random() < 0.8:
            pieces += [random_.choice(SIGNS[:5]), random_.choice(ATOMS)]
        else:
            pieces.insert(random_.randrange(len(pieces) + 1), random_.choice(SIGNS))
    return "".join(pieces)


def _check_formulas(frame: pd.DataFrame, number: int, seed: int) -> None:
    """Every formula gives a finite design that is the same on the same rows, or a named refusal."""
    random_, designs = random.Random(seed), 0
    for _ in range(number):
        right = _scramble(random_)
        try:
            tree = parse(right)
            assert parse(spell(tree)) == tree
            design, X = Design.learn(right, frame, NAMES)
        except SaeError:
            continue
        designs += 1
        terms = parse_terms(right)
        assert len(design.columns) == X.shape[1] >= len(terms.terms) + terms.intercept
        assert np.isfinite(X).all()
        np.testing.assert_array_equal(design.rebuild(frame.iloc[::-1], NAMES[::-1]), X[::-1])
    assert designs > number / 10


def test_any_formula_is_a_design_or_a_named_refusal(frame):
    _check_formulas(frame, 200, seed=1)


@pytest.mark.slow
def test_ten_thousand_formulas(frame):
    _check_formulas(frame, 10_000, seed=2)
