"""Frames of every kind at every model: a finite table, or an error that names the thing."""

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import sae
from sae.errors import SaeError, SaeInputError

AREAS = 24
MODELS = {
    "fay_herriot": sae.FayHerriot("y ~ x"),
    "bayes": sae.FayHerriot("y ~ x", method="bayes"),
    "arcsin": sae.FayHerriot("y ~ x", transform="arcsin"),
    "binomial": sae.BinomialMixed("successes ~ x"),
    "nested": sae.NestedError("y ~ x"),
    "m_quantile": sae.MQuantile("y ~ x"),
    "logit": sae.LogitMixed("z ~ x"),
}
UNITS = ("nested", "m_quantile", "logit")


def plain(model: str, rng: np.random.Generator) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    names = [f"A{k:02d}" for k in range(AREAS)]
    n = rng.integers(20, 60, AREAS)
    frame = pd.DataFrame({"domain": names, "x": rng.normal(size=AREAS), "n": n, "n_eff": n * 0.9})
    frame["y"] = np.clip(0.5 + 0.1 * frame["x"] + 0.1 * rng.normal(size=AREAS), 0.05, 0.95)
    frame = frame.assign(vardir=rng.uniform(0.002, 0.02, AREAS), successes=rng.binomial(n, frame["y"]))
    if model not in UNITS:
        return frame, None
    units = pd.concat([frame] * 4, ignore_index=True)
    units["x"], units["z"] = rng.normal(size=len(units)), rng.integers(0, 2, len(units))
    return units.assign(y=units["y"] + 0.1 * rng.normal(size=len(units))), frame[["domain", "x"]]


VALUES = [
    *(
        np.nan,
        np.inf,
        -np.inf,
        0.0,
        -1.0,
        1e300,
        1e-300,
        2.5,
        10**400,
        1j,
        True,
        "",
        " ",
        "abc",
        "0,25",
        "25 %",
    ),
    *([1, 2], {}, (1, 2), b"x", None, pd.NA, pd.NaT, pd.Timestamp("2024-01-01"), pd.Timedelta(days=1)),
]
DTYPES = ["object", "category", "string", "float32", "Float64", "complex128", "bool", "datetime64[ns]"]


def one_value(frame, rng):
    column, row = rng.integers(frame.shape[1]), rng.integers(len(frame))
    frame = frame.astype({frame.columns[column]: "object"})
    frame.iat[row, column] = VALUES[rng.integers(len(VALUES))]
    return frame


def one_column(frame, rng):
    name, value = rng.choice(frame.columns), VALUES[rng.integers(len(VALUES))]
    return frame.assign(**{name: pd.Series([value] * len(frame), index=frame.index)})


def one_dtype(frame, rng):
    name = rng.choice(frame.columns)
    try:
        return frame.astype({name: DTYPES[rng.integers(len(DTYPES))]})
    except (TypeError, ValueError):
        return frame


CHANGES = [
    one_value,
    one_value,
    one_column,
    one_dtype,
    lambda frame, rng: frame.drop(columns=rng.choice(frame.columns)),
    lambda frame, rng: frame.rename(columns=lambda name: str(name).title()),
    lambda frame, rng: frame.iloc[: rng.integers(4)],
    lambda frame, rng: frame.sample(
        frac=1.0, replace=bool(rng.integers(2)), random_state=int(rng.integers(99))
    ),
    lambda frame, rng: pd.concat([frame, frame[[rng.choice(frame.columns)]]], axis=1),
    lambda frame, rng: frame.set_axis(range(frame.shape[1]), axis=1),
    lambda frame, rng: frame.set_axis(pd.MultiIndex.from_product([["q"], frame.columns]), axis=1),
    lambda frame, rng: frame.set_index(frame.columns[0]),
    lambda frame, rng: frame.to_dict(),
    lambda frame, rng: frame.to_numpy(),
    lambda frame, rng: frame.iloc[:, 0],
    lambda frame, rng: None,
]


