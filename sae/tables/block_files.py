"""The one door to records that come in blocks: a Parquet file, a CSV file, a folder of either, a frame."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote

from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.tables.blocks import FrameRecords, Records
from sae.tables.frames import pandas_frame
from sae.tables.parquet_blocks import open_parquet
from sae.tables.text_blocks import text_records

__all__ = ["names_are_hidden", "open_records"]

_PARQUET = (".parquet", ".pq")
_TEXT = (".csv", ".tsv", ".txt", ".tab")
_NOTHING = "__HIVE_DEFAULT_PARTITION__"  # what writers put for a missing value


def open_records(
    data: object,
    *,
    encoding: str = "utf-8",
    separator: str | None = None,
    decimal: str = ".",
    missing: Iterable[object] = (),
) -> Records:
    """Open a Parquet file, a CSV file, a folder of either (files in sorted order) or a frame in memory.

    Folders of Parquet files may tell columns by their names (``year=2024/region=01``): these are text.

    Parameters
    ----------
    data : str, Path or frame
    encoding, separator, decimal, missing
        Of text files, as in `sae.read_survey`.

    Raises
    ------
    SaeInputError
        If there is no such file, the folder holds none or both kinds, the files differ in their columns, or
        one is damaged.

    Examples
    --------
    >>> from sae.tables.block_files import open_records
    >>> records = open_records(pd.DataFrame({"w": np.ones(70_000), "age": 30}))
    >>> [len(block) for block in records.blocks(["age"])]
    [65536, 4464]
    """
    if not isinstance(data, str | Path):
        frame = pandas_frame(data, "The records")
        frame = frame.set_axis([str(name) for name in frame], axis=1).reset_index(drop=True)
        if frame.empty:
            raise SaeInputError("The records have no rows or no columns.")
        return FrameRecords(frame)
    if decimal not in (".", ","):
        raise SaeSpecError(f"decimal={decimal!r} is neither '.' nor ','.")
    files, kind = _files_of(Path(data))
    told = [_told_by_folders(Path(data), one) for one in files]
    _check_told(Path(data), kind, told)
    if kind == "text":
        return text_records(
            files, Path(data).name, encoding=encoding, separator=separator, decimal=decimal, missing=missing
        )
    return open_parquet(files, Path(data).name, told)


def _files_of(path: Path) -> tuple[list[Path], str]:
    """Return the files of an input, sorted, and their kind: "parquet" or "text"."""
    if not path.exists():
        raise SaeInputError(f"There is no file {path}.", hint="Check the path.")
    files = [path]
    if path.is_dir():
        inner = (one for one in path.rglob("*") if one.is_file())
        parts = [(one.relative_to(path).parts, one) for one in inner]
        files = [one for names, one in sorted(parts) if not names_are_hidden(names)]
        if not files:
            raise SaeInputError(
                f"The folder {path.name} holds no files.", hint="Give .parquet or .csv files."
            )
    kinds = {
        "parquet" if _suffix(one) in _PARQUET else "text" if _suffix(one) in _TEXT else "" for one in files
    }
    if len(kinds) > 1 or "" in kinds:
        strange = [one.name for one in files if _suffix(one) not in (*_PARQUET, *_TEXT)]
        what = f"of another kind: {name_some(strange)}" if strange else "both Parquet and text"
        raise SaeInputError(
            f"{path.name} cannot be read in blocks: its files are {what}.",
            hint="Give Parquet files (.parquet) or delimited text (.csv, .csv.gz, .tsv, .txt), of one kind.",
        )
    return files, kinds.pop()


def names_are_hidden(names: Sequence[str]) -> bool:
    """Return whether a file below a folder is none of its data, by the names on its way."""
    return any(name[0] in "._" for name in names)


def _told_by_folders(path: Path, file: Path) -> dict[str, str | None]:
    """Columns and their values that the folders between an input and one of its files tell."""
    names = file.relative_to(path).parts[:-1] if file != path else ()
    pairs = [name.partition("=") for name in names if "=" in name]
    return {unquote(key): None if value == _NOTHING else unquote(value) for key, _, value in pairs}


def _check_told(path: Path, kind: str, told: Sequence[Mapping[str, str | None]]) -> None:
    """Refuse columns in the names of folders that text files or only some files have."""
    keys = list(dict.fromkeys(key for one in told for key in one))
    if keys and kind == "text":
        raise SaeInputError(
            f"The folder {path.name} holds columns in the names of its folders: {name_some(keys, 3)}.",
            hint="Write these columns into the text files, and name the folders without '='.",
        )
    partly = [key for key in keys if not all(key in one for one in told)]
    if partly:
        raise SaeInputError(
            f"The folder {path.name} holds files outside of the folders that tell {name_some(partly, 3)}.",
            hint="Give every file its place in folders of the same columns.",
            column=partly[0],
        )


def _suffix(path: Path) -> str:
    suffixes = [one.lower() for one in path.suffixes]
    return suffixes[-2] if suffixes[-1:] == [".gz"] and len(suffixes) > 1 else "".join(suffixes[-1:])
