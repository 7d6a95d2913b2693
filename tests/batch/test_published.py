"""A model file that starts from direct estimates: from a published table to a flagged one."""

import json
import os

import numpy as np
import pandas as pd
import pytest

from sae import cli
from sae.batch.checks import check, check_file
from sae.batch.models import find_spec
from sae.batch.runner import run
from sae.batch.spec import parse_spec, read_spec
from sae.errors import SaeError, SaeInputError, SaeSpecError

EXACT = 1e-9  # the benchmark is met by construction

SPEC = """
title = "Rates"
[direct]
file = "table.csv"
estimate = "rate"
se = "se"
n = "n"
[estimate]
indicator = "rate"
by = ["area"]
[model]
formula = "rate ~ x"
[publish]
policy = "statcan"
"""


@pytest.fixture
def folder(tmp_path):
    """A table of 20 areas of which two are not published, covariates of 22, and the model file."""
    rng = np.random.default_rng(8)
    names = [f"{k:02d}" for k in range(1, 23)]
    x = rng.uniform(0, 1, 22)
    n = rng.integers(40, 200, 22)
    rate = (0.3 + 0.2 * x + rng.normal(0, 0.04, 22)).round(4)
    frame = pd.DataFrame({"area": names, "rate": rate, "se": np.sqrt(0.24 / n).round(4), "n": n}).iloc[:20]
    frame.loc[[4, 9], "rate"] = np.nan
    frame.to_csv(tmp_path / "table.csv", index=False)
    areas = pd.DataFrame({"area": names, "x": x.round(4), "persons": 1000 + n})
    areas.to_csv(tmp_path / "areas.csv", index=False)
    (tmp_path / "rates.toml").write_text(SPEC, encoding="utf-8")
    return tmp_path


