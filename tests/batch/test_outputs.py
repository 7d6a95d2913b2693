"""The record of a run has the same bytes every time, and knows whose a file is."""

import json

import pytest

from sae.batch.outputs import (
    input_names,
    merge_manifest,
    refuse_taken,
    run_id,
    versions,
    write_json,
    write_manifest,
)
from sae.errors import SaeInputError


def record(folder):
    return json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["models"]


def write(folder, name, *endings):
    """Write a stage with the results of one model, and its record."""
    folder.mkdir()
    for ending in endings:
        (folder / f"{name}{ending}").write_text(name, encoding="utf-8")
    write_manifest(folder, name, {"rows": 1})
    return folder


@pytest.mark.parametrize("identifier", ["a", "a[1]", "a*", "?", "m.direct", "Łódź"])
def test_the_outputs_of_a_model_are_recorded_whatever_signs_its_name_has(tmp_path, identifier):
    stage = write(tmp_path / "stage", identifier, ".csv", ".direct.csv")
    (stage / "persons.csv").write_text("of the demo", encoding="utf-8")
    write_manifest(stage, identifier, {})
    assert list(record(stage)[identifier]["outputs"]) == [f"{identifier}.csv", f"{identifier}.direct.csv"]


def test_a_manifest_that_is_not_ours_or_whose_files_are_gone_is_left_behind(tmp_path):
    stage = write(tmp_path / "stage", "a", ".csv")
    deep = '{"models": ' + '{"a": ' * 100_000
    for text in ('{"models": [1]}', '{"models": {"b": 1, "c": {"outputs": []}}}', "[]", "", deep):
        (tmp_path / "manifest.json").write_text(text, encoding="utf-8")
        merge_manifest(stage, tmp_path)
        assert list(record(stage)) == ["a"]
    write_json(tmp_path / "manifest.json", {"models": {"gone": {"outputs": {"gone.csv": ""}}}})
    merge_manifest(stage, tmp_path)
    assert list(record(stage)) == ["a"]


def test_a_file_name_that_is_no_text_is_recorded(tmp_path):
    write_json(tmp_path / "m.json", {"file": "caf\udce9.csv"})
    assert json.loads((tmp_path / "m.json").read_text(encoding="utf-8")) == {"file": "caf\udce9.csv"}


@pytest.mark.parametrize(("first", "second"), [("m", "m.direct"), ("m.direct", "m"), ("m", "M")])
def test_results_of_another_model_are_not_replaced(tmp_path, first, second):
    for name, stage in ((first, tmp_path / "out"), (second, tmp_path / "stage")):
        write(stage, name, ".csv", ".direct.csv")
    message = rf"results of {second} would replace those of another model, {first}, .*m\.(direct\.)?csv"
    with pytest.raises(SaeInputError, match=f"(?i){message}"):
        refuse_taken(tmp_path / "out", second)  # before work
    with pytest.raises(SaeInputError, match=f"(?i){message}"):
        merge_manifest(tmp_path / "stage", tmp_path / "out")  # of a run that ended meanwhile


def test_models_whose_names_only_begin_alike_stand_side_by_side(tmp_path):
    for name, stage in (("m", tmp_path / "out"), ("m.2024", tmp_path / "stage")):
        write(stage, name, ".csv", ".direct.csv")
    refuse_taken(tmp_path / "out", "m.2024")
    merge_manifest(tmp_path / "stage", tmp_path / "out")
    assert list(record(tmp_path / "stage")) == ["m", "m.2024"]


def test_a_folder_or_an_input_of_the_name_of_a_result_is_refused(tmp_path):
    (tmp_path / "m.csv").mkdir()
    with pytest.raises(SaeInputError, match=r"m\.csv is a folder, where a result of that name"):
        refuse_taken(tmp_path, "m")
    survey = tmp_path / "persons.csv"
    survey.write_text("1", encoding="utf-8")
    with pytest.raises(SaeInputError, match=r"The input .*persons\.csv would be replaced"):
        refuse_taken(tmp_path, "persons", [survey])
    refuse_taken(tmp_path, "other", [survey, tmp_path / "absent.csv"])


def test_the_run_id_depends_on_content_not_on_order():
    assert run_id({"a": 1, "b": 2}) == run_id({"b": 2, "a": 1}) != run_id({"a": 1, "b": 3})
    assert {"sae", "python", "numpy", "scipy", "pandas", "numba"} <= set(versions())


def test_every_file_of_a_run_is_named_as_its_source_those_of_the_areas_last():
    inputs = {
        "areas": {"file": "areas.csv", "sha256": "1"},
        "survey lfs": {"files": [f"{year}.csv" for year in range(2000, 2020)], "sha256": []},
        "register people": {"files": ["people.tsv"]},
        "direct": {"file": "rates.csv"},
        "policy": "statcan",
    }
    text = input_names(inputs)
    assert text.startswith("2000.csv, 2001.csv") and "and 10 more, covariates of the areas areas.csv" in text
    few = {"survey lfs": {"files": ["a.csv", "b.csv"]}, "direct": {"file": "rates.csv"}}
    assert input_names(few) == "a.csv, b.csv, rates.csv"
    assert input_names({}) == ""
