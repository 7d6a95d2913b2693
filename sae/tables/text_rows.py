"""CSV column by column: the bytes that pandas would write, in a fraction of the time."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from sae.tables.guard import guarded, guarded_column
from sae.tables.texts import joined_bytes

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["csv_bytes"]

_CELLS = 1 << 20  # made at once
_ODD = re.compile('[,"\n]')  # what makes a text stand in quotes


def csv_bytes(frame: pd.DataFrame) -> bytes:
    r"""Return a table as CSV: UTF-8, ``\n``, shortest decimals, guarded texts.

    Examples
    --------
    >>> from sae.tables.text_rows import csv_bytes
    >>> csv_bytes(pd.DataFrame({"domain": ["A, B", "=1"], "n": [3, 4], "good": [True, False]})).decode()
    'domain,n,good\n"A, B",3,true\n\'=1,4,false\n'
    """
    import pyarrow.compute as pc

    columns = {guarded(str(name)): _plain(column) for name, column in frame.items()}
    made = [_cells(column) for column in columns.values()]
    # a carriage return would end the line, were the text not quoted
    returns = any("\r" in "".join(one.texts) for one in made)
    if returns or len(made) == 1 or not all(one.known for one in made):
        return _by_pandas(pd.DataFrame(columns, index=frame.index), returns)
    sink = io.BytesIO()
    sink.write((",".join(map(_quoted, columns)) + "\n").encode())
    step = max(_CELLS // len(made), 1)
    for start in range(0, len(frame), step):
        rows = slice(start, start + step)
        cells = [one.of(rows) for one in made]
        lines = pc.binary_join_element_wise(
            *cells[:-1],
            pc.binary_join_element_wise(cells[-1], "\n", "", null_handling="replace"),
            ",",
            null_handling="replace",
        )
        sink.write(joined_bytes(lines))
    return sink.getvalue()


def _by_pandas(table: pd.DataFrame, returns: bool) -> bytes:
    quoting: Literal[0, 2] = csv.QUOTE_NONNUMERIC if returns else csv.QUOTE_MINIMAL
    return table.to_csv(index=False, lineterminator="\n", quoting=quoting).encode("utf-8")


def _plain(column: pd.Series) -> pd.Series:
    """Return truths as texts, texts guarded, anything else as it is."""
    if pd.api.types.is_bool_dtype(column.dtype):
        return column.astype("object").map({True: "true", False: "false"})
    return guarded_column(column)


@dataclass(frozen=True, eq=False)
class _Cells:
    """A column: numbers, or places of its texts as written; not `known` where pandas is to write it."""

    values: np.ndarray
    texts: list[str]
    absent: np.ndarray
    known: bool = True

    def of(self, rows: slice) -> pa.Array:
        """Return the cells of some rows as text, null where there is none."""
        import pyarrow as pa

        values, absent = self.values[rows], self.absent[rows]
        if self.texts:
            return pa.array(self.texts).take(pa.array(values, mask=absent))
        if values.dtype.kind == "f":
            return pa.array([repr(value) for value in values.tolist()], pa.string(), mask=absent)
        return pa.array(values, mask=absent).cast(pa.string())


def _cells(column: pd.Series) -> _Cells:
    absent, dtype = column.isna().to_numpy(), column.dtype
    if dtype == "float64" or (isinstance(dtype, np.dtype) and dtype.kind in "iu"):
        return _Cells(column.to_numpy(), [], absent)
    if pd.api.types.is_integer_dtype(dtype) and not isinstance(dtype, pd.CategoricalDtype):
        return _Cells(column.fillna(0).to_numpy(), [], absent)
    if pd.api.types.is_object_dtype(dtype):
        texts = [
            "" if gone else str(cell) for cell, gone in zip(column.tolist(), absent.tolist(), strict=True)
        ]
        column = pd.Series(texts, dtype=object)
    codes, levels = pd.factorize(column)
    texts = np.asarray(levels, dtype=object).tolist()
    known = all(isinstance(text, str) for text in texts)
    return _Cells(codes, [_quoted(str(text)) for text in texts], absent, known)


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if _ODD.search(text) else text
