"""The JSON schema that editors complete model files by: every shipped file is valid."""

import json
import tomllib

import jsonschema
import pytest

from sae import cli
from sae.batch.kinds import KINDS, UNIT_KINDS
from sae.batch.models import shipped_models, shipped_plans
from sae.batch.schema import json_schema, schema_text

SCHEMAS = {plan: json_schema(plan=plan) for plan in (False, True)}
FILES = {**dict.fromkeys(shipped_models().values(), False), **dict.fromkeys(shipped_plans().values(), True)}
GOOD = {"estimate": {"indicator": "employment_rate", "by": "region"}, "model": {"formula": "y ~ x"}}


def complaints(tables, plan=False):
    return [error.message for error in jsonschema.Draft202012Validator(SCHEMAS[plan]).iter_errors(tables)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_shipped_file_is_valid(path):
    assert complaints(tomllib.loads(path.read_text(encoding="utf-8")), FILES[path]) == []


def test_the_schemas_are_schemas_and_describe_every_table():
    for schema in SCHEMAS.values():
        jsonschema.Draft202012Validator.check_schema(schema)
        assert all(part.get("description") for part in schema["$defs"].values())


@pytest.mark.parametrize(
    ("table", "key", "value"),
    [
        ("model", "knd", "fay_herriot"),
        ("model", "kind", "fay"),
        ("estimate", "smoothing", "gfv"),
        ("estimate", "by", 3),
        ("survey", "decimal", ";"),
        ("direct", "margin_level", 90),
        ("publish", "seed", -1),
    ],
)
def test_what_the_reader_refuses_an_editor_underlines(table, key, value):
    assert complaints(GOOD) == []
    assert complaints({**GOOD, table: {**GOOD.get(table, {}), key: value}})


def test_one_name_or_several_and_names_of_ones_own():
    for by in ("region", ["region", "birth"]):
        assert complaints({"estimate": {"indicator": "my_column", "by": by}}) == []
    own = {"id": "x", "numerator": "y > 1"}
    assert complaints({"estimate": {"indicator": own}, "publish": {"policy": {"base": "statcan"}}}) == []
    assert complaints({"estimate": {"indicator": {"id": "x"}}})


def test_the_command_prints_it(capsys):
    kinds = {True: list(KINDS), False: [*KINDS, *UNIT_KINDS]}
    for words, plan in ((["schema"], False), (["schema", "--plan"], True)):
        with pytest.raises(SystemExit) as end:
            cli.app(words)
        printed = capsys.readouterr().out
        assert end.value.code == 0 and printed == schema_text(plan=plan)
        assert json.loads(printed)["$defs"]["ModelSection"]["properties"]["kind"]["enum"] == kinds[plan]
