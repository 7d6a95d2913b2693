"""One reader of delimited text for every door, and one rule for what in it is missing and what a number."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
import unicodedata
import warnings
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from sae.errors import SaeInputError, SaeSpecError, SaeWarning, name_some
from sae.tables.guard import UNGUARD, unguarded
from sae.tables.labels import label_text

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "CODE",
    "TextColumn",
    "looks_missing",
    "missing_words",
    "read_cells",
    "refuse_other_formats",
    "typed_cells",
]

_WORDS = frozenset({"", "na", "n/a", "#n/a", "nan", "null", "<na>", ".", "..", ":"})

_UTF8 = {"utf-8", "utf-8-sig"}
_SEPARATORS = (",", ";", "\t", "|")
_SHEETS = (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods")
_MAGIC = {
    b"PK\x03\x04": "a spreadsheet or another zip archive",
    b"\xd0\xcf\x11\xe0": "an old Excel file",
    b"PAR1": "a Parquet file",
}
# spelt as codes are and numbers hardly ever: leading zeros, hexadecimal; an exponent without its sign
_ZERO = r"^[+-]?0[0-9xX]"
_EXPONENT = r"^[+-]?[0-9]+[eE][0-9]"
CODE = f"{_ZERO}|{_EXPONENT}"
_NUMBER = r"[+-]?([0-9]+([.,][0-9]*)?|[.,][0-9]+)([eE][+-]?[0-9]+)?"
_INFINITE = "[+-]?(inf|Inf|INF|infinity|Infinity)"
_SAMPLE = 1000  # cells that tell most columns of text
_MAX_WHOLE = 2**53  # beyond it a float no longer tells neighbouring integers apart


def looks_missing(text: str) -> bool:
    """Whether a text is one of the usual words for a missing value, whatever its capitals.

    Examples
    --------
    >>> from sae.tables.text_files import looks_missing
    >>> [looks_missing(text) for text in ("NA", "n/a", ".", "Nauru")]
    [True, True, True, False]
    """
    return text.strip().lower() in _WORDS


def refuse_other_formats(path: Path, head: bytes) -> None:
    """Refuse by name a spreadsheet, and a file that is not what its ending says.

    Raises
    ------
    SaeInputError
        With the format that the first bytes of the file, `head`, or its ending tell.
    """
    name = path.name
    if path.suffix.lower() in _SHEETS:
        raise SaeInputError(
            f"{name} is a spreadsheet, which is not read here.",
            hint="Save the sheet as CSV (UTF-8), or write it as .parquet.",
        )
    compressed = head.startswith(b"\x1f\x8b")
    if path.suffix.lower() == ".gz" and not compressed:
        raise SaeInputError(f"The file {name} is not compressed, although its name ends in .gz.")
    if compressed and path.suffix.lower() != ".gz":
        raise SaeInputError(
            f"The file {name} is compressed by gzip, although its name does not end in .gz.",
            hint="Rename it, or unpack it.",
        )
    for magic, what in _MAGIC.items():
        if head.startswith(magic) and path.suffix.lower() not in (".parquet", ".pq"):
            raise SaeInputError(
                f"The file {name} is {what}, although its name ends in {path.suffix or 'nothing'}.",
                hint="Save it as CSV (UTF-8), or give it the ending of what it is.",
            )


def read_cells(
    source: Path | bytes, path: Path, *, encoding: str = "utf-8", separator: str | None = None
) -> tuple[pa.Table, str]:
    """Read a delimited text file: cells as text, blanks around them cut, accents composed, empty as missing.

    Parameters
    ----------
    source : Path or bytes
        The file, or its content; compressed by gzip where the ending of `path` is ``.gz``.
    path : Path
        Names the file in messages.
    encoding : str
        A byte-order mark is accepted.
    separator : str, optional
        One character; without it comma, semicolon, tab or bar, as the first two lines show.

    Returns
    -------
    cells : pyarrow.Table
    separator : str

    Raises
    ------
    SaeInputError
        If the file is damaged, in another encoding, malformed or without a record, or its columns lack names
        or share them.
    """
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    encoding = _known_encoding(encoding)
    if separator is not None and (not isinstance(separator, str) or len(separator) != 1):
        raise SaeSpecError(f"separator={separator!r} is not one character.", hint="For example ';' or '\\t'.")
    try:
        header, lines, separator = _header(source, path, encoding, separator)
        with _opened(source, path) as stream:
            table = arrow_csv.read_csv(
                stream,
                read_options=arrow_csv.ReadOptions(
                    column_names=header, skip_rows=lines, encoding="utf8" if encoding in _UTF8 else encoding
                ),
                parse_options=arrow_csv.ParseOptions(
                    delimiter=separator, newlines_in_values=True, ignore_empty_lines=len(header) > 1
                ),
                convert_options=arrow_csv.ConvertOptions(
                    column_types=dict.fromkeys(header, pa.string()),
                    null_values=[""],
                    strings_can_be_null=True,
                ),
            )
    except (gzip.BadGzipFile, EOFError, zlib.error) as problem:
        raise _damaged(path, problem) from None
    except (pa.ArrowException, UnicodeError, OSError) as problem:
        text = " ".join(str(problem).split())
        if isinstance(problem, UnicodeError) or "UTF8" in text or "codec" in text:
            raise SaeInputError(
                f"The file {path.name} is not in the encoding {encoding}, which was tried.",
                hint='Name its encoding, such as encoding="cp1252" (Windows, Western Europe) or "latin-1".',
            ) from None
        if "zlib" in text or "compressed" in text:
            raise _damaged(path, problem) from None
        raise SaeInputError(
            f"The file {path.name} cannot be read as a table separated by {separator!r}: {text}.",
            hint="Every row needs as many values as the header; quote values that hold the separator.",
        ) from None
    if table.num_rows == 0:
        raise SaeInputError(
            f"The file {path.name} has a header with {len(header)} columns, but no records: it has no rows.",
            hint="Check that it was written in full.",
        )
    return pa.table([_clean(column) for column in table.columns], names=header), separator


def _damaged(path: Path, problem: Exception) -> SaeInputError:
    return SaeInputError(
        f"The compressed file {path.name} is damaged or cut off: {' '.join(str(problem).split())}.",
        hint="Copy it again.",
    )


def _known_encoding(encoding: str) -> str:
    try:
        info = codecs.lookup(encoding)
    except (LookupError, TypeError, ValueError):
        info = None
    if info is None or not getattr(info, "_is_text_encoding", True):
        raise SaeInputError(f"{encoding!r} is not an encoding.", hint="For example utf-8, cp1252, latin-1.")
    return info.name


def _opened(source: Path | bytes, path: Path) -> Any:
    import pyarrow as pa

    raw = pa.BufferReader(source) if isinstance(source, bytes) else pa.OSFile(str(source))
    return pa.CompressedInputStream(raw, "gzip") if path.suffix.lower() == ".gz" else raw


def _header(
    source: Path | bytes, path: Path, encoding: str, separator: str | None
) -> tuple[list[str], int, str]:
    """Names of the columns, how many lines they take, and the separator."""
    raw: IO[bytes] = io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")
    with raw, gzip.GzipFile(fileobj=raw) if path.suffix.lower() == ".gz" else raw as binary:
        wide = "utf-8-sig" if encoding in _UTF8 else encoding
        stream: Any = io.TextIOWrapper(binary, encoding=wide, newline="")
        line = stream.readline().removeprefix("\ufeff")
        lines = 1
        while line.count('"') % 2 and lines < 100 and (more := stream.readline()):  # a name of several lines
            line, lines = line + more, lines + 1
        below = stream.readline()
    if not line.strip():
        raise SaeInputError(
            f"The first line of {path.name} is blank.", hint="The first line holds the column names."
        )
    if separator is None:
        # the separator that gives the most names, and as many values below
        separator = max(_SEPARATORS, key=lambda one: _fit(_split(line, one), _split(below, one)))
    names = [unguarded(_clean_text(name)) for name in _split(line, separator)]
    blank = [position + 1 for position, name in enumerate(names) if not name]
    if blank == [1] and len(names) > 1:  # the row names of an R export
        names[0] = "row"
    elif blank:
        columns = "column" if len(blank) == 1 else "columns"
        raise SaeInputError(
            f"{len(blank)} {columns} of {path.name} {'has' if len(blank) == 1 else 'have'} no name: "
            f"{name_some(blank)}.",
            hint="The first line holds the column names.",
        )
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        one = len(repeated) == 1
        raise SaeInputError(
            f"{len(repeated)} column {'name' if one else 'names'} of {path.name} "
            f"{'occurs' if one else 'occur'} more than once: {name_some(repeated)}.",
            hint="Rename the columns so that every name is unique.",
            column=repeated[0],
        )
    return names, lines, separator


def _split(line: str, separator: str) -> list[str]:
    try:
        return next(csv.reader(io.StringIO(line.rstrip("\r\n"), newline=""), delimiter=separator), [])
    except csv.Error:
        return line.split(separator)


def _fit(names: list[str], values: list[str]) -> tuple[bool, int]:
    return len(names) > 1 and (not values or len(names) == len(values)), len(names)


def _clean_text(text: str) -> str:
    return unicodedata.normalize(
        "NFC", re.sub("[\u00a0\u2007\u202f]", " ", text).strip("\ufeff\u200b")
    ).strip()


def _clean(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Cut blanks of every kind, write no-break blanks as blanks, compose accents; nothing left is missing."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pc.all(pc.string_is_ascii(column)).as_py():
        column = pc.replace_substring_regex(column, "[\u00a0\u2007\u202f]", " ")
        column = pc.utf8_normalize(pc.utf8_trim(column, "\ufeff\u200b"), form="NFC")
    column = pc.utf8_trim_whitespace(column)
    if pc.any(pc.starts_with(column, "'")).as_py():
        column = pc.replace_substring_regex(column, UNGUARD, r"\1")
    empty = pc.equal(column, "")
    return pc.if_else(empty, pa.scalar(None, pa.string()), column) if pc.any(empty).as_py() else column


# --- what is a number


@dataclass(frozen=True)
class TextColumn:
    """A column of cells, typed.

    Attributes
    ----------
    values : pyarrow.ChunkedArray
        int64 or float64 where the column holds numbers, else the text.
    is_number : bool
    remarks : tuple of str
        What is doubtful about it, to be said after its name.
    """

    values: pa.ChunkedArray
    is_number: bool
    remarks: tuple[str, ...] = ()


def typed_cells(
    cells: pa.Table, file: str, *, missing: Iterable[object] = (), decimal: str = "."
) -> Iterator[tuple[str, TextColumn]]:
    """Yield each column as numbers or text, and warn of what is doubtful.

    A column is numbers if every cell is one, or one of the usual words for a missing value, and no number is
    spelt as codes are (007, 1E1). In a column of text only an empty cell is missing. `missing` names further
    words, which are missing in every column.

    Raises
    ------
    SaeSpecError
        If `decimal` is neither a point nor a comma, or `missing` is no list of words.
    """
    if decimal not in (".", ","):
        raise SaeSpecError(f"decimal={decimal!r} is neither '.' nor ','.")
    words = missing_words(missing)
    doubtful = []
    for name, column in zip(cells.column_names, cells.columns, strict=True):
        out = _typed(_without(column, words), decimal)
        doubtful += [f"{name} {remark}" for remark in out.remarks]
        yield name, out
    if doubtful:
        warnings.warn(f"{file}: {'; '.join(doubtful)}.", SaeWarning, stacklevel=2)


def missing_words(missing: object) -> frozenset[str]:
    """Return the words that the user declares missing, as text by the rule for labels.

    Raises
    ------
    SaeSpecError
        If `missing` is no list, or holds anything but texts and numbers.

    Examples
    --------
    >>> from sae.tables.text_files import missing_words
    >>> sorted(missing_words(["NA", -9.0]))
    ['-9', 'NA']
    """
    if isinstance(missing, str) or not isinstance(missing, (list, tuple, set, frozenset)):
        raise SaeSpecError(
            f"missing = {missing!r} is not a list of words.", hint='For example missing = ["NA", -9].'
        )
    odd = [word for word in missing if isinstance(word, bool) or not isinstance(word, (str, int, float))]
    if odd:
        raise SaeSpecError(
            f"missing names {name_some(map(repr, odd))}: no text and no number.",
            hint='For example missing = ["NA", -9].',
        )
    return frozenset(label_text(word) for word in missing)


def _without(column: pa.ChunkedArray, words: frozenset[str]) -> pa.ChunkedArray:
    import pyarrow as pa
    import pyarrow.compute as pc

    if not words:
        return column
    spelt = [*words, *(f"{word}.0" for word in words if re.fullmatch("-?[0-9]+", word))]
    return pc.if_else(pc.is_in(column, pa.array(spelt)), pa.scalar(None, pa.string()), column)


def _typed(column: pa.ChunkedArray, decimal: str) -> TextColumn:
    import pyarrow as pa
    import pyarrow.compute as pc

    if column.null_count == len(column):
        return TextColumn(pc.cast(column, pa.float64()), True)
    if not pc.all(_may_be_number(column.slice(0, _SAMPLE))).as_py():
        return TextColumn(column, False)
    plain = column if decimal == "." else _pointed(column)
    values = None if plain is None else _plain_numbers(plain)
    if values is None:
        return _by_levels(column, decimal)
    if _is_code(column):
        return TextColumn(column, False)
    return _distinct_numbers(column, values)


def _may_be_number(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    import pyarrow as pa
    import pyarrow.compute as pc

    word = pc.is_in(pc.ascii_lower(texts), pa.array([*sorted(_WORDS), None], pa.string()))
    return pc.or_kleene(word, pc.match_substring_regex(texts, rf"^({_NUMBER}\s*%?|{_INFINITE})$"))


def _is_code(texts: pa.ChunkedArray) -> bool:
    """Whether some text is spelt as no number is: a code."""
    import pyarrow.compute as pc

    def any_of(mask: pa.ChunkedArray) -> bool:
        return bool(pc.any(mask).as_py())

    return any_of(pc.match_substring_regex(texts, _ZERO)) or (
        any_of(pc.match_substring(texts, "e", ignore_case=True))
        and any_of(pc.match_substring_regex(texts, _EXPONENT))
    )


def _pointed(column: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """Decimal commas as points; None where a point stands, which may separate thousands."""
    import pyarrow.compute as pc

    if pc.any(pc.match_substring(column, ".")).as_py():
        return None
    return pc.replace_substring(column, ",", ".")


def _plain_numbers(column: pa.ChunkedArray) -> pa.ChunkedArray | None:
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        whole = pc.cast(column, pa.int64())
    except pa.ArrowInvalid:
        pass
    else:
        too_large = whole.null_count and pc.any(pc.greater(pc.abs(whole), _MAX_WHOLE)).as_py()
        return None if too_large else whole
    try:
        numbers = pc.cast(column, pa.float64())
    except pa.ArrowInvalid:
        return None
    # words for infinity or a missing value are no numbers; nor are identifiers, longer than a float holds
    if not pc.all(pc.is_finite(numbers)).as_py() or _any_identifier(column):
        return None
    return numbers


def _any_identifier(texts: pa.ChunkedArray) -> bool:
    import pyarrow.compute as pc

    longest = pc.max(pc.binary_length(texts)).as_py() or 0
    return longest > 15 and bool(pc.any(pc.match_substring_regex(texts, "^[+-]?[0-9]{16,}$")).as_py())


def _distinct_numbers(column: pa.ChunkedArray, values: pa.ChunkedArray) -> TextColumn:
    """Numbers, unless two spellings such as 1.1 and 1.10 are one number: codes, which stay apart as text."""
    import pyarrow as pa
    import pyarrow.compute as pc

    fraction = r"[.,][0-9]*[1-9]"
    if (
        not pa.types.is_floating(values.type)
        or not pc.any(pc.ends_with(column, "0")).as_py()
        or not pc.any(pc.match_substring_regex(column, f"{fraction}0+$")).as_py()
    ):
        return TextColumn(values, True)
    texts = pc.unique(column).drop_null()
    texts = texts.filter(pc.match_substring_regex(texts, fraction))
    numbers = pc.cast(pc.replace_substring(texts, ",", "."), pa.float64())
    counts = pc.value_counts(numbers)
    twice = counts.field("values").filter(pc.greater(counts.field("counts"), 1))
    if not len(twice):
        return TextColumn(values, True)
    pair = texts.filter(pc.equal(numbers, twice[0])).to_pylist()[:2]
    remark = f"spells one number in two ways ({pair[0]!r} and {pair[1]!r}) and is read as text"
    return TextColumn(column, False, (remark,))


def _by_levels(column: pa.ChunkedArray, decimal: str) -> TextColumn:
    """Type a column by its distinct cells: words for missing values and percent signs among the numbers."""
    import pyarrow as pa
    import pyarrow.compute as pc

    coded = column.dictionary_encode().unify_dictionaries()
    levels = coded.chunk(0).dictionary
    rest = levels.filter(pc.invert(pc.is_in(pc.ascii_lower(levels), pa.array(sorted(_WORDS)))))
    percent = bool(len(rest)) and pc.all(pc.ends_with(rest, "%")).as_py()
    bare = pc.utf8_trim_whitespace(pc.replace_substring(rest, "%", "")) if percent else rest
    numbers = _numbers(bare, decimal)
    if numbers is None:
        return TextColumn(column, False, _mends(rest, decimal))
    table = pc.take(pc.divide(numbers, 100.0) if percent else numbers, pc.index_in(levels, rest))
    values = pa.chunked_array([pc.take(table, chunk.indices) for chunk in coded.chunks], pa.float64())
    if not percent:
        typed = _distinct_numbers(pa.chunked_array([rest]), values)
        return typed if typed.is_number else replace(typed, values=column)
    example = f"{rest[0].as_py()!r} is {numbers[0].as_py() / 100:g}"
    return TextColumn(values, True, (f"holds percent signs and is read as shares ({example})",))


def _numbers(texts: pa.Array, decimal: str) -> pa.Array | None:
    """Texts as floats where all of them are numbers, at least one finite and none a code."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if decimal == ",":
        if pc.any(pc.match_substring(texts, ".")).as_py():
            return None
        texts = pc.replace_substring(texts, ",", ".")
    elif pc.any(pc.match_substring(texts, ",")).as_py():
        return None
    are_numbers = pc.all(pc.match_substring_regex(texts, f"^({_NUMBER}|{_INFINITE})$")).as_py()
    finite = pc.any(pc.match_substring_regex(texts, "[0-9]")).as_py()
    if not are_numbers or not finite or _any_identifier(texts) or _is_code(texts):
        return None
    return pc.cast(texts, pa.float64())


def _mends(texts: pa.Array, decimal: str) -> tuple[str, ...]:
    """Say what would make numbers of a column that all but is one."""
    import pyarrow.compute as pc

    other = "," if decimal == "." else "."
    pattern = rf"^[+-]?[0-9]+([{other}][0-9]+)?$"
    if (
        not pc.all(pc.match_substring_regex(texts, pattern)).as_py()
        or not pc.any(pc.match_substring(texts, other)).as_py()
    ):
        return ()
    sign = "commas" if other == "," else "points"
    return (f"holds numbers with {sign} and is read as text (decimal={other!r} reads them as numbers)",)
