"""The rule of comparability, line by line."""

import pytest

from sae.compare.grades import Standing, grade

HERE = Standing("v1", "share", "EU-LFS", "2021", "eu_lfs_2021", "EU27_2020", "NUTS 2021", "", (), 2023)


@pytest.mark.parametrize(
    ("moved", "letter", "words"),
    [
        ({}, "A", []),
        ({"definition": ""}, "", ["nothing says by which definition it was made"]),
        ({"definition": "v2"}, "X", ["definition 'v2', not 'v1'"]),
        ({"unit": "persons"}, "X", ["unit persons, not share"]),
        ({"survey": "register"}, "C", ["source register, not EU-LFS"]),
        ({"flags": "d"}, "C", ["flag d: definition differs"]),
        ({"release": "2020"}, "B", ["release 2020, not 2021"]),
        ({"layout": "national"}, "B", ["layout national, not eu_lfs_2021"]),
        ({"eu": "EU28"}, "B", ["composition of the EU EU28, not EU27_2020"]),
        ({"geo_version": "NUTS 2016"}, "B", ["places NUTS 2016, not NUTS 2021"]),
        ({"marks": ("own_2021",)}, "B", ["marked with the break own_2021"]),
        ({"flags": "bp"}, "B", ["flag b: break in time series"]),
        ({"year": 2020}, "B", ["break lfs_2021 between 2020 and 2023"]),
        ({"year": 2021}, "A", []),
        ({"eu": "", "survey": ""}, "A", []),  # what is not said is no difference
        (
            {"flags": "b", "definition": "v2"},
            "X",
            ["definition 'v2', not 'v1'", "flag b: break in time series"],
        ),
    ],
)
def test_each_line_of_the_rule(moved, letter, words):
    one = Standing(**{**HERE.__dict__, **moved})
    assert grade(one, HERE, breaks={"lfs_2021": 2021}) == (letter, words)


def test_an_accepted_definition_and_the_registrys_own_grade():
    other = Standing(**{**HERE.__dict__, "definition": "v2"})
    assert grade(other, HERE, accept=["v2"]) == ("C", ["definition 'v2', not 'v1', accepted"])
    assert grade(HERE, HERE, own="C")[0] == "C"
    assert grade(HERE, HERE, own="X")[0] == "X"
    assert grade(HERE, HERE, own="B") == ("A", [])  # a break counts where one lies between the two
