"""Tables of direct estimates made elsewhere as rows of a production: crossings, errors, models, refusals."""

import numpy as np
import pandas as pd
import pytest

from sae.batch.models import find_spec
from sae.batch.production.runner import check_production, run_production
from sae.batch.production.spec import parse_production, read_production
from sae.batch.runner import run
from sae.errors import SaeError, SaeInputError, SaeSpecError

SAME = 1e-12  # the same arithmetic in a model file
AREAS = [f"{k:02d}" for k in range(1, 25)]
SPEC = """
[production]
title = "Rates"
seed = 7
indicators = ["rate", "poor"]
groups = [[], ["birth"]]
levels = { area = "area", nation = "" }

[[direct]]
name = "elsewhere"
file = "table.csv"
time = "year"
columns = { area = "code", birth = "origin" }
total = { birth = "all", area = "00" }
se = "se"
n = "n"
[[direct.indicator]]
id = "rate"
only = { what = "rate" }
definition = "those who are"
[[direct.indicator]]
id = "poor"
only = { what = "poor" }
unit = "percent"

[areas]
file = "areas.csv"

[[model]]
[[model.rung]]
kind = "fay_herriot"
formula = "~ x"
accept_if = { areas = 10 }
[[model.rung]]
kind = "direct"

[publish]
policy = "statcan"
"""


def table():
    """A long table: 24 areas (two not published) and the whole, three origins, two years, two figures."""
    rng = np.random.default_rng(8)
    x = np.linspace(0.1, 0.9, len(AREAS))
    rows = []
    for year in (2023, 2024):
        for what, scale in (("rate", 1.0), ("poor", 100.0)):
            for origin in ("all", "native", "foreign"):
                n = rng.integers(40, 200, len(AREAS))
                rate = 0.3 + 0.2 * x + rng.normal(0, 0.04, len(AREAS))
                frame = pd.DataFrame({"code": AREAS, "rate": rate * scale, "n": n})
                frame["se"] = np.sqrt(0.24 / n) * scale
                whole = pd.DataFrame(
                    {"code": ["00"], "rate": [0.4 * scale], "n": [3000], "se": [0.01 * scale]}
                )
                both = pd.concat([whole, frame[~frame["code"].isin(["05", "10"])]])
                rows.append(both.assign(what=what, origin=origin, year=year))
    return pd.concat(rows, ignore_index=True).rename(columns={"rate": "estimate"}).round(6)


@pytest.fixture
def folder(tmp_path):
    table().to_csv(tmp_path / "table.csv", index=False)
    areas = {"area": AREAS, "x": np.linspace(0.1, 0.9, len(AREAS)).round(4), "persons": 1000}
    pd.DataFrame(areas).to_csv(tmp_path / "areas.csv", index=False)
    (tmp_path / "rates.toml").write_text(SPEC, encoding="utf-8")
    return tmp_path


def produced(folder, text=SPEC, **options):
    return run_production(parse_production(text, "rates", folder), out=folder / "out", **options)


def test_a_table_tells_every_crossing_of_which_it_has_the_rows(folder):
    outcome = produced(folder)
    frame = outcome.estimation.table.frame.astype({"geo": str, "birth": str, "time": str})
    assert not outcome.design.untold and set(frame["indicator"]) == {"rate", "poor"}
    counts = frame.groupby(["indicator", "level", "birth"]).size().to_dict()
    assert counts["rate", "area", "total"] == 48 and counts["poor", "area", "foreign"] == 48
    assert counts["rate", "nation", "total"] == counts["rate", "nation", "native"] == 2
    keys = ["code", "origin", "year"]
    given = table().query("what == 'poor'").astype(dict.fromkeys(keys, str)).set_index(keys)["estimate"] / 100
    mine = frame[(frame["indicator"] == "poor") & frame["direct"].notna()]
    assert len(mine) == (22 + 1) * 3 * 2
    for row in mine.to_dict("records"):
        key = (row["geo"] or "00", row["birth"].replace("total", "all"), row["time"])
        assert row["direct"] == pytest.approx(given[key], rel=SAME)
    gaps = frame[frame["geo"].isin(["05", "10"])]
    assert len(gaps) == 24 and gaps["estimate"].notna().all() and not gaps["in_sample"].any()
    assert set(frame["definition"]) == {"those who are", "as published in table.csv"}
    record = (folder / "out" / "manifest.json").read_text(encoding="utf-8")
    assert "standard errors in se" in record and '"direct elsewhere"' in record and str(folder) not in record


