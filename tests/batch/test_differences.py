"""Every kind of difference between two tables of estimates, on tables made by hand."""

import numpy as np
import pandas as pd
import pytest

import sae
from sae.batch.comparison import compare_results
from sae.batch.differences import COLUMNS, FIGURES, MEANINGS, METHODS, VERDICTS, differences
from sae.errors import SaeInputError
from sae.tables import ESTIMATE_COLUMNS, EstimateTable

ROUNDED = 1e-12  # ratios of decimals such as 0.1, which are no exact floats


def table(groups=("region",), **columns):
    """Three cells, all of them shown."""
    rows = {
        "indicator": "rate",
        "definition": "v1",
        "geo": ["01", "02", "03"],
        "geo_version": "NUTS 2021",
        "time": "2024",
        "region": ["01", "02", "03"],
        "domain": ["01", "02", "03"],
        "n": [40, 50, 60],
        "estimate": [0.5, 0.4, 0.2],
        "se": [0.1, 0.1, 0.05],
        "reliability": "reliable",
        "flag": "e",
        "publishable": True,
        "policy": "eurostat_lfs",
        "method": "EBLUP",
        "model": "rate_by_region",
        "run": "aaaa",
    }
    return EstimateTable(pd.DataFrame({**rows, **columns}), groups)


def test_equal_tables_differ_in_nothing_and_the_name_of_the_run_is_no_difference():
    frame = differences(table(), table(run="bbbb", model="other"))
    assert frame.empty
    assert list(frame) == ["indicator", "geo", "time", "region", "domain", *COLUMNS]


def test_a_figure_has_its_change_in_parts_of_itself_and_in_standard_errors():
    frame = differences(table(), table(estimate=[0.5, 0.6, 0.2], se=[0.1, 0.1, 0.04]))
    assert frame[["domain", "what"]].values.tolist() == [["02", "estimate"], ["03", "se"]]
    first, second = frame.to_dict("records")
    assert (first["old"], first["new"]) == (0.4, 0.6) and first["old_text"] == first["new_text"] == ""
    assert first["relative"] == pytest.approx(0.5, abs=ROUNDED)
    assert first["in_se"] == pytest.approx(2.0, abs=ROUNDED)
    assert second["relative"] == pytest.approx(-0.2, abs=ROUNDED) and np.isnan(second["in_se"])
    assert first["old_status"] == first["new_status"] == "shown"


@pytest.mark.parametrize("name", [*VERDICTS, *MEANINGS, *METHODS])
def test_every_column_of_words_is_compared(name):
    other = False if ESTIMATE_COLUMNS[name] == "bool" else "another"
    frame = differences(table(), table(**{name: [other, *table()[name][1:]]}))
    assert frame[["domain", "what", "new_text"]].values.tolist() == [["01", name, str(other)]]
    assert frame[["old", "new", "relative", "in_se"]].isna().all(axis=None)


@pytest.mark.parametrize("name", FIGURES)
def test_every_column_of_figures_is_compared(name):
    frame = differences(table(), table(**{name: [7, *table()[name][1:]]}))
    assert frame[["domain", "what", "new"]].values.tolist() == [["01", name, 7.0]]


def test_no_column_of_the_table_is_left_out():
    kept = {"indicator", "geo", "time", "domain", "model", "run"}
    assert {*FIGURES, *VERDICTS, *MEANINGS, *METHODS} | kept == set(ESTIMATE_COLUMNS)


def test_a_figure_that_appears_or_of_which_nothing_is_known_has_no_ratio():
    old = table(estimate=[np.nan, 0.0, 0.2], se=[np.nan, 0.0, 0.05], flag=[":", "e", "e"])
    frame = differences(old, table(estimate=[0.5, 0.1, 0.2], se=[np.nan, 0.0, 0.05], flag=[":", "e", "e"]))
    assert frame["what"].tolist() == ["estimate", "estimate"]
    assert frame[["relative", "in_se"]].isna().all(axis=None)
    assert np.isnan(frame["old"][0]) and frame["new"][0] == 0.5
    assert frame["old_status"].tolist() == ["no estimate", "shown"]


