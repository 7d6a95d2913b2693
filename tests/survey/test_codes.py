"""Codes of columns: keys of several parts as one text, in the order of the texts."""

import numpy as np
import pandas as pd

from sae.survey.codes import join_text


def test_parts_are_joined_and_a_missing_part_is_missing():
    joined = join_text(
        [pd.Series([2013.0, 2014.0, np.nan, 2013.0]), pd.Series(["Q2", "Q1", "Q1", "Q2"])], "Q"
    )
    assert joined.astype(object).where(joined.notna(), "").tolist() == ["2013Q2", "2014Q1", "", "2013Q2"]
    assert joined.cat.categories.tolist() == ["2013Q2", "2014Q1"]


def test_levels_stand_in_the_order_of_the_text_and_two_pairs_may_be_one():
    joined = join_text([pd.Series([1, 11, 9, 1]), pd.Series(["12", "2", "0", None])], "")
    assert joined.cat.codes.tolist() == [0, 0, 1, -1]
    assert joined.cat.categories.tolist() == ["112", "90"]
    three = join_text([pd.Series(["é", "z"]), pd.Series([10, 9]), pd.Series(["b", "a"])], "/")
    assert three.cat.categories.tolist() == ["z/9/a", "é/10/b"]
    assert join_text([pd.Series([None, None], dtype=object)] * 2, "-").isna().all()
