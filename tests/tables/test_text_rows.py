"""CSV column by column: the bytes that pandas writes of the same columns, guarded texts and all."""

import csv

import numpy as np
import pandas as pd
import pytest

from sae.tables import text_rows
from sae.tables.guard import guarded, guarded_column
from sae.tables.text_rows import csv_bytes

TEXTS = ["x", "=1+1", " lead", 'a,"b"', "line\nend", "", "ü€😀", ":", "0.5", "-1", "'x", "1e5"]
CELLS = [
    None,
    np.nan,
    pd.NA,
    1,
    2.5,
    -0.0,
    1e300,
    5e-324,
    1e16,
    1e-5,
    True,
    np.float64(0.1),
    np.int8(3),
    *TEXTS,
]


def by_pandas(frame):
    columns = {
        guarded(name): column.astype("object").map({True: "true", False: "false"})
        if pd.api.types.is_bool_dtype(column.dtype)
        else guarded_column(column)
        for name, column in frame.items()
    }
    returns = any("\r" in str(value) for column in columns.values() for value in column)
    quoting = csv.QUOTE_NONNUMERIC if returns else csv.QUOTE_MINIMAL
    return pd.DataFrame(columns).to_csv(index=False, lineterminator="\n", quoting=quoting).encode()


def some_column(rng, rows):
    gap = rng.random(rows) < 0.3
    made = [
        lambda: np.where(gap, np.nan, 10.0 ** rng.uniform(-20, 20, rows)),
        lambda: np.where(gap, -np.inf, 0.5),
        lambda: rng.random(rows).astype(np.float32),
        lambda: rng.integers(-5, 10**17, rows),
        lambda: pd.array(rng.integers(0, 9, rows), dtype="Int64"),
        lambda: pd.array(rng.random(rows) < 0.5, dtype="boolean"),
        lambda: pd.array(rng.choice(TEXTS, rows), dtype="string"),
        lambda: pd.array(rng.random(rows), dtype="Float64"),
        lambda: pd.Categorical(rng.choice(["a", "=b"], rows)),
        lambda: pd.Categorical(rng.integers(0, 3, rows)),
        lambda: pd.date_range("2020-01-01", periods=rows),
        lambda: pd.Series([CELLS[k] for k in rng.integers(len(CELLS), size=rows)], dtype=object),
        lambda: pd.Series(rng.choice(["a\rb", "c"], rows, p=[0.02, 0.98]), dtype=object),
    ]
    kind = int(rng.integers(len(made)))
    column = made[kind]()
    if 4 <= kind < 8:
        column[gap] = pd.NA
    return column


@pytest.mark.parametrize("at_once", [5, 1 << 20])
def test_same_bytes_as_pandas(at_once, monkeypatch):
    monkeypatch.setattr(text_rows, "_CELLS", at_once)
    rng = np.random.default_rng(1)
    for _ in range(150):
        rows = int(rng.integers(30))
        names = [f"{'=' * (k == 3)}c{',' * (k == 5)}{k}" for k in range(int(rng.integers(1, 8)))]
        frame = pd.DataFrame({name: some_column(rng, rows) for name in names})
        assert csv_bytes(frame) == by_pandas(frame), frame.dtypes.to_dict()
