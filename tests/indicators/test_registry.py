"""Every definition on ten persons, computed by hand, and what all definitions have in common."""

import numpy as np
import pandas as pd
import pytest

import sae
from sae.errors import SaeSpecError
from sae.indicators import BREAKS, REGISTRY, catalogue
from sae.indicators.definition import UNSAMPLED
from sae.survey.expressions import comparisons_in, names_in
from sae.survey.variables import VARIABLES

ROUNDING = 1e-12  # the same sums in another order

# Person k weighs k: 1 to 10, in all 55. Who is out of work may still have a contract.
PERSONS = {
    "age": [22, 30, 33, 40, 50, 60, 70, 18, 10, 27],
    "labour_status": "employed unemployed employed employed inactive employed inactive unemployed - inactive",
    "residence": "born_here under_5_years under_5_years 5_years_or_more born_here born_here born_here "
    "born_here born_here under_5_years",
    "unemployment_duration": "- 1_year_or_more - - - - - under_1_year - -",
    "professional_status": "employee - self_employed employee - family_worker - self_employed - -",
    "contract": "temporary - - permanent temporary - - - - -",
    "working_time": "part_time - full_time full_time part_time part_time - - - -",
    "occupation": "high_skilled low_or_medium_skilled low_or_medium_skilled armed_forces "
    "low_or_medium_skilled high_skilled - - - low_or_medium_skilled",
    "education": "medium low tertiary tertiary low tertiary medium low - tertiary",
    "recent_education": "yes no no yes no no no no - no",
    "income": [10, 4, 20, 30, 12, 16, 8, 6.5, 5, 18],
    "poor": [0, 1, 0, 0, 0, 0, 0, 0, 1, 0],
    "severe_material_deprivation": "no yes no no no no no yes no no",
    "severe_material_social_deprivation": "no no no no yes no - no no no",
    "low_work_intensity": "no no no no yes no not_applicable no no not_applicable",
    "low_work_intensity_2020": "no no no no yes no not_applicable no no not_applicable",
    "in_work": "yes no yes yes no yes no yes - no",
    "persistent_poverty": "- no no no no no no no yes no",
    "housing_cost_overburden": "no no yes no no no no yes no no",
    "overcrowded": "no yes no no no no no no no no",
    "tenure": "owner tenant_market tenant_market owner_with_mortgage tenant_reduced tenant_market rent_free "
    "tenant_market tenant_market tenant_market",
    "self_perceived_health": "very_good fair fair bad fair fair - good - very_bad",
    "unmet_medical_need": "no no no no yes no no no - no",
}

BY_HAND = {
    # 20-64: persons 1-6 and 10, weight 31
    "employment_rate": (1 + 3 + 4 + 6) / 31,
    "activity_rate": (1 + 3 + 4 + 6 + 2) / 31,
    # in the labour force: 14 employed, persons 2 and 8 unemployed
    "unemployment_rate": 10 / 24,
    "youth_unemployment_rate": 8 / 9,
    "long_term_unemployment_rate": 2 / 24,
    "recent_immigrant_employment_rate": 3 / (2 + 3 + 10),
    "self_employment_share": 3 / 14,
    "temporary_employment_share": 1 / (1 + 4),
    "part_time_share": (1 + 6) / 14,
    # tertiary and employed: persons 3, 4, 6; person 4 serves in the army
    "over_qualification_rate": 3 / (3 + 6),
    "tertiary_share": (3 + 10) / (2 + 3 + 10),
    "tertiary_share_30_34": 3 / (2 + 3),
    "low_education_share": (2 + 5) / (2 + 3 + 4 + 5 + 10),
    "early_leaver_rate": 8 / (1 + 8),
    "neet_rate": (8 + 10) / (1 + 8 + 10),
    "adult_learning_rate": 4 / (2 + 3 + 4 + 5 + 6 + 10),
    # incomes in order 4 (weight 2), 5 (9), 6.5 (8), 8 (7), 10 (1), 12 (5), ...: the median is 12
    "median_income": 12,
    "median_income_ratio": 1,
    "poverty_threshold": 7.2,
    "arpr": (2 + 9 + 8) / 55,
    "arpr_40": 2 / 55,
    "arpr_50": (2 + 9) / 55,
    "arpr_70": (2 + 9 + 8 + 7) / 55,
    "poverty_gap": (7.2 - 5) / 7.2,
    # q20 = (5 + 6.5)/2, as exactly a fifth lies up to 5; q80 = 18
    "qsr": (3 * 20 + 4 * 30) / (2 * 4 + 9 * 5),
    "poverty_rate": (2 + 9) / 55,
    "smd_rate": (2 + 8) / 55,
    "smsd_rate": 5 / (55 - 7),
    "low_work_intensity_rate": 5 / (55 - 7 - 10),
    "low_work_intensity_rate_2020": 5 / (55 - 6 - 7 - 10),
    # the poor, and person 5; of person 7 it is not known
    "arope": (2 + 9 + 8 + 5) / (55 - 7),
    # the poor, and person 5; person 8 counts once
    "arope_2020": (2 + 9 + 8 + 5) / 55,
    "in_work_arpr": 8 / (1 + 3 + 4 + 6 + 8),
    "child_arpr": 1,
    "persistent_arpr": 9 / (55 - 1),
    "housing_cost_overburden_rate": (3 + 8) / 55,
    "overcrowding_rate": 2 / 55,
    "home_ownership_share": (1 + 4) / 55,
    # 16 and over without person 7, who did not answer
    "good_health_share": (1 + 8) / (55 - 9 - 7),
    "unmet_medical_need_rate": 5 / (55 - 9),
}
SAMPLED = [name for name, one in REGISTRY.items() if one.kind not in UNSAMPLED]


