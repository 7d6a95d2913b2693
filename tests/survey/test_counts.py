"""Register counts as totals of a calibration: tables, contradictions, empty cells, and what they do.

The simulation draws 30 samples of a synthetic country; with 30 draws the standard deviation of an estimate is
known to 13 %, its mean to 0.18 of that standard deviation.
"""

import numpy as np
import pandas as pd
import pytest

import sae
from sae.auxiliary import Covariates, Origin, counts, read_register
from sae.errors import SaeInputError, SaeSpecError
from sae.survey import Survey

EXACT = 1e-12  # rounding of sums over a few records
DRAWS = 30
SD_ERROR = 0.39  # three times the relative error of a standard deviation from 30 draws

LONG = pd.DataFrame(
    {
        "region": ["01", "01", "02", "02"],
        "birth": ["native", "foreign"] * 2,
        "people": [90.0, 30.0, 60.0, 20.0],
    }
)
WIDE = pd.DataFrame({"region": ["01", "02"], "native": [90, 60], "foreign": [30, 20]})


@pytest.fixture
def survey():
    frame = pd.DataFrame(
        {
            "region": ["01"] * 4 + ["02"] * 4,
            "birth": ["native", "native", "foreign", "foreign"] * 2,
            "sex": ["f", "m"] * 4,
            "w": [10.0, 12, 9, 9, 8, 8, 11, 7],
        }
    )
    return Survey.from_frame(frame, weights="w")


def without_foreigners(survey, region="02"):
    kept = ~((survey.frame["region"] == region) & (survey.frame["birth"] == "foreign"))
    return Survey.from_frame(survey.frame[kept].reset_index(drop=True), weights="w")


def cell_sums(survey):
    frame = survey.frame.assign(w=survey.weights)
    return frame.groupby(["region", "birth"], observed=True)["w"].sum().to_dict()


@pytest.mark.parametrize("table", [LONG, WIDE, LONG[["birth", "people", "region"]], LONG.iloc[::-1]])
def test_long_and_wide_tables_give_the_weights_of_a_mapping(survey, table):
    cells = {(row.region, row.birth): row.people for row in LONG.itertuples()}
    expected = survey.post_stratify(["region", "birth"], cells)
    after = survey.post_stratify(["region", "birth"], table)
    np.testing.assert_array_equal(after.weights, expected.weights)
    assert cell_sums(after) == pytest.approx(cells, rel=EXACT)
    crossed = survey.calibrate({("region", "birth"): table})
    np.testing.assert_allclose(crossed.weights, expected.weights, rtol=EXACT)


def test_the_origin_of_the_counts_is_noted(survey):
    table = Covariates(LONG, {"people": Origin("Population register", "residents", "2024-01-01")})
    after = survey.post_stratify(["region", "birth"], table)
    assert after.notes[-1] == "people: Population register, 1 January 2024 (residents)"


@pytest.mark.parametrize(
    ("table", "error", "text"),
    [
        (LONG.assign(year="2020"), SaeSpecError, r"has the columns region, birth, people, year.\nGive"),
        (LONG[["region", "birth"]], SaeSpecError, "and one column of counts"),
        (LONG[["birth", "people"]], SaeSpecError, "has the columns birth, people"),
        (LONG.assign(birth=["native", None] * 2), SaeInputError, "2 of 4 rows .* no label .*: row 2, 4"),
        (LONG.assign(people=[90, 30, None, 20]), SaeInputError, "total of '02 / native' is nan"),
        (WIDE.assign(foreign=[30, None]), SaeInputError, "total of '02 / foreign' is nan"),
        (WIDE.iloc[:1], SaeInputError, "2 levels of region x birth .* no count: 02 / foreign"),
        (pd.concat([LONG, LONG.iloc[:1]]), SaeInputError, "01 / native .* has two counts"),
        (LONG.assign(people=[90, 30, 0, 20]), SaeInputError, "1 cell .* has the count 0: 02 / native"),
    ],
)  # fmt: skip
def test_tables_that_cannot_be_used_are_refused(survey, table, error, text):
    with pytest.raises(error, match=text):
        survey.post_stratify(["region", "birth"], table)


