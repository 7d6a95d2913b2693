"""Peers by hand, their order, and refusals."""

import numpy as np
import pandas as pd
import pytest

import sae
from sae.compare import peers
from sae.errors import SaeInputError, SaeSpecError

FRAME = pd.DataFrame({"domain": list("dcba"), "size": [1.0, 2.0, 3.0, 3.0], "young": [0.2, 0.2, 0.2, 0.6]})


def test_by_hand():
    made = peers(FRAME, "b", ["size", "young"], k=3)
    size, young = FRAME["size"].std(ddof=0), FRAME["young"].std(ddof=0)
    assert made["domain"].tolist() == ["b", "c", "a", "d"]
    np.testing.assert_allclose(made["distance"], [0, 1 / size, 0.4 / young, 2 / size])
    np.testing.assert_allclose(made["size"], [0, -1 / size, 0, -2 / size])
    assert made.values["size"].tolist() == [3.0, 2.0, 3.0, 1.0]
    assert "3 peers of b among 3 areas" in repr(made)
    assert len(made.plot().axes) == 2


def test_ties_go_by_name_whatever_the_order():
    frame = pd.DataFrame({"domain": list("xcab"), "size": [0.0, 1.0, 1.0, -1.0]})
    for seed in range(3):
        mixed = frame.sample(frac=1.0, random_state=seed)
        assert peers(mixed, "x", "size", k=2)["domain"].tolist() == ["x", "a", "b"]


def test_columns_of_a_fit():
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(
        {"domain": [f"A{k}" for k in range(20)], "x": np.arange(20.0), "y": rng.normal(size=20)}
    )
    fit = sae.FayHerriot("y ~ 1").fit(frame.assign(vardir=1.0))
    assert peers(fit, "A5", ["x"], k=2)["domain"].tolist() == ["A5", "A4", "A6"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda f: peers(f, "z", ["size"]), "no area 'z'"),
        (lambda f: peers(f, "a", ["big"]), "no column big"),
        (lambda f: peers(f, "a", []), "No column"),
        (lambda f: peers(f, "a", ["size"], k=0), "no number of peers"),
        (lambda f: peers(f.assign(size=1.0), "a", ["size"]), "same value everywhere"),
        (lambda f: peers(f.assign(size=[1, 2, np.nan, 3]), "a", ["size"]), "1 of 4 areas have no size: b"),
        (lambda f: peers(pd.concat([f, f]), "a", ["size"]), "more than once"),
    ],
)
def test_refusals(call, message):
    with pytest.raises((SaeInputError, SaeSpecError), match=message):
        call(FRAME)
