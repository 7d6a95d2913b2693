"""Totals and parts: agreement within rounding, differences by name, overlap refused, sums by hand."""

import numpy as np
import pandas as pd
import pytest

from sae.auxiliary import check_totals, compare_totals, read_register, regroup
from sae.errors import SaeInputError, SaeSpecError
from tests.auxiliary.test_registers import TEXTS, german

TOTAL, EU, THIRD = "Insgesamt", "EU-28 (bis 31.01.2020)", "Drittstaaten zu EU-28 (bis 31.01.2020)"


def register(values, *, rounding=0.0, groups=("n", "f", "t"), years=("2020", "2021")):
    """Two areas x years x groups, one value each."""
    cells = pd.MultiIndex.from_product([["A", "B"], years, groups], names=["area", "year", "group"])
    return read_register(
        cells.to_frame(index=False).assign(value=values), groups=["group"], rounding=rounding, **TEXTS
    )


def test_differences_are_allowed_as_far_as_rounding_goes():
    values = [10, 5, 15, 10, 5, 20, 10, 5, 25, 10, 5, 15]
    table = compare_totals(register(values, rounding=5), "group", {"t": ["n", "f"]})
    assert table["difference"].tolist() == [0, 5, 10, 0]
    assert table["allowed"].tolist() == [7.5] * 4  # three figures, each off by 2.5 at most
    assert table["agrees"].tolist() == [True, True, False, True]
    with pytest.raises(SaeInputError, match=r"1 of 4 totals .* B / 2020 / t / residents: 25, not 15 \(10\)"):
        check_totals(register(values, rounding=5), "group", {"t": ["n", "f"]})
    with pytest.raises(SaeInputError, match="2 of 4 totals are not the sum"):
        check_totals(register(values), "group", {"t": ["n", "f"]})


def test_overlapping_groups_are_no_partition():
    values = [10, 5, 12, 10, 5, 13, 10, 5, 11, 10, 5, 12]
    with pytest.raises(SaeInputError, match=r"no partition of t: they overlap.* 4 of 4 cells \(up to 1.36"):
        check_totals(register(values), "group", {"t": ["n", "f"]})


def test_a_missing_part_is_not_a_zero():
    whole = register([10, 5, 15] * 4)
    absent = read_register(whole.frame.iloc[1:].drop(columns="rounding_error"), groups=["group"])
    unpublished = whole.frame.assign(value=whole.frame["value"].where(whole.frame.index != 1))
    for one in (absent, read_register(unpublished.drop(columns="rounding_error"), groups=["group"])):
        table = compare_totals(one, "group", {"t": ["n", "f"]})
        assert table["agrees"].isna().tolist() == [True, False, False, False]
        with pytest.raises(SaeInputError, match=r"1 of 4 totals cannot be checked.* A / 2020 / t"):
            check_totals(one, "group", {"t": ["n", "f"]})
        assert (
            regroup(one.select(year="2021"), "group", {"all": ["n", "f"]}, total="t")
            .frame["value"]
            .eq(15)
            .all()
        )
    with pytest.raises(SaeInputError, match="1 of 4 sums of n, f lack a part: A / 2020"):
        regroup(absent.select(group=["n", "f"]), "group", {"all": ["n", "f"]})


def test_several_steps_of_areas():
    frame = pd.DataFrame(
        {"area": ["AT", "AT1", "AT2", "AT11", "AT12"], "year": "2020", "value": [9, 5, 4, 3, 1]}
    )
    steps = {"AT": ["AT1", "AT2"], "AT1": ["AT11", "AT12"]}
    table = compare_totals(read_register(frame, **TEXTS), "area", steps)
    assert table[["area", "difference"]].values.tolist() == [["AT", 0.0], ["AT1", 1.0]]


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ({"t": ["n", "n"]}, "n in t would be counted twice"),
        ({"t": ["n", "t"]}, "t would be a part of itself"),
        ({"t": ["n", "x"]}, "no group 'x'"),
    ],
)
def test_parts_that_cannot_be_are_refused(parts, text):
    with pytest.raises(SaeSpecError, match=text):
        compare_totals(register([1.0] * 12), "group", parts)
    with pytest.raises(SaeSpecError, match="no column whose labels add up"):
        compare_totals(register([1.0] * 12), "year", {"2020": ["2021"]})


