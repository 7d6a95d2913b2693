"""One rule for the cells of delimited text: what is missing, what a number, what a code."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from sae.errors import SaeSpecError, SaeWarning, name_some
from sae.tables.labels import label_text

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "CODE",
    "TextColumn",
    "cell_bytes",
    "look_missing",
    "looks_missing",
    "missing_words",
    "typed_cells",
    "typed_column",
    "without_words",
]

_WORDS = frozenset({"", "na", "n/a", "#n/a", "nan", "null", "<na>", ".", "..", ":"})

# spelt as codes are and numbers hardly ever: leading zeros, hexadecimal; an exponent without its sign
_ZERO = r"^[+-]?0[0-9xX]"
_EXPONENT = r"^[+-]?[0-9]+[eE][0-9]"
CODE = f"{_ZERO}|{_EXPONENT}"
_NUMBER = r"[+-]?([0-9]+([.,][0-9]*)?|[.,][0-9]+)([eE][+-]?[0-9]+)?"
_THOUSANDS = r"[+-]?[1-9][0-9]{0,2}([.][0-9]{3})+(,[0-9]+)?"
_INFINITE = "[+-]?(inf|Inf|INF|infinity|Infinity)"
_SAMPLE = 1000  # cells that tell most columns of text
_MAX_WHOLE = 2**53  # beyond it a float no longer tells neighbouring integers apart


def looks_missing(text: str) -> bool:
    """Whether a text is one of the usual words for a missing value, whatever its capitals.

    Examples
    --------
    >>> from sae.tables.text_cells import looks_missing
    >>> [looks_missing(text) for text in ("NA", "n/a", ".", "Nauru")]
    [True, True, True, False]
    """
    return text.strip().lower() in _WORDS


def look_missing(texts: pa.Array) -> np.ndarray:
    """Return which of arrow's texts `looks_missing` takes for one of these words; a missing one is none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    plain = pc.utf8_lower(pc.utf8_trim_whitespace(texts))
    mask = pc.is_in(plain, pa.array(sorted(_WORDS), texts.type))
    return np.asarray(mask.to_numpy(zero_copy_only=False), dtype=bool)


def cell_bytes(column: pa.ChunkedArray | pa.Array) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the bytes of each chunk and the positions where its cells begin, with the end of the last."""
    for chunk in getattr(column, "chunks", [column]):
        _, offsets, data = chunk.buffers()
        if data is None or len(chunk) == 0:
            continue
        begins = np.frombuffer(offsets, np.int32)[chunk.offset : chunk.offset + len(chunk) + 1]
        yield np.frombuffer(data, np.uint8)[begins[0] : begins[-1]], begins - begins[0]


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
    names, columns = cells.column_names, cells.columns[::-1]
    del cells  # whoever holds no other reference gives the memory of each column back as it is typed
    for name in names:
        out = typed_column(without_words(columns.pop(), words), decimal)
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
    >>> from sae.tables.text_cells import missing_words
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


def without_words(column: pa.ChunkedArray, words: frozenset[str]) -> pa.ChunkedArray:
    """Return cells of which those that are declared missing words are missing."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not words:
        return column
    spelt = [*words, *(f"{word}.0" for word in words if re.fullmatch("-?[0-9]+", word))]
    return pc.if_else(pc.is_in(column, pa.array(spelt)), pa.scalar(None, pa.string()), column)


