import numpy as np
import pandas as pd
import pytest

from sae.disclosure.linked import linked_table
from sae.errors import SaeInputError

SUMS = {"area": {"all": ["A", "B"]}, "sex": {"both": ["f", "m"]}}
TABLE = pd.DataFrame(
    {
        "area": ["A", "A", "A", "B", "B", "B", "all", "all", "all"],
        "sex": ["f", "m", "both"] * 3,
        "n": [3, 40, 43, 50, 60, 110, 53, 100, 153],
    }
)


def test_every_sum_of_a_small_table():
    linked = linked_table(TABLE, SUMS, "n")
    rows = [{linked.names[k]: value for k, value in enumerate(row) if value} for row in linked.sums.toarray()]
    assert len(rows) == 6  # three sums over areas, three over sexes
    assert {"all / f": 1.0, "A / f": -1.0, "B / f": -1.0} in rows
    assert {"B / both": 1.0, "B / f": -1.0, "B / m": -1.0} in rows
    assert linked.height.max() == 2 and linked.names[int(np.argmax(linked.height))] == "all / both"


def test_the_order_of_rows_does_not_matter():
    mixed = TABLE.sample(frac=1, random_state=1)
    one, two = linked_table(TABLE, SUMS, "n"), linked_table(mixed, SUMS, "n")
    assert one.names == two.names and np.array_equal(one.values, two.values)
    assert np.array_equal(one.sums.toarray(), two.sums.toarray())
    assert two.in_rows(two.values).tolist() == mixed["n"].tolist()


def test_sums_of_random_tables_hold(random_table):
    for seed in range(8):
        table, sums = random_table(seed)
        linked = linked_table(table, sums, "n")
        assert not (linked.sums @ linked.values).any()


def test_dimensions_without_sums_stay_apart():
    years = pd.concat([TABLE.assign(year=2024), TABLE.assign(year=2025)])
    linked = linked_table(years, {**SUMS, "year": {}}, "n")
    assert linked.sums.shape == (12, 18)
    crossing = [{linked.names[k][-4:] for k in row.nonzero()[0]} for row in linked.sums.toarray()]
    assert all(len(years) == 1 for years in crossing)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (TABLE.drop(index=8), "1 sums over area lack the cell 'all', its total: beside A / both"),
        (TABLE.drop(index=0), "1 sums over area lack the cell 'A', a part of 'all': beside all / f"),
        (pd.concat([TABLE, TABLE.head(2)]), "2 cells occur more than once: A / f, A / m"),
        (TABLE.assign(n=TABLE["n"].replace(3, -3)), r"negative in 1 cells: A / f \(-3\)"),
        (TABLE.assign(n=TABLE["n"].replace(40, np.nan)), "n is missing in 1 of 9 cells: A / m"),
        (TABLE.assign(n=TABLE["n"].replace(153, 150)), "all / both is 150, its parts make 153"),
        (TABLE.assign(sex=TABLE["sex"].replace("f", None)), "rows have no sex"),
        (TABLE.head(0), "The table has no cells"),
        (TABLE.drop(columns="sex"), "no column 'sex'"),
    ],
)
def test_a_table_with_a_fault_is_refused(table, words):
    with pytest.raises(SaeInputError, match=words):
        linked_table(table, SUMS, "n")
