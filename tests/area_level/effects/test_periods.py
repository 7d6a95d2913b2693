"""One rule of time: what is a step, a year, a quarter, a month, a date; what is refused; gaps by name."""

import numpy as np
import pandas as pd
import pytest

from sae.area_level.effects.periods import time_axis
from sae.errors import SaeInputError


def axis(values, unit=None):
    return time_axis(pd.Series(values), "period", unit)


@pytest.mark.parametrize(
    ("values", "unit", "place", "missing"),
    [
        ([1, 2, 3], None, [0, 1, 2], ()),
        ([3, 1, 2], None, [2, 0, 1], ()),
        ([1.0, 2.0, 4.0], None, [0, 1, 3], ("3",)),
        (["9", "10", "12"], None, [0, 1, 3], ("11",)),
        ([2019, 2020, 2021], None, [0, 1, 2], ()),
        ([2014, 2016, 2020], None, [0, 1, 3], ("2018",)),
        ([2014, 2016, 2020], "year", [0, 2, 6], ("2015", "2017", "2018", "2019")),
        (["2019/20", "2020/21", "2022/23"], None, [0, 1, 3], ("2021",)),
        ([20204, 20211], "quarter", [0, 1], ()),
        ([20203, 20211], "quarter", [0, 2], ("2020Q4",)),
        (["2020Q4", "2021Q1"], None, [0, 1], ()),
        (["2020-Q3", "2020-Q4", "2021-Q2"], None, [0, 1, 3], ("2021Q1",)),
        (["2020S2", "2021S1"], None, [0, 1], ()),
        ([202012, 202101], "month", [0, 1], ()),
        (["202011", "202101"], "month", [0, 2], ("2020-12",)),
        (["2020-12", "2021-01"], None, [0, 1], ()),
        (["2020M11", "2020M12", "2021M02"], None, [0, 1, 3], ("2021-01",)),
        (["2020-03", "2020-06", "2020-12"], None, [0, 1, 3], ("2020-09",)),
        (["2020-W53", "2021-W01"], None, [0, 1], ()),
        (["2024-01-01", "2024-02-01", "2024-04-01"], None, [0, 1, 3], ("2024-03",)),
        (["2024-01-31", "2024-02-29", "2024-03-31"], None, [0, 1, 2], ()),
        (["2024-01-01", "2024-01-08", "2024-01-22"], None, [0, 1, 3], ("2024-01-15",)),
        (["2024-01-15", "2024-04-02", "2024-07-30"], "quarter", [0, 1, 2], ()),
        ([20240131, 20240301], "day", [0, 30], None),
        ([1441, 1443], "step", [0, 2], ("1442",)),
        (["wave 1", "wave 2", "wave 10"], None, [0, 1, 9], None),
        ([7310, 7311], "step", [0, 1], ()),
    ],
)
def test_periods_stand_where_their_unit_puts_them(values, unit, place, missing):
    got = axis(values, unit)
    assert got.place.tolist() == place
    if missing is not None:
        assert got.missing == missing
        assert all(name in got.messages[0].text for name in missing) if missing else not got.messages


def test_dates_and_periods_of_pandas_and_ordered_levels():
    assert axis(pd.to_datetime(["2024-01-01", "2024-03-01"])).place.tolist() == [0, 1]  # steps of two months
    assert axis(pd.period_range("2020Q3", periods=3, freq="Q")).place.tolist() == [0, 1, 2]
    assert axis(pd.period_range("2020-11", periods=3, freq="M")).place.tolist() == [0, 1, 2]
    assert axis(pd.period_range("2020-01-06", periods=3, freq="W")).place.tolist() == [0, 1, 2]
    seasons = pd.Categorical(["spring", "autumn"], ["spring", "summer", "autumn"], ordered=True)
    assert axis(seasons).place.tolist() == [0, 1]
    spaced = pd.Categorical(
        ["spring", "summer", "winter"], ["spring", "summer", "autumn", "winter"], ordered=True
    )
    assert axis(spaced).missing == ("autumn",)


@pytest.mark.parametrize(
    ("values", "unit", "match"),
    [
        ([20204, 20211], None, 'unit="quarter"'),
        ([202012, 202101], None, 'unit="month"'),
        (["202012", "202101"], None, 'unit="month"'),
        ([20201231, 20210101], None, 'unit="day"'),
        ([1441, 1442], None, 'unit="step"'),
        ([1, 2020], None, "neither years nor small counts"),
        ([20205, 20211], "quarter", "no periods of unit"),
        ([202013, 202101], "month", "no periods of unit"),
        ([2020.25, 2020.5], None, "no periods"),
        (["a", "b"], None, "no periods"),
        (["January", "February"], None, "no periods"),
        (["2020Q1", "2020-05"], None, "no periods"),
        (["2020Q4", "2020-Q4"], None, "are one quarter"),
        (["2009-10", "2010-11"], None, "months and as years"),
        (["2024-02-30", "2024-03-01"], None, "no date"),
        (["2021W53", "2021W01"], None, "no week 53"),
        (["2024-01-01", "2024-02-17", "2031-07-30"], None, "in 2768 steps"),
        ([0, 1, 900], None, "in 901 steps"),
        ([10**14, 10**14 + 1, 10**15 - 1], "step", "in 9000"),
        (["2020Q1", "2020Q2"], "month", "no periods of unit"),
        ([2020], None, "one period only"),
    ],
)
def test_what_is_no_period_is_refused_with_the_mend(values, unit, match):
    with pytest.raises(SaeInputError, match=match) as error:
        axis(values, unit)
    assert error.value.column == "period"


def test_the_readings_that_a_unit_tells_apart():
    both = ["2009-10", "2010-11"]
    assert axis(both, "month").place.tolist() == [0, 13]
    assert axis(both, "year").place.tolist() == [0, 1]
    assert np.array_equal(axis([2015, 2017], "step").place, [0, 2])
