"""From the results of three offices to one pooled run, with the commands."""

import json

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import sae
from sae import cli
from sae.batch.exchange import exchange_results
from sae.batch.models import find_spec
from sae.errors import SaeInputError, SaeSpecError
from sae.publish import read_exchange

SAME = 1e-12  # the same figures, written with all their digits
COUNTRIES = ("AT", "DE", "FR")
SPEC = """
title = "Employment"
[survey.columns]
weights = "w"
psu = "psu"
[survey.about]
geo = "own 2021"
[estimate]
indicator = "works"
by = ["region"]
smoothing = "gvf"
[model]
formula = "works ~ x"
[publish]
policy = "eurostat_lfs"
"""
POOLED = """
title = "Employment in three countries"
[direct]
[estimate]
indicator = "works"
by = ["country", "region"]
[model]
formula = "works ~ x + C(country)"
[publish]
policy = "eurostat_lfs"
"""
PRODUCTION = """
[production]
title = "Employment"
seed = 7
indicators = ["works"]
groups = [[], ["birth"]]
levels = { region = "region", nation = "" }
smoothing = "gvf"
[[survey]]
name = "lfs"
[survey.columns]
weights = "w"
psu = "psu"
[survey.about]
geo = "own 2021"
[[model]]
[[model.rung]]
kind = "fay_herriot"
formula = "~ x"
[publish]
policy = "eurostat_lfs"
"""


def call(arguments):
    """Return what a command prints; it must succeed, or only say that some cells have no estimate."""
    result = CliRunner().invoke(cli.app, arguments)
    assert result.exit_code in (0, 1), result.output
    return result.output


