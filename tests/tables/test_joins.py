"""Joins by label: nothing matches by position, nothing is lost without its name."""

import pandas as pd
import pytest

from sae.errors import SaeInputError, SaeSpecError
from sae.tables import join_by_name, unmatched

RATES = pd.DataFrame({"region": ["B", "A", "B"], "birth": ["x", "x", "y"], "rate": [0.2, 0.1, 0.3]})


def test_rows_meet_by_label_in_the_order_of_the_left():
    register = pd.DataFrame({"population": [10, 20, 30], "region": ["A", "B", "C"]})
    joined, left_over = join_by_name(RATES, register, "region")
    assert joined.columns.tolist() == ["region", "birth", "rate", "population"]
    assert joined["population"].tolist() == [20, 10, 20]
    assert joined["rate"].tolist() == RATES["rate"].tolist()
    assert left_over.to_dict("list") == {"population": [30], "region": ["C"]}


@pytest.mark.parametrize("dtype", ["object", "string", "category"])
def test_dtype_of_text_does_not_matter(dtype):
    register = pd.DataFrame({"region": pd.Series(["B", "A"]).astype(dtype), "population": [20, 10]})
    assert join_by_name(RATES, register, ["region"])[0]["population"].tolist() == [20, 10, 20]


def test_two_keys():
    register = pd.DataFrame({"birth": ["y", "x", "x"], "region": ["B", "A", "B"], "x1": [3, 1, 2]})
    assert join_by_name(RATES, register, ["region", "birth"], how="exact")[0]["x1"].tolist() == [2, 1, 3]


def test_outer_lets_both_sides_stand_alone():
    register = pd.DataFrame({"region": ["D", "B"], "population": [40, 20]})
    joined, left_over = join_by_name(RATES, register, "region", how="outer")
    assert joined["region"].tolist() == ["B", "A", "B"]
    assert joined["population"].isna().tolist() == [False, True, False]
    assert left_over["region"].tolist() == ["D"]
    assert unmatched(RATES, register, "region") == (["A"], ["D"])


CODES = {
    "int": pd.Series([9, 10]),
    "float": pd.Series([9.0, 10.0]),
    "Int64": pd.Series([9, 10], dtype="Int64"),
    "category": pd.Series(pd.Categorical([9, 10])),
    "category of floats": pd.Series(pd.Categorical([9.0, 10.0])),
    "object": pd.Series([9, 10.0], dtype="object"),
}


@pytest.mark.parametrize("kind", CODES)
@pytest.mark.parametrize("other", CODES)
def test_codes_meet_whatever_holds_them(kind, other):
    left = pd.DataFrame({"city": CODES[kind], "rate": [0.1, 0.2]})
    right = pd.DataFrame({"city": CODES[other].iloc[::-1], "population": [10, 9]})
    joined, left_over = join_by_name(left, right, "city", how="exact")
    assert joined["population"].tolist() == [9, 10] and not len(left_over)
    assert joined["city"].dtype == left["city"].dtype


def test_labels_of_two_columns_are_not_run_together():
    left = pd.DataFrame({"a": ["x / y"], "b": ["z"]})
    with pytest.raises(SaeInputError, match="No label matches"):
        join_by_name(left, pd.DataFrame({"a": ["x"], "b": ["y / z"], "n": [1]}), ["a", "b"])


def test_index_of_the_left_plays_no_part():
    register = pd.DataFrame({"region": ["A", "B"], "population": [10, 20]}, index=[7, 7])
    assert join_by_name(RATES.set_axis([5, 0, 9]), register, "region")[0]["population"].tolist() == [
        20,
        10,
        20,
    ]


def test_text_and_number_codes_are_refused_with_examples():
    left = pd.DataFrame({"geo": ["01", "02"]})
    with pytest.raises(
        SaeInputError, match=r"geo is text in direct \(such as '01'\) but numbers in areas \(such as 1\)"
    ):
        join_by_name(left, pd.DataFrame({"geo": [1, 2]}), "geo", names=("direct", "areas"))


@pytest.mark.parametrize("how", ["left", "exact", "outer"])
def test_codes_that_lost_their_zeros_are_refused_in_every_way_of_joining(how):
    left, right = pd.DataFrame({"geo": ["01", "10"]}), pd.DataFrame({"geo": ["1", "10"], "x": [1, 2]})
    with pytest.raises(SaeInputError, match=r"'01' and '1' differ only by zeros in front"):
        join_by_name(left, right, "geo", how=how)


def test_both_sides_are_named():
    left, right = pd.DataFrame({"geo": ["A", "B", "C"]}), pd.DataFrame({"geo": ["A", "D"], "x": [1, 2]})
    with pytest.raises(SaeInputError, match=r"2 only in direct \(B, C\), 1 only in areas \(D\)") as error:
        join_by_name(left, right, "geo", names=("direct", "areas"))
    assert error.value.areas == ("B", "C")
    with pytest.raises(SaeInputError, match=r"0 only in the left table, 1 only in the right table \(D\)"):
        join_by_name(left.iloc[:1], right, "geo", how="exact")


def test_no_match_at_all_is_refused_even_in_an_outer_join():
    with pytest.raises(SaeInputError, match="No label matches"):
        join_by_name(pd.DataFrame({"geo": ["A"]}), pd.DataFrame({"geo": ["B"], "x": [1]}), "geo", how="outer")


@pytest.mark.parametrize(
    ("right", "match"),
    [
        (
            pd.DataFrame({"region": ["A", "B", "B"], "x": [1, 2, 3]}),
            "1 labels of region stand more than once.*: B",
        ),
        (
            pd.DataFrame({"region": ["A", None], "x": [1, 2]}),
            "1 rows of the right table have no region: row 2",
        ),
        (
            pd.DataFrame({"area": ["A"], "x": [1]}),
            r"The right table has no column 'region'.\nThe columns are area, x",
        ),
        (pd.DataFrame({"region": ["A", "B"], "rate": [1, 2]}), "rate stand in both"),
        (pd.DataFrame({"region": ["A", 2], "x": [1, 2]}), "mixes text and numbers in the right table"),
    ],
)
def test_bad_tables_are_refused_by_name(right, match):
    with pytest.raises(SaeInputError, match=match):
        join_by_name(RATES, right, "region")


def test_unknown_way_of_joining():
    with pytest.raises(SaeSpecError, match="how='inner'"):
        join_by_name(RATES, RATES, "region", how="inner")