def test_a_margin_is_calibrated_beside_the_crossing(survey):
    after = survey.calibrate({("region", "birth"): WIDE, "sex": {"f": 110, "m": 90}}, method="raking")
    assert cell_sums(after)["02", "foreign"] == pytest.approx(20, rel=1e-9)
    women = (after.frame["sex"] == "f").to_numpy()
    assert after.weights[women].sum() == pytest.approx(110, rel=1e-9)


def test_a_rule_by_cells_leaves_the_margins_alone(survey):
    rule = {("02", "foreign"): ("01", "foreign")}
    totals = {("region", "birth"): WIDE, "sex": {"f": 110, "m": 90}}
    after = without_foreigners(survey).calibrate(totals, method="raking", collapse=rule)
    assert cell_sums(after)["01", "foreign"] == pytest.approx(50, rel=1e-9)
    with pytest.raises(SaeSpecError, match="needs one table of crossed cells"):
        survey.calibrate({"sex": {"f": 110, "m": 90}}, collapse=rule)
    with pytest.raises(SaeSpecError, match="total of region x birth is 200, not counts"):
        survey.calibrate({("region", "birth"): 200})


def test_contradictions_are_named_before_any_work(survey):
    with pytest.raises(SaeInputError, match=r"contradict each other: 200 by region x birth, 210 by sex"):
        survey.calibrate({("region", "birth"): WIDE, "sex": {"f": 110, "m": 100}})
    margins = pd.DataFrame({"region": ["01", "02"], "f": [60, 50], "m": [50, 40]})
    with pytest.raises(SaeInputError, match=r"by region: 01: 120 by region x birth, 110 by region x sex, 02"):
        survey.calibrate({("region", "birth"): WIDE, ("region", "sex"): margins})
    with pytest.raises(SaeInputError, match="200 by region x birth, 201 by 1"):
        survey.calibrate({("region", "birth"): WIDE, "1": 201})


def test_an_empty_cell_is_refused_or_joined_as_stated(survey):
    lacking = without_foreigners(survey)
    with pytest.raises(
        SaeInputError, match=r"1 count .* no record in the sample: 02 / foreign(.|\n)*collapse="
    ):
        lacking.post_stratify(["region", "birth"], WIDE)
    after = lacking.post_stratify(["region", "birth"], WIDE, collapse="birth")
    assert cell_sums(after) == pytest.approx(
        {("01", "native"): 90, ("01", "foreign"): 30, ("02", "native"): 80}
    )
    assert "cells of region x birth joined: 02 / native + 02 / foreign" in after.notes
    across = lacking.post_stratify(["region", "birth"], WIDE, collapse="region")
    assert cell_sums(across) == pytest.approx(
        {("01", "native"): 90, ("01", "foreign"): 50, ("02", "native"): 60}
    )
    rule = {("02", "foreign"): ("01", "foreign")}
    named = lacking.post_stratify(["region", "birth"], WIDE, collapse=rule)
    np.testing.assert_array_equal(named.weights, across.weights)
    raked = lacking.calibrate(
        {("region", "birth"): WIDE, "sex": {"f": 105, "m": 95}}, method="raking", collapse="birth"
    )
    assert cell_sums(raked)["02", "native"] == pytest.approx(80, rel=1e-9)


def test_a_rule_that_nothing_follows_is_refused(survey):
    lacking = without_foreigners(survey)
    with pytest.raises(
        SaeSpecError, match="collapse='sex' is no column of crossed cells; they are region x birth"
    ):
        lacking.post_stratify(["region", "birth"], WIDE, collapse="sex")
    with pytest.raises(SaeSpecError, match="collapse= names 03 / foreign, which is no cell"):
        lacking.post_stratify(["region", "birth"], WIDE, collapse={("02", "foreign"): ("03", "foreign")})
    more = pd.concat([WIDE, pd.DataFrame({"region": ["03"], "native": [5], "foreign": [5]})])
    with pytest.raises(
        SaeInputError, match=r"2 counts .* no record in the sample: 03 / native, 03 / foreign"
    ):
        lacking.post_stratify(["region", "birth"], more, collapse="birth")  # nobody of 03 at all


def test_a_full_sample_joins_nothing(survey):
    plain = survey.post_stratify(["region", "birth"], WIDE)
    ruled = survey.post_stratify(["region", "birth"], WIDE, collapse="birth")
    np.testing.assert_array_equal(plain.weights, ruled.weights)
    assert plain.notes == ruled.notes


