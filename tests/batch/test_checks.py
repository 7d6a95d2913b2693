"""`sae check`: what is wrong is said before anything is estimated, without data and with it."""

import pytest

from sae.batch.checks import check
from sae.batch.spec import parse_spec
from sae.errors import SaeError


def said(text, **data):
    with pytest.raises(SaeError) as caught:
        check(parse_spec(text, "spec"), **data)
    return str(caught.value)


@pytest.fixture
def text(inputs):
    return (inputs / "spec.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ('"arcsin"', '"arcsine root"', "arcsine root"),
        ('"eurostat_silc"', '"eurostat_slic"', "eurostat_silc"),
        ("[survey.columns]", 'survey.layout = "eu_lsf"\n[survey.columns]', "eu_lfs"),
        ("smoothing", 'universe = "20 <= age <"\nsmoothing', "20 <= age <"),
        ("employed = [1]", "employed = [1, 2]", "labour_status"),
    ],
)
def test_faults_of_the_file_alone_need_no_data(text, old, new, word):
    assert old in text
    assert word in said(text.replace(old, new, 1))


def test_a_file_that_fits_its_data_passes(inputs, text):
    assert check(parse_spec(text, "spec")) == ""
    design = check(parse_spec(text, "spec"), survey=inputs / "persons.csv", areas=inputs / "areas.csv")
    assert design.startswith("13 strata (region), 52 sampling units (psu), drawn with replacement")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("~ tertiary", "~ tertary", ["[model] formula", "tertary", "mean tertiary?"]),
        ('weights = "population"', 'weights = "people"', ["[benchmark] weights", "people"]),
        ("[benchmark]", '[benchmark]\nwithin = "country"', ["[benchmark] within", "country"]),
        ("[benchmark]", '[benchmark]\ntargets = "known"', ["[benchmark] targets", "known"]),
        ('by = ["region"]', 'by = ["regoin"]', ["regoin", "region"]),
        ('column = "status"', 'column = "state"', ["labour_status", "state"]),
    ],
)
def test_columns_are_checked_against_the_data(inputs, text, old, new, words):
    assert old in text
    message = said(text.replace(old, new, 1), survey=inputs / "persons.csv", areas=inputs / "areas.csv")
    for word in words:
        assert word in message
