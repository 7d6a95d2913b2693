"""Parquet files in blocks: only the row groups and the columns that are needed, a part at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sae.errors import SaeInputError, name_some
from sae.tables.blocks import FileState, frames_of, rechunked, span
from sae.tables.parquet_files import plain_kinds

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["ParquetRecords", "open_parquet"]

_BATCH = 65_536  # records decoded at a time
_BUFFER = 1 << 20  # bytes read at a time from each column


@dataclass(frozen=True, eq=False)
class ParquetRecords:
    """Records of Parquet files of one schema.

    Attributes
    ----------
    files : tuple of FileState
    groups : tuple of tuple of int
        Records of each row group, by file.
    schema : pyarrow.Schema
    told : tuple of mapping of str to str or None
        Values of columns that are not in the files but told by their folders, by file.
    levels : mapping of str to pyarrow.Array
        Text levels of the columns of which they are known.
    """

    name: str
    files: tuple[FileState, ...]
    groups: tuple[tuple[int, ...], ...]
    schema: pa.Schema
    told: tuple[Mapping[str, str | None], ...]
    levels: Mapping[str, Any] = field(default_factory=dict)
    seekable: bool = True

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the files."""
        return (*self.schema.names, *self.told[0])

    @property
    def n_records(self) -> int:
        """Number of records, as the files' footers have it."""
        return sum(map(sum, self.groups))

    def prepared(self, columns: Sequence[str]) -> ParquetRecords:
        """Return the records: the kinds of the columns are known."""
        return self

    def with_levels(self, columns: Collection[str]) -> ParquetRecords:
        """Collect the levels of the text among these columns."""
        import pyarrow as pa

        texts = [name for name in columns if name not in self.told[0] and self._holds_text(name)]
        levels: dict[str, dict[str | None, None]] = {
            name: dict.fromkeys(one[name] for one in self.told) for name in self.told[0] if name in columns
        }
        levels |= {name: {} for name in texts}
        last: dict[str, Any] = {}
        for table in self.tables(texts, 0, self.n_records) if texts else ():
            for name in texts:
                for chunk in table.column(name).chunks:
                    coded = chunk if pa.types.is_dictionary(chunk.type) else chunk.dictionary_encode()
                    known = last.get(name)
                    if known is None or not coded.dictionary.equals(known):
                        last[name] = coded.dictionary
                        levels[name].update(dict.fromkeys(coded.dictionary.to_pylist()))
        arrays = {
            name: pa.array([text for text in texts_of if text is not None], pa.string())
            for name, texts_of in levels.items()
        }
        return replace(self, levels={**self.levels, **arrays})

    def blocks(
        self, columns: Sequence[str], first: int = 0, last: int | None = None
    ) -> Iterator[pd.DataFrame]:
        """Yield blocks, reading only the row groups that hold them."""
        start, stop = span(first, last, self.n_records)
        levels = {name: self.levels[name] for name in columns if name in self.levels}
        yield from frames_of(map(plain_kinds, rechunked(self.tables(columns, start, stop))), levels)

    def frame(self, columns: Sequence[str]) -> pd.DataFrame:
        """Return all records."""
        import pyarrow as pa

        table = pa.concat_tables(self.tables(columns, 0, self.n_records)).unify_dictionaries()
        return plain_kinds(table).to_pandas(strings_to_categorical=True, split_blocks=True)

    def tables(self, columns: Sequence[str], start: int, stop: int) -> Iterator[pa.Table]:
        """Yield the records from `start` to `stop` as they come from the files."""
        import pyarrow as pa
        from pyarrow import parquet

        own = [name for name in columns if name not in self.told[0]] or self.schema.names[:1]
        texts = [name for name in own if self._holds_text(name)]
        begin = 0
        for state, groups, told in zip(self.files, self.groups, self.told, strict=True):
            ends = begin + np.cumsum((0, *groups))
            wanted = [g for g in range(len(groups)) if ends[g] < stop and ends[g + 1] > start]
            begin = int(ends[-1])
            if not wanted:
                continue
            state.check()
            at = int(ends[wanted[0]])
            try:
                with parquet.ParquetFile(state.path, read_dictionary=texts, buffer_size=_BUFFER) as file:
                    batches = file.iter_batches(_BATCH, row_groups=wanted, columns=own, use_threads=False)
                    for batch in batches:
                        low, high = max(start - at, 0), min(stop - at, batch.num_rows)
                        at += batch.num_rows
                        if low < high:
                            table = pa.Table.from_batches([batch.slice(low, high - low)])
                            for name in told:
                                table = table.append_column(name, _repeated(told[name], table.num_rows))
                            yield table.select(list(columns))
            except (pa.ArrowException, OSError, ValueError) as problem:
                raise _unreadable(state.path, problem) from None
            state.check()

    def _holds_text(self, name: str) -> bool:
        return _is_text(self.schema.field(name).type)


def _repeated(value: str | None, n: int) -> pa.DictionaryArray:
    import pyarrow as pa

    codes = pa.array(np.zeros(n, np.int32), mask=np.full(n, value is None))
    return pa.DictionaryArray.from_arrays(codes, pa.array([] if value is None else [value], pa.string()))


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _unreadable(path: Path, problem: Exception) -> SaeInputError:
    return SaeInputError(
        f"The file {path.name} is not a readable Parquet file: {' '.join(str(problem).split())}.",
        hint="Check that it was copied in full.",
    )


def open_parquet(
    files: Sequence[Path], name: str, told: Sequence[Mapping[str, str | None]]
) -> ParquetRecords:
    """Open Parquet files of one schema, reading their footers; `told` has the columns of their folders."""
    import pyarrow as pa
    from pyarrow import parquet

    states, groups, schema = [], [], None
    for path in files:
        states.append(FileState.of(path))
        try:
            with parquet.ParquetFile(path) as file:
                footer = file.metadata
                own = file.schema_arrow.remove_metadata()
        except (pa.ArrowException, OSError, ValueError) as problem:
            raise _unreadable(path, problem) from None
        if schema is None:
            schema = own
            _check_names([*own.names, *told[0]], path.name)
        elif not own.equals(schema):
            raise _other_schema(path, files[0], own, schema)
        groups.append(tuple(footer.row_group(g).num_rows for g in range(footer.num_row_groups)))
    records = ParquetRecords(name, tuple(states), tuple(groups), schema, tuple(told))
    if records.n_records == 0:
        raise SaeInputError(f"{name} holds no records.", hint="Check that it was written in full.")
    return records


def _check_names(names: Sequence[str], file: str) -> None:
    repeated = sorted({name for name in names if list(names).count(name) > 1})
    if repeated:
        raise SaeInputError(
            f"{file} repeats the columns {name_some(repeated)}.",
            hint="Rename one of each.",
            column=repeated[0],
        )


def _other_schema(path: Path, first: Path, own: pa.Schema, schema: pa.Schema) -> SaeInputError:
    kinds = {one.name: str(one.type) for one in schema}
    others = {one.name: str(one.type) for one in own}
    names = [name for name in dict.fromkeys((*kinds, *others)) if kinds.get(name) != others.get(name)]
    shown = [f"{name} ({kinds.get(name, 'absent')}, here {others.get(name, 'absent')})" for name in names]
    return SaeInputError(
        f"The columns of {path.name} are not those of {first.name}: "
        f"{name_some(shown) or 'in another order'}.",
        hint="Write all files of the folder with the same columns, kinds and order.",
        column=names[0] if names else None,
    )
