"""The cells of a spreadsheet as XML: of which kind each is, and whole rows of them, column by column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sae.errors import SaeInputError
from sae.tables.sheet_formats import CellFormats
from sae.tables.texts import joined_bytes

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "BLOCK",
    "SheetColumn",
    "Writer",
    "cells_of",
    "check_length",
    "columns_of",
    "number_text",
    "rows_xml",
]

BLOCK = 16  # rows that share their spans
_MAX_TEXT = 32_767  # characters that a cell holds
_EXACT = 10**15  # whole numbers below it have all their digits
_TYPES = {"n": "", "b": ' t="b"', "s": ' t="s"'}


@dataclass(frozen=True, eq=False)
class SheetColumn:
    """The cells of a column.

    Attributes
    ----------
    name : str
    kind : ndarray of str
        Of every cell: "s" text, "n" number, "b" truth, "" empty.
    values : ndarray
        Floats, whole numbers or objects; of a text its place among `texts`.
    texts : list of str
        Distinct texts in the order of the rows.
    formats : tuple of str
        "" for none.
    form : ndarray of int
        Which of the formats each cell has.
    """

    name: str
    kind: np.ndarray
    values: np.ndarray
    texts: list[str]
    formats: tuple[str, ...]
    form: np.ndarray

    @property
    def width(self) -> int:
        """Characters that the widest cell needs."""
        least = 8 if (self.kind == "n").any() else 5 if (self.kind == "b").any() else 0
        return max(len(self.name), least, *map(len, self.texts))

    def specimens(self) -> list[tuple[int, str]]:
        """Return the formats that cells have, each with the first row that has it."""
        first: dict[str, int] = {}
        for number, code in enumerate(self.formats):
            rows = np.flatnonzero((self.kind != "") & (self.form == number))
            if code and len(rows):
                first[code] = min(int(rows[0]), first.get(code, len(self.kind)))
        return [(row, code) for code, row in first.items()]


def columns_of(frame: pd.DataFrame, formats: Sequence[CellFormats], start: int) -> list[SheetColumn]:
    """Return the columns of a part of a table that begins at its row `start`."""
    columns = []
    for position, (name, of) in enumerate(zip(map(str, frame.columns), formats, strict=True)):
        kind, values, texts = cells_of(frame.iloc[:, position])
        for number, text in enumerate(texts):
            if len(text) > _MAX_TEXT // 2:  # a character beyond the first 65,536 counts twice
                check_length(text, start + int(np.flatnonzero((kind == "s") & (values == number))[0]) + 1)
        form = of.of_cell[start : start + len(frame)]
        columns.append(SheetColumn(name, kind, values, texts, of.codes, form))
    return columns


def check_length(text: str, row: int) -> None:
    """Refuse a text that is too long for a cell."""
    length = len(text.encode("utf-16-le", "surrogatepass")) // 2
    if length > _MAX_TEXT:
        raise SaeInputError(
            f"A text of {length} characters (row {row}) does not fit a cell, which holds {_MAX_TEXT}.",
            hint="Write .csv or .parquet.",
        )


def cells_of(column: pd.Series) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return the kind of every cell, its value, and the distinct texts."""
    present, dtype = column.notna().to_numpy(), column.dtype
    if pd.api.types.is_bool_dtype(dtype) and not isinstance(dtype, pd.CategoricalDtype):
        return np.where(present, "b", ""), column.fillna(False).to_numpy(dtype=int), []
    if pd.api.types.is_integer_dtype(dtype):
        return np.where(present, "n", ""), column.fillna(0).to_numpy(), []
    if dtype == "float64" and not np.isinf(column).any():
        return np.where(present, "n", ""), column.to_numpy(), []
    if isinstance(dtype, pd.StringDtype):
        codes, levels = pd.factorize(column)
        return np.where(present, "s", ""), codes, np.asarray(levels, dtype=object).tolist()
    cells = column.astype("object").to_numpy()
    kind, values = np.full(len(cells), "", dtype="<U1"), np.zeros(len(cells), dtype=object)
    texts: dict[str, int] = {}
    for row in np.flatnonzero(present).tolist():
        value = cells[row]
        if isinstance(value, (bool, np.bool_)):
            kind[row], values[row] = "b", int(value)
        elif isinstance(value, (int, float, np.number)) and np.isfinite(value):
            kind[row], values[row] = "n", value
        else:
            kind[row], values[row] = "s", texts.setdefault(str(value), len(texts))
    return kind, values, list(texts)


