"""Regions, bands of age and country groups of the European files, case by case."""

import numpy as np
import pandas as pd
import pytest

from sae.errors import SaeInputError
from sae.survey.eu_codes import ages_of, eu_composition, in_bands, nuts_of

ZEROS_LOST = ["CY", "CZ", "DK", "EE", "HR", "IE", "LT", "LU", "LV", "MT", "NL", "SI", "SK"]


def codes(country, region):
    series, notes = nuts_of(pd.Series(country), pd.Series(region))
    return series.astype(object).where(series.notna(), "").tolist(), notes


def test_the_lost_zero_comes_back_where_it_was_lost():
    made, notes = codes(ZEROS_LOST, [4] * len(ZEROS_LOST))
    assert made == [f"{country}04" for country in ZEROS_LOST]
    assert notes == [f"region: NUTS 2 in {', '.join(ZEROS_LOST)}"]
    assert codes(["CY", "LU"], [0, 0])[0] == ["CY00", "LU00"]
    assert codes(["FR", "BE", "UK"], ["C1", "10", "C"])[0] == ["FRC1", "BE10", "UKC"]


@pytest.mark.parametrize(
    ("country", "region", "expected"),
    [
        *[
            ("DE", "30", "DE3"),
            ("DE", "C0", "DEC"),
            ("UK", "C0", "UKC"),
            ("AT", 10, "AT1"),
            ("AT", 3.0, "AT3"),
            ("AT", "11", "AT11"),
        ],
        *[("NL", 0, ""), ("NL", "00", ""), ("NL", 11, "NL11"), ("GR", "30", "EL30"), ("GR", "EL30", "EL30")],
        *[
            ("EL", "GR30", "EL30"),
            ("PT", "1a", "PT1A"),
            ("CZ", "CZ02", "CZ02"),
            ("SK", None, ""),
            (None, 1, ""),
        ],
    ],
)
def test_regions(country, region, expected):
    assert codes([country, "FR"], [region, "10"])[0][0] == expected


@pytest.mark.parametrize("region", ["101", "-1", "N/A", "FR10"])
def test_what_is_no_region_is_named(region):
    with pytest.raises(SaeInputError, match=f"The region '{region}' of AT is no NUTS code"):
        codes(["AT"], [region])


def test_open_classes_and_the_bands_they_leave():
    groups = ["Y0-4", "Y15-19", "Y75-79", "Y80-84", "Y_GE75", "Y_LT15", "?"]
    age, bands, notes = ages_of([pd.Series(groups, name="AGE_GRP")])
    assert age.tolist()[:6] == [2, 17, 77, 82, 75, 7] and np.isnan(age[6])
    # nothing above the lowest open class can be told apart; nobody is between 20 and 74
    assert bands == (0, 15, *range(20, 76))
    assert "age (from AGE_GRP): '?' is no age, 1 records missing" in notes
    for limit in (75, 80, 85, 90, 100):
        age, bands, _ = ages_of([pd.Series([f"Y_GE{limit}"])])
        assert age.tolist() == [limit] and bands[-1] == limit
    five = ages_of([pd.Series([f"Y{low}-{low + 4}" for low in range(0, 75, 5)] + ["Y_GE75"])])
    assert five[1] == tuple(range(0, 80, 5))


def test_lower_limits_become_middles():
    age, bands, _ = ages_of([pd.Series([16, 20, 65, 17])], [0, 16, 20, 65])
    assert age.tolist()[:3] == [17.5, 42, 65] and np.isnan(age[3]) and bands == (0, 16, 20, 65)


def test_middles_of_bands():
    five = range(0, 80, 5)
    assert in_bands(np.arange(0, 100.0), list(five)).sum() == 15 + 25  # 2, 7, ..., 72 and all from 75 on
    assert in_bands(np.array([7, 20, 32, 47, 65, 75.0]), [0, 15, 25, 40, 55, 75]).all()


def test_compositions():
    assert eu_composition(["NAT", "AFR_N", "NO ANSWER"], "COUNTRYB") == ""
    assert eu_composition(["001-EU15", "010-OTHER AFRICA"], "COUNTRYB") == "EU28"
    with pytest.raises(SaeInputError, match="eu28_to_eu27_2020"):
        eu_composition(["NMS13", "EUR_NEU27_2020_NEFTA"], "COUNTRYB")
