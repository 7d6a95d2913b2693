"""A survey larger than the memory gives the table of one that fits."""

import numpy as np
import pandas as pd
import pytest

from sae.batch.production import blocks
from sae.batch.production.runner import check_production, run_production
from sae.batch.production.spec import parse_production
from sae.errors import SaeInputError

SUMS = 1e-8  # variances of sums in another order
EXACT = ["indicator", "level", "domain", "time", "n", "status"]


@pytest.fixture
def text(texts):
    head = texts.head.replace("time = false", "time = true")
    head = head.replace('["employment_rate"]', '["employment_rate", "activity_rate", "age"]')
    head = head.replace('region = "region",', 'region = "region", district = "district",')
    return head.replace('groups = [["birth"]]', 'groups = [[], ["birth"]]') + texts.arcsin


@pytest.fixture
def files(texts, folder):
    for seed, year in ((5, 2025), (8, 2026)):
        frame = texts.draw(np.random.default_rng(seed), year)
        frame.to_parquet(folder / f"p{year}.parquet", index=False)
        frame.to_csv(folder / f"p{year}.csv", index=False)
    return folder


@pytest.fixture
def large(monkeypatch):
    """Say which files do not fit into the memory."""

    def say(*names):
        monkeypatch.setattr(
            blocks, "memory_of_files", lambda paths: 1e12 if {path.name for path in paths} & {*names} else 1.0
        )

    return say


def produced(folder, text, names, out):
    return run_production(
        parse_production(text, "table"),
        surveys=[f"lfs={folder / name}" for name in names],
        areas=folder / "areas.csv",
        out=folder / out,
    ).estimation


@pytest.mark.parametrize(
    "names", [pytest.param(["p2025.parquet"], marks=pytest.mark.slow), ["p2025.csv", "p2026.parquet"]]
)
def test_blocks_give_the_table_of_memory(files, text, names, large):
    theirs = produced(files, text, names, "b")
    large(*names)
    mine = produced(files, text, names, "a")
    for name in EXACT:
        assert mine.direct[name].tolist() == theirs.direct[name].tolist(), name
    for name in ("df", "estimate", "variance", "se", "ci_low", "deff", "vardir"):
        np.testing.assert_allclose(mine.direct[name], theirs.direct[name], rtol=SUMS, err_msg=name)
    for name in ("estimate", "mse"):
        numbers = (one.table.frame[name].astype(float) for one in (mine, theirs))
        np.testing.assert_allclose(*numbers, rtol=1e-6, err_msg=name)  # iterations end where they may
    for name in ("method", "flag", "reason"):
        assert mine.table.frame[name].tolist() == theirs.table.frame[name].tolist(), name


