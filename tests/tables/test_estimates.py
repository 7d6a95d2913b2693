"""What `assign` leaves as it is, types and refuses."""

import numpy as np
import pandas as pd
import pytest

import sae
from sae.errors import SaeInputError


@pytest.fixture
def table():
    frame = pd.DataFrame(
        {"domain": ["A", "B"], "region": ["x", "y"], "estimate": [0.5, 0.6], "mse": [0.01, 0.04]}
    )
    return sae.EstimateTable.from_mse(frame, ("region",))


def test_an_assigned_column_has_the_dtype_of_the_table(table):
    before = table.to_frame()
    done = table.assign(
        n=np.array([3.0, np.nan]),
        estimate=[1, 2],
        flag="u",
        reason=pd.Series(["few", None]),
        policy=np.array([7, 8]),
        publishable=pd.NA,
        ci_low=lambda frame: frame["estimate"] - 1.0,
    )
    pd.testing.assert_series_equal(done.frame.dtypes, before.dtypes)
    pd.testing.assert_frame_equal(table.frame, before)
    assert done["n"].tolist() == [3, pd.NA] and done["estimate"].tolist() == [1.0, 2.0]
    assert done["flag"].tolist() == ["u", "u"] and done["reason"].tolist() == ["few", ""]
    assert done["policy"].tolist() == ["7", "8"] and done["publishable"].isna().all()
    assert done["ci_low"].tolist() == [0.0, 1.0]  # of the columns that stand before it, as pandas does
    assert done.groups == ("region",) and done["region"].tolist() == ["x", "y"]


def test_what_the_table_cannot_hold_is_refused(table):
    with pytest.raises(SaeInputError, match="no place for the columns colour"):
        table.assign(colour="red")
    with pytest.raises(SaeInputError, match="not whole"):
        table.assign(n=np.array([1.5, 2.0]))
    assert table.assign(region=["p", "q"])["region"].tolist() == ["p", "q"]