def test_regroup_sums_values_and_rounding():
    whole = register([10, 5, 15] * 4, rounding=5)
    both = regroup(whole, "group", {"native": ["n"], "foreign": ["f"], "all": ["t"]}, total="t")
    assert both.levels("group") == ["native", "foreign", "all"]
    beside = regroup(whole, "group", {"foreign": ["f"], "all": ["n", "f"]}, total="t")
    assert beside.frame["value"].tolist() == [5.0] * 4 + [15.0] * 4
    summed = regroup(whole.select(group=["n", "f"]), "group", {"all": ["n", "f"]})
    assert summed.frame["value"].eq(15).all() and summed.frame["rounding_error"].eq(5).all()


def test_regroup_refuses_labels_left_over_and_labels_that_overlap():
    whole = register([10, 5, 15, 20, 6, 26] * 2)
    with pytest.raises(SaeInputError, match="belong to none of the new ones: t"):
        regroup(whole, "group", {"all": ["n", "f"]})
    with pytest.raises(SaeInputError, match="overlap: 't' is the sum of n, f in all 4 cells"):
        regroup(whole, "group", {"all": ["n", "f", "t"]})
    with pytest.raises(SaeInputError, match="4 of 4 totals are not the sum"):
        regroup(whole, "group", {"native": ["n"]}, total="t")
    with pytest.raises(SaeSpecError, match="f in all would be counted twice"):
        regroup(whole, "group", {"all": ["n", "f", "f"]}, total="t")


def test_the_german_groups(shared_data):
    whole = german(shared_data, zero=["-"])
    table = compare_totals(whole, "group", {TOTAL: [EU, THIRD]})
    assert len(table) == 476 * 8 * 2 and table["agrees"].all()
    assert sorted(table["difference"].abs().unique()) == [0.0, 5.0]  # rounding, and no more than it
    check_totals(whole, "group", {TOTAL: [EU, THIRD]})
    others = [label for label in whole.levels("group") if label != TOTAL]
    with pytest.raises(SaeInputError, match=r"no partition of Insgesamt: they overlap"):
        check_totals(whole, "group", {TOTAL: others})
    with pytest.raises(SaeInputError, match="'Insgesamt' is the sum of EU-28"):
        regroup(whole, "group", {"all": [TOTAL, *others]})
    adults = regroup(whole, "sex", {"all": ["male", "female"]})
    groups = regroup(adults, "group", {"eu": [EU], "non_eu": [THIRD], "foreign": [TOTAL]}, total=TOTAL)
    assert len(groups) == 476 * 8 * 3 and (groups.frame["rounding_error"] == 5).all()


def test_the_spanish_provinces_make_spain_but_for_rounded_decimals(shared_data):
    file = shared_data / "real/es_province_population_by_nationality.csv.gz"
    options = {"columns": {"area": "prov", "year": "date"}, "groups": ["nationality"], "value": "population"}
    exact = read_register(file, **options, **TEXTS)
    provinces = {"00": [f"{k:02d}" for k in range(1, 53)]}
    table = compare_totals(exact, "area", provinces)
    assert np.mean(~table["agrees"].astype(bool)) > 0.5 and table["difference"].abs().max() < 0.11
    with pytest.raises(
        SaeInputError, match=r"00 / 2002-01-01 / africa / residents: 364,731\.89, not 364,731\.87"
    ):
        check_totals(exact, "area", provinces)
    check_totals(read_register(file, rounding=0.01, **options, **TEXTS), "area", provinces)


def test_a_sum_with_the_total_of_the_column_overlaps():
    """t = n + f, so that t + f counts f twice, though n is not in the sum."""
    with pytest.raises(SaeInputError, match="overlap: 't' is the sum of n, f in all 4 cells"):
        regroup(register([10, 5, 15] * 4), "group", {"some": ["t", "f"], "n": ["n"]})
