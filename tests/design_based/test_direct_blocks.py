"""Direct estimates from blocks against `sae.direct` on the same records in memory."""

import hashlib

import numpy as np
import pandas as pd
import pytest

import sae
from sae.design_based import block_sums, block_task
from sae.design_based.block_task import Task
from sae.design_based.direct_blocks import direct_from_blocks
from sae.errors import SaeInputError, SaeSpecError
from sae.tables import blocks
from sae.tables.block_files import open_records
from tests.survey.lfs_fixtures import encoded

# the same sums in another order: relative to the estimate, and to a variance that is a difference of sums
TOL = 1e-11
TOL_VARIANCE = 1e-8
YEARS = {"eu_lfs_2020": 2018, "eu_lfs_recoded": 2018, "eu_lfs": 2025}
LFS = ["employment_rate", "unemployment_rate", "long_term_unemployment_rate", "over_qualification_rate"]
LFS += ["temporary_employment_share", "tertiary_share", "neet_rate", "adult_learning_rate"]
EXACT = [
    "indicator",
    "geo",
    "time",
    "domain",
    "n",
    "df",
    "status",
    "interval",
    "definition",
    "variance_method",
]


@pytest.fixture
def small(monkeypatch):
    """Blocks of 500 records and runs of 3, so that small files have many of both."""
    for module in (blocks, block_sums, block_task):
        monkeypatch.setattr(module, "BLOCK", 500)
    monkeypatch.setattr(block_sums, "RUN", 3)


@pytest.fixture(scope="module")
def frame():
    return make(7000, np.random.default_rng(3))


