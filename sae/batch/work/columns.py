"""Columns of pandas tables in Parquet, so that each comes back in its own kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["frame_from_parquet", "frame_to_parquet"]

# values of a column of objects: how each is written, and how it is read
_OBJECTS: list[tuple[type, Any]] = [
    (str, str),
    (type(None), lambda text: None),
    (float, float),
    (bool, lambda text: text == "True"),
    (int, int),
    (type(pd.NA), lambda text: pd.NA),
    (type(pd.NaT), lambda text: pd.NaT),
]
_PLACES = {kind: place for place, (kind, _) in enumerate(_OBJECTS)}


def frame_to_parquet(frame: pd.DataFrame) -> tuple[bytes, dict[str, Any]]:
    """Return a table as the bytes of a Parquet file, and what its columns are, as JSON.

    Raises
    ------
    TypeError
        If a column has no text as its name or the name of another, or values that would not come back.
    """
    import pyarrow as pa
    from pyarrow import parquet

    names = list(frame.columns)
    if not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
        raise TypeError(f"names of columns must be texts, each once, not {names}")
    arrays: list[pa.Array] = []
    places, columns = [], []
    for name in names:
        try:
            kind, parts = _written(frame[name])
        except (TypeError, ValueError, pa.ArrowException) as error:
            raise TypeError(f"the column {name!r} cannot be stored: {error}") from None
        columns.append({"name": name, **kind})
        places += [f"{len(arrays) + k} {name}" for k in range(len(parts))]
        arrays += parts
    sink = pa.BufferOutputStream()
    parquet.write_table(pa.Table.from_arrays(arrays, places), sink, write_statistics=False)
    return sink.getvalue().to_pybytes(), {"rows": len(frame), "columns": columns}


def frame_from_parquet(content: Any, description: Mapping[str, Any]) -> pd.DataFrame:
    """Return the table that `frame_to_parquet` wrote."""
    import pyarrow as pa
    from pyarrow import parquet

    table = parquet.ParquetFile(pa.BufferReader(pa.py_buffer(content))).read(use_threads=False)
    made, place = {}, 0
    for kind in description["columns"]:
        count = 2 if "mixed" in kind else 1
        parts = [table.column(place + k).combine_chunks() for k in range(count)]
        made[kind["name"]] = _read(kind, parts)
        place += count
    return pd.DataFrame(made, index=pd.RangeIndex(description["rows"]), columns=pd.Index(list(made)))


def _written(column: pd.Series) -> tuple[dict[str, Any], list[pa.Array]]:
    """Return what a column is, and its values in Arrow's kinds."""
    import pyarrow as pa

    dtype: Any = column.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        kind = {"categories": _categories(dtype.categories), "ordered": bool(dtype.ordered)}
        return kind, [pa.array(column.cat.codes.to_numpy())]
    if isinstance(dtype, pd.StringDtype):
        missing = "NA" if dtype.na_value is pd.NA else "nan"
        values = pa.array(column.array, pa.large_string())
        return {"text": dtype.storage, "missing": missing}, [values]
    if dtype.kind == "O" and isinstance(dtype, np.dtype):
        return _objects(column.to_numpy())
    if not isinstance(dtype, np.dtype):
        array = pa.array(column.array)
        if pd.api.types.pandas_dtype(str(dtype)) != dtype or isinstance(array.type, pa.ExtensionType):
            raise TypeError(f"columns of {dtype} would not come back")
        return {"extension": str(dtype)}, [array]
    if dtype.kind in "mM":
        return {"numpy": dtype.str}, [pa.array(column.to_numpy().view("int64"))]
    if dtype.kind not in "biuf":
        raise TypeError(f"columns of {dtype} would not come back")
    native = np.ascontiguousarray(column.to_numpy(), dtype=dtype.newbyteorder("="))
    return {"numpy": dtype.str}, [pa.array(native, from_pandas=False)]


def _read(kind: dict[str, Any], parts: list[pa.Array]) -> Any:
    first = parts[0]
    if "categories" in kind:
        known = kind["categories"]
        categories = pd.Index(
            known["values"], dtype=_text_dtype(known) if "text" in known else np.dtype(known["numpy"])
        )
        codes = first.to_numpy(zero_copy_only=False)
        return pd.Categorical.from_codes(codes, categories=categories, ordered=kind["ordered"])
    if "text" in kind:
        return _text_dtype(kind).__from_arrow__(first)
    if "object" in kind:
        texts = first.to_pylist()
        places = parts[1].to_pylist() if "mixed" in kind else [kind["object"]] * len(texts)
        values = np.empty(len(texts), dtype=object)
        values[:] = [_OBJECTS[place][1](text) for place, text in zip(places, texts, strict=True)]
        return pd.Series(values, dtype=object)
    if "extension" in kind:
        dtype: Any = pd.api.types.pandas_dtype(kind["extension"])
        return dtype.__from_arrow__(first)
    values = first.to_numpy(zero_copy_only=False)
    dtype = np.dtype(kind["numpy"])
    return values.view(dtype) if dtype.kind in "mM" else values.astype(dtype, copy=False)


def _objects(values: np.ndarray) -> tuple[dict[str, Any], list[pa.Array]]:
    """Write objects as texts, and beside them of what kind each is, where not all are of one."""
    import pyarrow as pa

    plain = [value.item() if isinstance(value, np.generic) else value for value in values]
    places = [_PLACES[type(value)] if type(value) in _PLACES else _place(value) for value in plain]
    texts = [str(value) if place != 2 else repr(value) for value, place in zip(plain, places, strict=True)]
    written = [pa.array(texts, pa.large_string())]
    if len(set(places)) <= 1:
        return {"object": places[0] if places else 0}, written
    return {"object": 0, "mixed": True}, [*written, pa.array(np.array(places, dtype=np.int8))]


def _place(value: Any) -> int:
    if isinstance(value, str):
        return 0
    raise TypeError(f"an object of the kind {type(value).__name__} would not come back")


def _categories(index: pd.Index) -> dict[str, Any]:
    """Return categories as JSON: texts or numbers."""
    dtype: Any = index.dtype
    if isinstance(dtype, pd.StringDtype):
        missing = "NA" if dtype.na_value is pd.NA else "nan"
        return {"values": index.tolist(), "text": dtype.storage, "missing": missing}
    if not isinstance(dtype, np.dtype) or dtype.kind not in "biufO":
        raise TypeError(f"categories of {dtype} would not come back")
    values = index.tolist()
    if not all(type(value) in (str, bool, int, float) for value in values):
        raise TypeError("categories that are neither texts nor numbers would not come back")
    return {"values": values, "numpy": "object" if dtype.kind == "O" else dtype.str}


def _text_dtype(kind: dict[str, Any]) -> Any:
    if kind["missing"] == "NA" or kind["text"] == "pyarrow_numpy":  # the latter of pandas 2.2
        return pd.StringDtype(kind["text"])
    return pd.StringDtype(kind["text"], na_value=np.nan)
