"""The JSON schema that editors complete production files by."""

import tomllib

import jsonschema
import pytest

from sae import cli
from sae.batch.models import shipped_productions
from sae.batch.production.schema import production_schema, production_schema_text

SCHEMA = production_schema()


def complaints(text):
    return [
        error.message for error in jsonschema.Draft202012Validator(SCHEMA).iter_errors(tomllib.loads(text))
    ]


@pytest.mark.parametrize("path", shipped_productions().values(), ids=lambda path: path.stem)
def test_every_shipped_file_is_valid(path):
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert complaints(path.read_text(encoding="utf-8")) == []
    assert all(part.get("description") for part in SCHEMA["$defs"].values())
    assert production_schema_text() == production_schema_text()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('kind = "binomial_mixed"', 'kind = "binomial"'),
        ("transform =", "trnsform ="),
        ("accept_if = { areas = 20 }", "accept_if = { area = 20 }"),
        ("levels = {", "level = {"),
        ('layout = "eu_lfs"', "layout = 3"),
        ('to = "nation"', "to = 1"),
    ],
)
def test_what_is_wrong_is_marked(old, new):
    text = shipped_productions()["core_set"].read_text(encoding="utf-8")
    assert old in text and complaints(text.replace(old, new, 1))


def test_the_command_prints_it(capsys):
    with pytest.raises(SystemExit) as end:
        cli.app(["schema", "--production"])
    assert end.value.code == 0 and capsys.readouterr().out == production_schema_text()
