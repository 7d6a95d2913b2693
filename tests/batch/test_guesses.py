"""What a column may be: its name and its content must both speak for it, and numbers are given no meaning."""

import numpy as np
import pandas as pd
import pytest

from sae.batch.guesses import codes_of, guess_roles, known_levels, likely_columns

FRAME = pd.DataFrame(
    {
        "PONDERA": np.linspace(1, 9, 40),
        "Jahr": ["2024Q1"] * 20 + ["2024Q2"] * 20,
        "UPM": np.arange(40) // 4,
        "estrato": ["a", "b"] * 20,
        "HHID": np.arange(40) // 2,
        "Alter": np.arange(40) + 20,
        "SEXE": ["homme", "femme"] * 20,
        "ESTADO": [1, 2, 3, 9] * 10,
    }
)


def test_roles_are_found_in_several_languages():
    roles = {role: guess.column for role, guess in guess_roles(FRAME).items()}
    assert roles == {
        "weights": "PONDERA",
        "strata": "estrato",
        "psu": "UPM",
        "household": "HHID",
        "time": "Jahr",
    }
    assert "sum 200" in guess_roles(FRAME)["weights"].reason


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("PONDERA", ["a"] * 40),
        ("PONDERA", [-1.0] + [1.0] * 39),
        ("PONDERA", [np.nan] + [1.0] * 39),
        ("Jahr", ["winter"] * 40),
        ("UPM", [1] * 40),
        ("HHID", np.arange(40)),
    ],
)
def test_content_speaks_against_a_name(column, values):
    assert column not in {guess.column for guess in guess_roles(FRAME.assign(**{column: values})).values()}


def test_variables_are_looked_for_by_name_and_number_of_levels():
    assert likely_columns(FRAME, "labour_status") == ["ESTADO"]
    assert likely_columns(FRAME.assign(ESTADO=np.arange(40)), "labour_status") == []
    assert likely_columns(FRAME, "age") == ["Alter"] and likely_columns(FRAME, "sex") == ["SEXE"]


def test_only_texts_that_are_known_become_levels():
    assert known_levels("sex", ["homme", "femme"]) == {"female": ["femme"], "male": ["homme"]}
    for texts in (["1", "2"], ["m", "w"], ["homme", "femme", "autre"], ["H", "M"]):
        assert known_levels("sex", texts) is None
    assert known_levels("degurba", ["cities", "rural"]) == {"cities": ["cities"], "rural": ["rural"]}


def test_codes_are_counted():
    column = pd.Series([1, 1, 2, None])
    assert codes_of(column) == "1 (2), 2 (1), empty (1)"
    assert codes_of(pd.Series(np.arange(20))).endswith("8 more")
