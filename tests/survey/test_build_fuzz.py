"""Frames and layouts of every kind: a survey that holds them, or an error of ours that names the fault."""

import datetime
import warnings
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

import sae
from sae.errors import SaeError, SaeSpecError, SaeWarning
from sae.survey.layouts import resolve_layout
from tests.fuzz import ODD_CELLS, seeds

N = 8
OBJECTS = [
    1,
    2.0,
    "3",
    None,
    np.nan,
    pd.NA,
    True,
    Decimal("1.5"),
    [1],
    {"a": 1},
    (1, 2),
    b"x",
    "NA",
    "I\u0302le",
    "Île",
    datetime.date(2024, 1, 1),
    pd.Timestamp("2024-01-01"),
    pd.Period("2024Q1"),
    np.float32(2),
    10**30,
    float("inf"),
    np.array([1]),
    {1},
    object(),
    1j,
    pd.Interval(0, 1),
]
KINDS = ["int8", "uint64", "float32", "Int64", "Float64", "boolean", "bool", "string", "category", "object"]
VALUES = [
    "x",
    "g",
    "w",
    "x",
    "",
    None,
    1,
    1.5,
    True,
    [],
    ["x"],
    ["x", "g"],
    [1],
    {},
    {"first": ["x"]},
    {"first": []},
    {"a": {}},
]
KEYS = [
    *[
        "weights",
        "strata",
        "stratum",
        "psu",
        "cluster",
        "household",
        "person",
        "time",
        "fpc",
        "replicates",
        "age",
    ],
    *[
        "city",
        "x",
        "first",
        "column",
        "join",
        "separator",
        "expression",
        "columns",
        "codes",
        "derive",
        "missing",
        "w",
    ],
]


def odd_column(rng):
    kind = rng.integers(4)
    if kind == 0:
        return pd.Series([OBJECTS[k] for k in rng.integers(len(OBJECTS), size=N)], dtype=object)
    if kind == 1:
        one, other = (OBJECTS[k] for k in rng.integers(len(OBJECTS), size=2))
        return pd.Series([one, other] * (N // 2), dtype=object)
    if kind == 2:
        return pd.Series([ODD_CELLS[k] for k in rng.integers(len(ODD_CELLS), size=N)])
    return pd.Series(rng.integers(0, 2, N)).astype(KINDS[rng.integers(len(KINDS))])


def run_frames(count, start=0):
    good = 0
    for seed, rng in seeds(count, start):
        frame = pd.DataFrame({"w": np.ones(N), "x": odd_column(rng), "y": np.arange(N) % 2})
        if rng.random() < 0.2:
            frame.columns = [["w", "w", "y"], ["w", 1, "1"], ["w", ("x", 1), "y"], ["w", None, "y"]][
                rng.integers(4)
            ]
        roles = {
            role: "x"
            for role in ("strata", "psu", "household", "person", "time", "fpc")
            if rng.random() < 0.15
        }
        layout = {"missing": ["NA", 1]} if rng.random() < 0.3 else None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                warnings.simplefilter("ignore", SaeWarning)
                survey = sae.Survey.from_frame(
                    frame, weights="w", lonely_psu="average", layout=layout, **roles
                )
                assert len(survey) == N and survey.summary()
                if "x" in survey.frame and "y" in survey.frame:
                    table = sae.direct(survey, "y", by="x").frame
                    known = survey.frame["x"].notna()
                    assert table["n"].sum() == known.sum()
                    assert table["domain"].is_unique or roles.get("time") == "x"
                    good += 1
        except SaeError as error:
            assert len(error.what) > 10
        except BaseException as problem:
            problem.add_note(f"seed {seed}, {roles}, {layout}, {frame.iloc[:, 1].tolist()!r}")
            raise
    return good


def test_odd_frames():
    assert run_frames(100) > 20


@pytest.mark.slow
def test_odd_frames_long():
    run_frames(10_000, start=1000)


def odd_value(rng, depth=0):
    if depth < 3 and rng.random() < 0.4:
        return {KEYS[k]: odd_value(rng, depth + 1) for k in rng.integers(len(KEYS), size=rng.integers(1, 4))}
    return VALUES[rng.integers(len(VALUES))]


def run_layouts(count, start=0):
    frame = pd.DataFrame({"w": np.ones(N), "x": np.arange(N), "g": list("aabbccdd")})
    good = 0
    for seed, rng in seeds(count, start):
        parts = {
            "columns": {"weights": "w"},
            "derive": {"both": {"join": ["x", "g"]}},
            "codes": {"half": {"column": "x", "low": ["0..3"], "high": ["4..7"]}},
        }
        part = list(parts)[rng.integers(3)]
        layout = {**parts, part: {**parts[part], KEYS[rng.integers(len(KEYS))]: odd_value(rng)}}
        if rng.random() < 0.2:
            layout = odd_value(rng)
        try:
            resolve_layout(layout)
            sae.Survey.from_frame(frame, layout=layout, lonely_psu="average")
            good += 1
        except SaeError as error:
            assert len(error.what) > 10
        except BaseException as problem:
            problem.add_note(f"seed {seed}: {layout!r}")
            raise
    return good


@pytest.mark.filterwarnings("ignore::sae.errors.SaeWarning")
def test_odd_layouts():
    assert run_layouts(200) > 4


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sae.errors.SaeWarning")
def test_odd_layouts_long():
    run_layouts(10_000, start=1000)


def test_the_near_role_is_named_whatever_stands_beside_it():
    for name in ("stratum", "cluster", "weight"):
        with pytest.raises(SaeSpecError, match="did you mean"):
            resolve_layout({"columns": {name: "x", "city": "g"}})
