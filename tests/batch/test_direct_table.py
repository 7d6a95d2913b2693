"""A model file without a model: the direct estimates, flagged, from file to table."""

import json

import numpy as np
import pandas as pd
import pytest

import sae
from sae.batch.runner import run
from sae.batch.spec import parse_spec, read_spec
from sae.errors import SaeSpecError
from sae.tables.files import read_table

SPEC = """
title = "Employment by birth and sex"
[survey.columns]
weights = "w"
[estimate]
indicator = "employment_rate"
by = ["birth", "sex"]
[publish]
policy = "eurostat_silc"
"""


@pytest.fixture
def persons(tmp_path):
    rng = np.random.default_rng(5)
    frame = pd.DataFrame(
        {
            "w": rng.uniform(1, 3, 400),
            "age": rng.integers(20, 65, 400),
            "birth": np.where(np.arange(400) < 30, "foreign", "native"),
            "sex": rng.choice(["female", "male"], 400),
            "labour_status": rng.choice(["employed", "inactive"], 400, p=[0.7, 0.3]),
        }
    )
    file = tmp_path / "persons.csv"
    frame.to_csv(file, index=False)
    return file, frame


def test_a_run_without_a_model_writes_the_flagged_direct_table(persons, tmp_path):
    file, frame = persons
    (tmp_path / "rates.toml").write_text(SPEC, encoding="utf-8")
    outcome = run(read_spec(tmp_path / "rates.toml"), survey=file, out=tmp_path / "out")
    table = read_table(tmp_path / "out" / "rates.csv")
    direct = sae.direct(sae.read_survey(file, weights="w"), "employment_rate", ["birth", "sex"]).frame
    pd.testing.assert_series_equal(table["estimate"], direct["estimate"])
    pd.testing.assert_series_equal(table["se"], direct["se"])
    assert table["method"].unique().tolist() == ["direct"] and (table["geo"] == "").all()
    cell = frame.query("birth == 'native' and sex == 'male'")
    share = np.average(cell["labour_status"] == "employed", weights=cell["w"])
    row = table.query("birth == 'native' and sex == 'male'").iloc[0]
    assert row["estimate"] == pytest.approx(share, rel=1e-12) and row["publishable"]
    foreign = table[table["birth"] == "foreign"]
    assert not foreign["publishable"].any() and foreign["reason"].str.len().gt(0).all()
    assert [path.name for path in outcome.files] == [
        "manifest.json",
        "rates.csv",
        "rates.direct.csv",
        "rates.parquet",
        *(f"rates.published.{ending}" for ending in ("csv", "md", "parquet", "xlsx")),
        "rates.xlsx",
    ]
    record = json.loads((tmp_path / "out" / "manifest.json").read_text(encoding="utf-8"))
    assert record["models"]["rates"]["rows"] == 4 and "direct estimates" in outcome.text


def test_the_nation_needs_no_grouping_column(persons, tmp_path):
    file, _ = persons
    text = SPEC.replace('by = ["birth", "sex"]', "")
    outcome = run(parse_spec(text, "nation"), survey=file, out=tmp_path / "out")
    assert outcome.table["domain"].tolist() == ["all"]


def test_what_only_a_model_has_is_refused_without_one():
    with pytest.raises(SaeSpecError, match=r"\[benchmark\] adjusts a model"):
        parse_spec(SPEC + '\n[benchmark]\nwithin = "birth"\n', "rates")
    with pytest.raises(SaeSpecError, match="A model has areas"):
        text = SPEC.replace('by = ["birth", "sex"]', "")
        parse_spec(text + '\n[model]\nformula = "employment_rate ~ 1"\n', "rates")
