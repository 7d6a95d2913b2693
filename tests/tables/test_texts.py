"""Texts in one block: what comes out of it, and that it knows blank labels as Python does."""

import pickle
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from sae.tables.labels import text_of
from sae.tables.texts import Texts, blank

NAMES = ["Wien", "Sankt Pölten", "", "Graz"]


def test_rows_are_taken_by_number_slice_places_and_mask():
    names = Texts.of(NAMES)
    assert len(names) == 4 and list(names) == NAMES
    assert names[1] == "Sankt Pölten" and type(names[np.int64(3)]) is str
    assert list(names[1:3]) == NAMES[1:3]
    assert list(names[np.array([3, 0, 0])]) == ["Graz", "Wien", "Wien"]
    assert list(names[np.array([False, True, False, True])]) == ["Sankt Pölten", "Graz"]
    assert np.asarray(names, dtype=object).tolist() == NAMES
    with pytest.raises(IndexError):
        names[4]


@pytest.mark.parametrize("names", [NAMES, [], ["a"]])
@pytest.mark.parametrize("rows", [slice(None), slice(1, 3)])
def test_encoded_is_what_python_would_join(names, rows):
    some = Texts(Texts.of(names).values[rows])  # a slice begins inside the block
    assert some.encoded("\0") == "".join(f"{name}\0" for name in names[rows]).encode()


def test_columns_are_joined_row_by_row():
    names = Texts.of(NAMES)
    assert list(Texts.rows(["y", names, ""], "|")) == [f"y|{name}|" for name in NAMES]


def test_distinct_sees_a_text_that_stands_twice():
    assert Texts.of(NAMES).distinct()
    assert not Texts.of([*NAMES, "Wien"]).distinct()


def test_equality_and_pickle():
    names = Texts.of(NAMES)
    assert pickle.loads(pickle.dumps(names)) == names != Texts.of(NAMES[:3])


def test_columns_of_frames():
    names = Texts.of(NAMES)
    assert pd.Series(names.column).dtype == "string"
    assert pd.Series(names.plain_column).dtype == pd.Series(NAMES).dtype
    assert pd.Series(names.plain_column).tolist() == NAMES


def test_blank_is_what_python_strips_to_nothing():
    signs = [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code <= 0xDFFF]
    ours = blank(pa.array(signs, type=pa.large_string()))
    assert [sign for sign, empty in zip(signs, ours, strict=True) if empty] == [
        sign for sign in signs if not sign.strip()
    ]
    assert blank(pa.array(["", None, " a "], type=pa.large_string())).tolist() == [True, True, False]


@pytest.mark.parametrize("kind", ["object", "str", "string", "category"])
def test_a_missing_label_that_is_kept_is_empty(kind):
    column = pd.Series(["09", None, "a\u0301"], dtype=kind)  # the accent is composed
    assert list(text_of(column, keep_missing=True)) == ["09", "", "á"]