def test_its_rows_are_those_of_a_model_file(folder):
    text = """
[direct]
file = "table.csv"
se = "se"
n = "n"
only = { what = "rate", origin = "foreign", year = "2024", code = %s }
[estimate]
indicator = "rate"
by = ["code"]
[model]
formula = "rate ~ x"
[publish]
policy = "statcan"
"""
    codes = str([code for code in AREAS if code not in ("05", "10")]).replace("'", '"')
    (folder / "one.toml").write_text(text % codes, encoding="utf-8")
    areas = pd.read_csv(folder / "areas.csv", dtype={"area": str}).rename(columns={"area": "code"})
    areas.to_csv(folder / "codes.csv", index=False)
    theirs = run(find_spec(folder / "one.toml"), areas=folder / "codes.csv", out=folder / "one").table.frame
    frame = produced(folder).estimation.table.frame.astype({"geo": str, "birth": str, "time": str})
    mine = frame[(frame["indicator"] == "rate") & (frame["level"] == "area") & (frame["birth"] == "foreign")]
    mine = mine[mine["time"] == "2024"].set_index("geo").reindex(theirs["geo"])
    for name in ("n", "direct", "direct_se", "estimate", "se", "gamma", "ci_low"):
        np.testing.assert_allclose(
            mine[name].astype(float), theirs[name].astype(float), rtol=SAME, err_msg=name
        )
    assert mine["publishable"].tolist() == theirs["publishable"].tolist()


def test_rows_without_a_known_error_are_marked_and_no_model_takes_them(folder):
    text = SPEC.replace('se = "se"\n', 'error = "unknown"\n')
    outcome = produced(folder, text)
    frame, ladder = outcome.estimation.table.frame, outcome.estimation.ladder
    tried = ladder[ladder["level"] == "area"]
    assert (tried.query("rung == 'fay_herriot'")["verdict"] == "refused").all()
    assert (tried.query("rung == 'direct'")["verdict"] == "accepted").all()
    told = frame[frame["direct"].notna()]
    assert (told["estimate"] == told["direct"]).all() and told["se"].isna().all()
    assert not told["publishable"].fillna(False).any()
    assert told["reason"].str.contains("no error known").all()


def test_smoothing_is_that_of_the_ladder(folder):
    gvf = SPEC.replace('\n[[model.rung]]\nkind = "fay', '\nsmoothing = "deff"\n[[model.rung]]\nkind = "fay')
    smooth = produced(folder, gvf).estimation.direct
    plain = produced(
        folder, gvf.replace("seed = 7", 'seed = 7\nsmoothing = "gvf"').replace('"deff"', '"none"')
    )
    at_areas = smooth["level"] == "area"
    assert set(smooth["smoothing"][at_areas]) == {"deff"} and set(smooth["smoothing"][~at_areas]) == {""}
    assert set(plain.estimation.direct["smoothing"]) == {""}


def test_a_table_beside_a_survey(folder, texts):
    texts.draw(np.random.default_rng(5)).assign(area="01").to_csv(folder / "persons.csv", index=False)
    survey = texts.head.split("[[survey]]")[1].split("[publish]")[0]
    text = SPEC.replace('["rate", "poor"]', '["rate", "poor", "employment_rate"]')
    text = text.replace("[areas]", f"[[survey]]{survey}\n[areas]", 1)
    outcome = produced(folder, text, surveys=[f"lfs={folder / 'persons.csv'}"])
    assert outcome.design.served == {
        "rate": "elsewhere",
        "poor": "elsewhere",
        "employment_rate": "lfs",
    }
    assert "table elsewhere: table.csv; rate: standard errors in se" in outcome.design.text
    alone = produced(folder).estimation.table.frame
    frame = outcome.estimation.table.frame
    both = frame[frame["indicator"] != "employment_rate"].reset_index(drop=True)
    np.testing.assert_array_equal(both["estimate"].astype(float), alone["estimate"].astype(float))


