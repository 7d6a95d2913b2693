"""Errors in the terms of who works with a model file: its keys instead of the arguments of a call."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import ParamSpec, TypeVar

from sae.errors import SaeError, SaeWarning

__all__ = ["collected_warnings", "file_error", "file_text", "reading", "speaks_of_files"]

P = ParamSpec("P")
T = TypeVar("T")

_OF_MODELS = (
    *("area", "back", "components", "draws", "errors", "exposure", "formula", "k", "level", "link", "method"),
    *(
        "indicators",
        "linked",
        "mse",
        "per",
        "population",
        "population_weights",
        "prior",
        "reference",
        "scale",
        "source",
        "spatial",
        "structure",
        "temporal",
        "threshold",
        "transform",
        "trials",
    ),
)
_TABLES = {
    "[survey.columns]": ("weights", "strata", "psu", "household", "person", "time", "fpc", "replicates"),
    "[survey]": ("layout", "lonely_psu", "nest", "population"),
    "[survey.pool]": ("panel", "partial", "yearly_weights"),
    "[estimate]": ("by", "smoothing", "variance", "universe", "accept"),
    "[model]": _OF_MODELS,
    "[benchmark]": ("within", "targets"),
    "[publish]": ("policy", "seed"),
}
_PLACES = {name: f"{table} {name}" for table, names in _TABLES.items() for name in names}
_PLACES["areas"] = "--areas"
_OF_READERS = ("encoding", "separator", "decimal", "missing")  # in the table of the file that is read
_OF_DIRECT = (
    "error",
    "estimate",
    "n",
    "only",
    "psu",
    "step",
    "unit",
    "vardir",
    "se",
    "cv",
    "margin",
    "margin_level",
)
_CALL = re.compile(r"(?:Call )?\b(?:sae\.)?[A-Za-z_.]+\(\.\.\., ?([^()]*)\)")
_ARGUMENT = re.compile(
    r"""(?<![\w.\[])(?P<name>[a-z_]+)=(?P<value>"[^"]*"|'[^']*'|\[[^\]]*\]|\{[^}]*\}|[\w-]+(?:\.\d+)?|\.\.\.)?(?!=)"""
)


def file_text(text: str, table: str = "") -> str:
    """Return a message with the arguments of calls as the keys of a model file.

    Parameters
    ----------
    text : str
    table : str
        Where the arguments of a reader stand, such as "[areas]".

    Examples
    --------
    >>> file_text('Call fit(..., seed=1), or use method="ml".')
    'Write [publish] seed = 1, or use [model] method = "ml".'
    """
    whole = _CALL.sub(lambda call: ("Write " if call[0].startswith("Call ") else "") + call[1], text)
    return _ARGUMENT.sub(lambda argument: _key(argument, table), whole)


def _key(argument: re.Match[str], table: str) -> str:
    name, value = argument["name"], argument["value"]
    own = (*_OF_READERS, *(_OF_DIRECT if table == "[direct]" else ()))
    place = f"{table} {name}" if table and name in own else _PLACES.get(name)
    if place is None:
        return argument[0]
    if value is None or value == "...":
        return place
    value = {"True": "true", "False": "false"}.get(value, value)
    return f"{place} = {value}".replace("'", '"').replace('": ', '" = ')


def file_error(error: SaeError, table: str = "") -> SaeError:
    """Return the same error in the terms of a model file: see `file_text`."""
    what, hint = (file_text(text, table) for text in (error.what, error.hint))
    same = type(error)(what, hint=hint, areas=error.areas, column=error.column)
    same.fits = error.fits
    return same


@contextmanager
def reading(table: str) -> Iterator[None]:
    """Let errors and warnings of a reader speak of the keys of the table in which the file is described."""
    with collected_warnings() as caught:
        try:
            yield
        except SaeError as error:
            raise file_error(error, table) from None
    for text in caught:
        warnings.warn(file_text(text, table), SaeWarning, stacklevel=3)


@contextmanager
def collected_warnings() -> Iterator[list[str]]:
    """Give a list that holds at the end what was warned of, in the terms of a model file, each once."""
    texts: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", SaeWarning)
        try:
            yield texts
        finally:
            told = [str(item.message) for item in caught if issubclass(item.category, SaeWarning)]
            texts += dict.fromkeys(map(file_text, told))


def speaks_of_files(function: Callable[P, T]) -> Callable[P, T]:
    """Let a function that works from a model file raise its errors in the terms of one."""

    @wraps(function)
    def speaking(*args: P.args, **options: P.kwargs) -> T:
        try:
            return function(*args, **options)
        except SaeError as error:
            raise file_error(error).with_traceback(error.__traceback__) from None

    return speaking
