"""Text that a spreadsheet would execute: guarded in CSV, read back unchanged at every door."""

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sae
from sae.auxiliary import read_areas
from sae.tables import CSV_GUARD, read_table, write_table
from sae.tables.guard import guarded, unguarded

FORMULAS = ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", " =1", "＝1+1", "-", "+39 06"]
PLAIN = ["-5", "+0.3", "-1,5", "-1e-05", "-12 %", "'s-Hertogenbosch", "a=b", "'", "''", "", "Wien"]


@pytest.mark.parametrize("text", FORMULAS)
def test_formulas_stand_after_an_apostrophe(text):
    assert guarded(text) == f"'{text}" and unguarded(guarded(text)) == text


@pytest.mark.parametrize("text", PLAIN)
def test_everything_else_stays(text):
    assert guarded(text) == text == unguarded(text)


@given(st.text(alphabet="'=+-@ \t\n＝1a", max_size=6))
@settings(max_examples=300, deadline=None)
def test_any_text_reads_back_unchanged(text):
    assert unguarded(guarded(text)) == text
    assert guarded(guarded(text)) == guarded(text) or unguarded(unguarded(guarded(guarded(text)))) == text


def test_tables_round_trip_and_hold_no_formula(tmp_path):
    texts = [*FORMULAS, *PLAIN, "'=1", "''=1", None]
    frame = pd.DataFrame({"domain": texts, "=name": pd.Categorical(texts), "x": range(len(texts))})
    file = write_table(frame, tmp_path / "t.csv")
    back = read_table(file)
    assert back["domain"].fillna("").tolist() == [text or "" for text in texts]
    assert list(back) == ["domain", "=name", "x"]
    raw = pd.read_csv(file, dtype=str, keep_default_na=False)
    assert raw["domain"].tolist() == [guarded(text) if text else "" for text in texts]
    assert raw.columns[1] == "'=name" and raw["domain"][0] == "'=1+1"


def test_what_sae_writes_the_readers_of_surveys_and_areas_read(tmp_path):
    names = ["=1+1", "'s-Gravenhage", "-5 and less", "'=x"]
    file = write_table(pd.DataFrame({"city": names, "w": 1.0}), tmp_path / "p.csv")
    assert sae.read_survey(file, weights="w").frame["city"].tolist() == names
    assert read_areas(file)["city"].tolist() == names


def test_other_formats_and_numbers_need_no_guard(tmp_path):
    frame = pd.DataFrame({"domain": ["=1+1"], "x": [-1.5]})
    assert write_table(frame, tmp_path / "t.csv").read_text(encoding="utf-8") == "domain,x\n'=1+1,-1.5\n"
    assert read_table(write_table(frame, tmp_path / "t.parquet"))["domain"].tolist() == ["=1+1"]
    pytest.importorskip("openpyxl")
    assert read_table(write_table(frame, tmp_path / "t.xlsx"))["domain"].tolist() == ["=1+1"]


def test_the_rule_is_one_sentence_or_two():
    assert "apostrophe" in CSV_GUARD and "signed number" in CSV_GUARD