def test_cells_appear_and_disappear_in_the_order_of_their_tables():
    new = table(
        geo=["03", "04", "01"], region=["03", "04", "01"], domain=["03", "04", "01"],
        estimate=[0.2, 0.9, 0.5], se=[0.05, 0.1, 0.1], n=[60, 1, 40],
        publishable=[True, False, True], reliability=["reliable", "not publishable", "reliable"],
    )  # fmt: skip
    frame = differences(table(), new)
    assert frame[["domain", "what"]].values.tolist() == [["02", "disappeared"], ["04", "appeared"]]
    gone, come = frame.to_dict("records")
    assert (gone["old"], gone["old_text"], gone["old_status"]) == (0.4, "reliable", "shown")
    assert np.isnan(gone["new"]) and gone["new_status"] == ""
    assert (come["new"], come["new_text"], come["new_status"]) == (0.9, "not publishable", "hidden")


@pytest.mark.parametrize(
    ("columns", "status"),
    [
        ({"publishable": True}, "shown"),
        ({"publishable": False, "flag": ":u"}, "hidden"),
        ({"publishable": False, "flag": ""}, "hidden"),
        ({"publishable": False, "flag": ":c", "estimate": np.nan}, "hidden"),  # masked already
        ({"publishable": False, "flag": ":cb"}, "hidden"),  # beside a break
        ({"publishable": False, "flag": ":", "estimate": np.nan}, "no estimate"),
        ({"publishable": pd.NA, "flag": "e"}, "not assessed"),
    ],
)
def test_the_status_of_a_cell(columns, status):
    frame = differences(table(), table(**columns, method="another"))
    assert set(frame["new_status"]) == {status} and set(frame["old_status"]) == {"shown"}


def test_labels_are_matched_as_text_whatever_holds_them():
    codes = pd.Series([1.0, 2.0, 3.0])
    same = {"geo": "", "domain": ["1", "2", "3"]}
    numbers = table(**same, region=codes)
    texts = table(**same, region=["1", "2", "3"])
    kinds = table(**same, region=pd.Categorical(["1", "2", "3"]))
    assert differences(numbers, texts).empty and differences(kinds, numbers).empty


def test_labels_that_are_spelt_in_two_ways_are_refused_for_a_hidden_cell_would_pass_as_new():
    with pytest.raises(SaeInputError, match="'01' and '1' differ only by zeros in front"):
        differences(table(), table(region=["1", "02", "03"]), names=("2023", "2024"))


def test_other_group_columns_are_named():
    other = EstimateTable(table().frame.drop(columns="region"))
    with pytest.raises(SaeInputError, match="made by region in 2023, but by no group columns in 2024"):
        differences(table(), other, names=("2023", "2024"))


def test_the_order_of_the_groups_makes_the_names_of_the_domains():
    tables = [table(groups=groups, sex=["f", "m", "f"]) for groups in (("region", "sex"), ("sex", "region"))]
    with pytest.raises(SaeInputError, match=r"by region, sex in .* but by sex, region in"):
        differences(*tables)


def test_a_cell_that_stands_twice_is_named():
    twice = {name: ["01", "01", "03"] for name in ("geo", "region", "domain")}
    with pytest.raises(
        SaeInputError, match=r"Several rows of 2024 are of the same cell .*: rate / 01 / 2024 / 01 / 01"
    ):
        differences(table(), table(**twice), names=("2023", "2024"))


def test_a_group_that_bears_the_name_of_a_result_column_is_refused():
    one = EstimateTable(table().frame.rename(columns={"region": "what"}), ("what",))
    with pytest.raises(SaeInputError, match="The group columns what bear names"):
        differences(one, one)


def test_an_empty_table_has_lost_or_won_every_cell():
    none = EstimateTable(table().frame.iloc[:0], ("region",))
    assert differences(table(), none)["what"].tolist() == ["disappeared"] * 3
    assert differences(none, table())["what"].tolist() == ["appeared"] * 3
    assert differences(none, none).empty


def test_the_kinds_of_the_columns_do_not_depend_on_what_differs():
    some, none = differences(table(), table(estimate=0.1, flag="u")), differences(table(), table())
    assert some.dtypes.astype(str).tolist() == none.dtypes.astype(str).tolist()


def test_a_cell_that_no_policy_could_judge_was_hidden_in_the_published_table(tmp_path):
    frame = pd.DataFrame({"domain": ["A", "B"], "estimate": [0.5, 0.4], "unit": "share", "policy": "own"})
    for name, answers in (("old", [True, None]), ("new", [True, True])):
        judged = sae.EstimateTable(frame.assign(publishable=pd.array(answers, dtype="boolean")))
        sae.publish.published(judged).write(tmp_path / f"{name}.published.csv")
    told = compare_results(tmp_path / "old.published.csv", tmp_path / "new.published.csv")
    assert [text.split(":")[1] for text in told.warnings] == [" 1 cell, hidden in the old, not in the new"]
