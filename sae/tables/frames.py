"""Frames of any library, as pandas has them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from sae.errors import SaeInputError, name_some

__all__ = ["pandas_frame"]

_INSTEAD = {  # what is meant, where a frame is needed and another thing was given
    "Survey": "An area-level model takes direct estimates, sae.direct(survey, indicator, by=...). The "
    "records are survey.frame.",
    "str": "Read the file first: sae.tables.read_table(path).",
    **dict.fromkeys(("EstimateTable", "DirectEstimates", "PublishedTable"), "Give its frame: .to_frame()."),
    "Result": "Give the frame of its table: fit.to_frame().",
    "dict": "Make a frame of it: pd.DataFrame(...).",
}
_EXACT = 2**53  # whole numbers up to here are floats without loss


def pandas_frame(data: object, what: str) -> pd.DataFrame:
    """Return a frame of any library as a pandas DataFrame; refuse anything else, and names borne twice.

    A pandas DataFrame comes back as it is. Frames of polars, pyarrow and whatever else narwhals or Arrow's
    stream protocol knows become one: text stays text, an enumeration a category in its order, dates are
    dates, and a missing value is missing.

    Parameters
    ----------
    data : object
    what : str
        What the data are, as a sentence begins.

    Raises
    ------
    SaeInputError
        If it is no frame, or one whose rows are not computed yet, or repeats the name of a column.

    Examples
    --------
    >>> sae.tables.pandas_frame([1, 2], "The records")
    Traceback (most recent call last):
    ...
    sae.errors.SaeInputError: The records are a list, not a pandas DataFrame.
    Give a frame of pandas, polars, pyarrow or another library that Arrow knows.
    """
    frame = data if isinstance(data, pd.DataFrame) else _converted(data, what)
    names = list(map(str, frame.columns))  # 1 and "1" are one name
    if len(set(names)) < len(names):
        _refuse_twice(names, what)
    return frame


def _refuse_twice(names: list[str], what: str) -> None:
    repeated = [name for name, times in Counter(names).items() if times > 1]
    raise SaeInputError(
        f"{what} repeat the columns {name_some(repeated)}.",
        hint="Rename or drop one of each.",
        column=repeated[0],
    )


def _converted(data: Any, what: str) -> pd.DataFrame:
    """Return a frame of another library in pandas."""
    table = _arrow(data)
    if table is None:
        kind = type(data)
        library = kind.__module__.partition(".")[0]
        name = kind.__name__ if library == "builtins" else f"{library} {kind.__name__}"
        lazy = hasattr(data, "collect")
        raise SaeInputError(
            f"{what} are a {name}, not a pandas DataFrame.",
            hint="Compute its rows first, with .collect()."
            if lazy
            else _INSTEAD.get(kind.__name__, "")
            or "Give a frame of pandas, polars, pyarrow or another library that Arrow knows.",
        )
    if len(set(table.column_names)) < table.num_columns:
        _refuse_twice(table.column_names, what)  # pandas numbers or drops them
    frame = table.to_pandas(date_as_object=False)
    for name, column in zip(table.column_names, table.columns, strict=True):
        if _loses_digits(column) and name in frame:
            frame[name] = pd.Series(pd.array(column.to_pylist(), dtype="Int64"), index=frame.index)
    return frame


def _arrow(data: Any) -> pa.Table | None:
    """Return a frame as an Arrow table; None if it is no frame with rows."""
    if isinstance(data, pa.Table):
        return data
    if type(data).__module__ in ("builtins", "numpy"):
        return None
    import narwhals

    frame = narwhals.from_native(data, eager_only=True, pass_through=True)
    if isinstance(frame, narwhals.DataFrame):
        if frame.implementation.is_polars():  # its categories stand in the order in which they were met
            texts = [name for name, kind in frame.schema.items() if kind == narwhals.Categorical]
            frame = frame.with_columns(narwhals.col(*texts).cast(narwhals.String)) if texts else frame
        return frame.to_arrow()
    if not hasattr(data, "__arrow_c_stream__") or hasattr(data, "collect"):
        return None
    try:
        return pa.table(data)
    except (pa.ArrowInvalid, TypeError):
        return None  # a single column


def _loses_digits(column: pa.ChunkedArray) -> bool:
    """Whether whole numbers beside missing ones are too large for floats, which pandas makes of them."""
    if not (pa.types.is_integer(column.type) and column.null_count):
        return False
    low, high = pc.min_max(column).as_py().values()
    return low is not None and bool(np.maximum(-low, high) > _EXACT)
