"""`sae run --report` and `sae report`: files to a report, from a run and from its folder."""

import json
import re
import sys

import numpy as np
import pandas as pd
import pytest

from sae import cli
from sae.batch.reporting import report_results
from sae.batch.runner import run
from sae.batch.spec import parse_spec
from sae.errors import SaeInputError, SaeSpecError

SPEC = """
title = "Rates of the areas"
[direct]
unit = "share"
estimate = "rate"
se = "se"
n = "n"
only = { group = "all" }
[estimate]
indicator = "rate"
by = ["area"]
time = "year"
[model]
formula = "rate ~ x"
per = ["year"]
[publish]
policy = "eurostat_silc"
seed = 1
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A folder with the results of 14 areas in two years, one of them with one record."""
    folder = tmp_path_factory.mktemp("report")
    draw = np.random.default_rng(2)
    frame = pd.DataFrame({"area": [f"{k:02}" for k in range(14)] * 2, "year": np.repeat([2024, 2025], 14)})
    frame["n"], frame["group"] = draw.integers(40, 200, 28), "all"
    frame["x"] = draw.uniform(0, 1, 28)
    frame["se"] = np.sqrt(0.2 / frame["n"])
    frame["rate"] = 0.5 + 0.1 * frame["x"] + draw.normal(0, frame["se"])
    frame.loc[3, "n"] = 1
    frame.drop(columns="x").to_csv(folder / "table.csv", index=False)
    frame[["area", "year", "x"]].to_csv(folder / "areas.csv", index=False)
    spec = parse_spec(SPEC, "rates", folder)
    run(spec, direct=folder / "table.csv", areas=folder / "areas.csv", out=folder / "out", report=True)
    return folder / "out"


def embedded(path):
    text = path.read_text(encoding="utf-8")
    return json.loads(re.search(r'id="data">(.*?)</script>', text, re.S)[1])


def test_a_run_writes_its_report_among_its_results(results):
    assert "rates.html" in json.loads((results / "manifest.json").read_text())["models"]["rates"]["outputs"]
    text = (results / "rates.html").read_text(encoding="utf-8")
    assert "<h1>Rates of the areas</h1>" in text and "rate ~ x" in text and "Source: table.csv." in text
    data = embedded(results / "rates.html")
    published = pd.read_csv(results / "rates.published.csv", dtype=str)
    assert [one["time"] for one in data["slices"]] == ["2025", "2024"]
    for one in data["slices"]:
        rows = published[published["time"] == one["time"]].set_index("area")["estimate"]
        for area, figure in zip(one["area"], one["estimate"], strict=True):
            told = rows[data["texts"]["area"][area]]
            assert (told == ":") if figure is None else float(told) == figure
    assert data["slices"][1]["estimate"].count(None) >= 1  # the area of one record