def test_the_table_runs_through_the_corridor(folder):
    outcome = run(read_spec(folder / "rates.toml"), areas=folder / "areas.csv", out=folder / "out")
    table = outcome.table.frame.set_index("domain")
    assert len(table) == 22 and table.index[~table["in_sample"]].tolist() == ["05", "10", "21", "22"]
    assert (table["gamma"][table["in_sample"]] > 0).all() and table["estimate"].notna().all()
    text = (folder / "out" / "manifest.json").read_text(encoding="utf-8")
    record = json.loads(text)["models"]["rates"]
    assert record["inputs"]["direct"]["file"] == "table.csv" and "survey" not in record["inputs"]
    assert "rows: ok 18, not published 2" in record["design"] and record["design"] in outcome.text
    assert str(folder) not in text
    again = run(read_spec(folder / "rates.toml"), areas=folder / "areas.csv", out=folder / "two")
    for one, other in zip(outcome.files, again.files, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name


def test_a_benchmark_meets_its_target(folder, monkeypatch):
    text = SPEC + '[benchmark]\ntargets = 0.42\nweights = "persons"\n'
    (folder / "rates.toml").write_text(text, encoding="utf-8")
    outcome = run(read_spec(folder / "rates.toml"), areas=folder / "areas.csv", out=folder / "out")
    weights = pd.read_csv(folder / "areas.csv", dtype={"area": str}).set_index("area")["persons"]
    estimate = outcome.table.frame.set_index("domain")["estimate"]
    assert np.average(estimate, weights=weights[estimate.index]) == pytest.approx(0.42, abs=EXACT)


def test_check_prints_the_design_that_it_understood(folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    with pytest.raises(SystemExit) as end:
        cli.app(["check", "rates.toml", "--areas", "areas.csv"])
    assert end.value.code == 0
    assert "standard errors in se; rows: ok 18, not published 2" in capsys.readouterr().out
    (folder / "rates.toml").write_text(SPEC.replace('file = "table.csv"\n', ""), encoding="utf-8")
    assert check_file(folder / "rates.toml") == ""  # nothing to read
    assert "ok 18" in check_file(folder / "rates.toml", direct=folder / "table.csv")


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ('se = "se"', 'se = "sse"', r"no column 'sse'"),
        ('se = "se"', "", r"Nothing tells the error"),
        ('se = "se"', 'margin = "se"', r"Give \[direct\] margin_level = 0.90"),
        ('se = "se"', 'error = "unknown"', r"no model accepts"),
        ('n = "n"', 'n = "n"\ndecimals = 1', r"unknown key decimals"),
        ('file = "table.csv"', 'file = "tables.csv"', r"\[direct\] file names the file tables.csv"),
        ('by = ["area"]', 'by = ["area"]\nuniverse = "age > 20"', r"\[estimate\] universe needs records"),
        ('by = ["area"]', "", r"lacks by"),
        ("[estimate]", '[survey]\nlayout = "eu_lfs"\n[estimate]', r"\[survey\] needs records"),
        ("[publish]", '[benchmark]\nweights = "persons"\n[publish]', r"without targets needs records"),
        ("[publish]", "[benchmark]\ntargets = 0.4\n[publish]", r"without weights needs records"),
        ("rate ~ x", "rate ~ z", r"z"),
    ],
)
def test_what_cannot_run_is_named_and_nothing_is_written(folder, old, new, text):
    assert old in SPEC
    (folder / "rates.toml").write_text(SPEC.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(SaeError, match=text):
        run(read_spec(folder / "rates.toml"), areas=folder / "areas.csv", out=folder / "out")
    assert not (folder / "out").exists()


def test_damaged_tables_are_named_and_nothing_is_written(folder):
    good = (folder / "table.csv").read_text(encoding="utf-8")
    lines = good.splitlines()
    spec = read_spec(folder / "rates.toml")
    for text, name in [
        (good.replace("rate,", "value,", 1), "rate"),
        ("\n".join([*lines, lines[1]]), "several rows for 1 domains"),
        (good.replace(lines[1].split(",")[1], "many", 1), "rate holds text"),
        (good.replace(",0.", ",-0.", 1), "outside 0 to 1"),
        ("", "empty"),
    ]:
        (folder / "table.csv").write_text(text, encoding="utf-8")
        with pytest.raises((SaeInputError, SaeSpecError), match=name):
            run(spec, areas=folder / "areas.csv", out=folder / "out")
        assert not (folder / "out").exists()


def test_an_area_without_an_error_is_named_unless_smoothing_gives_one(folder):
    frame = pd.read_csv(folder / "table.csv", dtype={"area": str})
    frame.loc[0, "se"] = 0.0
    frame.to_csv(folder / "table.csv", index=False)
    with pytest.raises(SaeInputError, match=r"sampling variance that is not positive: 01"):
        run(read_spec(folder / "rates.toml"), areas=folder / "areas.csv", out=folder / "out")
    smoothed = SPEC.replace('by = ["area"]', 'by = ["area"]\nsmoothing = "deff"')
    (folder / "rates.toml").write_text(smoothed, encoding="utf-8")
    outcome = run(read_spec(folder / "rates.toml"), areas=folder / "areas.csv", out=folder / "out")
    assert outcome.table.frame["estimate"].notna().all()


def test_records_and_tables_are_not_mixed_up(folder):
    spec = read_spec(folder / "rates.toml")
    for given in ({"survey": folder / "table.csv"}, {}):
        bare = parse_spec(SPEC.replace('file = "table.csv"\n', ""), "rates", folder)
        with pytest.raises(SaeInputError, match="starts from direct estimates"):
            run(bare if not given else spec, out=folder / "out", **given)
    records = find_spec("employment_rate_by_birth")
    with pytest.raises(SaeInputError, match="starts from records, but --direct"):
        run(records, direct=folder / "table.csv", out=folder / "out")
    with pytest.raises(SaeInputError, match="no file of them is given"):
        run(records, out=folder / "out")


def states(folder, file):
    """Write the two figures of all residents that the model takes, one row per state and year."""
    raw = pd.read_csv(file, dtype={"state_fips": str}).query("group == 'all_residents'")
    names = {"employed_16plus": "resident_employed", "poverty_below_100pct": "resident_poverty"}
    wide = raw.pivot(index=["state_fips", "year"], columns="indicator", values="estimate")
    wide[list(names)].rename(columns=names).reset_index().to_csv(folder / "areas.csv", index=False)
    return folder / "areas.csv"


def test_the_states_of_the_united_states(shared_data, tmp_path):
    file = shared_data / "real/us_acs1_state_nativity_2010_2018.csv.gz"
    spec, areas = find_spec("us_states_foreign_employment"), states(tmp_path, file)
    assert "ok 392" in check(spec, direct=file, areas=areas)
    outcome = run(spec, direct=file, areas=areas, out=tmp_path / "out")
    table = outcome.table.frame
    # 52 states in 9 years; those that are never or not always published are predicted
    assert len(table) == 468 and table["in_sample"].sum() == 392 and not outcome.failed
    assert table["estimate"].between(0.4, 0.8).all() and set(table["unit"]) == {"share"}
    inside = table[table["in_sample"]]
    assert (inside["se"] < 1.05 * inside["direct_se"]).all()
    assert inside["se"].median() < table.loc[~table["in_sample"], "se"].median()


@pytest.mark.parametrize(
    ("model", "name", "rows"),
    [
        ("chile_comunas_employment", "cl_casen2017_comuna", 345),
        ("mexico_municipalities_employment", "mx_2020_municipio", 2469),
    ],
)
def test_the_municipalities_of_cepal(shared_data, tmp_path, model, name, rows):
    direct, areas = (shared_data / f"real/{name}_{part}.csv" for part in ("direct", "predictors"))
    outcome = run(find_spec(model), direct=direct, areas=areas, out=tmp_path)
    table = outcome.table.frame
    assert len(table) == rows and not outcome.failed and table["estimate"].between(0, 1).all()
    if model.startswith("chile"):  # against the figures that CEPAL published, of another model: a reference
        published = pd.read_csv(shared_data / f"real/{name}_cepal_model.csv", dtype={"dam2": str})
        both = table.merge(published, on="dam2")
        assert len(both) == rows and both["estimate"].corr(both["ocupado_mod"]) > 0.85
        assert (both["estimate"] - both["ocupado_mod"]).abs().median() < 0.02


def test_a_table_without_errors_becomes_rows_marked_so(shared_data, tmp_path):
    text = """
    [direct]
    estimate = "value_percent"
    unit = "percent"
    error = "unknown"
    only = { variable_name = "Unemployment rate - aged 16-64" }
    [estimate]
    indicator = "unemployment_16_64"
    by = ["geography_code"]
    time = "date"
    [publish]
    policy = "statcan"
    """
    file = shared_data / "real/uk_aps_lad_north_2004_2023.csv.gz"
    outcome = run(parse_spec(text, "uk"), direct=file, out=tmp_path)
    table = outcome.table.frame
    assert not table["publishable"].any() and table["se"].isna().all()
    lack = table["reason"].str.partition(";")[0].value_counts()
    assert lack["no error known"] == 3746 and lack.sum() == lack["not published"] + 3746
    assert table["estimate"].notna().sum() == 3746 and "no error known 3,746" in outcome.design
    assert sorted(os.listdir(tmp_path)) == [
        "manifest.json",
        "uk.csv",
        "uk.direct.csv",
        "uk.parquet",
        *(f"uk.published.{ending}" for ending in ("csv", "md", "parquet", "sdmx.csv", "tsv", "xlsx")),
        "uk.xlsx",
    ]