def test_a_large_file_beside_a_small_one(files, text, large):
    frame = pd.read_csv(files / "p2026.csv")
    frame[frame["region"] != "R05"].iloc[: len(frame) // 2].to_csv(files / "p2026.csv", index=False)
    names = ["p2025.csv", "p2026.csv"]
    theirs = produced(files, text, names, "b")
    large("p2025.csv")
    mine = produced(files, text, names, "a")
    for name in EXACT:
        assert mine.direct[name].tolist() == theirs.direct[name].tolist(), name
    np.testing.assert_allclose(mine.direct["variance"], theirs.direct["variance"], rtol=SUMS)


@pytest.mark.parametrize(
    ("how", "lacks"),
    [
        ("memory", 0),
        ("blocks", 1),
        pytest.param("memory", 1, marks=pytest.mark.slow),
        pytest.param("blocks", 0, marks=pytest.mark.slow),
    ],
)
def test_a_file_without_a_column_that_another_has(files, text, large, lacks, how):
    """Areas of a level are then told by the file of the areas; rows by a group are empty, and it is said."""
    names = ["p2025.csv", "p2026.csv"]
    frames = [pd.read_csv(files / name) for name in names]
    for frame, name in zip(frames, names, strict=True):
        frame["district"] = "D" + ((frame["region"].str[1:].astype(int) - 1) // 4).astype(str)
        frame.to_csv(files / name, index=False)
    if how == "blocks":
        large(*names)
    whole = produced(files, text, names, "a").direct
    frames[lacks].drop(columns="birth").to_csv(files / names[lacks], index=False)
    outcome = run_production(
        parse_production(text, "table"),
        surveys=[f"lfs={files / name}" for name in names],
        areas=files / "areas.csv",
        out=files / "b",
    )
    mine = outcome.estimation.direct
    empty = (mine["time"] == names[lacks][1:5]) & (mine["birth"] != "total")
    assert (mine.loc[empty, "n"] == 0).all() and (mine.loc[~empty, "n"] > 0).all()
    columns = ["indicator", "level", "geo", "time", "birth", "n", "estimate", "variance"]
    pd.testing.assert_frame_equal(mine.loc[~empty, columns], whole.loc[~empty, columns], rtol=SUMS)
    assert outcome.design.untold[f"lfs, district × birth, {names[lacks]}"] == "the file has no birth"


def test_records_without_a_label_are_told_alike_in_memory_and_in_blocks(files, text, large):
    frame = pd.read_csv(files / "p2025.csv")
    frame.loc[frame.index[5:25], "birth"] = None
    frame.to_csv(files / "p2025.csv", index=False)
    made = []
    for names in ([], ["p2025.csv"]):
        large(*names)
        outcome = run_production(
            parse_production(text, "table"),
            surveys=[f"lfs={files / 'p2025.csv'}"],
            areas=files / "areas.csv",
            out=files / "x",
        )
        made.append([one for one in outcome.warnings if "in no row" in one])
    counts = frame["age"].between(20, 64) & frame["status"].notna()
    lost = frame.loc[counts & frame["birth"].isna(), "w"].sum() / frame.loc[counts, "w"].sum()
    assert made[0] == made[1] and len(made[0]) == 3
    assert f"p2025.csv: {lost:.2%} of those whom employment_rate counts are in no row of birth" in str(made)


def test_files_of_one_table_have_its_columns_alike(files, text):
    pd.read_csv(files / "p2026.csv").drop(columns="birth").to_csv(files / "p2026.csv", index=False)
    with pytest.raises(SaeInputError, match=r"make one table, but p2026.csv of them has no birth"):
        produced(files, text.replace("time = true", "time = false"), ["p2025.csv", "p2026.csv"], "x")


def test_areas_in_two_larger_ones_are_refused_in_blocks_too(files, text, large):
    areas = pd.read_csv(files / "areas.csv", dtype=str)
    twice = pd.concat([areas, areas.iloc[:1].assign(district="D9")])
    twice.assign(year=[2025] * 16 + [2026]).to_csv(files / "areas.csv", index=False)
    for names in ([], ["p2025.csv"]):
        large(*names)
        with pytest.raises(SaeInputError, match="R01 lie in several values of district"):
            produced(files, text, ["p2025.csv"], "x")


def test_what_blocks_cannot_do_is_refused(files, text, large):
    large("p2025.csv")
    file = parse_production(text.replace("time = true", "time = false"), "table")
    surveys = [f"lfs={files / name}" for name in ("p2025.csv", "p2026.csv")]
    with pytest.raises(SaeInputError, match=r"cannot be read in blocks: several files.*\n.*--memory 1001GB"):
        check_production(file, surveys=surveys, areas=files / "areas.csv")
    own = '\n[[indicator]]\nid = "middle"\nnumerator = "w"\nkind = "median"\n'
    text = text.replace('"age"]', '"middle"]') + own
    with pytest.raises(SaeInputError, match="middle needs the quantiles"):
        produced(files, text, ["p2025.csv"], "x")
    assert not (files / "x").exists()


def test_the_memory_of_files_is_told_from_their_cells(files):
    records = len(pd.read_csv(files / "p2025.csv"))
    in_parquet, in_text = (blocks.memory_of_files([files / f"p2025.{kind}"]) for kind in ("parquet", "csv"))
    assert in_parquet == records * 8 * blocks.CELL
    assert 0.5 < in_text / in_parquet < 2
    (files / "broken.parquet").write_bytes(b"PAR1")
    assert blocks.memory_of_files([files / "broken.parquet"]) < 100
