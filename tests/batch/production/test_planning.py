"""``[plan]`` in a production file: the cells that fail, all indicators at once, and the report."""

import pandas as pd
import pytest

import sae
from sae.batch.production.planning import production_plan
from sae.batch.production.runner import run_production
from sae.batch.production.spec import parse_production
from sae.errors import SaeSpecError

GROUPS = 'groups = [[], ["birth"], ["birth", "sex"]]\n'
TWO = 'indicators = ["employment_rate", "unemployment_rate"]'


def text_of(texts, plan, models=""):
    head = texts.head.replace('indicators = ["employment_rate"]', TWO)
    return head.replace('groups = [["birth"]]\n', GROUPS) + models + f"\n[plan]\n{plan}\n"


def cell(indicator, birth, sex, n, direct, publishable, level="region", geo="R01"):
    """A direct row with design effect 1."""
    v = direct * (1 - direct) / n
    return {
        "indicator": indicator, "level": level, "geo": geo, "time": "2025", "birth": birth, "sex": sex,
        "domain": f"{geo}/{birth}/{sex}", "unit": "share", "n": n, "n_eff": n, "direct": direct,
        "direct_se": v**0.5, "estimate": direct, "mse": v, "se": v**0.5, "cv": v**0.5 / max(direct, 1e-9),
        "in_sample": True, "policy": "eurostat_silc", "publishable": publishable, "reason": "", "flag": "",
    }  # fmt: skip


def planned(texts, rows, plan):
    file = parse_production(text_of(texts, plan), "employment")
    frame = pd.DataFrame(rows)
    keys = ["indicator", "level", "geo", "time", "birth", "sex"]
    table = sae.EstimateTable(frame, ("level", "birth", "sex"))
    direct = frame[keys].assign(vardir=frame["mse"])
    ladder = pd.DataFrame(
        [
            (indicator, "region", names, fit, "direct", "accepted")
            for indicator in ("employment_rate", "unemployment_rate")
            for names in ("", "birth", "birth × sex")
            for fit in ("all", "foreign", "native", "foreign / female", "foreign / male")
        ],
        columns=["indicator", "level", "groups", "fit", "rung", "verdict"],
    )
    return production_plan(file, table, direct, ladder, dict.fromkeys(frame["indicator"], "lfs"))


def test_by_hand(texts):
    """The most that an indicator needs, in interviews; the total is made of its groups."""
    rows = [
        cell("employment_rate", "total", "total", 100, 0.5, True),
        cell("employment_rate", "foreign", "total", 20, 0.5, True),
        cell("employment_rate", "native", "total", 80, 0.5, True),
        cell("employment_rate", "foreign", "female", 12, 0.5, False),  # n >= 20: 8
        cell("employment_rate", "foreign", "male", 8, 0.5, False),  # 12
        cell("unemployment_rate", "total", "total", 50, 0.2, True),
        cell("unemployment_rate", "foreign", "total", 10, 0.2, False),  # 10 persons, half of those asked: 20
        cell("unemployment_rate", "native", "total", 40, 0.2, True),
        cell("unemployment_rate", "foreign", "female", 6, 0.2, False),  # 14, half: 28
        cell("unemployment_rate", "foreign", "male", 4, 0.2, False),  # 16, half: 32
    ]
    plan = planned(texts, rows, 'cost = { lfs = 10 }\ncurrency = "EUR"')
    assert plan.cells["extra_direct"].tolist() == [8, 12, 10, 14, 16]
    assert plan.cells["extra_model"].tolist() == plan.cells["extra_direct"].tolist()
    areas = plan.areas.set_index(["birth", "sex"])
    assert areas.loc[("foreign", "female"), "extra_direct"] == 28
    assert areas.loc[("foreign", "male"), "decided_by"] == "unemployment_rate"
    assert areas.loc[("foreign", "total"), "extra_direct"] == 60  # its own 20 are among them
    assert areas.loc[("total", "total"), "extra_direct"] == 60
    assert areas.loc[("native", "total"), "extra_direct"] == 0
    assert areas.loc[("total", "total"), "cost_direct"] == 600.0
    assert areas.loc[("total", "total"), "interviews"] == 100
    assert "| lfs | 2025 | region | 10 | 5 | 100 | 60 | 60 | 600 | 600 |" in plan.text