def test_a_folder_gives_the_report_of_its_table(results, monkeypatch, capsys, tmp_path):
    names = tmp_path / "names.csv"
    names.write_text("code,name\n00,Adorf\n01,Bedorf\n", encoding="utf-8")
    words = [
        "report",
        str(results),
        "--out",
        str(tmp_path / "r.html"),
        "--period",
        "2024",
        "--names",
        str(names),
    ]
    monkeypatch.setattr(sys, "argv", ["sae", *words, "--national", "0.55"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 0 and str(tmp_path / "r.html") in capsys.readouterr().out.replace("\n", "")
    monkeypatch.setattr(sys, "argv", ["sae", *words[:3], str(tmp_path / "d.html"), "--language", "de"])
    with pytest.raises(SystemExit):
        cli.main()
    german = (tmp_path / "d.html").read_text(encoding="utf-8")
    assert "Wie hoch ist es?" in german and "Kovariaten der Gebiete areas.csv" in german
    data = embedded(tmp_path / "r.html")
    assert {"Adorf", "Bedorf", "02"} <= set(data["texts"]["area"])
    assert len(data["slices"]) == 1 and data["slices"][0]["reference"] == 0.55


def test_the_national_line_of_a_folder_is_what_the_run_was_benchmarked_to(tmp_path):
    draw = np.random.default_rng(5)
    frame = pd.DataFrame({"area": [f"{k:02}" for k in range(14)] * 2, "year": np.repeat([2024, 2025], 14)})
    frame["n"], frame["group"], frame["x"] = draw.integers(80, 200, 28), "all", draw.uniform(0, 1, 28)
    frame["se"], frame["people"] = np.sqrt(0.1 / frame["n"]), draw.uniform(1, 5, 28)
    frame["rate"] = 0.5 + 0.1 * frame["x"] + draw.normal(0, frame["se"])
    frame.loc[14, "n"] = 1  # hidden, alone in 2025: the figure of that year would give it away
    frame.loc[0:1, "n"] = 1  # two in 2024
    benchmark = (
        '[benchmark]\nwithin = "year"\nweights = "people"\ntargets = { "2024" = 0.55, "2025" = 0.56 }\n'
    )
    spec = parse_spec(SPEC.replace("[publish]", benchmark + "[publish]"), "rates", tmp_path)
    frame.drop(columns=["x", "people"]).to_csv(tmp_path / "table.csv", index=False)
    frame[["area", "year", "x", "people"]].to_csv(tmp_path / "areas.csv", index=False)
    run(spec, direct=tmp_path / "table.csv", areas=tmp_path / "areas.csv", out=tmp_path / "out", report=True)
    record = json.loads((tmp_path / "out" / "manifest.json").read_text())["models"]["rates"]
    pages = [
        embedded(tmp_path / "out" / "rates.html"),
        embedded(report_results(tmp_path / "out", tmp_path / "r.html")),
    ]
    for data in pages:
        for one in data["slices"]:
            hidden = one["estimate"].count(None)
            assert one["national"] == (one["time"] in [each["common"]["time"] for each in record["national"]])
            assert one["national"] == (hidden != 1)
            if one["national"]:
                assert one["reference"] == {"2024": 0.55, "2025": 0.56}[one["time"]]
    assert record["national"]
    own = embedded(report_results(tmp_path / "out", tmp_path / "o.html", national=0.5))
    assert [one["reference"] for one in own["slices"]] == [0.5, 0.5]


PRODUCTION = """
[production]
title = "Rates"
seed = 1
indicators = ["rate"]
levels = { area = "area", nation = "" }
[[direct]]
name = "t"
file = "table.csv"
time = "year"
estimate = "rate"
total = { area = "all" }
se = "se"
n = "n"
[[direct.indicator]]
id = "rate"
[publish]
policy = "statcan"
"""


def test_a_production_gives_the_choice_of_level_and_period(tmp_path, monkeypatch):
    lines = [
        f"A{k},{year},0.{20 + k},{0.05 if k % 7 else 0.3},80" for k in range(10, 30) for year in (2023, 2024)
    ]
    whole = ["all,2023,0.4,0.01,1600", "all,2024,0.41,0.01,1600"]
    (tmp_path / "table.csv").write_text("\n".join(["area,year,rate,se,n", *lines, *whole]), encoding="utf-8")
    (tmp_path / "p.toml").write_text(PRODUCTION, encoding="utf-8")
    words = [
        "run",
        str(tmp_path / "p.toml"),
        "--data",
        str(tmp_path),
        "--out",
        str(tmp_path / "out"),
        "--report",
    ]
    monkeypatch.setattr(sys, "argv", ["sae", *words])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code in (0, 1)
    data = embedded(tmp_path / "out" / "p.html")
    assert [pick["name"] for pick in data["picks"]] == ["time", "level"]
    sizes = {tuple(one["key"]): len(one["area"]) for one in data["slices"]}
    assert next(iter(sizes.items())) == (("2024", "area"), 20) and sizes["2023", "nation"] == 1
    nation = next(one for one in data["slices"] if one["key"] == ["2023", "nation"])
    assert nation["estimate"] == [0.4] and nation["said"][0].endswith("the only area with a figure.")
    first = data["slices"][0]
    assert min(rank for rank in first["rank_low"] if rank) == 1 and nation["rank_low"] == [None]
    # 0.3 / 0.41 is above the band of the policy
    assert first["estimate"].count(None) == 3 and first["said"][1].endswith("no figure: 3 of 20 areas.")


def test_what_a_folder_does_not_hold_is_named(results, tmp_path):
    for options, message in [
        ({"periods": ["1999"]}, "no time 1999"),
        ({"level": "nuts2"}, "no level to choose"),
        ({"model": "other"}, "no results of other"),
    ]:
        with pytest.raises((SaeInputError, SaeSpecError), match=message):
            report_results(results, tmp_path / "r.html", **options)
    with pytest.raises(SaeInputError, match="holds no results"):
        report_results(tmp_path, tmp_path / "r.html")
    assert not (tmp_path / "r.html").exists()
