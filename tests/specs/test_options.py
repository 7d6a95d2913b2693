"""Options of the wrong type are refused by their name, for every kind of model."""

import datetime
from dataclasses import fields

import numpy as np
import pytest

import sae
from sae import area_level, unit_level
from sae.errors import SaeError, SaeSpecError
from sae.specs import Specification

VALUES = ["", 3, 0.5, -1.0, np.nan, np.inf, 10**400, True, None, [], [[]], [1, "a"], [None], {}, {"x": 1}]
VALUES += [datetime.date(2024, 1, 31), object(), np.float64(0.5), b"x", {1, 2}, np.arange(3)]
KINDS = [
    kind
    for room in (area_level, unit_level)
    for kind in (getattr(room, name) for name in room.__all__)
    if isinstance(kind, type) and issubclass(kind, Specification)
]
NEEDED = {"components": "r", "errors": {"x": "v"}, "area": "a"}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_option_is_taken_or_refused_by_name(kind):
    names = [option.name for option in fields(kind)]
    needed = {name: value for name, value in NEEDED.items() if name in names}
    for name in names:
        for value in VALUES:
            try:
                repr(kind(**{"formula": "y ~ x", **needed, name: value}))
            except SaeError as error:
                assert error.what


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("replicates", "200", "replicates = '200' cannot be used: it takes a whole number."),
        ("replicates", 2.5, "a whole number"),
        ("level", "0.95", "level = '0.95' cannot be used: it takes a number."),
        ("level", 10**400, "a number"),
        ("formula", 3, "formula = 3 cannot be used: it takes text."),
        ("domain", None, "domain = None cannot be used: it takes text."),
        ("per", [1], "a list of texts"),
    ],
)
def test_the_message_says_what_the_option_takes(option, value, words):
    with pytest.raises(SaeSpecError) as caught:
        sae.FayHerriot(**{"formula": "y ~ x", option: value})
    assert words in str(caught.value)


def test_numbers_of_numpy_are_numbers():
    assert sae.FayHerriot("y ~ x", level=np.float64(0.9), replicates=np.int64(50)).level == 0.9
