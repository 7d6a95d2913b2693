"""Segregation from a frame of counts: by hand, matched by name, every fault named."""

import pandas as pd
import pytest

import sae
from sae.errors import SaeInputError, SaeSpecError
from sae.indicators import segregation


@pytest.fixture
def counts():
    return pd.DataFrame(
        {
            "city": ["Wien", "Graz", "Wien", "Graz"],
            "district": ["01", "01", "02", "02"],
            "foreign": [4, 3, 0, 1],
            "native": [0, 1, 5, 1],
        }
    )


NAMES = {"area": "city", "part": "district", "group": "foreign", "other": "native"}


def test_both_indices_by_hand(counts):
    table = segregation(counts, "dissimilarity", **NAMES)
    assert list(table) == ["city", "indicator", "definition", "value", "parts", "foreign", "native"]
    assert table["city"].tolist() == ["Graz", "Wien"] and table["value"].tolist() == [0.25, 1.0]
    assert table["foreign"].tolist() == [4, 4] and table["parts"].tolist() == [2, 2]
    assert segregation(counts, "isolation", **NAMES)["value"].tolist() == [11 / 16, 1.0]
    assert table["definition"].tolist() == ["Duncan and Duncan 1955 v1"] * 2


def test_areas_may_be_crossed_and_order_does_not_matter(counts):
    years = pd.concat([counts.assign(year=2022), counts.assign(year=2023)]).sample(frac=1, random_state=1)
    table = segregation(years, **{**NAMES, "area": ["city", "year"]})
    assert list(zip(table["city"], table["year"], table["value"], strict=True)) == [
        ("Graz", 2022, 0.25),
        ("Graz", 2023, 0.25),
        ("Wien", 2022, 1.0),
        ("Wien", 2023, 1.0),
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"foreign": [4, -3, 0, 1]}, "1 of 4 counts of foreign are missing or negative: Graz / 01"),
        ({"native": [0, None, 5, 1]}, "1 of 4 counts of native are missing or negative: Graz / 01"),
        ({"district": ["01", "01", "02", "01"]}, "1 parts occur more than once: Graz / 01"),
        ({"foreign": [4, 0, 0, 0]}, "1 of 2 areas have no member of foreign: Graz"),
        ({"native": [0, 1, 0, 1]}, "1 of 2 areas have no member of native: Wien"),
        ({"city": ["Wien", "Graz", "Wien", None]}, "city"),
        ({"city": ["Wien", "Graz", "Wien", "Linz"]}, "areas have a single part: Graz, Linz"),
    ],
)
def test_faults_are_named(counts, change, message):
    with pytest.raises(SaeInputError, match=message):
        segregation(counts.assign(**change), **NAMES)


def test_unknown_index_and_a_survey(counts):
    with pytest.raises(SaeSpecError, match="'exposure' is no index"):
        segregation(counts, "exposure", **NAMES)
    survey = sae.Survey.from_frame(counts.assign(w=1.0), weights="w")
    with pytest.raises(SaeSpecError, match=r"sae\.indicators\.segregation\(table, 'isolation'\)"):
        sae.direct(survey, "isolation")


def test_an_area_is_its_label_however_its_rows_are_typed():
    counts = pd.DataFrame({"area": [1, 1.0, "1"], "part": [1, 2, 3], "group": [3, 1, 2], "other": [1, 1, 5]})
    table = sae.indicators.segregation(counts)
    plain = sae.indicators.segregation(counts.assign(area="1"))
    assert table["area"].tolist() == ["1"] and table["value"].equals(plain["value"])
