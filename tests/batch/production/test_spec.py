"""Production files: what they say, and what is wrong with them, named by table and key."""

import pytest

from sae.batch.production.sections import CORE_SET
from sae.batch.production.spec import parse_production
from sae.errors import SaeSpecError
from sae.indicators import REGISTRY

GOOD = """
[production]
indicators = ["employment_rate", "arpr"]
seed = 1
groups = [[], ["sex"]]
levels = { region = "region", nuts1 = "nuts1", nation = "" }
[[survey]]
name = "lfs"
layout = "eu_lfs"
[[model]]
for = "arpr"
[[model.rung]]
kind = "fay_herriot"
formula = "~ x"
[[benchmark]]
to = "nation"
"""


def test_the_core_set_is_of_the_registry():
    assert set(CORE_SET) <= set(REGISTRY) and len(CORE_SET) == 14
    file = parse_production(GOOD.replace('["employment_rate", "arpr"]', '"core_set"'), "x")
    assert file.production.indicators == list(CORE_SET)


def test_the_ladder_that_names_an_indicator_goes_before_that_of_all():
    direct = '[[model]]\n[[model.rung]]\nkind = "direct"\n'
    more = direct + '[[model]]\nlevels = "nuts1"\n[[model.rung]]\nkind = "synthetic"\n'
    file = parse_production(GOOD + more, "x")
    kinds = {
        (name, level): (ladder := file.ladder(name, level)) and ladder.rung[0].kind
        for name in ("arpr", "employment_rate")
        for level in ("region", "nuts1", "nation")
    }
    assert kinds == {
        ("arpr", "region"): "fay_herriot",
        ("arpr", "nuts1"): "synthetic",
        ("arpr", "nation"): None,
        ("employment_rate", "region"): "direct",
        ("employment_rate", "nuts1"): "synthetic",
        ("employment_rate", "nation"): None,
    }
    assert file.benchmark("arpr", "region").to == "nation" and file.benchmark("arpr", "nuts1") is None


@pytest.mark.parametrize(
    "old, new, match",
    [
        ("seed = 1\n", "", r"\[production\] gives no seed"),
        ('for = "arpr"', 'for = "arp"', r"\[\[model\]\] number 1 names arp, which \[production\] indicators"),
        ('kind = "fay_herriot"', 'kind = "fay_heriot"', r"rung 1: kind = \"fay_heriot\" is not known"),
        ('formula = "~ x"', 'formula = "arpr ~ x"', r"rung 1: the formula is \"~ covariates\""),
        (
            'formula = "~ x"',
            'formula = "~ x"\ntrnsform = "log"',
            r"unknown key trnsform; did you mean transform",
        ),
        ('formula = "~ x"', 'formula = "~ x"\nper = ["sex"]', r"per belongs in \[\[model\]\]"),
        ('formula = "~ x"', 'formula = "~ x"\ntransform = "arcsine"', "arcsin"),
        (
            'formula = "~ x"',
            'formula = "~ x"\naccept_if = { mdian_cv = 1 }',
            "mdian_cv; did you mean median_cv",
        ),
        ('to = "nation"', 'to = "nuts2"', r'\[\[benchmark\]\] number 1: to = "nuts2" is no level'),
        ('to = "nation"', 'to = "region"', "is not above region"),
        ('to = "nation"', 'level = "region"', "meets nothing"),
        ('groups = [[], ["sex"]]', 'groups = [["sex", "sex"]]', "groups names 'sex'"),
        ('groups = [[], ["sex"]]', 'groups = [["sex"], ["sex"]]', "groups has .* twice"),
        ('to = "nation"', 'to = "nation"\n[[benchmark]]\nto = "nuts1"', "number 1 and number 2 are both for"),
        ('layout = "eu_lfs"', 'layuot = "eu_lfs"', r"\[\[survey\]\] number 1 .*layuot; did you mean layout"),
        ('name = "lfs"', 'name = "l=f"', "is no name"),
        ('"arpr"]', '"arpr", "arpr"]', "indicators has 'arpr' twice"),
    ],
)
def test_what_is_wrong_is_named(old, new, match):
    assert old in GOOD
    with pytest.raises(SaeSpecError, match=f"(?s){match}"):
        parse_production(GOOD.replace(old, new, 1), "x")