def test_a_stated_cv_and_its_own_total(texts):
    """.5 of 100: a CV of 5 % takes .25 / .025² = 400; the total needs more than its groups."""
    rows = [cell("employment_rate", "total", "total", 100, 0.5, True)]
    plan = planned(texts, rows, "cv = 0.05")
    assert plan.cells["extra_direct"].tolist() == [300]
    assert plan.areas["extra_direct"].tolist() == [300]


def test_what_interviews_do_not_mend(texts):
    rows = [
        cell("employment_rate", "foreign", "total", 30, 0.5, False),  # n is enough: something else
        cell("employment_rate", "native", "total", 5, 0.5, False) | {"estimate": float("nan")},
        cell("unemployment_rate", "native", "total", 5, 0.0, False),
    ]
    plan = planned(texts, rows, "")
    assert plan.cells["extra_direct"].isna().tolist() == [True, True, False]
    assert plan.cells["why"].tolist()[:2] == [
        "it fails by what interviews do not change",
        "no estimate to plan from",
    ]
    strict = planned(texts, rows, "cv = 0.1").cells
    assert strict["why"].tolist()[2] == "an estimate at the end of its range has no CV to be reached"
    assert "What interviews do not mend" in plan.text and "no estimate to plan from" in plan.text


def test_end_to_end(texts, folder):
    """Files for the office; the same text again; models need no more than the direct estimates by one CV."""
    models = texts.arcsin.replace('transform = "arcsin"\n', "")  # without a bootstrap
    file = parse_production(text_of(texts, "cv = 0.15\ncost = 40", models), "employment")

    outcome = run_production(
        file, surveys=[f"lfs={folder / 'persons.csv'}"], areas=folder / "areas.csv", out=folder / "one"
    )
    names = {path.name for path in outcome.files}
    assert {f"employment.plan{end}" for end in (".csv", ".areas.csv", ".md")} < names
    made = outcome.estimation
    again = production_plan(file, made.table, made.direct, made.ladder, outcome.design.served)
    assert again.text == (folder / "one" / "employment.plan.md").read_text(encoding="utf-8")
    cells = pd.read_csv(folder / "one" / "employment.plan.csv")
    table = outcome.estimation.table.frame
    fails = (table["publishable"] == False) | (table["cv"] > 0.15)  # noqa: E712
    assert len(cells) == fails.sum() and (cells["extra_model"] >= 1).sum() > 50
    tight = cells["extra_model"] <= cells["extra_direct"]
    assert tight.mean() > 0.9  # the policy asks more of a model near 1: the smaller of p and 1 - p
    sums = pd.read_csv(folder / "one" / "employment.plan.areas.csv")
    region = sums[sums["level"] == "region"]
    whole = region[(region["birth"] == "total")]
    parts = region[(region["birth"] != "total") & (region["sex"] == "total")]
    finest = region[region["sex"] != "total"]
    assert whole["extra_model"].sum() >= parts["extra_model"].sum() >= finest["extra_model"].sum() > 0


@pytest.mark.parametrize(
    ("plan", "fault"),
    [
        ("cv = 1.5", "cv = 1.5"),
        ("assurance = 0.2", "less than even odds"),
        ("cost = { silc = 4 }", "no survey of the file"),
        ("cost = -4", "no price"),
        ("cvs = 0.1", "did you mean cv"),
    ],
)
def test_faults_of_the_section(texts, plan, fault):
    with pytest.raises(SaeSpecError, match=fault):
        parse_production(text_of(texts, plan), "employment")


def test_without_the_section_nothing(texts):
    file = parse_production(texts.head, "employment")
    assert production_plan(file, sae.EstimateTable(pd.DataFrame({"domain": ["A"]})), None, None, {}) is None
