"""The ladder stops where it should: constructed cases."""

import numpy as np
import pandas as pd
import pytest

from sae.batch.production.runner import run_production
from sae.batch.production.spec import parse_production

HALF = 1e-12  # a mean of two numbers


def climbed(texts, folder, rungs, per=""):
    text = texts.head + f"\n[[model]]\n{per}\n" + "\n".join(f"[[model.rung]]\n{rung}" for rung in rungs)
    outcome = run_production(
        parse_production(text, "table"),
        surveys=[f"lfs={folder / 'persons.csv'}"],
        areas=folder / "areas.csv",
        out=folder / "out",
    )
    frame = outcome.estimation.table.frame
    ladder = outcome.estimation.ladder
    return frame[frame["level"] == "region"], ladder[ladder["level"] == "region"]


FAY = 'kind = "fay_herriot"\nformula = "~ tertiary"'


def steps(ladder, fit):
    return ladder[ladder["fit"] == fit][["place", "rung", "verdict"]].values.tolist()


def test_it_stops_at_the_first_that_passes(texts, folder):
    frame, ladder = climbed(texts, folder, [FAY, 'kind = "direct"'])
    assert steps(ladder, "native") == [[1, "fay_herriot", "accepted"]] == steps(ladder, "foreign")
    assert frame["method"].str.startswith("EBLUP").all() and len(frame) == 32


def test_every_fit_stops_for_itself(texts, folder):
    frame, ladder = climbed(texts, folder, [FAY, 'kind = "direct"'])
    cv = frame.groupby("birth", observed=True)["cv"].median()
    assert cv["native"] < cv["foreign"]
    limit = f"{FAY}\naccept_if = {{ median_cv = {cv.mean():.6f} }}"
    both, ladder = climbed(texts, folder, [limit, 'kind = "direct"'])
    assert steps(ladder, "native") == [[1, "fay_herriot", "accepted"]]
    assert steps(ladder, "foreign") == [[1, "fay_herriot", "refused"], [2, "direct", "accepted"]]
    reason = ladder.query("verdict == 'refused'")["reason"].item()
    assert reason == f"median CV {cv['foreign']:.1%}, above {cv.mean():.1%}"
    mine, before = (
        each[each["birth"] == "native"].drop(columns="run").reset_index(drop=True) for each in (both, frame)
    )
    pd.testing.assert_frame_equal(mine, before, check_exact=True)
    direct = both[(both["birth"] == "foreign") & both["in_sample"]]
    assert (direct["estimate"] == direct["direct"]).all() and set(direct["method"]) == {"direct"}
    unsampled = both[(both["birth"] == "foreign") & ~both["in_sample"]]
    assert unsampled["geo"].tolist() == ["R16"] and unsampled["estimate"].isna().all()


@pytest.mark.parametrize(
    "limits, reason",
    [
        ("areas = 16", "15 sampled areas, fewer than 16"),
        ("cases = 1000", "effective cases in the median area, fewer than 1000"),
        ("median_cv = 0.0001", "above 0.0%"),
    ],
)
def test_each_limit_says_what_was_lacking(texts, folder, limits, reason):
    _, ladder = climbed(texts, folder, [f"{FAY}\naccept_if = {{ {limits} }}", 'kind = "direct"'])
    assert ladder.query("rung == 'fay_herriot'")["reason"].str.contains(reason, regex=False).all()
    assert (ladder.query("rung == 'direct'")["verdict"] == "accepted").all()


def test_doubtful_residuals_stop_a_rung_that_asks_for_them(texts, folder):
    areas = pd.read_csv(folder / "areas.csv")
    records = pd.read_csv(folder / "persons.csv")
    records.loc[records["region"] == "R15", "status"] = 3
    records.loc[(records["region"] == "R15") & (records.index % 50 == 0), "status"] = 1  # one far from all
    records.to_csv(folder / "persons.csv", index=False)
    areas.to_csv(folder / "areas.csv", index=False)
    rungs = [f"{FAY}\naccept_if = {{ diagnostics = true }}", FAY]
    _, ladder = climbed(texts, folder, rungs)
    refused = ladder.query("verdict == 'refused'")
    assert len(refused) and refused["reason"].str.contains("doubtful").all()
    assert (ladder.query("place == 2")["verdict"] == "accepted").all()


def test_nothing_is_accepted_where_no_rung_passes(texts, folder):
    frame, _ = climbed(texts, folder, [f"{FAY}\naccept_if = {{ areas = 99 }}"])
    assert frame["estimate"].isna().all() and frame["direct"].notna().sum() == 30
    assert not frame["publishable"].any()
    assert frame["reason"].str.contains("15 sampled areas, fewer than 99").all()


def test_a_synthetic_area_has_the_figure_of_the_larger_unit(texts, folder):
    frame, ladder = climbed(texts, folder, ['kind = "synthetic"'])
    assert (ladder["verdict"] == "accepted").all()
    direct = pd.read_csv(folder / "out" / "table.direct.csv")
    for birth, rows in frame.groupby("birth", observed=True):
        own = direct[direct["birth"] == birth]
        nation, regions = own[own["level"] == "nation"].iloc[0], own[own["level"] == "region"]
        assert rows["estimate"].tolist() == [nation["estimate"]] * 16
        usable = regions["vardir"].notna() & regions["estimate"].notna()
        gap = (nation["estimate"] - regions["estimate"])[usable] ** 2 - regions["vardir"][usable]
        np.testing.assert_allclose(rows["mse"], max(gap.mean(), nation["variance"]), rtol=HALF)


def test_one_model_for_all_groups_where_per_says_so(texts, folder):
    frame, ladder = climbed(texts, folder, [FAY], per="per = []")
    assert steps(ladder, "all") == [[1, "fay_herriot", "accepted"]] and len(ladder) == 1
    assert frame["estimate"].notna().all()


def test_a_model_without_fits_apart_is_fitted_group_by_group(texts, folder):
    rung = 'kind = "robust_fay_herriot"\nformula = "~ tertiary"'
    frame, ladder = climbed(texts, folder, [rung, 'kind = "direct"'])
    assert steps(ladder, "native")[0] == [1, "robust_fay_herriot", "accepted"]
    assert frame["estimate"].notna().all()
