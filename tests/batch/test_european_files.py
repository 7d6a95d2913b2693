"""European survey files from the command line to tables; malformed ones end in a named error.

The files are samples of the synthetic country written in the documented structure (fixtures).
"""

import numpy as np
import pandas as pd
import pytest

import sae
from sae.batch.models import models_folder
from sae.batch.runner import run
from sae.batch.spec import parse_spec, read_spec
from sae.datasets import country, write_lfs
from sae.errors import SaeError
from sae.tables.files import read_table

SAME = 1e-12  # the same sums, through a file
RATES = """
title = "Unemployment by region and citizenship"
[survey]
layout = "eu_lfs"
[survey.columns]
strata = "STRATUM"
psu = "PSU"
[estimate]
indicator = "unemployment_rate"
by = ["region", "citizenship_group"]
[publish]
policy = "eurostat_silc"
"""


@pytest.fixture(scope="module")
def land():
    return country(seed=3, regions=6)


@pytest.fixture(scope="module")
def file(land, tmp_path_factory):
    return write_lfs(land.lfs(seed=1, persons=3_000), tmp_path_factory.mktemp("lfs") / "XA2025Q1.csv")


def refused(text, path, tmp_path):
    """Return the error of a run, after which nothing is there."""
    with pytest.raises(SaeError) as error:
        run(parse_spec(text, "model"), survey=path, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    return str(error.value)


def test_a_labour_force_file_becomes_the_table_of_its_direct_estimates(land, file, tmp_path):
    run(parse_spec(RATES, "rates"), survey=file, out=tmp_path / "out")
    table = read_table(tmp_path / "out" / "rates.csv").set_index(["region", "citizenship_group"])
    survey = sae.read_survey(file, layout="eu_lfs", strata="STRATUM", psu="PSU")
    direct = sae.direct(survey, "unemployment_rate", ["region", "citizenship_group"]).frame
    direct = direct.astype({"region": str, "citizenship_group": str}).set_index(table.index.names)
    np.testing.assert_allclose(table["estimate"], direct.loc[table.index, "estimate"], rtol=SAME)
    assert (table["geo"] == table.index.get_level_values("region")).all()
    native = table.xs("native", level="citizenship_group")
    assert native["publishable"].all() and native["n"].min() > 50


def test_a_definition_whose_codes_are_remembered_runs_only_where_accepted(file, tmp_path):
    text = RATES.replace("unemployment_rate", "neet_rate")
    message = refused(text, file, tmp_path)
    assert "remembered" in message and "eu_lfs.recent_education" in message
    accepted = text.replace("[publish]", 'accept = ["eu_lfs.recent_education"]\n[publish]')
    outcome = run(parse_spec(accepted, "neet"), survey=file, out=tmp_path / "out")
    assert outcome.table["estimate"].notna().any()


def test_places_are_checked_against_the_vintage_that_the_model_states(shared_data, tmp_path):
    path = shared_data / "real/at_eusilc13puf.csv.gz"
    name = "austria_poverty_by_citizenship"
    text = (models_folder() / f"{name}.toml").read_text(encoding="utf-8")
    run(read_spec(models_folder() / f"{name}.toml"), survey=path, out=tmp_path / "good")
    table = read_table(tmp_path / "good" / f"{name}.csv")
    assert len(table) == 27 and (table["geo_version"] == "NUTS 2010").all()
    records = pd.read_csv(path, low_memory=False).iloc[::8]
    odd = tmp_path / "odd.csv"
    records.assign(db040=records["db040"].replace({"AT34": "PT1A"})).to_csv(odd, index=False)
    message = refused(text, odd, tmp_path)
    assert "PT1A" in message and "2010" in message
    records.assign(db040=records["db040"].replace({"AT34": "Vorarlberg"})).to_csv(odd, index=False)
    assert "Vorarlberg" in refused(text, odd, tmp_path)


def damaged(file, tmp_path):
    """Yield a file, the text of a model file, and words of the error."""
    frame = pd.read_csv(file, dtype=str, keep_default_na=False)
    whole = tmp_path / "whole.parquet"
    frame.to_parquet(whole)
    cut = tmp_path / "cut.parquet"
    cut.write_bytes(whole.read_bytes()[:-500])
    yield "truncated Parquet", cut, RATES, ["cut.parquet"]

    mixed = tmp_path / "mixed.csv"
    lines = file.read_bytes().splitlines(keepends=True)
    mixed.write_bytes(b"".join([*lines[:9], lines[9].replace(b"XA", b"X\xe9", 1), *lines[10:]]))
    yield "mixed encodings", mixed, RATES, ["mixed.csv", "utf-8"]

    twice = tmp_path / "twice.csv"
    pd.concat([frame, frame.iloc[[4]]]).to_csv(twice, index=False)
    yield "duplicated persons", twice, RATES, ["repeats a person", "household"]

    text = RATES.replace('layout = "eu_lfs"', 'layout = "eu_lfs"\npopulation = 1000')
    yield "weights that do not sum", file, text, ["stated", "1,000"]

    old = tmp_path / "old.csv"
    frame.assign(REFYEAR="2019").to_csv(old, index=False)
    yield "a year of another release", old, RATES, ["2019", "eu_lfs_recoded"]

    yield "a wrong layout", file, RATES.replace('"eu_lfs"', '"eu_silc"'), ["eu_lfs"]

    heavy = tmp_path / "heavy.csv"
    frame.assign(COEFFQ=["-1", *frame["COEFFQ"].iloc[1:]]).to_csv(heavy, index=False)
    yield "a negative weight", heavy, RATES, ["COEFFQ", "negative"]

    strange = tmp_path / "strange.csv"
    frame.assign(ILOSTAT="7").to_csv(strange, index=False)
    yield "codes of another survey", strange, RATES, ["ILOSTAT", "'7'"]


def test_damaged_files_end_in_a_named_error_and_write_nothing(file, tmp_path):
    for what, path, text, words in damaged(file, tmp_path):
        message = refused(text, path, tmp_path)
        assert all(word.lower() in message.lower() for word in words), (what, message)
