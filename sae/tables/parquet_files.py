"""Parquet files of every door: read whole, with the kinds of columns that the package knows."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from sae.errors import SaeInputError, name_some

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

__all__ = ["plain_kinds", "read_parquet"]


def read_parquet(source: Path | bytes, name: str, *, categories: bool = False) -> pd.DataFrame:
    """Read a Parquet file, or its content, as text, numbers, dates.

    Parameters
    ----------
    source : Path or bytes
    name : str
        Of the file, in messages.
    categories : bool
        Whether text becomes categories.

    Raises
    ------
    SaeInputError
        If it is damaged or no Parquet file, or repeats a column name.
    """
    import pyarrow as pa
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(io.BytesIO(source) if isinstance(source, bytes) else source)
        table = plain_kinds(file.read())
        frame = table.to_pandas(strings_to_categorical=categories, split_blocks=True)
    except (pa.ArrowException, OSError, ValueError) as problem:
        raise SaeInputError(
            f"The file {name} is not a readable Parquet file: {' '.join(str(problem).split())}.",
            hint="Check that it was copied in full.",
        ) from None
    names = table.column_names
    repeated = sorted({column for column in names if names.count(column) > 1})
    if repeated:
        raise SaeInputError(
            f"{name} repeats the columns {name_some(repeated)}.",
            hint="Rename one of each.",
            column=repeated[0],
        )
    return frame


def plain_kinds(table: pa.Table) -> pa.Table:
    """Return the columns in kinds that pandas holds without loss, and without the index of a frame."""
    import pyarrow as pa
    import pyarrow.compute as pc

    # without the notes that pandas left in the file: nullable types then arrive as plain numbers
    table = table.replace_schema_metadata(None)
    table = table.drop_columns([name for name in table.column_names if name.startswith("__index_level_")])
    for position, field in enumerate(table.schema):
        column, target = table.column(position), None
        if pa.types.is_boolean(field.type) and column.null_count:
            target = pa.int8()  # true, false and missing as 1, 0 and nan, not as objects
        elif pa.types.is_decimal(field.type):
            target = pa.float64()
        elif pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type):
            target = pa.string()  # what other programs write without saying that it is text
        elif pa.types.is_integer(field.type) and column.null_count:
            ends = pc.min_max(column).as_py()
            if max(abs(end or 0) for end in ends.values()) > 2**53:
                target = pa.string()  # an identifier: no float holds it
        if target is not None:
            table = table.set_column(position, field.name, pc.cast(column, target))
    return table
