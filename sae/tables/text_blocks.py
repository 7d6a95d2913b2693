"""Delimited text in blocks: a first pass that tells the kind of every column, then a stream of records."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd

from sae.errors import SaeInputError, SaeWarning, name_some
from sae.tables.blocks import FileState, frames_of, rechunked
from sae.tables.text_cells import TextColumn, looks_missing, missing_words, typed_column, without_words
from sae.tables.text_files import cell_stream, faults_named, header_of, known_encoding, refuse_other_formats

__all__ = ["TextRecords", "text_records"]

_MOST = 100_000  # distinct cells of a column that are kept to tell what it is


@dataclass(frozen=True, eq=False)
class TextRecords:
    """Records of text files with one header.

    Attributes
    ----------
    files : tuple of FileState
    columns : tuple of str
    n_records : int
    numbers : mapping of str to bool
        Whether a column holds numbers.
    cells : mapping of str to pyarrow.Array
        Distinct cells of the columns that have few.
    values : mapping of str to pyarrow.Array
        The number of each distinct cell, of columns of numbers.
    levels : mapping of str to pyarrow.Array
    """

    name: str
    files: tuple[FileState, ...]
    columns: tuple[str, ...]
    encoding: str
    separator: str
    decimal: str
    missing: frozenset[str]
    n_records: int = 0
    numbers: Mapping[str, bool] = field(default_factory=dict)
    cells: Mapping[str, Any] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)
    levels: Mapping[str, Any] = field(default_factory=dict)
    seekable: bool = False

    def prepared(self, columns: Sequence[str]) -> TextRecords:
        """Read these columns once, to tell what each of them is.

        A column is what `sae.tables.text_files.typed_column` makes of all its distinct cells, of which up to
        100,000 are kept. A column with more is numbers if those are, and what comes later is too; two
        spellings of one number are then not looked for among the rest.
        """
        return _told(self, columns)

    def with_levels(self, columns: Collection[str]) -> TextRecords:
        """Take the levels of the text among these columns from the first pass."""
        texts = [name for name in columns if not self.numbers[name]]
        many = [name for name in texts if name not in self.cells]
        if many:
            raise SaeInputError(
                f"{name_some(many)} of {self.name} hold more than {_MOST:,} different texts.",
                hint="Group by, and write conditions on, columns with fewer levels.",
                column=many[0],
            )
        return replace(self, levels={name: self.cells[name].drop_null() for name in texts})

    def blocks(
        self, columns: Sequence[str], first: int = 0, last: int | None = None
    ) -> Iterator[pd.DataFrame]:
        """Yield blocks; those before `first` are read and passed over."""
        import pyarrow as pa

        levels = {name: self.levels[name] for name in columns if name in self.levels}
        tables = islice(rechunked(self._cells(columns)), first, last)
        typed = ({name: self._typed(name, one.column(name)) for name in columns} for one in tables)
        yield from frames_of(map(pa.table, typed), levels)

    def _typed(self, name: str, column: Any) -> Any:
        import pyarrow as pa
        import pyarrow.compute as pc

        if not self.numbers[name]:
            return column
        if name in self.values:
            return pc.take(self.values[name], pc.index_in(column, self.cells[name]))
        typed = typed_column(column, self.decimal)  # of so many numbers each part tells them itself
        return typed.values if typed.is_number else pa.nulls(len(column), pa.float64())

    def _cells(self, columns: Sequence[str]) -> Iterator[Any]:
        """Yield the cells of all files as text, the declared words for missing values taken out."""
        import pyarrow as pa

        for state in self.files:
            state.check()
            for table in cell_stream(state.path, self.encoding, self.separator, columns):
                kept = [without_words(column, self.missing) for column in table.columns]
                yield pa.table(kept, names=table.column_names)
            state.check()


def text_records(
    files: Sequence[Path],
    name: str,
    *,
    encoding: str,
    separator: str | None,
    decimal: str,
    missing: Iterable[object],
) -> TextRecords:
    """Open text files of one header."""
    encoding = known_encoding(encoding)
    states, header = [], None
    for path in files:
        states.append(FileState.of(path))
        with path.open("rb") as stream:
            refuse_other_formats(path, stream.read(8))
        with faults_named(path, encoding, separator):
            names, _, separator = header_of(path, path, encoding, separator)
        if header is not None and names != header:
            other = [one for one in (*names, *header) if (one in names) != (one in header)]
            raise SaeInputError(
                f"The columns of {path.name} are not those of {files[0].name}: "
                f"{name_some(other) or 'in another order'}.",
                hint="Write all files of the folder with the same columns in the same order.",
            )
        header = names
    assert header is not None and separator is not None
    return TextRecords(
        name, tuple(states), tuple(header), encoding, separator, decimal, missing_words(missing)
    )


def _told(records: TextRecords, columns: Sequence[str]) -> TextRecords:
    import pyarrow as pa
    import pyarrow.compute as pc

    n = 0
    cells = {name: pa.array([], pa.string()) for name in columns}
    many: dict[str, bool] = {}  # columns of many distinct cells: whether they hold numbers so far
    for table in records._cells(columns):
        n += table.num_rows
        for name in columns:
            held = pc.unique(table.column(name))
            if name in many:
                many[name] = many[name] and _still_numbers(held, records.decimal)
                continue
            new = held.filter(pc.invert(pc.is_in(held, cells[name])))
            cells[name] = pa.concat_arrays([cells[name], new])
            if len(cells[name]) > _MOST:
                many[name] = _type(cells.pop(name), records.decimal).is_number
    if n == 0:
        raise SaeInputError(
            f"{records.name} has a header with {len(records.columns)} columns, but no records.",
            hint="Check that it was written in full.",
        )
    typed = {name: _type(distinct, records.decimal) for name, distinct in cells.items()}
    doubtful = [f"{name} {remark}" for name, one in typed.items() for remark in one.remarks]
    if doubtful:
        warnings.warn(f"{records.name}: {'; '.join(doubtful)}.", SaeWarning, stacklevel=5)
    return replace(
        records,
        n_records=n,
        numbers={**many, **{name: one.is_number for name, one in typed.items()}},
        cells=cells,
        values={name: one.values.combine_chunks() for name, one in typed.items() if one.is_number},
    )


def _type(cells: Any, decimal: str) -> TextColumn:
    import pyarrow as pa

    return typed_column(pa.chunked_array([cells]), decimal)


def _still_numbers(cells: Any, decimal: str) -> bool:
    known = [text for text in cells.drop_null().to_pylist() if not looks_missing(text)]
    return not known or _type(cells, decimal).is_number
