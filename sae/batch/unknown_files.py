"""Files of which nothing is known: their encoding, decimal sign, layout and the columns that they give."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

import pandas as pd

from sae.auxiliary import AreaFile, open_areas
from sae.batch.guesses import likely_columns
from sae.errors import SaeError, SaeInputError
from sae.survey import VARIABLES, Survey
from sae.survey.file_columns import FileColumns
from sae.survey.files import read_frame
from sae.survey.layout_fit import fitting_layouts
from sae.survey.layouts import Layout
from sae.survey.silc_files import silc_kind
from sae.tables.block_files import open_records
from sae.tables.blocks import Records

__all__ = ["PopulationFile", "SurveyFile", "open_areas_file", "open_population_file", "open_survey_file"]

T = TypeVar("T")
_COMMA = r"-?\d+,\d+"  # a number with a decimal comma

_THOUSANDS = r"-?\d{1,3},\d{3}"  # this may be either


@dataclass(frozen=True, eq=False)
class SurveyFile:
    """A survey file as it was read.

    Attributes
    ----------
    name : str
    frame : DataFrame
        The columns of the file.
    options : dict of str to str
        How it is read, where that is not the usual way: the keys encoding, decimal and lonely_psu.
    layout : str or None
        The known layout that it fits.
    survey : Survey or None
        The records by that layout, with the harmonised columns.
    remarks : tuple of str
        Why the layout was taken, or not.
    unclear : str
        A value such as 1,234, where no other tells whether the comma is of decimals or of thousands.
    """

    name: str
    frame: pd.DataFrame
    options: dict[str, str] = field(default_factory=dict)
    layout: str | None = None
    survey: Survey | None = None
    remarks: tuple[str, ...] = ()
    unclear: str = ""

    @property
    def columns(self) -> list[str]:
        """The columns that a model file can name, those of the layout included."""
        return [str(name) for name in (self.frame if self.survey is None else self.survey.frame)]

    def lacking(self, variables: Sequence[str]) -> list[str]:
        """Return the variables that the file does not have as they are: absent, or in codes of its own."""
        return [name for name in variables if not self.has(name)]

    def has(self, variable: str) -> bool:
        """Whether a column of this name holds what the variable holds."""
        if variable not in self.columns:
            return False
        column = (self.frame if self.survey is None else self.survey.frame)[variable]
        wanted = VARIABLES.get(variable)
        if wanted is None or self.survey is not None:
            return True
        if wanted.unit:
            return pd.api.types.is_numeric_dtype(column.dtype)
        return not wanted.levels or set(column.dropna().astype(str)) <= set(wanted.levels)

    def mappable(self, variables: Sequence[str]) -> bool:
        """Whether every variable is there, or has a column that it may be made of."""
        return all(self.has(name) or likely_columns(self.frame, name) for name in variables)


def open_survey_file(path: Path, layout: str | None) -> SurveyFile:
    """Read a survey file, find the layout that it fits, and harmonise its columns by it.

    Raises
    ------
    SaeInputError
        If it cannot be read, or does not fit the layout that is named.
    """
    if path.is_dir() or silc_kind(path):
        raise SaeInputError(
            f"{path.name} is {'a folder' if path.is_dir() else 'a file of EU-SILC, which has several'}.",
            hint="EU-SILC has ready models: sae models silc_poverty_by_citizenship prints one.",
        )
    frame, options, unclear = _read(path)
    remark = "as --layout names it"
    if layout is None:
        columns = {str(name): frame[name] for name in frame}
        fitting = fitting_layouts(FileColumns(columns, Layout("", {}, {}, {}, frozenset())))
        if len(fitting) != 1:
            remark = f"several layouts fit alike: {', '.join(fitting)}" if fitting else "no known layout fits"
            return SurveyFile(
                path.name, frame, options, remarks=(f"{remark}: see sae layouts",), unclear=unclear
            )
        layout, remark = fitting[0], "its columns, codes and years are those of this layout"
    survey = Survey.from_frame(frame, layout=layout, lonely_psu="average")
    try:
        Survey.from_frame(frame, layout=layout)
    except SaeError:
        options["lonely_psu"] = "average"
    return SurveyFile(path.name, frame, options, layout, survey, (remark,), unclear)


def _read(path: Path) -> tuple[pd.DataFrame, dict[str, str], str]:
    (frame, _), options = _any_encoding(partial(read_frame, path))
    decimal, unclear = _commas(frame)
    if decimal:
        options["decimal"] = ","
        frame, _ = read_frame(path, **options)
    return frame, options, unclear


@dataclass(frozen=True, eq=False)
class PopulationFile:
    """A file or folder of persons, households or cells, of which one block was read.

    Attributes
    ----------
    name : str
    head : DataFrame
        Its first block.
    records : Records
    options : dict of str to str
        How it is read, where that is not the usual way.
    """

    name: str
    head: pd.DataFrame
    records: Records
    options: dict[str, str]

    def levels(self, column: str) -> frozenset[str]:
        """Return the texts of a column in the whole file: one pass over it."""
        (block,) = islice(self.records.with_levels([column]).blocks([column], 0, 1), 1)
        return frozenset(map(str, block[column].cat.categories))


def open_population_file(path: Path) -> PopulationFile:
    """Read a block of a population: a text file, a Parquet file or a folder of either.

    Raises
    ------
    SaeInputError
        If it cannot be read in blocks.
    """

    def block(**how: str) -> tuple[Records, pd.DataFrame]:
        records = open_records(path, **how)
        records = records.prepared(records.columns)
        return records, next(iter(records.blocks(records.columns)))

    (records, head), options = _any_encoding(block)
    decimal, _ = _commas(head)
    if decimal:
        options["decimal"] = ","
        records, head = block(**options)
    return PopulationFile(path.name, head, records, options)


def open_areas_file(path: Path) -> tuple[AreaFile, dict[str, str]]:
    """Read a file of areas, and return the keys of ``[areas]`` that say how."""
    file, options = _any_encoding(partial(open_areas, path))
    decimal, _ = _commas(file.cells[list(file.text_columns)])
    if decimal:
        options["decimal"] = ","
        file = open_areas(path, **options)  # type: ignore[arg-type]
    return file, options


def _any_encoding(read: Callable[..., T]) -> tuple[T, dict[str, str]]:
    """Read a file as UTF-8, or as the code page of Western Windows where it is no UTF-8."""
    try:
        return read(), {}
    except SaeInputError as error:
        try:
            return read(encoding="cp1252"), {"encoding": "cp1252"}
        except SaeError:
            raise error from None


def _commas(frame: pd.DataFrame) -> tuple[bool, str]:
    """Whether columns hold numbers with a decimal comma, and a value whose comma may be of thousands."""
    unclear = ""
    for name in frame:
        texts = frame[name].dropna().astype(str)
        if not texts.head(200).str.contains(",", regex=False).any():
            continue
        if not texts.str.fullmatch(rf"{_COMMA}|-?\d+").all():
            continue
        with_comma = texts[texts.str.contains(",", regex=False)]
        if not with_comma.str.fullmatch(_THOUSANDS).all():
            return True, ""
        unclear = unclear or str(with_comma.iloc[0])
    return False, unclear
