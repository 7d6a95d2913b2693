"""Population files: every combination has its count, or the error names the cell."""

import pytest

from sae.auxiliary import read_population
from sae.errors import SaeInputError


def test_a_population_file_is_read_strictly(tmp_path):
    file = tmp_path / "population.csv"
    rows = [
        "city,birth,year,population_20_64",
        "01,native,2020,90",
        "01,foreign,2020,10",
        "02,native,2020,50",
    ]
    by = ["city", "birth", "year"]
    file.write_text("\n".join([*rows, "02,foreign,2020,0\n"]), encoding="utf-8")
    frame = read_population(file, "population_20_64", by=by)
    assert frame["city"].tolist() == ["01", "01", "02", "02"] and frame["year"].tolist() == ["2020"] * 4
    assert frame["population_20_64"].tolist() == [90, 10, 50, 0]
    for last, text in (
        ("", r"no row for 1 of 4 combinations of city × birth × year: 02 / foreign / 2020"),
        ("02,foreign,2020,\n", "missing in 1 of 4 rows: 02 / foreign / 2020"),
        ("02,foreign,2020,-3\n", "negative in 1 of 4"),
        ("02,native,2020,4\n", "more than one row"),
    ):
        file.write_text("\n".join([*rows, last]), encoding="utf-8")
        with pytest.raises(SaeInputError, match=text):
            read_population(file, "population_20_64", by=by)
