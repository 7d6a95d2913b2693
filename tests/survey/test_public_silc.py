"""The two synthetic EU-SILC files at hand: golden values of the one, names and flow of the other."""

import numpy as np
import pytest

import sae
from sae.errors import SaeSpecError
from sae.survey import layout_page

DIGITS = 6e-7  # docs/domain.md, section 1.6, prints seven significant figures
PERCENT = 6e-7  # and percentages to four decimals

GOLDEN = {
    "median_income": 18098.7267,
    "poverty_threshold": 10859.2360,
    "arpr": 0.1444422,
    "qsr": 3.970004,
    "poverty_gap": 0.1892860,
    "gini": 0.2648962,
}
BY_REGION = {
    "Burgenland": (0.195398, 549),
    "Carinthia": (0.130863, None),
    "Lower Austria": (0.138436, None),
    "Salzburg": (0.137873, None),
    "Styria": (0.143746, None),
    "Tyrol": (0.153082, None),
    "Upper Austria": (0.108898, None),
    "Vienna": (0.172347, None),
    "Vorarlberg": (0.165373, None),
}
BY_CITIZENSHIP = {"native": (0.128888, 11_073), "eu": (0.161719, 283), "non_eu": (0.228158, 751)}


@pytest.fixture(scope="module")
def laeken(shared_data):
    return sae.read_survey(shared_data / "laeken_eusilc.csv.gz", layout="laeken_eusilc")


def test_golden_values_of_the_country(laeken):
    assert len(laeken) == 14_827 and laeken.stages[0].n_psu == 6_000 and laeken.stages[0].n_strata == 9
    table = sae.direct(laeken, list(GOLDEN)).frame.set_index("indicator")
    for name, expected in GOLDEN.items():
        assert table.loc[name, "estimate"] == pytest.approx(expected, rel=DIGITS), name


def test_golden_values_with_the_national_threshold_in_every_region(laeken):
    table = sae.direct(laeken, "arpr", by="region").frame.set_index("region")
    assert set(table.index) == set(BY_REGION)
    for region, (rate, n) in BY_REGION.items():
        assert table.loc[region, "estimate"] == pytest.approx(rate, abs=PERCENT)
        assert n is None or table.loc[region, "n"] == n


def test_golden_values_by_citizenship(laeken):
    table = sae.direct(laeken, "arpr", by="citizenship_group").frame.set_index("citizenship_group")
    for group, (rate, n) in BY_CITIZENSHIP.items():
        assert table.loc[group, "estimate"] == pytest.approx(rate, abs=PERCENT)
        assert table.loc[group, "n"] == n


def test_the_austrian_public_file_by_region_and_citizenship_as_form_only(shared_data):
    """Never a result: its rate is about twice the official one, which the note of the layout says."""
    survey = sae.read_survey(shared_data / "real/at_eusilc13puf.csv.gz", layout="at_eusilc13puf")
    assert len(survey) == 13_513 and survey.stages[0].n_psu == 5_977
    assert survey.weights.sum() == pytest.approx(8_332_231, abs=1)  # README of the real data, section 11
    table = sae.direct(survey, "arpr", by=["region", "citizenship"]).frame
    assert len(table) == 18 and table["estimate"].between(0, 1).all()
    sizes = table[table["citizenship"] == "foreign"].set_index("region")["n"]
    assert (sizes["AT11"], sizes["AT13"]) == (11, 421)
    whole = sae.direct(survey, "arpr").frame["estimate"].item()
    assert whole == pytest.approx(0.28, abs=0.005)  # the README's two digits
    page = layout_page("at_eusilc13puf")
    assert "never for results" in page and "twice the official one" in page


def test_the_austrian_public_file_cannot_tell_the_unemployed(shared_data):
    survey = sae.read_survey(shared_data / "real/at_eusilc13puf.csv.gz", layout="at_eusilc13puf")
    assert set(np.unique(survey.frame["pl031"].dropna())) == {1, 2, 3, 4}
    with pytest.raises(SaeSpecError, match=r"labour_status(.|\n)*the unemployed cannot be told"):
        sae.direct(survey, "unemployment_rate")
