"""Columns that a layout derives: the first true condition decides, and every misspelling is named."""

import numpy as np
import pandas as pd
import pytest

from sae.errors import SaeSpecError
from sae.survey import Survey


def test_the_first_true_condition_decides_and_the_unknown_stays_so():
    frame = pd.DataFrame({"w": 1.0, "a": [1, 0, np.nan, 0], "b": [1, 1, 1, 0]})
    layout = {"derive": {"x": {"levels": {"one": "a == 1", "two": "b == 1"}}}}
    made = Survey.from_frame(frame, weights="w", layout=layout).frame["x"]
    assert made.cat.categories.tolist() == ["one", "two"]
    assert made.astype(object).where(made.notna(), "").tolist() == ["one", "two", "", ""]


def test_weights_may_be_derived():
    frame = pd.DataFrame({"thousands": [1.5, 2.0]})
    layout = {"derive": {"w": {"expression": "thousands * 1000"}}, "columns": {"weights": "w"}}
    assert Survey.from_frame(frame, layout=layout).weights.tolist() == [1500, 2000]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"levels": {}}, "levels is a table"),
        ({"levels": {"a": 1}}, "levels is a table"),
        ({"nuts": ["a"]}, "nuts is the columns of country and region"),
        ({"country": 5}, "country is the name of a column"),
        ({"ages": []}, "ages is a list of columns"),
        ({"ages": ["a"], "lower_limits": ["x"]}, "lower_limits is a list of ages"),
        ({"ages": ["a"], "limits": [1]}, r"unknown key 'limits'(.|\n)*lower_limits"),
        ({"join": ["a"], "expression": "a == 1"}, "needs 'join'"),
    ],
)
def test_misspelt_derivations(how, message):
    with pytest.raises(SaeSpecError, match=message):
        Survey.from_frame(pd.DataFrame({"a": [1.0]}), weights="a", layout={"derive": {"x": how}})
