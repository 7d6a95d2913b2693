"""The model file: what it says, and how it refuses what it cannot use."""

import pytest

from sae.batch.models import find_spec, locate, models_folder, shipped_models
from sae.batch.spec import parse_spec, read_spec
from sae.errors import SaeInputError, SaeSpecError
from sae.indicators import Indicator

MINIMAL = """
[estimate]
indicator = "employment_rate"
by = ["region", "birth"]

[model]
kind = "fay_herriot"
formula = "employment_rate ~ share_tertiary"
"""
FULL = """# Employment of adults by city
[survey.columns]
weights = "PONDERA"
time = "period"
[survey.codes.labour_status]
column = "ESTADO"
employed = [1]
unemployed = [2]
inactive = [3, 4]

[estimate]
by = ["city", "birth"]
time = "period"
universe = "20 <= age <= 64"
smoothing = "gvf"
[estimate.indicator]
id = "share_employed"
numerator = "labour_status == 'employed'"

[model]
formula = "share_employed ~ native_rate"
transform = "arcsin"
per = ["period"]

[benchmark]
within = "period"
targets = { "2024Q1" = 0.58 }

[publish]
policy = { suppress_below = 20 }
seed = 20260101
"""


def refusal(text):
    with pytest.raises(SaeSpecError) as caught:
        parse_spec(text, "mine")
    return str(caught.value)


def test_every_table_of_the_design_is_read_and_the_text_kept():
    spec = parse_spec(FULL, "mine")
    assert spec.id == "mine" and spec.text == FULL
    assert spec.title == "Employment of adults by city"
    assert spec.survey.as_layout["codes"]["labour_status"]["employed"] == [1]
    assert spec.estimate.domains == ["city", "birth", "period"]
    assert spec.estimate.indicator_id == "share_employed"
    assert spec.model.per == ["period"] and spec.model.transform == "arcsin"
    assert spec.benchmark.targets == {"2024Q1": 0.58}
    assert spec.publish.policy == {"suppress_below": 20} and spec.publish.seed == 20260101


def test_title_is_the_key_then_the_first_comment_then_the_name():
    assert parse_spec('title = "T"\n' + FULL[FULL.index("[survey") :], "mine").title == "T"
    assert parse_spec(MINIMAL, "mine").title == "mine"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("kind =", "knid =", ["mine.toml", "[model]", "knid", "did you mean kind?"]),
        ("by =", "grouped =", ["[estimate]", "grouped", "it knows indicator, by"]),
        ("[estimate]", "[estimates]", ["key estimates", "mean estimate?", "[estimate] is missing"]),
        ("[model]", "seed = 1\n[model]", ["[estimate]", "seed", "it belongs in [publish]"]),
        ("[estimate]", "seed = 1\n[estimate]", ["the file", "seed", "it belongs in [publish]"]),
        ('"fay_herriot"', '"fay_heriot"', ["[model] kind", "fay_heriot", '"fay_herriot"']),
        ("formula =", "# formula =", ["[model] lacks formula"]),
        ('"employment_rate ~', '"employed ~', ['models "employed"', 'estimates "employment_rate"']),
        ("[model]", "[model]\nper = 'quarter'", ["per names quarter", "region, birth"]),
        ("[model]", "smoothing = 'gfv'\n[model]", ["[estimate] smoothing", "gfv", '"gvf"']),
        ("[model]", "[model]\nlevel = 95", ["[model] level = 95", "less than 1"]),
        ("[model]", "[publish]\nseed = '7'\n[model]", ['[publish] seed = "7"', "a whole number"]),
        ("[model]", "[benchmark]\ntargets={a=1.0}\n[model]", ["[benchmark] targets", "within"]),
        ("[model]", "variance='bootstrap'\n[model]", ["[estimate] variance", "seed", "[publish]"]),
        ("[model]", "[model]\nmse='bootstrap'", ["[model] mse", "seed", "[publish]"]),
        ("[model]", "[model]\ntransform='arcsin'", ["[model] transform", "seed", "[publish]"]),
        ("[model]", "[model", ["mine.toml is not valid TOML", "line"]),
    ],
)
def test_a_wrong_key_or_value_is_refused_by_name(old, new, words):
    text = refusal(MINIMAL.replace(old, new, 1))
    for word in words:
        assert word in text


def test_an_unknown_key_in_the_definition_of_an_indicator_is_named():
    assert "[estimate.indicator] has an unknown key numeratr; did you mean numerator?" in refusal(
        FULL.replace("numerator =", "numeratr =")
    )


def test_all_complaints_come_together():
    text = refusal(MINIMAL.replace("kind =", "knid =").replace("by =", "bye ="))
    assert "knid" in text and "bye" in text


@pytest.mark.parametrize("content", [b"", b"  \n# nothing\n"])
def test_an_empty_file_is_named(tmp_path, content):
    (tmp_path / "hollow.toml").write_bytes(content)
    with pytest.raises(SaeSpecError, match=r"hollow\.toml is empty"):
        read_spec(tmp_path / "hollow.toml")


def test_a_file_in_another_encoding_is_named(tmp_path):
    (tmp_path / "latin.toml").write_bytes('title = "Región"'.encode("latin-1"))
    with pytest.raises(SaeInputError, match=r"latin\.toml is not UTF-8 text: byte 13"):
        read_spec(tmp_path / "latin.toml")


def test_windows_line_ends_and_byte_order_mark_change_nothing(tmp_path):
    (tmp_path / "a.toml").write_bytes(FULL.encode())
    (tmp_path / "b.toml").write_bytes(b"\xef\xbb\xbf" + FULL.replace("\n", "\r\n").encode())
    assert read_spec(tmp_path / "a.toml").text == read_spec(tmp_path / "b.toml").text


def test_a_missing_file_names_the_nearest_shipped_model():
    with pytest.raises(SaeInputError, match="shipped model employment_rate_by_birth"):
        find_spec("employment_rate_by_brith")
    with pytest.raises(SaeInputError, match=r"nowhere.zzz\.toml"):
        find_spec("nowhere/zzz.toml")


def test_a_folder_stands_for_its_model_files(tmp_path):
    with pytest.raises(SaeInputError, match="holds no model file"):
        locate(tmp_path)
    for name in "ba":
        (tmp_path / f"{name}.toml").write_text(MINIMAL, encoding="utf-8")
    assert [path.name for path in locate(tmp_path)] == ["a.toml", "b.toml"]
    with pytest.raises(SaeInputError, match="is a folder"):
        find_spec(tmp_path)


def test_every_shipped_model_is_valid():
    assert shipped_models() and all(path.parent == models_folder() for path in shipped_models().values())
    for name, path in shipped_models().items():
        assert read_spec(path).id == name


def test_a_definition_of_ones_own_has_breaks_years_and_a_state():
    more = 'id = "share_employed"\nstate = "remembered"\nbreaks = "lfs_2021"\nyears = [2014, 2021]'
    text = FULL.replace('id = "share_employed"', more)
    own = Indicator(**parse_spec(text, "mine").estimate.indicator.model_dump())
    assert (own.state, own.breaks, own.years) == ("remembered", ("lfs_2021",), (2014, 2021))
    assert "years" in refusal(text.replace("[2014, 2021]", '"2014"'))
    assert "it takes a list" in refusal(text.replace('"lfs_2021"', "2021"))