def typed_column(column: pa.ChunkedArray, decimal: str) -> TextColumn:
    """Tell by its cells what a column is; it depends on which cells occur, not on how often."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if column.null_count == len(column):
        return TextColumn(pc.cast(column, pa.float64()), True)
    if not pc.all(_may_be_number(column.slice(0, _SAMPLE))).as_py():
        return TextColumn(column, False)
    plain = column if decimal == "." else _pointed(column)
    values = None if plain is None else _plain_numbers(plain)
    if values is None:
        return _beside_words(column, decimal) or _by_levels(column, decimal)
    if _is_code(column):
        return TextColumn(column, False)
    return _distinct_numbers(column, values)


def _may_be_number(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    import pyarrow as pa
    import pyarrow.compute as pc

    word = pc.is_in(pc.ascii_lower(texts), pa.array([*sorted(_WORDS), None], pa.string()))
    return pc.or_kleene(
        word, pc.match_substring_regex(texts, rf"^({_NUMBER}\s*%?|{_INFINITE}|{_THOUSANDS})$")
    )


def _is_code(texts: pa.ChunkedArray | pa.Array) -> bool:
    """Whether some text is spelt as no number is: a code."""
    import pyarrow.compute as pc

    def any_of(pattern: str) -> bool:
        return bool(pc.any(pc.match_substring_regex(texts, pattern)).as_py())

    return (_may_begin_with_zero(texts) and any_of(_ZERO)) or (_holds(texts, b"eE") and any_of(_EXPONENT))


def _holds(column: pa.ChunkedArray | pa.Array, signs: bytes) -> bool:
    """Whether one of some signs of ASCII stands in a column; much faster than looking cell by cell."""
    return any((data == sign).any() for data, _ in cell_bytes(column) for sign in signs)


def _may_begin_with_zero(column: pa.ChunkedArray | pa.Array) -> bool:
    """Whether a cell may begin with a zero before another digit or an x."""
    for data, begins in cell_bytes(column):
        if not (data == ord("0")).any():
            continue
        first = begins[:-1][begins[1:] - begins[:-1] > 1]
        lead = data[first]
        signed = (lead == ord("+")) | (lead == ord("-"))
        if signed.any():
            first = first + signed
            lead = data[first]
        follow = data[np.minimum(first[lead == ord("0")] + 1, data.size - 1)]
        if (
            ((follow >= ord("0")) & (follow <= ord("9"))) | (follow == ord("x")) | (follow == ord("X"))
        ).any():
            return True
    return False


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
    return _floats(column)


def _floats(column: pa.ChunkedArray) -> pa.ChunkedArray | None:
    import pyarrow as pa
    import pyarrow.compute as pc

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


def _beside_words(column: pa.ChunkedArray, decimal: str) -> TextColumn | None:
    """Numbers beside words for missing values, of which many are distinct; None for what else it may be."""
    import pyarrow as pa
    import pyarrow.compute as pc

    words = pc.is_in(pc.ascii_lower(column), pa.array(sorted(_WORDS)))
    known = pc.if_else(words, pa.scalar(None, pa.string()), column)
    plain = known if decimal == "." else _pointed(known)
    values = None if plain is None or plain.null_count == len(plain) else _floats(plain)
    if values is None or _is_code(known):
        return None
    typed = _distinct_numbers(known, values)
    return typed if typed.is_number else replace(typed, values=column)


def _by_levels(column: pa.ChunkedArray, decimal: str) -> TextColumn:
    """Type a column by its distinct cells: words for missing values and percent signs among the numbers."""
    import pyarrow as pa
    import pyarrow.compute as pc

    coded = column.dictionary_encode().unify_dictionaries()
    levels = coded.chunk(0).dictionary
    rest = levels.filter(pc.invert(pc.is_in(pc.ascii_lower(levels), pa.array(sorted(_WORDS)))))
    percent = bool(len(rest)) and pc.all(pc.ends_with(rest, "%")).as_py()
    thousands = decimal == "," and _in_thousands(rest)
    bare = pc.utf8_trim_whitespace(pc.replace_substring(rest, "%", "")) if percent else rest
    numbers = _numbers(pc.replace_substring(bare, ".", "") if thousands else bare, decimal)
    if numbers is None:
        return TextColumn(column, False, _mends(rest, decimal))
    table = pc.take(pc.divide(numbers, 100.0) if percent else numbers, pc.index_in(levels, rest))
    values = pa.chunked_array([pc.take(table, chunk.indices) for chunk in coded.chunks], pa.float64())
    if thousands:
        least = pc.index(pc.match_substring(rest, "."), True).as_py()
        example = f"{rest[least].as_py()!r} is {numbers[least].as_py():.15g}"
        return TextColumn(
            values, True, (f"holds points and is read with them between thousands ({example})",)
        )
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


def _in_thousands(texts: pa.Array) -> bool:
    """Whether points stand between thousands and nowhere else; beside decimal commas they mean just that."""
    import pyarrow.compute as pc

    pattern = rf"^([+-]?[0-9]+(,[0-9]+)?|{_THOUSANDS})$"
    return bool(pc.all(pc.match_substring_regex(texts, pattern)).as_py()) and bool(
        pc.any(pc.match_substring(texts, ".")).as_py()
    )


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
