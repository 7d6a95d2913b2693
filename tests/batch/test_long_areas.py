"""A long file as the areas of a model or production file: a column per figure, its rows named."""

import numpy as np
import pandas as pd
import pytest

from sae.batch.production.runner import run_production
from sae.batch.production.spec import parse_production
from sae.batch.runner import read_areas
from sae.batch.spec import parse_spec
from sae.errors import SaeError, SaeInputError, SaeSpecError

SPEC = """
[areas.long]
by = ["code", "year"]
names = "what"
values = "value"
only = { group = "all" }
figures = { poverty = "poor", work = "employed" }
[estimate]
indicator = "arpr"
by = "code"
time = "year"
[model]
formula = "arpr ~ poverty"
"""


@pytest.fixture
def file(tmp_path):
    rows = [
        (code, year, what, group, value)
        for code, add in (("01", 0.0), ("02", 0.1))
        for year in (2023, 2024)
        for what, base in (("poor", 0.2), ("employed", 0.6), ("other", 9.0))
        for group, more in (("all", 0.0), ("some", 0.01))
        for value in [round(base + add + more + (year - 2023) / 100, 4)]
    ]
    frame = pd.DataFrame(rows, columns=["code", "year", "what", "group", "value"])
    frame.to_csv(tmp_path / "long.csv", index=False)
    return tmp_path / "long.csv"


def test_the_figures_stand_side_by_side(file):
    areas = read_areas(parse_spec(SPEC, "spec"), file)
    frame = areas.table(areas.keys(["code", "year"]))
    assert frame[["code", "year"]].values.tolist() == [[c, y] for c in ("01", "02") for y in ("2023", "2024")]
    np.testing.assert_allclose(frame["poverty"], [0.2, 0.21, 0.3, 0.31])
    np.testing.assert_allclose(frame["work"], [0.6, 0.61, 0.7, 0.71])
    assert list(frame) == ["code", "year", "poverty", "work"]


@pytest.mark.parametrize(
    ("old", "new", "error", "text"),
    [
        ('only = { group = "all" }\n', "", SaeInputError, "several figures of poor for 4 of code × year"),
        ('poverty = "poor"', 'poverty = "rich"', SaeInputError, "what = rich"),
        ('values = "value"', 'values = "group"', SaeInputError, "holds text, no figures"),
        ('names = "what"', 'names = "waht"', SaeSpecError, "waht"),
        ('by = ["code", "year"]', 'by = ["cod", "year"]', SaeSpecError, "cod"),
        ("[areas.long]", "[areas.log]", SaeSpecError, "unknown key log; did you mean long"),
        (
            "[estimate]",
            '[areas.eurostat]\nfigures.x = {unit = "PC"}\n[estimate]',
            SaeSpecError,
            "long has no meaning",
        ),
    ],
)
def test_what_cannot_be_read_is_named(file, old, new, error, text):
    assert old in SPEC
    with pytest.raises(error, match=text):
        read_areas(parse_spec(SPEC.replace(old, new, 1), "spec"), file)


def test_a_production_takes_the_periods_of_a_table_of_eurostat(tmp_path):
    """The file is a fixture of the documented form; its figures are made up."""
    names = [f"AT{k}" for k in (11, 12, 13, 21, 22, 31, 32, 33)]
    lines = [f"A,PC,{name}\t{10 + k}.0 \t{12 + k}.5 " for k, name in enumerate(names)]
    text = "freq,unit,geo\\TIME_PERIOD\t2020 \t2021 \n" + "\n".join(lines) + "\n"
    (tmp_path / "table.tsv").write_text(text, encoding="utf-8")
    rng = np.random.default_rng(3)
    cells = [(name, year, rng.uniform(0.3, 0.5)) for name in names for year in (2020, 2021)]
    frame = pd.DataFrame(cells, columns=["region", "year", "estimate"]).assign(se=0.05, n=90)
    frame.to_csv(tmp_path / "direct.csv", index=False)
    spec = """
[production]
title = "Rates"
seed = 7
indicators = ["rate"]
levels = { region = "region" }
[[direct]]
name = "made"
file = "direct.csv"
time = "year"
se = "se"
n = "n"
[[direct.indicator]]
id = "rate"
[areas]
file = "table.tsv"
[areas.eurostat]
figures.share = { unit = "PC" }
period = "year"
level = 2
[[model]]
per = []
[[model.rung]]
kind = "fay_herriot"
formula = "~ share"
[publish]
policy = "statcan"
"""
    file = parse_production(spec, "rates", tmp_path)
    frame = run_production(file, out=tmp_path / "out").estimation.table.frame
    assert frame["estimate"].notna().all() and len(frame) == 16
    with pytest.raises(SaeSpecError, match="decimal has no meaning for a table of Eurostat"):
        parse_production(spec.replace('"table.tsv"', '"table.tsv"\ndecimal = ","'), "rates", tmp_path)
    with pytest.raises(SaeError, match="several periods"):
        run_production(
            parse_production(spec.replace('period = "year"\n', ""), "rates", tmp_path), out=tmp_path / "none"
        )
    assert not (tmp_path / "none").exists()


def test_a_production_estimates_an_indicator_of_its_own(tmp_path):
    rng = np.random.default_rng(4)
    frame = pd.DataFrame({"region": np.repeat(["N", "S"], 200), "w": rng.uniform(1, 2, 400)})
    frame["age"], frame["works"] = rng.integers(10, 80, 400), rng.integers(0, 2, 400)
    frame.to_csv(tmp_path / "persons.csv", index=False)
    spec = """
[production]
title = "Own"
indicators = ["old_workers"]
levels = { region = "region", nation = "" }
[[survey]]
name = "s"
files = ["persons.csv"]
columns = { weights = "w" }
[[indicator]]
id = "old_workers"
version = "55+ v2"
unit = "share"
numerator = "works == 1"
universe = "age >= 55"
[publish]
policy = "eurostat_silc"
"""
    made = run_production(parse_production(spec, "own", tmp_path), out=tmp_path / "out")
    table = made.estimation.table.frame.set_index("level")
    old = frame[frame["age"] >= 55]
    mean = np.average(old["works"], weights=old["w"])
    assert table.loc["nation", "estimate"] == pytest.approx(mean, rel=1e-12)
    assert set(table["definition"]) == {"55+ v2"} and set(table["unit"]) == {"share"}
    wrong = spec.replace('numerator = "works == 1"', 'numerator = "wroks == 1"')
    with pytest.raises(SaeError, match="wroks"):
        run_production(parse_production(wrong, "own", tmp_path), out=tmp_path / "none")
    assert not (tmp_path / "none").exists()
