"""Texts of rows in one block of memory: what is not read by anybody is never made into Python's strings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, overload

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["Texts", "blank", "constant_texts", "joined_bytes", "text_column"]

_KIND = pa.large_string()
_STRING: Any = pd.StringDtype()
_INFERS_TEXT = isinstance(pd.Series(["a"]).dtype, pd.StringDtype)
_INFERRED: Any = pd.Series(["a"]).dtype  # what pandas makes of texts: "str", or object before pandas 3


class Texts(Sequence[str]):
    """Names of rows, none of them missing; an index array or a mask takes some of them.

    Parameters
    ----------
    values : arrow array
        Of texts.

    Examples
    --------
    >>> from sae.tables.texts import Texts
    >>> names = Texts.of(["Graz", "Linz"])
    >>> names[1], list(names[np.array([False, True])]), list(names.joined(names, "/"))
    ('Linz', ['Linz'], ['Graz/Graz', 'Linz/Linz'])
    """

    def __init__(self, values: Any) -> None:
        self.values = values

    @classmethod
    def of(cls, texts: Any) -> Texts:
        """Return the texts of a column of labels, or of a sequence of text."""
        values = pa.array(texts.array if isinstance(texts, pd.Series) else texts, type=_KIND)
        return cls(values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values)

    @classmethod
    def same(cls, text: str, size: int) -> Texts:
        """Return the same text in every row."""
        return cls(pa.repeat(pa.scalar(text, _KIND), size))

    @classmethod
    def stacked(cls, parts: Sequence[Texts]) -> Texts:
        """Return the texts of several columns, one below the other."""
        return cls(pa.concat_arrays([part.values for part in parts]))

    @cached_property
    def strings(self) -> np.ndarray:
        """Python's strings, shape (n,)."""
        return np.asarray(self.values.to_numpy(zero_copy_only=False), dtype=object)

    @property
    def column(self) -> Any:
        """The texts as a column of dtype "string"."""
        return text_column(self.values)

    @property
    def plain_column(self) -> Any:
        """The texts as a column of the dtype that pandas infers."""
        if _INFERS_TEXT:
            return _INFERRED.__from_arrow__(self.values)
        return self.strings

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[str]:
        return iter(self.strings)

    @overload
    def __getitem__(self, rows: int | np.integer) -> str: ...
    @overload
    def __getitem__(self, rows: slice | np.ndarray) -> Texts: ...
    def __getitem__(self, rows: int | np.integer | slice | np.ndarray) -> str | Texts:
        if isinstance(rows, np.ndarray):
            if rows.dtype == bool:
                return self if rows.all() else Texts(self.values.filter(pa.array(rows)))
            return Texts(self.values.take(pa.array(rows)))
        if isinstance(rows, slice):
            return Texts.of(self.strings[rows])
        return str(self.values[int(rows)].as_py())

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        strings = self.strings if dtype in (None, object) else self.strings.astype(dtype)
        return strings.copy() if copy else strings

    def __eq__(self, other: object) -> bool:
        return self.values.equals(other.values) if isinstance(other, Texts) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def joined(self, other: Texts | str, separator: str) -> Texts:
        """Return each text followed by a separator and another one."""
        return Texts.rows([self, other], separator)

    @classmethod
    def rows(cls, parts: Sequence[Texts | str], separator: str) -> Texts:
        """Return one text per row of several columns, of which some have the same text in every row."""
        values = [pa.scalar(part, _KIND) if isinstance(part, str) else part.values for part in parts]
        return cls(pc.binary_join_element_wise(*values, pa.scalar(separator, _KIND)))

    def distinct(self) -> bool:
        """Whether no text stands twice."""
        return len(pc.unique(self.values)) == len(self.values)

    def encoded(self, separator: str) -> bytes:
        """Return all texts, each followed by a separator, as UTF-8."""
        ended = pc.binary_join_element_wise(self.values, pa.scalar("", _KIND), pa.scalar(separator, _KIND))
        first, last = np.frombuffer(ended.buffers()[1], dtype=np.int64)[
            [ended.offset, ended.offset + len(self)]
        ]
        return bytes(memoryview(ended.buffers()[2])[first:last]) if last > first else b""


def text_column(values: Any) -> Any:
    """Return arrow's texts as a column of dtype "string"."""
    return _STRING.__from_arrow__(values)


def constant_texts(text: str, size: int) -> Any:
    """Return a column of dtype "string" with the same text in every row."""
    return Texts.same(text, size).column


def blank(values: Any) -> np.ndarray:
    """Return which of arrow's texts hold nothing but spaces, or are missing."""
    empty = pc.equal(pc.utf8_trim_whitespace(values), "")
    return np.asarray(empty.fill_null(True).to_numpy(zero_copy_only=False), dtype=bool)


def joined_bytes(texts: pa.StringArray) -> memoryview:
    """Return the bytes of texts one behind the other, as they lie in memory.

    Examples
    --------
    >>> from sae.tables.texts import joined_bytes
    >>> import pyarrow as pa
    >>> bytes(joined_bytes(pa.array(["a,1;", "b,2;"])))
    b'a,1;b,2;'
    """
    _, ends, content = texts.buffers()
    places = np.frombuffer(ends, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    return memoryview(content or b"")[places[0] : places[-1]]
