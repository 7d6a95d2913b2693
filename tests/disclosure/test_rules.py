import numpy as np
import pandas as pd
import pytest

import sae
from sae.disclosure.linked import linked_table
from sae.disclosure.rules import PrimaryRules, sensitive_cells
from sae.errors import SaeInputError, SaeSpecError


def cell(value, largest=(), **columns):
    frame = pd.DataFrame({"cell": ["X"], "value": [value]}).assign(
        **{f"x{k + 1}": [x] for k, x in enumerate(largest)}, **{k: [v] for k, v in columns.items()}
    )
    return linked_table(frame, {"cell": {}}, "value")


def judged(table, rules, **columns):
    found = sensitive_cells(table, rules, **columns)
    return bool(found.cells[0]), found


def test_examples_1_and_2_of_the_handbook():
    """Hundepool et al. (2024), Handbook on SDC, 2nd edition, chapter 4, examples 1 and 2 of section 4.2.1."""
    one = cell(100_000, (50_000, 49_000))
    largest = ["x1", "x2"]
    assert not judged(one, PrimaryRules(dominance=(1, 0.9)), largest=largest)[0]
    hidden, found = judged(one, PrimaryRules(p=0.1), largest=largest)
    assert hidden and found.required.margin[0] == pytest.approx(0.1 * 50_000 - 1_000)
    two = cell(110_000, (52_000, 50_000))
    assert not judged(two, PrimaryRules(p=0.1), largest=largest)[0]
    assert judged(two, PrimaryRules(dominance=(2, 1 / 1.1)), largest=largest)[0]


def test_example_4_of_the_handbook():
    """An upper bound below 100 / 85 of 300 = 352.94 is too close, by the (1, 85) rule."""
    table = cell(330, (300, 20))
    hidden, found = judged(table, PrimaryRules(dominance=(1, 0.85)), largest=["x1", "x2"])
    assert hidden and 330 + found.required.margin[0] == pytest.approx(352.94, abs=0.005)
    fails = found.required.fails
    wide, value = np.array([0.0]), table.values
    assert fails(wide, np.array([352.9]), value)[0] and not fails(wide, np.array([353.0]), value)[0]
    assert fails(np.array([310.0]), np.array([400.0]), value)[0]


@pytest.mark.parametrize(("n", "hidden"), [(0, False), (1, True), (9, True), (10, False)])
def test_few_persons(n, hidden):
    assert judged(cell(n), PrimaryRules(persons=10))[0] is hidden
    assert judged(cell(n), PrimaryRules(persons=10, zeros=True))[0] is (hidden or n == 0)


def test_few_households_of_many_persons():
    """Twelve persons of two households: each household can tell the other."""
    hidden, found = judged(
        cell(12, households=2), PrimaryRules(persons=10, households=3), households="households"
    )
    assert hidden and found.reasons == ("2 households, fewer than 3",)
    assert found.required.width[0] == pytest.approx(3 * 12 / 2)


def test_an_amount_stands_for_its_persons():
    """900 euros of three persons: an interval of ten average contributors."""
    hidden, found = judged(cell(900, n=3), PrimaryRules(persons=10), persons="n")
    assert hidden and found.required.width[0] == pytest.approx(10 * 300)


def test_a_count_known_to_be_no_small_one_is_safe():
    required = judged(cell(3), PrimaryRules(persons=10))[1].required
    low, high = np.array([0.0, 3.0, 10.0, 9.0]), np.array([9.0, 13.0, 11.0, 12.0])
    one = type(required)(*(np.repeat(x, 4) for x in (required.width, required.safe, required.margin)))
    assert one.fails(low, high, np.full(4, 3.0)).tolist() == [True, False, False, True]


def test_rules_of_a_policy():
    policy = sae.quality.load_policy(
        {"rules": [{"measure": "n", "suppress_below": 20, "purpose": "confidentiality"}], "name": "office"}
    )
    assert sae.disclosure.rules_of(policy, p=0.1) == PrimaryRules(persons=20, p=0.1)
    with pytest.raises(SaeSpecError, match="The policy statcan has no rule of confidentiality on n"):
        sae.disclosure.rules_of(sae.quality.load_policy("statcan"))


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ({}, "No primary rule"),
        ({"persons": 1}, "persons=1 is no least number"),
        ({"households": 2.5}, "households=2.5"),
        ({"dominance": (1, 75)}, r"dominance=\(1, 75\)"),
        ({"dominance": 5}, "dominance=5"),
        ({"p": 10}, "p=10"),
        ({"p": 0.1, "zeros": True}, "zeros=True needs persons="),
    ],
)
def test_rules_out_of_range_are_refused(rules, words):
    with pytest.raises(SaeSpecError, match=words):
        PrimaryRules(**rules)


@pytest.mark.parametrize(
    ("table", "rules", "columns", "error", "words"),
    [
        (cell(5), {"households": 2}, {}, SaeSpecError, "rule on households needs their numbers"),
        (cell(5.5), {"persons": 2}, {}, SaeInputError, "needs their numbers: 1 figures are not whole"),
        (cell(5), {"p": 0.1}, {"largest": ["x1"]}, SaeSpecError, "look at the 2 largest contributions"),
        (cell(5, (2, 3)), {"p": 0.1}, {"largest": ["x1", "x2"]}, SaeInputError, "not in descending order"),
        (
            cell(5, (4, 3)),
            {"p": 0.1},
            {"largest": ["x1", "x2"]},
            SaeInputError,
            "exceed the figure in 1 cells: X",
        ),
        (
            cell(5, n=0),
            {"persons": 3},
            {"persons": "n"},
            SaeInputError,
            r"0 beside a figure in 1 cells: X \(0\)",
        ),
    ],
)
def test_numbers_that_cannot_be_are_refused(table, rules, columns, error, words):
    with pytest.raises(error, match=words):
        sensitive_cells(table, PrimaryRules(**rules), **columns)