def make(n, rng):
    psu = rng.integers(0, 300, n)
    status = np.array(["employed", "unemployed", "inactive", None], dtype=object)
    return pd.DataFrame(
        {
            "w": np.where(rng.random(n) < 0.02, 0.0, rng.uniform(1, 50, n)),
            "stratum": np.char.add("s", (psu % 20).astype(str)),
            "psu": psu * 1000 + 7,
            "household": np.arange(n) // 3,
            "region": np.array(["02", "01", "10"])[psu % 3],
            "birth": np.where(rng.random(n) < 0.03, None, np.where(rng.random(n) < 0.2, "foreign", "native")),
            "age": rng.integers(0, 95, n),
            "labour_status": status[rng.choice(4, n, p=[0.5, 0.1, 0.35, 0.05])],
            "hours": np.where(rng.random(n) < 0.1, np.nan, rng.uniform(0, 60, n)),
            "works": rng.integers(0, 2, n).astype(float),
            "fpc": (psu % 20) * 3.0 + 20.5,
            "size": (psu % 20) * 30.0 + 5000.5,
            "year": np.where(np.arange(n) < n // 2, 2022, 2023),
            "constant": 5.5,
        }
    )


INDICATORS = [
    "employment_rate",
    "unemployment_rate",
    "activity_rate",
    "hours",
    "works",
    "constant",
    sae.Indicator("hours", "labour_status == 'employed'", universe="age >= 15", id="hours_each"),
    sae.Indicator("labour_status == 'employed'", kind="total", id="employed"),
    sae.Indicator("hours", kind="total", id="all_hours"),
]


def same(ours, theirs):
    ours, theirs = ours.frame, theirs.frame
    pd.testing.assert_frame_equal(ours[EXACT], theirs[EXACT])
    for name in theirs.columns.difference(EXACT):
        if theirs[name].dtype.kind != "f":
            pd.testing.assert_series_equal(ours[name], theirs[name])
        else:
            tol = TOL if name == "estimate" else TOL_VARIANCE
            np.testing.assert_allclose(ours[name], theirs[name], rtol=tol, atol=1e-14, err_msg=name)


DESIGNS = {
    "with replacement": {"strata": "stratum", "psu": "psu"},
    "fpc": {"strata": "stratum", "psu": "psu", "fpc": "fpc"},
    "households": {"household": "household"},
    "records": {},
    "records in strata": {"strata": "stratum"},
    "records in strata, fpc": {"strata": "stratum", "fpc": "size"},
    "two stages, with replacement": {"strata": "stratum", "psu": ["psu", "household"]},
    "two stages": {"strata": ["stratum"], "psu": ["psu", "household"], "fpc": ["fpc"]},
}


@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize("subset", [None, "age < 40"])
def test_equals_the_estimates_in_memory(small, frame, design, subset):
    survey = sae.Survey.from_frame(frame, weights="w", **DESIGNS[design])
    if subset:
        survey = survey.subset(subset)
    expected = sae.direct(survey, INDICATORS, by=["region", "birth"])
    table = direct_from_blocks(
        frame, INDICATORS, ["region", "birth"], weights="w", subset=subset, **DESIGNS[design]
    )
    same(table, expected)
    assert set(expected.log) - set(table.log) == set()


def test_periods_and_smoothing(small, frame):
    roles = {"weights": "w", "strata": "stratum", "psu": "psu", "time": "year"}
    expected = sae.direct(
        sae.Survey.from_frame(frame, **roles), "employment_rate", by=["region", "year"], smoothing="gvf"
    )
    same(direct_from_blocks(frame, "employment_rate", ["region", "year"], smoothing="gvf", **roles), expected)
    pooled = direct_from_blocks(frame, "employment_rate", **roles)
    same(pooled, sae.direct(sae.Survey.from_frame(frame, **roles), "employment_rate"))
    assert pooled.frame["time"].tolist() == ["2022/2023"]


@pytest.mark.parametrize("layout", YEARS)
def test_layouts_are_applied_block_by_block(small, layout, monkeypatch):
    for module in (blocks, block_sums, block_task):
        monkeypatch.setattr(module, "BLOCK", 400)
    panel = sae.datasets.lfs_panel([sae.datasets.country(seed=1, regions=6)], seed=1).frame
    file = encoded(panel, layout, YEARS[layout]).reset_index(drop=True)
    survey = sae.Survey.from_frame(file, layout=layout)
    accept = [*sae.indicators.REGISTRY, *(f"{layout}.{name}" for name in survey.frame)]
    by = ["region", "birth_group"]
    ours = direct_from_blocks(file, LFS, by, layout=layout, accept=accept)
    theirs = sae.direct(survey, LFS, by, accept=accept)
    same(ours, theirs)
    assert set(theirs.log) <= set(ours.log)  # counts of codes that became missing are those of the whole
    for key in ("layout", "release", "indicators", "accept"):
        assert ours.provenance.get(key) == theirs.provenance.get(key)


@pytest.mark.filterwarnings("ignore")
def test_a_public_file_of_text(shared_data):
    path = shared_data / "real/fr_eulfs_puf_sample50k.csv.gz"
    survey = sae.read_survey(path, layout="eu_lfs_puf")
    accept = [*sae.indicators.REGISTRY, *(f"eu_lfs_puf.{name}" for name in survey.frame)]
    active = "labour_status in ['employed', 'unemployed']"
    indicators = ["unemployment_rate", sae.Indicator(active, universe="15 <= age <= 74", id="active")]
    theirs = sae.direct(survey, indicators, by=["birth", "sex"], accept=accept)
    same(direct_from_blocks(path, indicators, ["birth", "sex"], layout="eu_lfs_puf", accept=accept), theirs)


def digest(table):
    return hashlib.sha256(table.frame.to_csv(index=False).encode()).hexdigest()


ROLES = {"weights": "w", "strata": "stratum", "psu": "psu"}


def test_files_and_row_groups_do_not_show(small, frame, tmp_path):
    frame.to_parquet(tmp_path / "a.parquet", row_group_size=311)
    (tmp_path / "many").mkdir()
    for k in range(0, 7000, 1234):
        frame.iloc[k : k + 1234].to_parquet(tmp_path / "many" / f"{k:04d}.parquet", row_group_size=5000)
    frame.to_csv(tmp_path / "a.csv", index=False)
    inputs = [frame, tmp_path / "a.parquet", tmp_path / "many", tmp_path / "a.csv"]
    one = {digest(direct_from_blocks(data, INDICATORS, ["region", "birth"], **ROLES)) for data in inputs[:3]}
    assert len(one) == 1
    text = direct_from_blocks(tmp_path / "a.csv", INDICATORS, ["region", "birth"], **ROLES)
    same(text, direct_from_blocks(frame, INDICATORS, ["region", "birth"], **ROLES))


def test_periods_that_the_folders_of_a_dataset_tell(small, frame, tmp_path):
    text = frame.assign(year=frame["year"].astype(str))
    for year, part in text.groupby("year"):
        (tmp_path / f"year={year}").mkdir()
        part.drop(columns="year").to_parquet(tmp_path / f"year={year}" / "a.parquet", row_group_size=900)
    roles = {**ROLES, "time": "year"}
    theirs = sae.direct(sae.Survey.from_frame(text, **roles), INDICATORS, by=["region", "year"])
    same(direct_from_blocks(tmp_path, INDICATORS, ["region", "year"], **roles), theirs)


def test_where_the_tree_is_cut_does_not_show(small, frame):
    records = open_records(frame).with_levels(["labour_status", "birth", "stratum", "region"])
    indicator = sae.Indicator("hours * 1.1", kind="total", id="hours")
    task = Task(
        records,
        ("w", "stratum", "psu", "region", "hours"),
        {"weights": "w"},
        None,
        ("stratum", "psu"),
        frozenset(),
        False,
        (),
        "w",
        None,
        None,
        (indicator,),
        (False,),
        (("region",),),
        (),
        {},
        1e9,
    )
    runs = block_sums.runs_of(len(frame))
    assert runs == 5
    whole = block_sums.subtree(task, 0, runs)
    for height in (1, 2, 4):
        parts = (block_sums.subtree(task, k, min(k + height, runs)) for k in range(0, runs, height))
        cut = block_sums.merged(parts, 1e9)
        assert cut.sums.size == whole.sums.size
        for name in ("keys", "totals", "present"):
            ours, theirs = (getattr(one.sums, name)[: one.sums.size] for one in (cut, whole))
            assert ours.tobytes() == theirs.tobytes(), (height, name)
        assert cut.sums.moments.tobytes() == whole.sums.moments.tobytes()


@pytest.mark.slow
def test_workers_do_not_show(tmp_path):
    big = make(3_000_000, np.random.default_rng(8))
    big.to_parquet(tmp_path / "a.parquet", row_group_size=250_000)
    tables = [
        direct_from_blocks(tmp_path / "a.parquet", INDICATORS, ["region", "birth"], workers=workers, **ROLES)
        for workers in (1, 2, 4)
    ]
    assert len(set(map(digest, tables))) == 1
    survey = sae.Survey.from_frame(big, **ROLES)
    same(tables[0], sae.direct(survey, INDICATORS, by=["region", "birth"]))


@pytest.mark.parametrize("policy", ["collapse", "average", "certainty", "fail"])
def test_lonely_strata(small, frame, policy):
    alone = frame.assign(
        stratum=np.where(frame["psu"] % 7 == 0, "t" + frame["psu"].astype(str), frame["stratum"])
    )
    alone = alone.assign(psu=alone["psu"].astype(str))  # units of text
    if policy == "fail":
        with pytest.raises(SaeInputError, match="strata have a single sampled unit"):
            direct_from_blocks(alone, "works", **ROLES)
        return
    theirs = sae.direct(sae.Survey.from_frame(alone, lonely_psu=policy, **ROLES), "works", by="region")
    ours = direct_from_blocks(alone, "works", "region", lonely_psu=policy, **ROLES)
    same(ours, theirs)
    assert set(theirs.log) <= set(ours.log)


def test_numbers_that_are_yes_or_no_at_first(small, frame):
    late = frame.assign(works=np.where(np.arange(len(frame)) == 6500, 2.5, frame["works"]))
    late.loc[:999, "hours"] = np.nan  # nothing known in the first blocks
    ratio = sae.Indicator("works", "age >= 50", id="ratio")  # a share, but not where the numerator is outside
    survey = sae.Survey.from_frame(late, **ROLES)
    same(
        direct_from_blocks(late, ["works", "hours", ratio], "region", **ROLES),
        sae.direct(survey, ["works", "hours", ratio], by="region"),
    )


def test_levels_and_weights_that_the_first_blocks_lack(small, frame):
    late = frame.sort_values(["region", "labour_status"], ignore_index=True)
    late["w"] = np.where(np.arange(len(late)) < 1200, 0.0, late["w"])
    survey = sae.Survey.from_frame(late, **ROLES)
    expected = sae.direct(survey, "unemployment_rate", by=["region", "birth"])
    table = direct_from_blocks(late, "unemployment_rate", ["region", "birth"], **ROLES)
    same(table, expected)
    assert set(expected.log) <= set(table.log)


def test_covariances(small, frame):
    roles = {**ROLES, "fpc": "fpc"}
    survey = sae.Survey.from_frame(frame, **roles)
    theirs = sae.direct(survey, ["works", "hours"], "region", covariance=True).covariance
    ours = direct_from_blocks(frame, ["works", "hours"], "region", covariance=True, **roles).covariance
    pd.testing.assert_frame_equal(ours, theirs, rtol=TOL_VARIANCE, atol=1e-14)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("sample", ["lfs", "silc"])
def test_every_linear_indicator_of_the_registry(small, sample):
    country = sae.datasets.country(seed=1, regions=6)
    survey = getattr(country, sample)(seed=1)
    design = {
        role: list(dict.fromkeys(stage.columns[role] for stage in survey.stages if role in stage.columns))
        for role in ("strata", "psu", "fpc")
    }
    roles = {**{role: names for role, names in design.items() if names}, "weights": "w", "time": survey.time}
    frame = survey.frame.assign(w=survey.weights)
    survey = sae.Survey.from_frame(frame, lonely_psu="average", **roles)
    names = [one.id for one in sae.indicators.REGISTRY.values() if not one.distributional]
    accept = [*sae.indicators.REGISTRY]
    carried = [name for name in names if runs(survey, name, accept)]
    assert len(carried) >= 16
    theirs = sae.direct(survey, carried, ["region", "sex"], accept=accept)
    same(
        direct_from_blocks(frame, carried, ["region", "sex"], accept=accept, lonely_psu="average", **roles),
        theirs,
    )


def runs(survey, name, accept):
    try:
        sae.direct(survey, name, accept=accept)
    except sae.errors.SaeError:
        return False
    return True


def test_what_blocks_cannot_do_is_refused_by_name(frame):
    with pytest.raises(SaeSpecError, match="middle need the quantiles"):
        direct_from_blocks(frame, sae.Indicator("hours", kind="median", id="middle"), **ROLES)
    with pytest.raises(SaeInputError, match=r"take .* GB, more than the 0.00 GB allowed"):
        direct_from_blocks(frame, "works", memory=1e5, **ROLES)
    with pytest.raises(SaeSpecError, match="workers=0"):
        direct_from_blocks(frame, "works", workers=0, **ROLES)
    layout = {"columns": {"replicates": {"columns": "rep", "method": "jk1"}}}
    with pytest.raises(SaeSpecError, match="has replicate weights, which are not summed"):
        direct_from_blocks(frame.assign(rep1=1.0, rep2=1.0), "works", layout=layout, **ROLES)


def test_faults_are_named_before_and_while_it_reads(small, frame):
    with pytest.raises(SaeInputError, match="No weights are given"):
        direct_from_blocks(frame, "works")
    with pytest.raises(SaeInputError, match="no column 'weight'"):
        direct_from_blocks(frame, "works", weights="weight")
    with pytest.raises(SaeSpecError, match="'wrks' is neither an indicator"):
        direct_from_blocks(frame, "wrks", **ROLES)
    with pytest.raises(SaeSpecError, match="to group by"):
        direct_from_blocks(frame, "works", "regio", **ROLES)
    with pytest.raises(SaeInputError, match="'stratums' is not in the survey"):
        direct_from_blocks(frame, "works", weights="w", strata="stratums", psu="psu")
    with pytest.raises(SaeInputError, match=r"No record of [0-9,]+ fulfils 'age > 200'"):
        direct_from_blocks(frame, "works", subset="age > 200", **ROLES)
    negative = frame.assign(w=np.where(np.arange(len(frame)) == 3210, -1.0, frame["w"]))
    with pytest.raises(SaeInputError, match=r"Among the records 3,001 to 3,500 .* 1 negative \(rows 211\)"):
        direct_from_blocks(negative, "works", **ROLES)
    torn = frame.assign(stratum=np.where(np.arange(len(frame)) == 5000, "s1", frame["stratum"]))
    with pytest.raises(SaeInputError, match="occur in more than one stratum"):
        direct_from_blocks(torn, "works", **ROLES)
    gone = frame.assign(stratum=frame["stratum"].where(np.arange(len(frame)) != 5000, None))
    with pytest.raises(
        SaeInputError, match="'stratum', which places or names the records, is missing in 1 of 500"
    ):
        direct_from_blocks(gone, "works", **ROLES)
    strange = frame.assign(labour_status=frame["labour_status"].fillna("retired"))
    with pytest.raises(SaeSpecError, match="'labour_status' holds retired"):
        direct_from_blocks(strange, "employment_rate", **ROLES)
    sizes = frame.assign(fpc=np.where(np.arange(len(frame)) == 5000, 99.0, frame["fpc"]))
    with pytest.raises(SaeInputError, match="varies within 1 of"):
        direct_from_blocks(sizes, "works", fpc="fpc", **ROLES)


def test_a_break_that_only_the_whole_file_crosses(small, frame):
    works = sae.Indicator("works", id="works_here", breaks=("lfs_2021",))
    years = frame.assign(year=np.where(np.arange(len(frame)) < 6000, 2019, 2022))
    with pytest.raises(SaeSpecError, match="across lfs_2021"):
        direct_from_blocks(years, works, "year", time="year", **ROLES)
    table = direct_from_blocks(years, works, "year", time="year", accept="lfs_2021", **ROLES)
    theirs = sae.direct(sae.Survey.from_frame(years, time="year", **ROLES), works, "year", accept="lfs_2021")
    same(table, theirs)


def test_a_remembered_definition_is_refused_at_once(small, frame, monkeypatch):
    data = frame.assign(residence="under_5_years")
    monkeypatch.setattr("sae.design_based.direct_blocks._summed", lambda *_: pytest.fail("it read on"))
    with pytest.raises(SaeSpecError, match="remembered, not verified"):
        direct_from_blocks(data, "recent_immigrant_employment_rate", **ROLES)


def test_levels_that_a_layout_derives_and_most_blocks_lack(small, frame):
    late = frame.sort_values("region", ignore_index=True).assign(country="AT")
    layout = {"derive": {"place": {"join": ["country", "region"]}}}
    lives = sae.Indicator("place == 'AT10'", id="lives_there")
    survey = sae.Survey.from_frame(late, layout=layout, **ROLES)
    table = direct_from_blocks(late, lives, "birth", layout=layout, **ROLES)
    same(table, sae.direct(survey, lives, by="birth"))
    nobody = sae.Indicator("place == 'AT99'", id="nobody")
    with pytest.raises(SaeSpecError, match="'AT99'"):
        direct_from_blocks(late, nobody, "birth", layout=layout, **ROLES)
    with pytest.raises(SaeSpecError, match="'AT99'"):
        sae.direct(survey, nobody, by="birth")


def test_whole_numbers_stay_whole_where_a_subset_lacks_one(small, frame):
    data = frame.assign(city=np.where(frame["age"] < 90, frame["psu"] % 3, 7))
    survey = sae.Survey.from_frame(data, **ROLES).subset("age < 90")
    theirs = sae.direct(survey, "works", by=["city", "region"])
    ours = direct_from_blocks(data, "works", ["city", "region"], subset="age < 90", **ROLES)
    same(ours, theirs)
    assert "by city: 1 of 4 levels have no record in the subset: 7" in ours.log
    assert set(theirs.log) <= set(ours.log)


@pytest.mark.parametrize("late", ["Y20-24", "22"])
def test_bands_of_age_are_those_of_all_blocks(small, frame, late):
    ages = np.where(np.arange(len(frame)) < 6000, "Y65-69", late)
    data = frame.assign(ages=ages).drop(columns="age")
    layout = {"derive": {"age": {"ages": ["ages"]}}}
    cut = sae.Indicator("works", universe="age >= 22", id="cut")
    survey = sae.Survey.from_frame(data, layout=layout, **ROLES)
    if late == "Y20-24":
        for estimate in (
            lambda: sae.direct(survey, cut),
            lambda: direct_from_blocks(data, cut, layout=layout, **ROLES),
        ):
            with pytest.raises(SaeSpecError, match="cut the bands of the file: 22 lies inside 20-24"):
                estimate()
    else:
        same(direct_from_blocks(data, cut, layout=layout, **ROLES), sae.direct(survey, cut))


@pytest.mark.parametrize("texts", [True, False])
def test_persons_that_occur_twice(small, frame, texts):
    data = frame.assign(person=np.arange(len(frame)) % 3)
    if texts:
        data = data.assign(person=data["person"].astype(str), household="h" + data["household"].astype(str))
    design = {"weights": "w", "household": "household", "person": "person", "psu": "psu"}
    same(
        direct_from_blocks(data, "works", **design),
        sae.direct(sae.Survey.from_frame(data, **design), "works"),
    )
    twice = pd.concat([data, data.iloc[[4321, 1]]], ignore_index=True)
    with pytest.raises(SaeInputError, match=r"2 records repeat a person: .* \(the first: h?1440 / 1\)"):
        direct_from_blocks(twice, "works", **design)
    with pytest.raises(SaeInputError, match="2 records repeat a person"):
        sae.Survey.from_frame(twice, **design)
    near = pd.concat([data.iloc[:10], data.iloc[[9]], data.iloc[10:]], ignore_index=True)  # in one block
    with pytest.raises(SaeInputError, match=r"1 record repeats a person: .* \(the first: h?3 / 0\)"):
        direct_from_blocks(near, "works", **design)


def test_words_that_look_missing_are_said(small, frame):
    data = frame.assign(region=frame["region"].replace("10", "NA"))
    with pytest.warns(match="kept as levels: region 'NA'"):
        table = direct_from_blocks(data, "works", "region", **ROLES)
    assert "texts that look like missing values are kept as levels: region 'NA'" in table.log


def test_blocks_without_a_code_that_is_known(small, frame):
    codes = frame["labour_status"].map({"employed": 1, "unemployed": 2, "inactive": 3}).fillna(9)
    data = frame.drop(columns="labour_status").assign(status=codes).sort_values("status", ascending=False)
    layout = {
        "codes": {"labour_status": {"column": "status", "employed": [1], "unemployed": [2], "inactive": 3}}
    }
    late = data.assign(status=np.where(np.arange(len(data)) < 1000, 9, data["status"])).reset_index(drop=True)
    theirs = sae.direct(sae.Survey.from_frame(late, layout=layout, **ROLES), "employment_rate", "region")
    ours = direct_from_blocks(late, "employment_rate", "region", layout=layout, **ROLES)
    same(ours, theirs)
    assert set(theirs.log) <= set(ours.log)
    with pytest.raises(SaeInputError, match="No value of the column 'status' is a code of 'labour_status'"):
        direct_from_blocks(late.assign(status=7), "employment_rate", "region", layout=layout, **ROLES)


def test_another_release_of_a_layout_is_refused(small):
    panel = sae.datasets.lfs_panel([sae.datasets.country(seed=1, regions=6)], seed=1).frame
    file = encoded(panel, "eu_lfs", 2025).reset_index(drop=True)
    with pytest.raises(SaeInputError) as ours:
        direct_from_blocks(file, "employment_rate", "region", layout="eu_lfs_2020")
    with pytest.raises(SaeInputError) as theirs:
        sae.Survey.from_frame(file, layout="eu_lfs_2020")
    assert ours.value.what == theirs.value.what


def test_units_of_two_countries_that_bear_one_label(small, frame):
    data = frame.assign(land=np.where(np.arange(len(frame)) % 2, "AT", "DE")).drop(columns="stratum")
    data.loc[:3, "land"] = None
    layout = {"columns": {"country": "land"}}
    with pytest.raises(SaeInputError) as ours:
        direct_from_blocks(data, "works", "region", layout=layout, weights="w", psu="psu")
    with pytest.raises(SaeInputError) as theirs:
        sae.Survey.from_frame(data, layout=layout, weights="w", psu="psu")
    assert ours.value.what == theirs.value.what
    assert "occur in several countries" in ours.value.what
    apart = data.assign(psu=np.where(data["land"] == "AT", "A", "D") + data["psu"].astype(str))
    same(
        direct_from_blocks(apart, "works", "region", layout=layout, weights="w", psu="psu"),
        sae.direct(sae.Survey.from_frame(apart, layout=layout, weights="w", psu="psu"), "works", "region"),
    )


@pytest.mark.filterwarnings("ignore:The survey")
@pytest.mark.parametrize("linked", [True, False])
def test_quarters_of_a_year_that_no_key_links(small, linked):
    panel = sae.datasets.lfs_panel([sae.datasets.country(seed=1, regions=6)], seed=1).frame
    file = encoded(panel, "eu_lfs_recoded", 2018).reset_index(drop=True)
    survey = sae.Survey.from_frame(file, layout="eu_lfs_recoded")
    roles = {} if linked else {"psu": "unit"}
    if not linked:
        file["unit"] = survey.frame["period"].astype(str) + "/" + survey.frame["household"].astype(str)
    theirs = sae.Survey.from_frame(file, layout="eu_lfs_recoded", **roles)
    table = direct_from_blocks(file, "employment_rate", "sex", layout="eu_lfs_recoded", **roles)
    said = [note for note in theirs.notes if "quarters" in note and "layout" not in note]
    assert len(said) == 1
    assert said[0] in table.log


def test_codes_that_nothing_lists_are_warned_of_with_the_counts_of_the_whole_file(small, frame):
    codes = {"status": {"column": "labour_status", "employed": ["employed"], "other": ["unemployed"]}}
    unlisted = f"'inactive' {int((frame['labour_status'] == 'inactive').sum()):,} of 7,000 records"
    with pytest.warns(sae.errors.SaeWarning, match=unlisted):
        sae.Survey.from_frame(frame, weights="w", layout={"codes": codes})
    with pytest.warns(sae.errors.SaeWarning, match=unlisted):
        direct_from_blocks(frame, "works", "birth", weights="w", layout={"codes": codes})
