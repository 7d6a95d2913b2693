"""Indicators: the registry, finding one by name, and its arrays on a survey, by hand and by brute force."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest

import sae
from sae.errors import SaeSpecError
from sae.indicators import Indicator, arrays, catalogue, resolve
from sae.survey import Survey

ROUNDING = 1e-12  # the same sums in another order


def survey_of(time=None, **columns):
    frame = pd.DataFrame(columns)
    return Survey.from_frame(frame.assign(w=np.arange(1.0, len(frame) + 1)), weights="w", time=time)


@pytest.fixture
def labour():
    return survey_of(
        age=[15.0, 20, 30, 40, 64, 65, np.nan, 50],
        labour_status=[
            "employed",
            "employed",
            "unemployed",
            "inactive",
            None,
            "employed",
            "employed",
            "employed",
        ],
        hours=[10.0, 38, np.nan, 0, 40, 12, 30, 20],
        flag=[0, 1, 1, 0, 1, 0, 1, 1],
        income=[9.0, 12, 3, 40, 7, 8, 100, np.nan],
    )


def test_catalogue_holds_one_versioned_definition_per_indicator():
    table = catalogue()
    assert {"id", "version", "state", "breaks", "grade", "direction", "tables", "weight"} < set(table.columns)
    assert table["id"].is_unique and (table[["version", "label", "unit", "source"]] != "").all(axis=None)
    assert {
        "employment_rate",
        "unemployment_rate",
        "activity_rate",
        "arpr",
        "poverty_gap",
        "qsr",
        "gini",
        "median_income",
        "poverty_rate",
    } <= set(table["id"])
    table.loc[0, "id"] = "changed"
    assert catalogue().loc[0, "id"] == "employment_rate"


@pytest.mark.parametrize(
    ("name", "numerator", "inside", "missing"),
    [
        # age 20–64: records 1, 2, 3, 7; record 4 has no status; record 6 no age
        ("employment_rate", [1, 7], [1, 2, 3, 7], [4, 6]),
        ("activity_rate", [1, 2, 7], [1, 2, 3, 7], [4, 6]),
        # 15–74 in the labour force; record 3 is inactive and hence out, not missing
        ("unemployment_rate", [2], [0, 1, 2, 5, 7], [4, 6]),
    ],
)
def test_labour_rates_by_hand(name, numerator, inside, missing, labour):
    indicator = resolve(name, labour)
    got = arrays(indicator, labour)
    assert np.flatnonzero(got.numerator).tolist() == numerator
    assert np.flatnonzero(got.inside).tolist() == inside
    assert np.flatnonzero(got.denominator).tolist() == inside
    assert np.flatnonzero(got.item_missing).tolist() == missing
    assert got.share and got.unit == "share"
    assert indicator.definition == indicator.version


def test_a_record_surely_outside_is_not_item_missing():
    """Kleene: a missing age does not matter where the status already says no."""
    survey = survey_of(
        age=[np.nan, np.nan, np.nan, 30], labour_status=["inactive", "employed", None, "unemployed"]
    )
    got = arrays(resolve("unemployment_rate", survey), survey)
    assert np.flatnonzero(got.item_missing).tolist() == [1, 2]
    assert np.flatnonzero(got.inside).tolist() == [3]


def test_ratio_that_is_no_share_keeps_both_sides(labour):
    got = arrays(
        Indicator("labour_status == 'unemployed'", denominator="labour_status == 'employed'"), labour
    )
    assert not got.share and got.unit == ""
    assert np.flatnonzero(got.numerator).tolist() == [2]
    assert np.flatnonzero(got.denominator).tolist() == [0, 1, 5, 6, 7]
    assert np.flatnonzero(got.inside).tolist() == [0, 1, 2, 3, 5, 6, 7]


def test_numeric_ratio_and_missing_values_leave_both_sides(labour):
    got = arrays(Indicator("income", denominator="hours", universe="age < 65"), labour)
    assert np.flatnonzero(got.inside).tolist() == [0, 1, 3, 4]
    np.testing.assert_array_equal(got.numerator, [9, 12, 0, 40, 7, 0, 0, 0])
    np.testing.assert_array_equal(got.denominator, [10, 38, 0, 0, 40, 0, 0, 0])
    assert np.flatnonzero(got.item_missing).tolist() == [2, 6, 7]


def test_column_of_0_and_1_is_a_share_a_number_is_a_mean(labour):
    flag, hours = resolve("flag", labour), resolve("hours", labour)
    assert (flag.unit, hours.unit) == ("share", "")
    assert arrays(flag, labour).numerator.dtype == bool
    got = arrays(hours, labour)
    assert got.numerator.dtype == float and not got.share
    assert np.flatnonzero(got.item_missing).tolist() == [2]
    assert flag.name == "flag" and flag.definition == "flag"


def test_total_counts_the_universe(labour):
    got = arrays(Indicator("labour_status == 'employed'", kind="total", universe="age >= 20"), labour)
    assert not got.share and np.flatnonzero(got.numerator).tolist() == [1, 5, 7]
    np.testing.assert_array_equal(got.denominator, got.inside)


def test_a_subset_is_outside_and_is_not_missing(labour):
    part = labour.subset("hours >= 20")
    got = arrays(resolve("employment_rate", part), part)
    assert np.flatnonzero(got.inside).tolist() == [1, 7]
    assert np.flatnonzero(got.item_missing).tolist() == [4, 6]


def test_income_keeps_everybody_for_the_threshold(labour):
    part = labour.subset("age < 60")
    got = arrays(resolve("arpr", part), part)
    assert np.isfinite(got.numerator).sum() == 7 and np.isnan(got.numerator[7])
    assert np.flatnonzero(got.inside).tolist() == [0, 1, 2, 3]
    assert np.flatnonzero(got.item_missing).tolist() == [7]
    assert got.share and got.groups is None


def test_thresholds_go_by_period(labour):
    frame = labour.frame.assign(year=["2023"] * 4 + ["2024"] * 4)
    dated = Survey.from_frame(frame, weights="w", time="year")
    got = arrays(resolve("arpr", dated), dated)
    assert got.groups.tolist() == [0, 0, 0, 0, 1, 1, 1, 1] and got.group_labels == ("2023", "2024")


def test_thresholds_go_by_country_where_there_are_several(labour):
    columns = {"country": ["AT"] * 3 + ["BG"] * 5, "year": ["2023", "2024"] * 4}
    frame = labour.frame.assign(**columns)
    got = arrays(resolve("arpr", labour), Survey.from_frame(frame, weights="w"))
    assert got.groups.tolist() == [0, 0, 0, 1, 1, 1, 1, 1] and got.group_labels == ("AT", "BG")
    got = arrays(resolve("arpr", labour), Survey.from_frame(frame, weights="w", time="year"))
    assert got.group_labels == ("2023 AT", "2023 BG", "2024 AT", "2024 BG")
    assert got.groups.tolist() == [0, 2, 0, 3, 1, 3, 1, 3]


def test_two_countries_in_one_file_give_what_each_gives_alone(rng):
    n = 400
    income = np.concatenate([rng.lognormal(10, 0.5, n), rng.lognormal(8.5, 0.5, n)])
    frame = pd.DataFrame({"w": 1.0, "income": income, "country": ["AT"] * n + ["BG"] * n})
    names = ["arpr", "poverty_gap", "poverty_threshold", "median_income_ratio"]
    survey = Survey.from_frame(frame, weights="w")
    both = sae.direct(survey, names, by="country").frame
    for country, part in frame.groupby("country"):
        alone = sae.direct(Survey.from_frame(part.reset_index(drop=True), weights="w"), names)
        got = both[both["country"] == country]
        np.testing.assert_allclose(got["estimate"], alone["estimate"], rtol=ROUNDING)


@pytest.mark.parametrize("lost", ["2023", "2024"])
def test_a_period_without_incomes_has_no_threshold(lost, rng):
    frame = pd.DataFrame(
        {
            "w": 1.0,
            "income": rng.lognormal(10, 0.5, 200),
            "year": ["2023", "2024"] * 100,
            "deprived": (["yes"] + ["no"] * 4) * 40,
        }
    )
    union = Indicator("income", kind="arpr", union="deprived == 'yes'", id="union")
    names = ["arpr", "poverty_gap", "poverty_threshold", "median_income_ratio", union]
    frame.loc[frame["year"] == lost, "income"] = np.nan
    table = sae.direct(Survey.from_frame(frame, weights="w", time="year"), names, by="year")
    gone = table["year"] == lost
    assert (table["n"][gone] == 0).all() and (table["status"][gone] == "no answer").all()
    alone = frame[frame["year"] != lost].reset_index(drop=True)
    alone = sae.direct(Survey.from_frame(alone, weights="w", time="year"), names)
    for column in ("n", "estimate"):
        np.testing.assert_allclose(table[column][~gone], alone[column], rtol=ROUNDING)
    # the other period's units have a score of 0: 200/199 in the place of 100/99, and another mean
    np.testing.assert_allclose(table["se"][~gone], alone["se"] * np.sqrt(200 / 199 * 99 / 100), rtol=1e-3)
    assert sum("100 records have no threshold" in line for line in table.log) == len(names)


def test_records_without_a_period_count_nowhere(rng):
    frame = pd.DataFrame(
        {"w": 1.0, "income": rng.lognormal(10, 0.5, 100), "year": ["2023"] * 60 + [None] * 40}
    )
    table = sae.direct(Survey.from_frame(frame, weights="w", time="year"), "arpr")
    assert table["n"][0] == 60 and any("40 records have no threshold" in line for line in table.log)


def test_with_universe_changes_the_version_unless_it_is_the_same(labour):
    rate = resolve("employment_rate", labour)
    assert rate.with_universe("20 <= age <= 64") is rate
    wider = rate.with_universe("15 <= age <= 64")
    assert wider.definition != rate.definition and "15 <= age <= 64" in wider.definition
    assert rate.universe == "20 <= age <= 64"


def test_text_codes_in_every_dtype_give_the_same(labour):
    expected = arrays(resolve("employment_rate", labour), labour)
    for dtype in ("object", "string", "category"):
        frame = labour.frame.assign(labour_status=labour.frame["labour_status"].astype(dtype))
        other = Survey.from_frame(frame, weights="w")
        got = arrays(resolve("employment_rate", other), other)
        np.testing.assert_array_equal(got.numerator, expected.numerator)
        np.testing.assert_array_equal(got.item_missing, expected.item_missing)


def test_column_names_that_no_expression_can_hold():
    survey = survey_of(**{"net rent": [100.0, 200, np.nan], "sch.wide": [1, 0, 1]})
    got = arrays(resolve("net rent", survey), survey)
    np.testing.assert_array_equal(got.numerator, [100, 200, 0])
    assert arrays(resolve("sch.wide", survey), survey).share


def test_an_id_comes_before_a_column_unless_its_own_columns_are_absent():
    both = survey_of(gini=[0.3, 0.4], income=[1.0, 2.0])
    assert resolve("gini", both).kind == "gini"
    only = survey_of(gini=[0.3, 0.4])
    assert resolve("gini", only).kind == "ratio"


def test_public_name():
    assert sae.Indicator is Indicator


def refused(survey, indicator):
    with pytest.raises(SaeSpecError) as caught:
        found = resolve(indicator, survey)
        arrays(found, survey)
    return str(caught.value)


def test_absent_columns_are_named_with_what_there_is(labour):
    text = refused(survey_of(age=[1.0, 2.0], labourstatus=["employed", "inactive"]), "employment_rate")
    assert "needs the column labour_status" in text and "It has age, labourstatus, w" in text
    assert "Did you mean labourstatus?" in text
    text = refused(labour, Indicator("wage", denominator="hourz"))
    assert "needs the columns wage, hourz" in text


def test_unknown_names_suggest_near_ones(labour):
    text = refused(labour, "employment_rat")
    assert "neither an indicator of the registry nor a column" in text and "employment_rate" in text
    assert "is a name or an sae.Indicator" in refused(labour, 3)


def test_text_has_no_mean(labour):
    text = refused(labour, "labour_status")
    assert "holds text (employed, unemployed, inactive)" in text
    assert "sae.Indicator(numerator=\"labour_status == 'employed'\")" in text
    assert "is a text column" in refused(labour, Indicator("labour_status"))


def test_harmonised_codes_are_checked():
    text = refused(survey_of(age=[30.0, 40], labour_status=["Employed", "inactive"]), "employment_rate")
    assert "holds Employed" in text and "employed, unemployed, inactive" in text
    assert "holds 2" in refused(survey_of(poor=[1, 2]), "poverty_rate")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"numerator": " "}, "needs a numerator"),
        ({"numerator": "x", "kind": "mode"}, "'mode' does not exist"),
        ({"numerator": "x", "denominator": "y", "kind": "mean"}, "has no denominator"),
        ({"numerator": "x", "kind": "arpr", "threshold_share": 60}, "share of the median"),
    ],
)
def test_contradictions_are_refused(options, message):
    with pytest.raises(SaeSpecError, match=message):
        Indicator(**options)


def test_a_universe_is_a_condition_and_an_income_a_number(labour):
    assert "is a number; a universe is a yes/no condition" in refused(
        labour, Indicator("flag", universe="hours")
    )
    assert "is about an income" in refused(labour, Indicator("flag", kind="gini"))


def test_a_column_without_a_value_is_refused():
    assert "has no value at all" in refused(survey_of(x=[np.nan, np.nan]), "x")


def test_rates_agree_with_brute_force(rng):
    n = 3000
    status = rng.choice(["employed", "unemployed", "inactive", None], n, p=[0.5, 0.1, 0.3, 0.1])
    age = np.where(rng.random(n) < 0.03, np.nan, rng.integers(0, 90, n))
    survey = survey_of(age=age, labour_status=status)
    w = survey.weights
    for name, (low, high), top, bottom in [
        ("employment_rate", (20, 64), {"employed"}, {"employed", "unemployed", "inactive"}),
        ("activity_rate", (20, 64), {"employed", "unemployed"}, {"employed", "unemployed", "inactive"}),
        ("unemployment_rate", (15, 74), {"unemployed"}, {"employed", "unemployed"}),
    ]:
        numerator = sum(w[i] for i in range(n) if low <= age[i] <= high and status[i] in top)
        denominator = sum(w[i] for i in range(n) if low <= age[i] <= high and status[i] in bottom)
        got = arrays(resolve(name, survey), survey)
        rate = (w @ got.numerator) / (w @ got.denominator)
        assert rate == pytest.approx(numerator / denominator, rel=ROUNDING)


def test_a_share_of_a_million_records_stays_in_bytes():
    """Peak memory of one registry rate: a dozen bytes per record, so that 10 million fit."""
    n = 1_000_000
    codes = np.arange(n) % 3
    status = pd.Categorical.from_codes(codes, ["employed", "unemployed", "inactive"])
    frame = pd.DataFrame({"age": (np.arange(n) % 90).astype("int8"), "labour_status": status, "w": 1.0})
    survey = Survey.from_frame(frame, weights="w")
    indicator = resolve("employment_rate", survey)
    tracemalloc.start()
    got = arrays(indicator, survey)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 * n
    kept = {
        id(array): array.nbytes for array in (got.numerator, got.denominator, got.inside, got.item_missing)
    }
    assert sum(kept.values()) == 3 * n


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([1, 2, 2, 1], r"holds the codes 1, 2, .*numerator=\"works == 1\""),
        ([0, 1, 1, 9], r"holds the codes 0, 1, 9, .*missing = \[\"9\"\]"),
        ([0, 1, 1, -1], r"holds the codes -1, 0, 1, .*missing = \[\"-1\"\]"),
    ],
)
def test_the_mean_of_codes_is_warned_of_where_it_is_called(values, words):
    survey = sae.Survey.from_frame(pd.DataFrame({"w": 1.0, "works": values}), weights="w")
    with pytest.warns(sae.errors.SaeWarning, match=words) as caught:
        sae.direct(survey, "works")
    assert caught[0].filename == __file__


@pytest.mark.filterwarnings("error::sae.errors.SaeWarning")
@pytest.mark.parametrize(
    "values", [[0, 1, 1, 0], [0, 1, 2, 3], [1.5, 2, 7, 9], [True, False, True, True], [7, 8, 9, 7]]
)
def test_the_mean_of_numbers_is_not_warned_of(values):
    survey = sae.Survey.from_frame(pd.DataFrame({"w": 1.0, "works": values}), weights="w")
    assert sae.direct(survey, "works")["estimate"].item() == pytest.approx(np.mean(values))


def test_a_code_that_the_layout_calls_missing_takes_no_part_in_the_mean():
    frame = pd.DataFrame({"w": 1.0, "works": [0, 1, 1, 9]})
    survey = sae.Survey.from_frame(frame, weights="w", layout={"missing": ["9"]})
    assert sae.direct(survey, "works")["estimate"].item() == pytest.approx(2 / 3)
