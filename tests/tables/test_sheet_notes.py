"""The sheets beside a table: every fixed column and every flag has its words."""

import pandas as pd
import pytest

from sae.tables import DIRECT_COLUMNS, ESTIMATE_COLUMNS
from sae.tables.sheet_notes import COLUMNS, columns_sheet, flag_meaning, flags_sheet, notes_sheet


def test_every_fixed_column_is_explained_and_no_other():
    assert set(COLUMNS) == {*DIRECT_COLUMNS, *ESTIMATE_COLUMNS}
    assert all(text.endswith(".") for text in COLUMNS.values())


def test_columns_of_groups_and_of_a_table_of_its_own_are_explained():
    sheet = columns_sheet(
        pd.DataFrame(columns=["birth", "estimate", "x"]), ["birth"], {"estimate": "Rounded."}
    )
    assert sheet.frame["text"].tolist() == ["Group that the rows are about.", "Rounded.", ""]


@pytest.mark.parametrize(
    ("flag", "meaning"),
    [
        ("", "direct estimate"),
        ("e", "estimated with a model"),
        ("eu", "estimated with a model; low reliability: use with care"),
        ("eub", "estimated with a model; low reliability: use with care; break in the series"),
        (":u", "withheld: not reliable enough"),
        (":cb", "withheld: confidential; break in the series"),
        (":", "no figure"),
    ],
)
def test_flags_in_words(flag, meaning):
    assert flag_meaning(flag).startswith(meaning)


def test_flags_are_counted_and_notes_without_a_text_left_out():
    counts = flags_sheet(pd.DataFrame({"flag": ["e", ":u", "e", None]})).frame
    assert counts[["flag", "rows"]].values.tolist() == [["", 1], [":u", 1], ["e", 2]]
    notes = notes_sheet([("Source", ""), ("Period", "2024")]).frame
    assert notes["about"].tolist() == ["Period", "Made with"]
