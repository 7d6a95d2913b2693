"""What a table shares with a frame, and that nothing done to the answer reaches the table."""

import pandas as pd
import pytest

import sae
from sae.errors import SaeInputError


@pytest.fixture
def table():
    frame = pd.DataFrame({"domain": ["A", "B"], "estimate": [0.5, 0.2], "mse": [0.01, 0.04]})
    return sae.EstimateTable.from_mse(frame)


def test_a_table_is_read_as_a_frame(table):
    assert table.head(1)["domain"].tolist() == ["A"]
    assert table.loc[1, "estimate"] == 0.2
    assert table.shape == table.frame.shape
    assert list(table) == list(table.columns) == list(table.frame)
    assert "estimate" in table and "nothing" not in table and [] not in [table]
    assert table.sort_values("estimate")["domain"].tolist() == ["B", "A"]
    assert {"head", "loc", "write"} <= set(dir(table))


def test_nothing_done_to_the_answer_reaches_the_table(table):
    table.values[0] = 9.0
    first = table.head()
    first["estimate"] *= 2.0
    assert table["estimate"].tolist() == [0.5, 0.2]


@pytest.mark.parametrize(
    ("verb", "ending"), [("to_csv", "csv"), ("to_parquet", "parquet"), ("to_excel", "xlsx")]
)
def test_writers_of_frames_write(table, verb, ending, tmp_path):
    written, same = tmp_path / f"a.{ending}", tmp_path / f"b.{ending}"
    getattr(table, verb)(written)
    assert written.read_bytes() == table.write(same).read_bytes() == same.read_bytes()


def test_an_option_of_a_writer_of_frames_is_answered(table, tmp_path):
    assert table.to_csv(tmp_path / "a.csv", index=False) == tmp_path / "a.csv"  # so it is written
    with pytest.raises(SaeInputError, match="it takes no sep"):
        table.to_csv(tmp_path / "a.csv", sep=";")


def test_a_wrong_column_is_named(table):
    with pytest.raises(SaeInputError, match="Did you mean estimate"):
        table["Estimate"]
    with pytest.raises(SaeInputError, match="no column 'nothing'"):
        table[["estimate", "nothing"]]


def test_what_a_table_has_not_is_said_with_what_has_it(table):
    with pytest.raises(AttributeError, match=r"to_frame\(\)\.plot"):
        table.plot()
    with pytest.raises(AttributeError, match="it is a column"):
        table.estimate  # noqa: B018
    assert not hasattr(table, "_ipython_display_")
