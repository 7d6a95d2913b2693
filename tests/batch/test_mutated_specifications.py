"""Model and planning files made invalid: a right table or an error that names the thing, no fault of ours.

Values of a wrong kind, keys misspelt, dropped, added, nested; broken text. 10,000 files are slow.
"""

import copy
import datetime
import json
import random
import tomllib
import warnings

import pytest

from sae.batch.checks import check_file
from sae.batch.kinds import KINDS, options
from sae.batch.models import shipped_models, shipped_plans
from sae.batch.runner import run
from sae.batch.spec import read_spec
from sae.errors import SaeError, SaeWarning

LONGEST = 12_000  # characters of a message; a name of 5,000 letters may stand in it
DEEP: list = []
for _ in range(60):
    DEEP = [DEEP]
DAY = datetime.date(2024, 1, 31)
TEXTS = [
    "",
    "x",
    " ",
    "no",
    "region",
    "regoin",
    "statcan",
    "bootstrap",
    "a\0b",
    "é" * 40,
    "w" * 3000,
    "9" * 400,
]
TEXTS += [
    ".",
    "~",
    "{",
    "1 <= ",
    "age > 3",
    "$^$",
    "office.toml",
    "sar: map.csv",
    "ar1: year",
    "employment_rate ~ 1",
]
NUMBERS = [0, 1, -1, 7, 10**30, -(10**30), 10**4000, 0.0, 0.5, -0.5, 1.5, 1e308, True, False]
NUMBERS += [float("inf"), float("-inf"), float("nan")]
LISTS = [[], [[]], ["region"], ["x", "x"], [1, "a"], [True], [{}], [None], DEEP]
TABLES = [{}, {"x": 1}, {"": ""}, {"first": []}, {"first": ["w"]}, {"base": "statcan"}, {"rules": []}]
TABLES += [{"rules": [{"measure": "n", "suppress_below": "20"}]}, {"a": {"b": {"c": []}}}]
TIMES = [DAY, datetime.time(1, 2), datetime.datetime(2024, 1, 31, 1, 2)]
VALUES = [*TEXTS, *NUMBERS, *LISTS, *TABLES, *TIMES]
KEYS = [
    "",
    "x",
    "kind",
    "level",
    "seed",
    "per",
    "columns",
    "rules",
    "targets",
    "spatial",
    "temporal",
    "prior",
]
KEYS += ["mse", "Weights", "é", "a.b", "missing", "encoding"]


