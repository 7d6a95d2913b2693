"""A register whose columns and codes are not the survey's: ``[population] columns`` and ``codes``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sae.auxiliary import AreaFile
from sae.batch.sections import PopulationSection
from sae.errors import SaeInputError, name_some
from sae.survey.levels import CODING_KEYS, level_ranks
from sae.tables import labels
from sae.tables.parquet_blocks import ParquetRecords

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["RegisterRecords", "recoded", "renamed", "source_columns"]

Coding = Mapping[str, Any]


def source_columns(section: PopulationSection) -> dict[str, str]:
    """Return the column of the file that each name of the model file means, where it is another."""
    coded = {name: str(one["column"]) for name, one in section.codes.items() if "column" in one}
    return {**section.columns, **coded}


def renamed(file: AreaFile, section: PopulationSection) -> AreaFile:
    """Return a text file whose columns bear the names of the model file."""
    sources = source_columns(section)
    gone = [name for name in sources if name in file.cells and name not in sources.values()]
    names = {there: here for here, there in sources.items()}
    return replace(
        file,
        cells=file.cells.drop(columns=gone).rename(columns=names),
        text_columns=tuple(names.get(name, name) for name in file.text_columns if name not in gone),
        numbers={names.get(name, name): values for name, values in file.numbers.items() if name not in gone},
    )


def recoded(column: pd.Series, coding: Coding, file: str) -> pd.Series:
    """Return the levels of a column of codes; what is missing stays so.

    Raises
    ------
    SaeInputError
        If it holds codes without a level.
    """
    text = labels(column, keep_missing=True)
    kinds = text.dropna().unique()
    levels = _levels([str(one) for one in kinds], str(column.name), coding, file)
    return text.astype("object").map(dict(zip(kinds, levels, strict=True)))


def _levels(texts: list[str], name: str, coding: Coding, file: str) -> list[str]:
    ranks = level_ranks(texts, name, coding)
    strays = [text for text, rank in zip(texts, ranks, strict=True) if rank < 0]
    if strays:
        raise SaeInputError(
            f"{name} holds codes in {file} that [population.codes.{name}] has no level for: "
            f"{name_some(map(repr, strays))}.",
            hint="Give each code of the file a level, one of the survey's; or take its rows out.",
            column=name,
        )
    levels = [level for level in coding if level not in CODING_KEYS]
    return [levels[rank] for rank in ranks]


@dataclass(frozen=True, eq=False)
class RegisterRecords(ParquetRecords):
    """Records of Parquet files under the names and levels of a model file.

    Attributes
    ----------
    sources : mapping of str to str
        Column of the file of each name that means another.
    codes : mapping of str to mapping
        Levels of names, as in ``[population.codes.NAME]``.
    """

    sources: Mapping[str, str] = field(default_factory=dict)
    codes: Mapping[str, Coding] = field(default_factory=dict)

    @classmethod
    def of(cls, records: ParquetRecords, section: PopulationSection) -> RegisterRecords:
        """Take the records of a file as a section says."""
        own = {one.name: getattr(records, one.name) for one in fields(records)}
        return cls(**own, sources=source_columns(section), codes=section.codes)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns."""
        return tuple(dict.fromkeys([*self.sources, *super().columns]))

    def tables(self, columns: Sequence[str], start: int, stop: int) -> Iterator[pa.Table]:
        """Yield the records from `start` to `stop` as they come from the files."""
        wanted = [self.sources.get(name, name) for name in columns]
        for table in super().tables(list(dict.fromkeys(wanted)), start, stop):
            made = {}
            for name, source in zip(columns, wanted, strict=True):
                column = table.column(source)
                made[name] = self._recoded(name, column) if name in self.codes else column
            yield table.from_pydict(made)

    def _recoded(self, name: str, column: pa.ChunkedArray) -> pa.DictionaryArray:
        import pyarrow as pa

        coded = column.combine_chunks()
        coded = coded.chunk(0) if isinstance(coded, pa.ChunkedArray) else coded
        coded = coded if pa.types.is_dictionary(coded.type) else coded.dictionary_encode()
        empty = coded.is_null().to_numpy(zero_copy_only=False)
        indices = coded.indices.fill_null(0).to_numpy(zero_copy_only=False)
        used = np.flatnonzero(np.bincount(indices[~empty], minlength=len(coded.dictionary)))
        texts = labels(pd.Series([coded.dictionary[int(k)].as_py() for k in used], dtype=object))
        levels = _levels([str(one) for one in texts], name, self.codes[name], self.name)
        every = list(dict.fromkeys(levels))
        lookup = np.zeros(len(coded.dictionary) + 1, dtype=np.int32)
        lookup[used] = [every.index(level) for level in levels]
        return pa.DictionaryArray.from_arrays(
            pa.array(lookup[indices], mask=empty), pa.array(every, pa.string())
        )