@pytest.mark.parametrize(
    ("old", "new", "error", "text"),
    [
        ('id = "poor"', 'id = "rate"', SaeSpecError, "rate twice"),
        ('id = "poor"', 'id = "pooor"', SaeSpecError, "names pooor, which .production. indicators"),
        ('birth = "origin"', 'birth = "orign"', SaeSpecError, "no column 'orign'"),
        ('birth = "origin"', 'brith = "origin"', SaeSpecError, "columns names brith; it takes area, birth"),
        ('birth = "all"', 'birth = "everybody"', SaeInputError, "origin = everybody"),
        ('{ what = "poor" }', '{ what = "rich" }', SaeInputError, "what = rich"),
        ('only = { what = "poor" }\n', "", SaeInputError, "several rows for"),
        ('unit = "percent"', 'unit = "share"', SaeInputError, "outside 0 to 1"),
        ('se = "se"', 'se = "sse"', SaeSpecError, "no column 'sse'"),
        ('se = "se"', "", SaeSpecError, "Nothing tells the error"),
        ('se = "se"', 'margin = "se"', SaeSpecError, "margin_level"),
        ('se = "se"', 'see = "se"', SaeSpecError, "did you mean se"),
        (
            'file = "table.csv"',
            'file = "tables.csv"',
            SaeInputError,
            r"\[\[direct\]\] elsewhere names .*tables.csv",
        ),
        ('file = "table.csv"\n', "", SaeInputError, "No file is given for the table elsewhere"),
        (
            'name = "elsewhere"',
            'name = "elsewhere"\nlevel = "nation"',
            SaeSpecError,
            "no level with a column",
        ),
        ("[[model]]", '[[benchmark]]\nto = "nation"\n[[model]]', SaeSpecError, "gives no weights"),
        ("~ x", "~ z", SaeInputError, "uses z, which the areas lack"),
        (
            'file = "areas.csv"',
            'file = "aeras.csv"',
            SaeInputError,
            r"\[areas\] file names the file aeras.csv",
        ),
    ],
)
def test_what_cannot_run_is_named_and_nothing_is_written(folder, old, new, error, text):
    assert old in SPEC
    with pytest.raises(error, match=text):
        produced(folder, SPEC.replace(old, new, 1))
    assert not (folder / "out").exists()


def test_groups_that_the_table_lacks_are_told_with_the_reason(folder):
    text = SPEC.replace('["birth"]]', '["birth"], ["sex"]]')
    with pytest.raises(SaeError, match="groups names sex, which no source has"):
        produced(folder, text)
    text = SPEC.replace(', area = "00"', "")
    with pytest.raises(SaeInputError, match=r"areas\.csv lacks 1 values of area that the data have: 00"):
        produced(folder, text)  # the whole is no area
    text = text.split("[areas]")[0] + '[publish]\npolicy = "statcan"\n'
    assert "not told: elsewhere, nation: the table tells area only" in check_production(
        parse_production(text, "rates", folder)
    )


def test_the_shipped_table_of_the_united_states(shared_data, tmp_path):
    from sae.batch.models import shipped_productions

    name = "real/us_acs1_state_nativity_2010_2018.csv.gz"
    data = (shared_data / name).parent
    file = read_production(shipped_productions()["united_states"], data)
    frame = run_production(file, out=tmp_path).estimation.table.frame
    rows = frame[(frame["indicator"] == "employed_16plus") & (frame["birth"] == "foreign_born")]
    assert len(rows) == 468 and rows["direct"].notna().sum() == 392  # 76 states and years are not published
    assert rows["estimate"].notna().all() and rows["estimate"].between(0.45, 0.75).all()
    hawaii = rows[(rows["geo"] == "15") & (rows["time"].astype(str) == "2018")].iloc[0]
    assert hawaii["direct"] == pytest.approx(0.637) and hawaii["estimate"] == pytest.approx(0.637, abs=0.01)


def test_an_area_without_a_row_of_one_group_keeps_the_others(folder):
    whole = pd.read_csv(folder / "table.csv", dtype=str)
    for origin, level in (("native", "foreign"), ("all", "native")):
        lost = (whole["code"] == "07") & (whole["origin"] == origin)
        whole[~lost].to_csv(folder / "table.csv", index=False)
        frame = produced(folder).estimation.direct
        own = frame[(frame["geo"] == "07") & (frame["indicator"] == "rate")]
        label = "total" if origin == "all" else origin
        assert own.loc[own["birth"] == label, "estimate"].isna().all()
        assert own.loc[own["birth"] == level, "estimate"].notna().sum() == 2
    unknown = whole.assign(origin=whole["origin"].where(whole.index != 3))
    unknown.to_csv(folder / "table.csv", index=False)
    with pytest.raises(SaeInputError, match=r"1 rows of table\.csv have no origin: row 4"):
        produced(folder)