def test_replicates_meet_the_joined_counts(survey):
    lacking = without_foreigners(survey).with_replicates("jk1")
    after = lacking.post_stratify(["region", "birth"], WIDE, collapse="birth")
    second = (after.frame["region"] == "02").to_numpy()
    np.testing.assert_allclose(after.replicates.weights[second].sum(axis=0), 80, rtol=EXACT)


def test_what_was_calibrated_on_has_no_error_left(survey):
    """The share of the foreign-born is that of the register, and residuals on the cells leave no variance."""
    indicator = sae.Indicator("birth == 'foreign'", id="share")
    after = survey.post_stratify(["region", "birth"], WIDE)
    before, row = (sae.direct(one, indicator, by=["region"]).frame for one in (survey, after))
    assert row["estimate"].tolist() == pytest.approx([0.25, 0.25], rel=EXACT)
    assert (before["se"] > 0.1).all() and (row["se"] < 1e-9).all()


@pytest.fixture(scope="module")
def simulated():
    """Estimates before and after calibration; also where half the foreign-born do not answer."""
    land = sae.datasets.country(seed=3, regions=9)
    covered = land.frame.loc[land.frame["covered"], "region"].unique()
    people = land.population[land.population["region"].isin(covered)]
    frame = people.groupby(["region", "birth"], observed=True).size().rename("value").reset_index()
    register = read_register(
        frame.astype({"region": str, "birth": str}),
        columns={"area": "region"},
        groups=["birth"],
        year="2024-12-31",
        indicator="residents",
        source="Population register",
        definition="usual residents",
    )
    table = counts(register, "people", year="2024-12-31", by=["birth"], area="region")
    employed = (people["labour_status"] == "employed") & people["age"].between(20, 64)
    truth = {
        "rate": employed.sum() / people["age"].between(20, 64).sum(),
        "foreign": (employed & (people["birth"] == "foreign")).sum(),
    }
    rows = []
    for seed in range(DRAWS):
        full = land.lfs(seed)
        answer = (full.frame["birth"] == "native") | (np.random.default_rng(seed).random(len(full)) < 0.5)
        answered = Survey.from_frame(
            full.frame[answer].reset_index(drop=True), weights="weight", strata="region", psu="psu"
        )
        for sample, before in (("full", full), ("half", answered)):
            after = before.post_stratify(["region", "birth"], table, collapse="birth")
            for stage, one in (("before", before), ("after", after)):
                row = sae.direct(one, "employment_rate", by=["nation"]).frame.iloc[0]
                working = (one.frame["labour_status"] == "employed") & one.frame["age"].between(20, 64)
                foreign = one.weights[working & (one.frame["birth"] == "foreign")].sum()
                rows.append((sample, stage, row["estimate"], row["se"], foreign))
    table = pd.DataFrame(rows, columns=["sample", "stage", "rate", "se", "foreign"])
    return truth, table.groupby(["sample", "stage"])


def test_counts_of_the_register_lower_the_error_of_foreign_totals(simulated):
    truth, groups = simulated
    spread = groups["foreign"].std() / truth["foreign"]
    assert spread["full", "after"] < 0.85 * spread["full", "before"]
    bias = groups["foreign"].mean() / truth["foreign"] - 1
    assert abs(bias["full", "after"]) < 0.03 and abs(bias["full", "before"]) < 0.05


def test_counts_of_the_register_undo_non_response_by_birth(simulated):
    truth, groups = simulated
    bias = groups["foreign"].mean() / truth["foreign"] - 1
    assert bias["half", "before"] < -0.45 and abs(bias["half", "after"]) < 0.04


def test_the_standard_error_holds_after_the_calibration(simulated):
    truth, groups = simulated
    spread, error = groups["rate"].std(), groups["se"].mean()
    for case in (("full", "before"), ("full", "after"), ("half", "after")):
        assert 1 / (1 + SD_ERROR) < error[case] / spread[case] < 1 / (1 - SD_ERROR), case
        bias = groups["rate"].mean()[case] - truth["rate"]
        assert abs(bias) < 4 * spread[case] / np.sqrt(DRAWS), case