def check_doors(number: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    tables = 0
    for _ in range(number):
        model = list(MODELS)[rng.integers(len(MODELS))]
        data, areas = plain(model, rng)
        if areas is not None and rng.random() < 0.3:
            areas = CHANGES[rng.integers(len(CHANGES))](areas, rng)
        else:
            data = CHANGES[rng.integers(len(CHANGES))](data, rng)
        try:
            estimates = MODELS[model].fit(data, areas=areas, seed=1).estimates
        except SaeError as error:
            assert "report" not in str(error)
            assert len(error.what) > 15
            continue
        tables += 1
        assert np.isfinite(estimates.frame[["estimate", "mse"]].to_numpy(dtype=float)).all()
        assert not (estimates.frame["domain"].str.strip() == "").any()
    assert number / 10 < tables < number


def test_any_frame_is_a_table_or_a_named_refusal():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check_doors(150, seed=1)


@pytest.mark.slow
def test_ten_thousand_frames():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check_doors(10_000, seed=2)


@pytest.mark.parametrize(
    ("column", "value", "match"),
    [
        ("n", 2.5, r"n holds numbers that are not whole: 2\.5 \(row 4\)"),
        ("n", np.inf, r"n holds numbers that are not whole: inf \(row 4\)"),
        ("n", 10**400, r"n holds dates or other values where numbers are expected in 1 of 24 rows"),
        ("n", -3.0, r"n, the number of records, is negative in A03"),
        ("y", 1j, r"y holds dates or other values where numbers are expected in 1 of 24 rows"),
        ("domain", " ", r"1 of 24 rows have no label in domain: row 4"),
    ],
)
def test_what_is_no_count_no_number_and_no_label_is_named(column, value, match):
    frame, _ = plain("fay_herriot", np.random.default_rng(1))
    frame = frame.astype({column: "object"})
    frame.loc[3, column] = value
    with pytest.raises(SaeInputError, match=match):
        sae.FayHerriot("y ~ x").fit(frame)


def test_a_column_of_complex_numbers_is_refused():
    frame, _ = plain("fay_herriot", np.random.default_rng(1))
    with pytest.raises(SaeInputError, match="y holds dates or other values"):
        sae.FayHerriot("y ~ x").fit(frame.assign(y=frame["y"] + 1j))


def test_a_text_without_signs_names_no_unit():
    units, areas = plain("nested", np.random.default_rng(1))
    units.loc[5, "domain"] = "  "
    with pytest.raises(SaeInputError, match="domain is missing in 1 of 96 units: row 6"):
        sae.NestedError("y ~ x").fit(units, areas=areas)


@pytest.mark.parametrize("model", MODELS)
def test_columns_of_one_name_are_refused(model):
    data, areas = plain(model, np.random.default_rng(1))
    twice = pd.concat([data, data[["n"]]], axis=1)
    with pytest.raises(SaeInputError, match=r"repeat the columns n|several columns named 'n'"):
        MODELS[model].fit(twice, areas=areas, seed=1)
    beside = data[["domain", "x"]] if areas is None else areas
    with pytest.raises(SaeInputError, match="The areas repeat the columns x"):
        MODELS[model].fit(data, areas=pd.concat([beside, beside[["x"]]], axis=1), seed=1)


def test_what_overflows_is_named():
    units, areas = plain("nested", np.random.default_rng(1))
    areas.loc[7, "x"] = 1e300
    with warnings.catch_warnings(), pytest.raises(SaeError, match="no finite number in 1 of 24 domains: A07"):
        warnings.simplefilter("ignore")
        sae.NestedError("y ~ x").fit(units, areas=areas)


def test_a_posterior_that_no_nodes_hold_is_named():
    frame, _ = plain("arcsin", np.random.default_rng(1))
    frame.loc[3, "n_eff"] = 1e300
    with (
        warnings.catch_warnings(),
        pytest.raises(SaeError, match="posterior of the model variance was not found"),
    ):
        warnings.simplefilter("ignore")
        MODELS["arcsin"].fit(frame, seed=1)


LIBRARIES = {"polars": pl.from_pandas, "pyarrow": pa.Table.from_pandas}


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("model", MODELS)
def test_a_frame_of_another_library_gives_the_same_table_to_the_bit(model, library):
    """Codes with zeros in front and accents, levels as text, a number of records that is missing."""
    data, areas = plain(model, np.random.default_rng(1))
    codes = {name: f"0{k}é" for k, name in enumerate(data["domain"].unique())}
    data["domain"], spec = data["domain"].map(codes), MODELS[model]
    if model in UNITS:
        areas["domain"] = areas["domain"].map(codes)
    else:
        kind = np.where(np.arange(len(data)) % 3 == 0, "town", "city")
        areas = data[["domain", "x"]].assign(kind=kind)
        data = data.drop(columns="x")
        spec = replace(spec, formula=f"{spec.formula} + kind")
        if model != "binomial":
            data["n"] = data["n"].where(data["n"] != data["n"][3])
    other = LIBRARIES[library]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours = spec.fit(data, areas=areas, seed=1).estimates
        theirs = spec.fit(other(data), areas=other(areas), seed=1).estimates
    pd.testing.assert_frame_equal(ours.frame, theirs.frame, check_exact=True)


@pytest.mark.parametrize("library", LIBRARIES)
def test_every_other_door_takes_a_frame_of_another_library(library):
    other, names = LIBRARIES[library], list("abcdefgh")
    frame = pd.DataFrame({"domain": names * 5, "w": 2.0, "y": [0.0, 1, 1, 0, 1, 0, 1, 1] * 5})
    frame["y"] = np.where(np.arange(40) % 5 == 0, 1.0, frame["y"])
    surveys = [sae.Survey.from_frame(records, weights="w") for records in (frame, other(frame))]
    direct = [sae.direct(survey, "y", by="domain") for survey in surveys]
    pd.testing.assert_frame_equal(direct[0].frame, direct[1].frame, check_exact=True)
    edges = pd.DataFrame({"a": names, "b": names[1:] + names[:1]})
    both = [sae.auxiliary.neighbours(pairs).pairs for pairs in (edges, other(edges))]
    np.testing.assert_array_equal(*both)
    assert sae.SAR(other(edges)).text == sae.SAR(edges).text
    rows = direct[0].frame
    judged = [sae.quality.assess(table, "eurostat_silc") for table in (rows, other(rows))]
    pd.testing.assert_frame_equal(*judged)
    counts = pd.DataFrame({"domain": names, "population": range(10, 18)})
    tables = [sae.design_based.synthetic(surveys[0], "y", "domain", some) for some in (counts, other(counts))]
    pd.testing.assert_frame_equal(tables[0].frame, tables[1].frame, check_exact=True)
    strata = counts.rename(columns={"domain": "stratum"})
    plans = [
        sae.planning.allocate(some, method=sae.planning.Proportional(), total=40).frame
        for some in (strata, other(strata))
    ]
    pd.testing.assert_frame_equal(*plans)
    table = sae.EstimateTable(other(pd.DataFrame({"domain": ["A"], "estimate": [0.5]})))
    assert table["domain"].tolist() == ["A"]
    assert sae.plots.compare(other(rows.assign(direct=rows["estimate"], direct_se=rows["se"]))).axes
