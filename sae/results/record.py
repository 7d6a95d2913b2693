"""What a fit leaves on record: messages for the user, tables, the digest of the run, its provenance."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import pandas as pd

from sae._version import __version__
from sae.errors import SaeWarning
from sae.specs import Specification
from sae.tables.texts import Texts

__all__ = ["FitTables", "Message", "ResultRows", "RunRecord", "provenance_of", "run_id"]


class Message(NamedTuple):
    """A sentence that the user should read.

    Attributes
    ----------
    text : str
    category : type of SaeWarning or None
        The warning that it is emitted as; None is a note, which only the record and the summary show.
    """

    text: str
    category: type[SaeWarning] | None = None


class ResultRows(Protocol):
    """What a result takes from the rows that a model has read.

    Attributes
    ----------
    columns : mapping
        Columns of the estimate table known before the fit, as `EstimateTable.from_mse` takes them.
    covariates : DataFrame
        All other columns of the data, on the same rows.
    groups : tuple of str
        Group columns of the table.
    provenance : mapping
        Where the data come from, by the key under which a result records it.
    """

    @property
    def columns(self) -> Mapping[str, Any]: ...  # noqa: D102
    @property
    def covariates(self) -> pd.DataFrame: ...  # noqa: D102
    @property
    def groups(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def provenance(self) -> Mapping[str, Any]: ...  # noqa: D102


@dataclass(frozen=True, slots=True, eq=False)
class FitTables:
    """The tables of a fit beside its estimates; see `Result` for their columns."""

    coefficients: pd.DataFrame
    variance_components: pd.Series | pd.DataFrame
    diagnostics: pd.DataFrame
    residuals: pd.DataFrame


@dataclass(frozen=True, slots=True, eq=False)
class RunRecord:
    """What a run is called and what it has to say.

    Attributes
    ----------
    title : str
        First line of the summary.
    method : str
        Column ``method`` of the estimate table.
    run : str
        Digest of the run: see `run_id`.
    seed : int or None
        Of the fit, where it drew random numbers.
    label : str
        Column ``model`` of the estimate table; that of the specification by default.
    """

    title: str
    method: str
    run: str
    seed: int | None = None
    label: str = ""


def run_id(
    spec: Specification, seed: int | None, texts: Iterable[str | Texts], arrays: Iterable[np.ndarray]
) -> str:
    """Return twelve hexadecimal digits that change with version, options, seed, labels or data.

    Parameters
    ----------
    spec : Specification
    seed : int or None
    texts : iterable of str and `Texts`
        Names of columns and rows.
    arrays : iterable of ndarray
        The numbers that were fitted.
    """
    digest = hashlib.sha256()
    for text in (__version__, _content(spec), str(seed), *texts):
        digest.update(text.encoded("\0") if isinstance(text, Texts) else f"{text}\0".encode())
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:12]


def _content(spec: Specification) -> str:
    """Return the text of a specification, in which a file is what it holds and not where it lies."""
    text = spec.to_toml()
    path = getattr(getattr(spec, "spatial", None), "map", None)
    if not isinstance(path, str | Path):
        return text
    return text.replace(Path(path).as_posix(), hashlib.sha256(Path(path).read_bytes()).hexdigest())


def provenance_of(
    spec: Specification, record: RunRecord, messages: Sequence[Message], *more: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what a result records of its origin, with further entries. Holds no clock."""
    return {
        "sae": __version__,
        "model": spec.to_toml(),
        "seed": record.seed,
        "run": record.run,
        "warnings": [message.text for message in messages],
        **{name: value for entries in more for name, value in entries.items()},
    }