@pytest.fixture(scope="module")
def offices(tmp_path_factory):
    """The records, areas and results of three offices, of a model file and of a production."""
    folder = tmp_path_factory.mktemp("offices")
    (folder / "employment.toml").write_text(SPEC, encoding="utf-8")
    (folder / "table.toml").write_text(PRODUCTION, encoding="utf-8")
    for seed, country in enumerate(COUNTRIES):
        rng, home = np.random.default_rng(seed), folder / country
        home.mkdir()
        sizes = np.r_[3, 6, rng.integers(20, 60, 14)]
        region = np.repeat([f"{k + 1:02d}" for k in range(16)], sizes)
        frame = pd.DataFrame({"region": region, "psu": np.arange(len(region)) // 3})
        frame["birth"] = rng.choice(["foreign", "native", "native"], len(frame))
        frame["w"] = rng.uniform(50, 150, len(frame)).round(2)
        frame["works"] = (rng.random(len(frame)) < 0.4 + 0.1 * seed).astype(int)
        frame.to_csv(home / "persons.csv", index=False)
        areas = pd.DataFrame({"region": [f"{k + 1:02d}" for k in range(17)], "x": rng.uniform(0, 1, 17)})
        areas.assign(unused=1).to_csv(home / "areas.csv", index=False)
        for name, survey in (("employment", ""), ("table", "lfs="))[: 2 if country == "AT" else 1]:
            given = ["run", str(folder / f"{name}.toml"), "--survey", f"{survey}{home / 'persons.csv'}"]
            call([*given, "--areas", str(home / "areas.csv"), "--out", str(home / "out")])
    return folder


def written(offices, out, **options):
    out.mkdir(exist_ok=True)
    for country in COUNTRIES:
        exchange_results(
            offices / country / "out",
            out / f"{country}.zip",
            country=country,
            areas=offices / country / "areas.csv",
            **options,
        )
    return out


def test_from_offices_to_a_pooled_run(offices, tmp_path):
    folder = tmp_path / "countries"
    folder.mkdir()
    printed = ""
    for country in COUNTRIES:
        home = offices / country
        printed += call(
            ["exchange", str(home / "out"), "--out", str(folder / f"{country}.zip"), "--country", country,
             "--areas", str(home / "areas.csv"), "--model", "employment"]
        )  # fmt: skip
    assert "left out: 1 of fewer than 4 persons" in printed
    (tmp_path / "pooled.toml").write_text(POOLED, encoding="utf-8")
    call(["run", str(tmp_path / "pooled.toml"), "--direct", str(folder), "--out", str(tmp_path / "out")])
    ours = pd.read_csv(tmp_path / "out" / "pooled.csv", dtype={"region": str})
    assert len(ours) == 3 * 17 and not ours["domain"].duplicated().any()
    parts = [
        pd.read_csv(offices / country / "out" / "employment.direct.csv", dtype={"region": str}).assign(
            country=country
        )
        for country in COUNTRIES
    ]
    direct = pd.concat(parts, ignore_index=True)
    direct = direct[direct["n"] >= 4].reset_index(drop=True)
    direct = direct.assign(domain=direct["country"] + " / " + direct["region"])
    areas = [
        pd.read_csv(offices / country / "areas.csv", dtype={"region": str}).assign(country=country)
        for country in COUNTRIES
    ]
    fit = sae.FayHerriot("works ~ x + C(country)").fit(
        sae.DirectEstimates(direct, ("country", "region"), units={"works": "share"}),
        areas=pd.concat(areas, ignore_index=True).drop(columns="unused"),
    )
    theirs = fit.estimates.frame.set_index("domain").loc[ours["domain"]]
    for name in ("estimate", "mse", "gamma"):
        np.testing.assert_allclose(ours[name].to_numpy(), theirs[name].to_numpy(), rtol=SAME)
    record = json.loads((tmp_path / "out" / "manifest.json").read_text())["models"]["pooled"]
    assert record["inputs"]["direct"]["file"] == "countries"
    assert record["release"] == {"geo_version": "own 2021"}
    assert "AT" in record["design"] or "AT" in " ".join(record["log"])


def test_a_production_with_totals(offices, tmp_path):
    """All groups of the lowest level; no row that the others tell; only covariates of the formulas."""
    home = offices / "AT"
    file = tmp_path / "AT.zip"
    exchange_results(home / "out", file, country="AT", areas=home / "areas.csv", model="table")
    pooled = read_exchange([file])
    frame = pooled.direct.frame
    assert pooled.direct.by == ("country", "region", "birth")
    assert pooled.direct.provenance["release"] == {"geo_version": "own 2021"}
    assert set(frame["birth"]) == {"total", "foreign", "native"} and (frame["n"] >= 4).all()
    assert list(pooled.covariates) == ["country", "region", "x"]
    for region, rows in frame.groupby("region"):
        assert set(rows["birth"]) == ({"total"} if region == "02" else {"total", "foreign", "native"})
    assert frame["region"].nunique() == 15
    birth = frame[frame["birth"] != "total"].reset_index(drop=True)
    direct = sae.DirectEstimates(birth, pooled.direct.by, units={"works": "share"})
    fit = sae.FayHerriot("works ~ x", per="birth").fit(direct, areas=pooled.covariates)
    assert fit.estimates.frame["estimate"].notna().all()


def test_what_is_refused(offices, tmp_path):
    home = offices / "AT" / "out"
    with pytest.raises(SaeInputError, match="has results of 2 files"):
        exchange_results(home, tmp_path / "a.zip", country="AT")
    with pytest.raises(SaeInputError, match="holds no results"):
        exchange_results(tmp_path, tmp_path / "a.zip", country="AT")
    with pytest.raises(SaeInputError, match="no direct estimates of lives"):
        exchange_results(home, tmp_path / "a.zip", country="AT", model="table", indicators=["lives"])
    with pytest.raises(SaeSpecError, match="no level 'city'"):
        exchange_results(home, tmp_path / "a.zip", country="AT", model="table", level="city")
    with pytest.raises(SaeSpecError, match="no levels"):
        exchange_results(home, tmp_path / "a.zip", country="AT", model="employment", level="region")
    changed = tmp_path / "changed"
    changed.mkdir()
    for path in home.iterdir():
        (changed / path.name).write_bytes(path.read_bytes())
    (changed / "employment.direct.csv").write_text("indicator\n", encoding="utf-8")
    with pytest.raises(SaeInputError, match="is not the file of the run"):
        exchange_results(changed, tmp_path / "a.zip", country="AT", model="employment")
    assert not (tmp_path / "a.zip").exists()


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (('["country", "region"]', '["region"]'), 'by = ["country", "region"]'),
        (("[direct]\n", '[direct]\nse = "se"\n'), "exchange files say it themselves"),
        (("works ~ x", "works ~ x + wealth"), r"wealth \(AT\), wealth \(DE\), wealth \(FR\)"),
    ],
)
def test_a_model_file_that_does_not_fit(offices, tmp_path, change, fault):
    from sae.batch.runner import run

    folder = written(offices, tmp_path / "all", model="employment")
    (tmp_path / "pooled.toml").write_text(POOLED.replace(*change), encoding="utf-8")
    with pytest.raises((SaeInputError, SaeSpecError), match=fault.replace("[", r"\[")):
        run(find_spec(str(tmp_path / "pooled.toml")), direct=folder, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
