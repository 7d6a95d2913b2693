"""A file of Eurostat as the areas of a model file: its figures by name, their origin in the record."""

import json
import os

import pandas as pd
import pytest

from sae import cli
from sae.batch.models import find_spec
from sae.batch.runner import read_areas
from sae.batch.spec import parse_spec
from sae.errors import SaeInputError, SaeSpecError

# a fixture of the documented form; the figures are made up
TSV = (
    "freq,unit,geo\\TIME_PERIOD\t2020 \t2021 \n"
    "A,PC,AT\t5.0 \t6.0 \n"
    "A,PC,AT11\t7.0 b\t8.0 \n"
    "A,PC,AT12\t9.0 \t: c\n"
    "A,PC,ATZZ\t1.0 \t1.0 \n"
    "A,PC,BE10\t3.0 \t4.0 \n"
    "A,THS,AT11\t70 \t80 \n"
)
SPEC = """
[areas.eurostat]
figures.share = {unit = "PC"}
level = 2
within = "AT"
time = "2021"
[estimate]
indicator = "arpr"
by = "region"
[model]
formula = "arpr ~ share"
"""


def areas_of(tmp_path, old="", new=""):
    file = tmp_path / "table.tsv"
    file.write_text(TSV, encoding="utf-8")
    assert old in SPEC
    return read_areas(parse_spec(SPEC.replace(old, new, 1), "spec"), file)


def test_figures_of_the_level_and_country_with_their_origin(tmp_path):
    file = areas_of(tmp_path)
    frame = file.table(file.keys(["region"]))
    assert frame["region"].tolist() == ["AT11", "AT12"]
    assert frame["share"].tolist()[0] == 8.0 and pd.isna(frame["share"].tolist()[1])  # confidential, not 0
    assert file.origins["share"].vintage == "2021" and "unit PC" in file.origins["share"].definition


def test_an_older_figure_stands_in_and_says_its_year(tmp_path):
    file = areas_of(tmp_path, 'time = "2021"', 'time = "2021"\nback = 1\ndataflow = "ESTAT:ILC_LI41(1.0)"')
    assert file.origins["share"].source == "Eurostat ilc_li41"
    assert file.table()["share"].tolist() == [8.0, 9.0]
    assert file.origins["share"].vintage == "2020 to 2021"


def test_several_periods_are_those_of_the_estimates(tmp_path):
    by_year = 'by = "region"\ntime = "year"'
    spec = SPEC.replace('time = "2021"\n', "").replace('by = "region"', by_year)
    (tmp_path / "table.tsv").write_text(TSV, encoding="utf-8")
    with pytest.warns(UserWarning, match="bear the flag b"):
        file = read_areas(parse_spec(spec, "spec"), tmp_path / "table.tsv")
    frame = file.table(file.keys(["region", "year"]))
    assert frame[["region", "year"]].values.tolist()[:2] == [["AT11", "2020"], ["AT11", "2021"]]
    assert frame["share"].tolist()[:3] == [7.0, 8.0, 9.0]


@pytest.mark.parametrize(
    ("old", "new", "error", "message"),
    [
        ("level = 2", "level = 3", SaeInputError, r"None of the 5 areas of table.tsv .* AT, AT11"),
        ('within = "AT"', 'within = "SE"', SaeInputError, "None of the 5 areas"),
        ('time = "2021"', 'time = "2019"', SaeSpecError, "no figure is of 2019"),
        ('time = "2021"\n', "", SaeSpecError, "several periods, but .estimate. has no time"),
        ('{unit = "PC"}', "{}", SaeSpecError, r"several levels of unit \(PC, THS\)"),
        ("level = 2", "levl = 2", SaeSpecError, "did you mean level"),
        (
            "[areas.eurostat]",
            '[areas]\ndecimal = ","\n[areas.eurostat]',
            SaeSpecError,
            "decimal has no meaning",
        ),
    ],
)
def test_what_the_table_does_not_hold_is_named(tmp_path, old, new, error, message):
    with pytest.raises(error, match=message):
        areas_of(tmp_path, old, new)


def test_a_table_of_eurostat_through_the_command_line(shared_data, tmp_path, monkeypatch, capsys):
    """The survey is synthetic: a test of form."""
    real, out = shared_data / "real", tmp_path / "out"
    words = ["run", "austria_poverty_by_density", "--survey", real / "at_eusilc13puf.csv.gz"]
    words += ["--areas", real / "eurostat_demo_r_d3dens.csv.gz", "--out", out]
    monkeypatch.setattr("sys.argv", ["sae", *map(os.fspath, words)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code, capsys.readouterr().err
    record = json.loads((out / "manifest.json").read_text(encoding="utf-8"))["models"]
    record = record["austria_poverty_by_density"]
    assert record["covariates"]["density"]["source"] == "Eurostat demo_r_d3dens updated 2023-04-19"
    assert record["covariates"]["density"]["vintage"] == "2013"
    table = pd.read_csv(out / "austria_poverty_by_density.csv")
    assert table["domain"].tolist() == [f"AT{k}" for k in (11, 12, 13, 21, 22, 31, 32, 33, 34)]
    areas = read_areas(find_spec("austria_poverty_by_density"), real / "eurostat_demo_r_d3dens.csv.gz")
    density = areas.table().set_index("region")["density"]
    assert density["AT13"] > 4000.0 > 200.0 > density["AT33"]  # Vienna and Tyrol, persons per km²
