"""Codes of European areas: what each form says, and what is refused by name."""

import pandas as pd
import pytest

from sae.auxiliary import area_code, area_codes
from sae.errors import SaeInputError


@pytest.mark.parametrize(
    ("code", "kind", "country", "level", "parent", "off_map"),
    [
        ("EL", "nuts", "EL", 0, "", False),
        ("UKI", "nuts", "UK", 1, "UK", False),
        ("NO0A", "nuts", "NO", 2, "NO0", False),
        ("ES300", "nuts", "ES", 3, "ES30", False),
        ("ATZZ", "nuts", "AT", 2, "ATZ", True),
        ("ITZZZ", "nuts", "IT", 3, "ITZZ", True),
        ("FRXX", "nuts", "FR", 2, "FRX", True),
        ("AT_90001", "lau", "AT", None, "", False),
        ("AT001C", "city", "AT", None, "", False),
        ("UK001K", "greater city", "UK", None, "", False),
        ("AT001F", "functional urban area", "AT", None, "", False),
        ("AT001L1", "functional urban area", "AT", None, "", False),
        ("DEG1", "degurba", "", None, "", False),
        ("DEG0", "nuts", "DE", 2, "DEG", False),  # Thüringen, one sign from a degree of urbanisation
        ("EU27_2020", "aggregate", "", None, "", False),
    ],
)
def test_a_code_says_what_it_is(code, kind, country, level, parent, off_map):
    area = area_code(code)
    assert (area.kind, area.country, area.level, area.parent, area.off_map) == (
        kind,
        country,
        level,
        parent,
        off_map,
    )


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("GR30", "Eurostat writes EL30"),
        ("GB_E06000001", "Eurostat writes UK_E06000001"),
        ("at13", "but AT13 is"),
        (" AT13", "but AT13 is"),
        ("QQ11", "there is no country QQ"),
        ("28079", "no code of a European area"),
        ("AT1234", "no code of a European area"),
    ],
)
def test_what_is_no_code_is_refused_with_a_reason(code, reason):
    with pytest.raises(SaeInputError, match=reason):
        area_code(code)


def test_a_column_is_read_once_per_code_and_all_odd_ones_are_named():
    column = pd.Series(["AT13", "AT13", "AT"], name="geo")
    assert area_codes(column)["code"].tolist() == ["AT13", "AT"]
    with pytest.raises(SaeInputError, match=r"2 of 3 codes are of no European area: '11', 'GR'") as caught:
        area_codes(pd.Series(["11", "GR", "AT"], name="geo"))
    assert caught.value.areas == ("11", "GR") and caught.value.column == "geo"


def test_the_parents_of_real_regions_are_there(shared_data):
    table = pd.read_csv(shared_data / "real" / "nuts2_2021_regions.csv", dtype=str, keep_default_na=False)
    read = area_codes(table["nuts_id"])
    assert (read["kind"] == "nuts").all() and (read["level"] == 2).all() and not read["off_map"].any()
    assert read["country"].tolist() == table["country"].tolist()
