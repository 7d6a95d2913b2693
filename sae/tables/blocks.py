"""Blocks of records: 65,536 consecutive ones of the input in its order, whatever its files or row groups.

The kinds and the text levels of a column are those of the whole input, so a block says of its records what
the whole file says of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd

from sae.errors import SaeInputError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["BLOCK", "FileState", "FrameRecords", "Records", "frames_of", "rechunked", "span"]

BLOCK = 65_536  # records


class Records(Protocol):
    """Records that come in blocks.

    Attributes
    ----------
    name : str
        Of the input, in messages.
    columns : tuple of str
        The columns that it has.
    n_records : int
        Number of records; of text files known when they are `prepared`.
    seekable : bool
        Whether a block is read without reading those before it.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def columns(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def n_records(self) -> int: ...  # noqa: D102
    @property
    def seekable(self) -> bool: ...  # noqa: D102
    def prepared(self, columns: Sequence[str]) -> Records:
        """Return the records with the kinds of these columns known: of text files, one pass over them."""
        ...

    def with_levels(self, columns: Collection[str]) -> Records:
        """Return the records with the text levels of these columns known: one pass over them."""
        ...

    def blocks(
        self, columns: Sequence[str], first: int = 0, last: int | None = None
    ) -> Iterator[pd.DataFrame]:
        """Yield blocks `first` up to, but not with, `last`, with these columns only."""
        ...


@dataclass(frozen=True)
class FileState:
    """A file as it was when it was opened."""

    path: Path
    size: int
    changed: int

    @classmethod
    def of(cls, path: Path) -> FileState:
        """Read the state of a file; an empty one is refused."""
        status = path.stat()
        if status.st_size == 0:
            raise SaeInputError(f"The file {path.name} is empty.", hint="Check that it was copied in full.")
        return cls(path, status.st_size, status.st_mtime_ns)

    def check(self) -> None:
        """Refuse a file that has changed since."""
        if not self.path.exists() or FileState.of(self.path) != self:
            raise SaeInputError(
                f"The file {self.path.name} changed while it was read.", hint="Run again when it is complete."
            )


def span(first: int, last: int | None, n_records: int) -> tuple[int, int]:
    """Return the records from which and up to which some blocks go."""
    return first * BLOCK, n_records if last is None else min(last * BLOCK, n_records)


def rechunked(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Cut a stream of tables anew into blocks; the last may be shorter."""
    import pyarrow as pa

    waiting: list[pa.Table] = []
    held = 0
    for table in tables:
        while held + table.num_rows >= BLOCK:
            take = BLOCK - held
            yield _joined(pa, [*waiting, table.slice(0, take)])
            table, waiting, held = table.slice(take), [], 0
        if table.num_rows:
            waiting.append(table)
            held += table.num_rows
    if held:
        yield _joined(pa, waiting)


def _joined(pa: Any, tables: list[pa.Table]) -> pa.Table:
    return tables[0] if len(tables) == 1 else pa.concat_tables(tables).unify_dictionaries()


def frames_of(tables: Iterable[pa.Table], levels: Mapping[str, pa.Array]) -> Iterator[pd.DataFrame]:
    """Turn tables into frames; text columns whose levels are known beforehand are coded by them."""
    kinds: dict[str, pd.CategoricalDtype] = {}
    for table in tables:
        others = [name for name in table.column_names if name not in levels]
        frame = pd.DataFrame(index=pd.RangeIndex(table.num_rows))
        if others:
            frame = table.select(others).to_pandas(strings_to_categorical=True, split_blocks=True)
        for position, name in enumerate(table.column_names):
            if name in levels:
                codes, ordered = _codes(table.column(name), levels[name])
                if name not in kinds:
                    kinds[name] = _kind(levels[name], ordered)
                values = pd.Categorical.from_codes(codes, dtype=kinds[name], validate=False)
                frame.insert(position, name, pd.Series(values, copy=False))
        yield frame


def _kind(levels: pa.Array, ordered: bool) -> pd.CategoricalDtype:
    import pyarrow as pa

    nobody = pa.DictionaryArray.from_arrays(pa.array([], pa.int32()), levels, ordered=ordered)
    kind = nobody.to_pandas().dtype
    assert isinstance(kind, pd.CategoricalDtype)
    return kind


def _codes(column: pa.ChunkedArray, levels: pa.Array) -> tuple[np.ndarray, bool]:
    """Codes of a text column into levels, -1 where it is missing, and whether they are in their order."""
    import pyarrow as pa
    import pyarrow.compute as pc

    coded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    parts = []
    for chunk in coded.chunks:
        own = chunk.dictionary.cast(levels.type)
        place = pc.index_in(own, levels).fill_null(-1).to_numpy(zero_copy_only=False)
        assert np.all((place >= 0) | own.is_null().to_numpy(zero_copy_only=False)), "a level that was not met"
        place = np.append(place, -1).astype(np.min_scalar_type(-len(levels) - 1))
        indices = chunk.indices if chunk.indices.null_count == 0 else chunk.indices.fill_null(-1)
        parts.append(place[indices.to_numpy()])
    codes = np.concatenate(parts) if parts else np.empty(0, np.int8)
    return codes, bool(coded.type.ordered)


@dataclass(frozen=True, eq=False)
class FrameRecords:
    """Records of a frame in memory."""

    frame: pd.DataFrame
    name: str = "the records"
    seekable: bool = True

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the frame."""
        return tuple(map(str, self.frame.columns))

    @property
    def n_records(self) -> int:
        """Number of records."""
        return len(self.frame)

    def prepared(self, columns: Sequence[str]) -> FrameRecords:
        """Return the records: the kinds of the columns are known."""
        return self

    def with_levels(self, columns: Collection[str]) -> FrameRecords:
        """Make categories of the text of these columns."""
        made = {
            name: self.frame[name].astype("category")
            for name in columns
            if isinstance(self.frame[name].dtype, pd.StringDtype)
            or pd.api.types.infer_dtype(self.frame[name], skipna=True) == "string"
        }
        return replace(self, frame=self.frame.assign(**made)) if made else self

    def blocks(
        self, columns: Sequence[str], first: int = 0, last: int | None = None
    ) -> Iterator[pd.DataFrame]:
        """Yield blocks of the frame."""
        begin, stop = span(first, last, len(self.frame))
        frame = self.frame[list(columns)]
        for start in range(begin, stop, BLOCK):
            yield frame.iloc[start : min(start + BLOCK, stop)].reset_index(drop=True)
