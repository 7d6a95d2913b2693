import numpy as np
import pandas as pd
import pytest

import sae
from sae.disclosure import PrimaryRules, audit, protect
from sae.errors import SaeInputError, SaeSpecError

SUMS = {"area": {"all": ["A", "B", "C"]}, "sex": {"all": ["f", "m"]}}
RULES = PrimaryRules(persons=5)


@pytest.fixture
def table():
    cells = pd.DataFrame({"area": list("AABBCC"), "sex": list("fm") * 3, "n": [3, 40, 50, 60, 70, 80]})
    return sae.disclosure.with_totals(cells, SUMS, ["n"])


def test_a_published_table_is_attacked_without_its_hidden_figures(table):
    done = protect(table, SUMS, value="n", rules=RULES)
    blind = done.assign(n=done["n"].where(done["status"].eq("published")))[["area", "sex", "n"]]
    one = audit(done, SUMS, value="n", status="status", rules=RULES)
    two = audit(blind, SUMS, value="n", rules=RULES)
    pd.testing.assert_frame_equal(one.intervals, two.intervals)
    assert two.passed and list(two.intervals.index) == list(done.index[done["status"].ne("published")])


def test_what_can_be_computed_is_told(table):
    alone = table.assign(hidden=table["n"].eq(3))
    found = audit(alone, SUMS, value="n", status="hidden", rules=RULES)
    assert found.failing[["area", "sex", "low", "high", "computed"]].values.tolist() == [
        ["A", "f", 3, 3, True]
    ]
    assert not found.passed and "1 of 1 can be told more closely than is allowed, 1 of them exactly" in str(
        found
    )
    assert len(audit(alone, SUMS, value="n", status="hidden").failing) == 1  # without rules too


def test_a_sensitive_cell_that_is_published_is_told(table):
    found = audit(table, SUMS, value="n", rules=RULES)
    assert found.n_hidden == 0 and found.open[["area", "sex"]].values.tolist() == [["A", "f"]]
    assert not found.passed and "None was attacked." in str(found)


def test_without_rules_only_a_figure_fails(table):
    pair = table.assign(hidden=table["area"].isin(["A", "B"]) & table["sex"].ne("all"))
    found = audit(pair, SUMS, value="n", status="hidden")
    assert found.passed and len(found.intervals) == 4


def test_what_the_attacker_knows_besides(table):
    done = protect(table, SUMS, value="n", rules=RULES)
    found = audit(
        done.assign(known=done["status"].eq("secondary")),
        SUMS,
        value="n",
        status="status",
        rules=RULES,
        known="known",
    )
    assert found.failing["computed"].tolist() == [True]
    blind = done.assign(n=done["n"].where(done["status"].eq("published")), known=True)
    with pytest.raises(SaeInputError, match="4 known cells have no figure"):
        audit(blind, SUMS, value="n", known="known")


def test_whole_numbers_narrow_an_interval():
    """Of three cells any two make 1 at most: together 1.5 at most, 1 if they are whole."""
    sums = {"p": ["a", "b", "x"], "q": ["b", "c", "y"], "r": ["a", "c", "z"], "total": ["a", "b", "c"]}
    labels = [*"abcxyz", "total", *"pqr"]
    table = pd.DataFrame({"cell": labels, "n": [np.nan] * 7 + [1.0] * 3})
    for whole, most in ((False, 1.5), (True, 1.0)):
        found = audit(table, {"cell": sums}, value="n", whole=whole).intervals
        assert found.set_index("cell")["high"]["total"] == pytest.approx(most)


def test_beyond_the_limit_a_sample_is_attacked_and_it_says_so(country_table):
    table, sums = country_table
    table = table[table["region"].str.startswith(("XA1", "XA2")) | table["region"].eq("XA")]
    sums = {**sums, "region": {name: sums["region"][name] for name in ("XA1", "XA2")}}
    done = protect(table, sums, value="n", rules=RULES)
    whole = audit(done, sums, value="n", status="status", rules=RULES)
    with pytest.raises(
        SaeSpecError, match="2 parts have more than 20 hidden cells, of which a sample is attacked"
    ):
        audit(done, sums, value="n", status="status", rules=RULES, limit=20)
    part = audit(done, sums, value="n", status="status", rules=RULES, limit=20, seed=1)
    again = audit(done.iloc[::-1], sums, value="n", status="status", rules=RULES, limit=20, seed=1)
    assert len(part.intervals) == 40 and "a sample of 20 in each of the 2 larger ones" in part.scope
    pd.testing.assert_frame_equal(part.intervals, whole.intervals.loc[part.intervals.index], atol=1e-5)
    pd.testing.assert_frame_equal(part.intervals, again.intervals.sort_index(), atol=1e-5)


def test_a_dimension_of_the_name_of_an_answer_is_refused():
    table = pd.DataFrame({"width": ["narrow", "wide"], "n": [np.nan, 9]})
    with pytest.raises(SaeInputError, match="bears the name of a column of the answer: width"):
        audit(table, {"width": {}}, value="n")


@pytest.mark.parametrize(
    ("change", "options", "error", "words"),
    [
        ({"status": "hidden"}, {"status": "status"}, SaeInputError, "status holds 'hidden'"),
        ({}, {"status": "state"}, SaeInputError, "no column 'state'"),
        ({"n": np.nan}, {"rules": PrimaryRules(p=0.1)}, SaeSpecError, "need the figures of the hidden cells"),
        (
            {"status": "published", "n": np.nan},
            {"status": "status"},
            SaeInputError,
            "n is missing in 12 of 12 cells",
        ),
    ],
)
def test_faults_are_named(table, change, options, error, words):
    with pytest.raises(error, match=words):
        audit(table.assign(**change), SUMS, value="n", **options)