@pytest.fixture(scope="module")
def persons():
    columns = {"w": np.arange(1.0, 11.0)}
    for name, values in PERSONS.items():
        if isinstance(values, str):
            texts = [None if text == "-" else text for text in values.split()]
            values = pd.Categorical(texts, categories=VARIABLES[name].levels)
        columns[name] = values
    return pd.DataFrame(columns)


@pytest.mark.parametrize("name", [name for name in SAMPLED if name != "gini"])
def test_ten_persons_by_hand(name, persons):
    table = sae.direct(sae.Survey.from_frame(persons, weights="w"), name, accept=[name])
    assert table["estimate"][0] == pytest.approx(BY_HAND[name], rel=ROUNDING)
    assert table["definition"][0] == REGISTRY[name].version


def test_gini_over_all_pairs(persons):
    x, w = persons["income"].to_numpy(), persons["w"].to_numpy()
    pairs = (np.outer(w, w) * np.abs(np.subtract.outer(x, x))).sum()
    table = sae.direct(sae.Survey.from_frame(persons, weights="w"), "gini")
    assert table["estimate"][0] == pytest.approx(pairs / (2 * w.sum() * (w * x).sum()), rel=ROUNDING)


@pytest.mark.parametrize("name", ["early_leaver_rate", "neet_rate"])
def test_who_left_education_open_is_in_neither_part(name, persons):
    """Person 1, at work, of medium attainment: without an answer on education no "no" is made of it."""
    silent = persons.assign(recent_education=persons["recent_education"].where(persons["w"] != 1))
    table = sae.direct(sae.Survey.from_frame(silent, weights="w"), name)
    assert table["estimate"][0] == 1 and table["n"][0] == {"early_leaver_rate": 1, "neet_rate": 2}[name]


def test_every_definition_has_its_case_and_says_what_it_is():
    assert set(BY_HAND) | {"gini"} == set(SAMPLED) and len(REGISTRY) >= 45
    table = catalogue()
    told = ["topic", "version", "label", "unit", "source", "direction", "grade", "ages", "state"]
    assert (table[told] != "").all(axis=None)
    assert table.loc[table["state"] == "remembered", "id"].tolist() == ["recent_immigrant_employment_rate"]
    broken = table["breaks"] != ""
    assert (table.loc[broken, "grade"] == "B").all() and not (table.loc[~broken, "grade"] == "B").any()
    assert (table.loc[table["survey"] == "EU-SILC", "breaks"].str.contains("silc_2021")).all()
    assert (table.loc[table["survey"] == "EU-LFS", "breaks"].str.contains("lfs_2021")).all()


@pytest.mark.parametrize("name", SAMPLED)
def test_a_definition_speaks_of_harmonised_variables_and_their_levels_only(name):
    for part in REGISTRY[name].parts:
        assert set(names_in(part)) <= set(VARIABLES)
        for variable, _, value in comparisons_in(part):
            levels = value if isinstance(value, list) else [value]
            texts = [level for level in levels if isinstance(level, str)]
            assert set(texts) <= set(VARIABLES[variable].levels)
            assert texts or not VARIABLES[variable].levels


@pytest.mark.parametrize("name", [name for name in SAMPLED if REGISTRY[name].kind == "ratio"])
def test_the_numerator_lies_within_the_denominator_whatever_the_levels(name, rng):
    n = 3000
    frame = pd.DataFrame({"w": 1.0, "age": rng.integers(0, 90, n), "poor": rng.integers(0, 2, n)})
    for variable, told in VARIABLES.items():
        if told.levels:
            codes = rng.integers(-1, len(told.levels), n)
            frame[variable] = pd.Categorical.from_codes(codes, told.levels)
    data = sae.indicators.arrays(REGISTRY[name], sae.Survey.from_frame(frame, weights="w"), [name])
    assert data.share and not np.any(data.numerator & ~data.denominator)


def test_a_page_tells_the_whole_definition():
    page = str(REGISTRY["arope"])
    for text in (*REGISTRY["arope"].parts, "silc_2021 (2021:", "ilc_peps05n", "60% of the national median"):
        assert text in page
    assert "runs with accept=['recent_immigrant_employment_rate']" in str(
        REGISTRY["recent_immigrant_employment_rate"]
    )
    assert str(sae.Indicator("works")).splitlines() == [
        "works",
        "  state: verified",
        "  kind: ratio",
        "  numerator: works",
        "  universe: everybody",
        "  direction: neither",
    ]


def test_breaks_name_their_year_and_what_changed():
    assert all(name == one.id and 2010 < one.year < 2030 and one.what for name, one in BREAKS.items())
    used = {one for indicator in REGISTRY.values() for one in indicator.breaks}
    assert used | {name for name, one in BREAKS.items() if one.changes in ("eu groups", "nuts codes")} == set(
        BREAKS
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"union": "x == 1"}, "joins a condition to those at risk"),
        ({"state": "guessed"}, "state='guessed' is not known"),
        ({"grade": "D"}, "grade='D' is not known"),
        ({"direction": "up"}, "'more is better'"),
        ({"breaks": ("lfs_2005",)}, "breaks lfs_2005 are not known"),
    ],
)
def test_contradictions_are_refused(options, message):
    with pytest.raises(SaeSpecError, match=message):
        sae.Indicator("income", **options)