def toml(value):
    """Write a value as TOML, tables inline; a nothing, which TOML lacks, as a word that it does not know."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {toml(part)}" for key, part in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return repr(value) if value is not None else "none"


def document(tables):
    return "".join(f"{json.dumps(key)} = {toml(value)}\n" for key, value in tables.items())


def places(value, path=()):
    """Yield the path of every entry of nested tables and lists."""
    entries = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, part in entries:
        yield (*path, key)
        yield from places(part, (*path, key))


def mutated(tables, draw: random.Random):
    """Return the text of a TOML file with one to three faults."""
    tables = copy.deepcopy(tables)
    for _ in range(draw.choice([1, 1, 1, 2, 3])):
        _change(tables, draw)
    text = document(tables)
    if draw.random() < 0.1:
        text = _broken(text, draw)
    return text


def _change(tables, draw):
    options = list(places(tables))
    if not options:
        return
    *path, key = draw.choice(options)
    parent = tables
    for part in path:
        parent = parent[part]
    match draw.choice(["value", "value", "value", "drop", "rename", "add", "wrap", "swap"]):
        case "value":
            parent[key] = copy.deepcopy(draw.choice(VALUES))
        case "drop":
            del parent[key]
        case "rename" if isinstance(parent, dict):
            parent[_misspelt(key, draw)] = parent.pop(key)
        case "add" if isinstance(parent, dict):
            parent[draw.choice(KEYS)] = copy.deepcopy(draw.choice(VALUES))
        case "wrap":
            parent[key] = draw.choice([[parent[key]], {key if isinstance(key, str) else "x": parent[key]}])
        case "swap":
            *other, last = draw.choice(options)
            value = tables
            for part in other:
                value = value[part]
            parent[key] = copy.deepcopy(value[last])


def _misspelt(key, draw):
    position = draw.randrange(len(key) + 1)
    return key[:position] + draw.choice("xé ") + key[position + draw.choice([0, 1]) :]


def _broken(text, draw):
    position = draw.randrange(len(text) + 1)
    dirt = draw.choice(["", "\0", "[", '"', "\\", "= =", "\ud800", "9" * 5000, text[:position]])
    return text[:position] + dirt + text[position + 1 :]


@pytest.fixture
def originals(inputs):
    """The tables of the model file of these tests, and of the shipped ones."""
    texts = [(inputs / "spec.toml").read_text(encoding="utf-8")]
    shipped = {**shipped_models(), **shipped_plans()}
    texts += [path.read_text(encoding="utf-8") for path in shipped.values()]
    return list(map(tomllib.loads, texts))


def outcome(work, text, path, **data):
    """Return the message of an error that is ours; anything else than it or a right end fails."""
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SaeWarning)
            work(path, **data)
    except SaeError as error:
        message = str(error)
        assert error.what and len(message) < LONGEST, text
        return message
    except Exception as error:
        raise AssertionError(f"a fault of ours for\n{text[:3000]}") from error
    return ""


def run_file(path, **data):
    result = run(read_spec(path), **data, out=path.parent / "out").table.frame
    assert len(result) >= 1 and result["estimate"].notna().any()


def look(number, originals, folder, work=check_file, **data):
    draw = random.Random(number)
    for _ in range(number):
        outcome(work, mutated(draw.choice(originals), draw), folder / "mutated.toml", **data)


def test_a_mutated_file_is_right_or_refused(inputs, originals):
    look(250, originals, inputs)


def test_a_mutated_file_is_right_or_refused_against_its_data(inputs, originals):
    look(60, originals[:1], inputs, survey=inputs / "persons.csv", areas=inputs / "areas.csv")


def test_a_mutated_file_gives_a_table_or_is_refused(inputs, originals):
    look(16, originals[:1], inputs, run_file, survey=inputs / "persons.csv", areas=inputs / "areas.csv")


@pytest.mark.slow
def test_ten_thousand_mutated_files(inputs, originals):
    data = {"survey": inputs / "persons.csv", "areas": inputs / "areas.csv"}
    look(8_000, originals, inputs)
    look(1_600, originals[:1], inputs, **data)
    look(400, originals[:1], inputs, run_file, **data)


NEEDED = {
    "multivariate_fay_herriot": {"components": "region"},
    "measurement_error_fay_herriot": {"errors": {"tertiary": "population"}},
}


def wrong_options(tables):
    """Yield each option of every kind of model, each value, and a file in which it has the value."""
    for kind in KINDS:
        for option in options(kind):
            for value in VALUES:
                model = {"kind": kind, "formula": tables["model"]["formula"], option: value}
                model = {**NEEDED.get(kind, {}), **model}
                rest = {name: table for name, table in tables.items() if name != "benchmark"}
                yield option, value, document({**rest, "model": model})


def refuses_by_name(cases, path):
    for option, value, text in cases:
        message = outcome(check_file, text, path)
        # a key of the file by its name; a formula by the name that is wrong in it
        named = option in message or str(value) in message or "not valid TOML" in message
        assert not message or named, (option, value, message)


def test_an_option_of_the_wrong_kind_is_refused_by_its_name(inputs, originals):
    refuses_by_name(random.Random(1).sample(list(wrong_options(originals[0])), 250), inputs / "mutated.toml")


@pytest.mark.slow
def test_every_option_with_every_value(inputs, originals):
    refuses_by_name(wrong_options(originals[0]), inputs / "mutated.toml")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a = " + "[" * 3000, "hundreds deep"),
        ("a = " + "[" * 40 + "]" * 40, "more than 20 tables or lists deep"),
        ("a = " + "9" * 5000, "holds a number that cannot be read"),
        ("a = " + "9" * 400, "a is a whole number of 400 digits: too large"),
        ("publish.seed = 99999999999999999999", "publish.seed is a whole number of 20 digits"),
        ("a.b = [1, nan]", "a.b.2 = nan is not a finite number"),
        ("a = 2024-01-31", "a = 2024-01-31 is a date or a time"),
        ('a = "x\\u0000"', "a holds the character"),
        ("a = 1\na = 2", "not valid TOML"),
    ],
)
def test_what_no_key_can_hold_is_refused_in_one_place(tmp_path, text, words):
    assert words in outcome(check_file, text, tmp_path / "m.toml")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('strata = "region"', 'stratum = "region"', ["columns.stratum", "did you mean strata?"]),
        ('psu = "psu"', 'cluster = "psu"', ["columns.cluster", "did you mean psu?"]),
        ("[survey.columns]", "[survey]\nstrata = 'region'\n[survey.columns]", ["[survey]", "key strata"]),
        ('by = ["region"]', 'by = ["Region"]', ["'Region'", "region?"]),
        ('psu = "psu"', "psu = {}", ["columns.psu"]),
        ('psu = "psu"', "psu = []", ["columns.psu"]),
        ('weights = "w"', 'weights = ["w"]', ["columns.weights"]),
        ('method = "ratio"', 'method = "ratio"\ntargets = "region"', ["[benchmark] targets", "R01"]),
        ('method = "ratio"', "method = 'ratio'\ntargets = {}", ["[benchmark] targets"]),
        ('"eurostat_silc"', "{ base = 'statcan', words = 'abc' }", ["words"]),
        ('transform = "arcsin"', "transform = 3", ["[model] transform = 3 cannot be used: it takes text"]),
        ("seed = 7", "seed = 1.5", ["[publish] seed = 1.5", "a whole number"]),
        ("seed = 7", "seed = -1", ["seed"]),
    ],
)
def test_faults_that_were_reported(inputs, old, new, words):
    text = (inputs / "spec.toml").read_text(encoding="utf-8")
    assert old in text
    data = {"survey": inputs / "persons.csv", "areas": inputs / "areas.csv"}
    message = outcome(run_file, text.replace(old, new, 1), inputs / "m.toml", **data)
    for word in words:
        assert word in message
