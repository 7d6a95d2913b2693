"""Files estimated one at a time give the rows of one file that holds all of them."""

import numpy as np
import pandas as pd
import pytest

from sae.batch.production.runner import run_production
from sae.batch.production.spec import parse_production
from sae.errors import SaeInputError

SAME = 1e-12  # the same sums, in an order of their own where smoothing runs over all files
NUMBERS = ["n", "estimate", "variance", "se", "cv", "ci_low", "ci_high", "df", "deff", "vardir"]


@pytest.fixture
def years(texts, folder):
    """Two files and one that holds both; 2026 has no R05, and a column of its own."""
    parts = [texts.draw(np.random.default_rng(seed), year) for seed, year in ((5, 2025), (8, 2026))]
    parts[1] = parts[1][parts[1]["region"] != "R05"].assign(more="x")
    for part, name in zip(parts, ("a.csv", "b.csv"), strict=True):
        part.to_csv(folder / name, index=False)
    pd.concat(parts).to_csv(folder / "both.csv", index=False)
    return folder


def produced(folder, text, *names):
    file = parse_production(text, "table")
    given = [f"lfs={folder / name}" for name in names]
    return run_production(file, surveys=given, areas=folder / "areas.csv", out=folder / "out").estimation


@pytest.mark.parametrize("covariance", [False, True])
def test_two_files_give_the_rows_of_one(texts, years, covariance):
    text = texts.head.replace("time = false", "time = true") + texts.arcsin
    text = text.replace('groups = [["birth"]]', 'groups = [[], ["birth"]]')
    if covariance:  # a model of several components wants the covariances of its direct estimates
        text = text.replace('kind = "fay_herriot"', 'kind = "multivariate_fay_herriot"\ncomponents = "birth"')
        text = text.replace('transform = "arcsin"', "")
    both, one = produced(years, text, "a.csv", "b.csv"), produced(years, text, "both.csv")
    for mine, theirs in ((both.direct, one.direct), (both.table.frame, one.table.frame)):
        assert mine["domain"].tolist() == theirs["domain"].tolist()
        assert mine["time"].tolist() == theirs["time"].tolist()
        for name in NUMBERS:
            if name in mine:
                np.testing.assert_allclose(
                    mine[name].astype(float), theirs[name].astype(float), rtol=SAME, err_msg=name
                )
    assert both.direct["status"].tolist() == one.direct["status"].tolist()
    lost = both.direct.query("geo == 'R05' and time == '2026'")
    assert len(lost) == 3 and (lost["status"] == "no sample").all() and (lost["n"] == 0).all()
    pd.testing.assert_frame_equal(both.ladder, one.ladder)


def test_what_only_one_file_has_is_unknown_in_the_other(texts, years):
    head = texts.head.replace("time = false", "time = true").replace('smoothing = "gvf"', "")
    text = head.replace('["employment_rate"]', '["extra"]')
    frame = pd.read_csv(years / "b.csv").assign(extra=lambda own: (own["status"] == 1) * 1)
    frame.to_csv(years / "b.csv", index=False)
    both = produced(years, text, "a.csv", "b.csv").direct
    assert both.query("time == '2025' and geo != 'R05'")["n"].sum() == 0
    assert set(both.query("time == '2025'")["status"]) == {"no answer"}
    assert both.query("time == '2026'")["n"].sum() == 2 * len(frame)


def test_a_share_in_one_file_only_is_refused(texts, years):
    head = texts.head.replace("time = false", "time = true")
    text = head.replace('["employment_rate"]', '["extra"]')
    for name, value in (("a.csv", 1), ("b.csv", 2)):
        frame = pd.read_csv(years / name)
        frame.assign(extra=np.where(frame.index % 2, 0, value)).to_csv(years / name, index=False)
    with pytest.raises(SaeInputError, match=r"extra is a share in a\.csv, and a number in b"):
        produced(years, text, "a.csv", "b.csv")


def test_a_break_between_two_files_is_one_within_the_survey(texts, folder):
    for name, seed, year in (("a.csv", 5, 2020), ("b.csv", 8, 2021)):
        texts.draw(np.random.default_rng(seed), year).to_csv(folder / name, index=False)
    head = texts.head.replace("time = false", 'time = true\naccept = ["lfs_2021"]')
    made = produced(folder, head + texts.arcsin, "a.csv", "b.csv")
    for frame, column in ((made.direct, "status"), (made.table.frame, "reason")):
        marked = frame[column].str.contains("lfs_2021")
        assert marked.tolist() == (frame["time"] == "2021").tolist()
    with pytest.raises(SaeInputError.__mro__[1], match="lfs_2021"):
        produced(folder, head.replace('accept = ["lfs_2021"]', "") + texts.arcsin, "a.csv", "b.csv")