@dataclass(frozen=True, eq=False)
class Writer:
    """A column with what its cells are in the sheet: its letters, its styles, the numbers of its texts."""

    column: SheetColumn
    letters: str
    styles: list[str]
    texts: list[str]

    def cells(self, rows: slice, numbers: pa.Array) -> pa.Array | None:
        """Return the cells of some rows as XML, null where there is none; None if there is none at all."""
        import pyarrow as pa
        import pyarrow.compute as pc

        kind, values = self.column.kind[rows], self.column.values[rows]
        absent = kind == ""
        if absent.all():
            return None
        mark = 3 * self.column.form[rows] + (kind == "b") + 2 * (kind == "s")
        starts = [f'"{style}{_TYPES[of]}><v>' for style in self.styles for of in "nbs"]
        start = starts[mark[0]] if (mark == mark[0]).all() else pa.array(starts).take(pa.array(mark))
        return pc.binary_join_element_wise(
            f'<c r="{self.letters}', numbers, start, self._values(kind, values, absent), "</v></c>", ""
        )

    def _values(self, kind: np.ndarray, values: np.ndarray, absent: np.ndarray) -> pa.Array:
        import pyarrow as pa

        if values.dtype == object:
            written = [
                self.texts[value] if of == "s" else number_text(value)
                for of, value in zip(kind.tolist(), values.tolist(), strict=True)
            ]
            return pa.array(written, pa.string(), mask=absent)
        if self.texts:
            return pa.array(self.texts).take(pa.array(values, mask=absent))
        if values.dtype.kind == "f":
            return pa.array([number_text(value) for value in values.tolist()], pa.string(), mask=absent)
        if max(-int(values.min()), int(values.max())) < _EXACT:
            return pa.array(values, mask=absent).cast(pa.string())
        return pa.array([number_text(value) for value in values.tolist()], pa.string(), mask=absent)


def rows_xml(writers: Sequence[Writer], span: range) -> memoryview:
    """Return some rows of the sheet as XML; one without a cell is not there."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not len(span):
        return memoryview(b"")
    rows = slice(span.start, span.stop)
    numbers = pa.array(np.arange(span.start + 2, span.stop + 2)).cast(pa.string())
    present = np.column_stack([writer.column.kind[rows] != "" for writer in writers])
    cells = [writer.cells(rows, numbers) for writer in writers]
    made = pc.binary_join_element_wise(
        '<row r="',
        numbers,
        pa.array(_spans(present, span.start + 1)),
        *(one for one in cells if one is not None),
        "</row>",
        "",
        null_handling="replace",
    )
    if not present.any(axis=1).all():
        made = made.filter(pa.array(present.any(axis=1)))
    return joined_bytes(made)


def _spans(present: np.ndarray, first: int) -> list[str]:
    """Return for every row the first and last column of the block of 16 rows of the sheet that it lies in."""
    block = (first + np.arange(len(present))) // BLOCK
    starts = np.flatnonzero(np.diff(block, prepend=-1))
    used = np.logical_or.reduceat(present, starts, axis=0)
    if first < BLOCK:
        used[0] = True  # that of the names
    ends = zip(used.argmax(axis=1).tolist(), used[:, ::-1].argmax(axis=1).tolist(), strict=True)
    texts = [f'" spans="{low + 1}:{present.shape[1] - high}">' for low, high in ends]
    return np.repeat(texts, np.diff([*starts, len(present)])).tolist()


def number_text(value: Any) -> str:
    """Return a number in the fewest digits that read back to it.

    Examples
    --------
    >>> from sae.tables.sheet_cells import number_text
    >>> number_text(0.1 + 0.2), number_text(1e-7), number_text(18_000.0)
    ('0.30000000000000004', '1E-07', '18000')
    """
    plain = value.item() if isinstance(value, np.generic) else value
    return repr(plain).upper().removesuffix(".0")
