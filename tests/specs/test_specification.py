"""Specifications: checked options, TOML there and back, printing."""

import pytest

from sae.area_level import FayHerriot
from sae.errors import SaeSpecError

FULL = FayHerriot(
    "rate ~ x + C(g)",
    domain="region",
    vardir="v",
    method="ml",
    transform="arcsin",
    per=("year", "sex"),
    level=0.9,
    replicates=50,
)


@pytest.mark.parametrize("spec", [FULL, FayHerriot("y ~ x"), FayHerriot('größe ~ Q("x y")')])
def test_toml_there_and_back(spec):
    assert FayHerriot.from_toml(spec.to_toml()) == spec


def test_defaults_are_not_written():
    assert FayHerriot("y ~ x").to_toml() == '[model]\nkind = "fay_herriot"\nformula = "y ~ x"\n'


def test_prints_as_what_it_will_do():
    text = repr(FULL)
    assert text.startswith("FayHerriot('rate ~ x + C(g)', domain='region'")
    assert "arcsin √rate" in text
    assert "one fit per year × sex" in text
    assert "parametric bootstrap" in text


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"method": "rmel"}, "did you mean 'reml'"),
        ({"transform": "arcsine"}, "is transform='arcsin' here"),
        ({"mse": "jack"}, "mse = 'jack' does not exist"),
        ({"mse": "analytical", "transform": "arcsin"}, "no meaning"),
        ({"level": 95}, "not between 0 and 1"),
        ({"replicates": 1}, "at least 2"),
        ({"formula": "y"}, "does not say"),
    ],
)
def test_wrong_options_are_refused_by_name(options, words):
    with pytest.raises(SaeSpecError, match=words):
        FayHerriot(**{"formula": "y ~ x", **options})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"formula": "y ~ x", "metod": "ml"}, "no option metod.\nDid you mean method"),
        ({"kind": "ebp", "formula": "y ~ x"}, "kind = 'ebp'"),
        ({"method": "ml"}, "needs formula"),
    ],
)
def test_wrong_mappings_are_refused_by_name(options, words):
    with pytest.raises(SaeSpecError, match=words):
        FayHerriot.from_dict(options)


def test_invalid_toml():
    with pytest.raises(SaeSpecError, match="not valid TOML"):
        FayHerriot.from_toml("formula = ")


def test_one_name_makes_a_list_of_one():
    assert FayHerriot("y ~ x", per="year").per == ("year",)
