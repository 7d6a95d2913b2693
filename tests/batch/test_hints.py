"""Messages of a run name the keys of its model file, not arguments of calls that the user does not make."""

import pytest

from sae.batch.checks import check
from sae.batch.hints import file_error, file_text, reading
from sae.batch.runner import run
from sae.batch.spec import parse_spec, read_spec
from sae.errors import SaeError, SaeInputError, SaeSpecError


@pytest.mark.parametrize(
    ("call", "file"),
    [
        ("Call fit(..., seed=1), with any number.", "Write [publish] seed = 1, with any number."),
        ("Choose lonely_psu='average'.", 'Choose [survey] lonely_psu = "average".'),
        ('with sae.direct(..., smoothing="gvf"), or', 'with [estimate] smoothing = "gvf", or'),
        ("in sae.read_survey(..., replicates=...), or", "in [survey.columns] replicates, or"),
        ("are rows of areas=, with covariates.", "are rows of --areas, with covariates."),
        ("If so, pass nest=True; otherwise", "If so, pass [survey] nest = true; otherwise"),
        ("one fit per period with per=.", "one fit per period with [model] per."),
        ("per=['a', 'b'] has no meaning", '[model] per = ["a", "b"] has no meaning'),
        ('Give errors={"x": "x_var"}, or', 'Give [model] errors = {"x" = "x_var"}, or'),
        ("Leave spatial= out.", "Leave [model] spatial out."),
    ],
)
def test_arguments_become_keys(call, file):
    assert file_text(call) == file


@pytest.mark.parametrize(
    "text",
    ["age == 3 and by>=2", 'It is [model] mse = "auto".', "contr.treatment(base=1)", "x=3", "sae.CAR(rho=1)"],
)
def test_what_is_no_argument_with_a_key_stays(text):
    assert file_text(text) == text


def test_an_error_keeps_its_kind_its_areas_and_its_column():
    error = SaeInputError("Bad.", hint="Call fit(..., seed=1).", areas=["A", "B"], column="x")
    same = file_error(error)
    assert type(same) is SaeInputError and (same.areas, same.column) == (("A", "B"), "x")
    assert str(same) == "Bad.\nWrite [publish] seed = 1."


def test_an_encoding_is_named_in_the_table_of_its_file():
    with pytest.raises(SaeSpecError, match=r'\[areas\] encoding = "cp1252"'), reading("[areas]"):
        raise SaeSpecError("Bad.", hint='Pass encoding="cp1252".')


def test_a_run_and_a_check_speak_of_the_file(inputs):
    for name, table in (("persons.csv", "[survey]"), ("areas.csv", "[areas]")):
        original = (inputs / name).read_bytes()
        (inputs / name).write_bytes(original.replace(b"region", "regi\u00f3n".encode("latin-1"), 1))
        for work in (run, check):
            data = {"survey": inputs / "persons.csv", "areas": inputs / "areas.csv"}
            data |= {"out": inputs / "out"} if work is run else {}
            with pytest.raises(SaeError) as caught:
                work(read_spec(inputs / "spec.toml"), **data)
            assert f"{table} encoding" in str(caught.value) and "encoding=" not in str(caught.value)
        (inputs / name).write_bytes(original)


def test_a_lonely_unit_is_answered_by_a_key(inputs, persons):
    persons[persons["psu"] != "R03-1"].query("psu not in ['R03-2', 'R03-3']").to_csv(
        inputs / "persons.csv", index=False
    )
    spec = parse_spec((inputs / "spec.toml").read_text(encoding="utf-8"), "spec")
    with pytest.raises(SaeError, match=r'\[survey\] lonely_psu = "certainty"'):
        check(spec, survey=inputs / "persons.csv")
