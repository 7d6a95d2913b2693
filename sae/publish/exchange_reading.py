"""Read the exchange files of several countries into one table, for one fit with country effects."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import scipy.linalg
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sae.calls import answered
from sae.disclosure import PrimaryRules
from sae.errors import SaeError, SaeInputError, SaeSpecError, name_some
from sae.publish.exchange_rule import crossing_rows
from sae.publish.exchange_writing import (
    COUNTRY_CODE,
    COVARIANCE,
    COVARIATES,
    DEFINITION,
    DIRECT,
    FIGURES,
    FORMAT,
    TEXTS,
)
from sae.tables import DirectEstimates, cv_of, joined_labels, labels, read_table, require, to_numbers

__all__ = ["COUNTRY", "Pooled", "read_exchange"]

COUNTRY = "country"
_FACTS = ("survey", "release", "eu", "geo_version")


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


class _Indicator(_Strict):
    definition: list[str]
    unit: str
    periods: list[str]
    domains: int


class _Rule(_Strict):
    persons: int
    policy: str


class _Definition(_Strict):
    """What ``definition.json`` holds."""

    format: Literal["sae exchange 1"]
    sae: str
    country: str = Field(pattern=COUNTRY_CODE)
    indicators: dict[str, _Indicator] = Field(min_length=1)
    release: dict[str, str]
    by: list[str] = Field(min_length=1)
    rule: _Rule
    left_out: dict[str, int]
    covariates: dict[str, str]
    about: dict[str, str]
    files: dict[str, str] = Field(min_length=1)


@dataclass(frozen=True, eq=False)
class Pooled:
    """The direct estimates of several countries.

    Attributes
    ----------
    direct : DirectEstimates
        With a column ``country``, the first of those that make the domains, so that equal codes of areas stay
        apart.
    covariates : DataFrame or None
        Of the areas, by country; for ``fit(pooled.direct, areas=pooled.covariates)``.
    """

    direct: DirectEstimates
    covariates: pd.DataFrame | None


@dataclass(frozen=True, eq=False)
class _File:
    name: str
    sha256: str
    definition: _Definition
    direct: pd.DataFrame
    covariates: pd.DataFrame | None
    covariance: np.ndarray | None

    @property
    def country(self) -> str:
        return self.definition.country


@answered
def read_exchange(
    paths: Sequence[str | Path],
    *,
    persons: int | None = None,
    covariates: Sequence[str] | None = None,
    accept: Collection[str] = (),
) -> Pooled:
    """Read exchange files, each of one country.

    Parameters
    ----------
    paths : sequence of str or Path
    persons : int, optional
        The least number of persons of a domain; by default each file's own rule.
    covariates : sequence of str, optional
        Those that are wanted, of every country; by default all.
    accept : collection of str
        Facts in which the countries may differ: "definition", "survey", "release", "eu", "geo_version".

    Raises
    ------
    SaeInputError
        If a file is no exchange file, was changed after it was written, holds a domain below its rule, or
        does not go with the others: by definition, unit, vintage of places, columns, covariates.

    Examples
    --------
    >>> import tempfile
    >>> frame = pd.DataFrame({"w": 1.0, "works": [0, 1, 1, 1] * 20, "region": ["1", "2"] * 40})
    >>> direct = sae.direct(sae.Survey.from_frame(frame, weights="w"), "works", by="region")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     files = [Path(folder) / f"{name}.zip" for name in ("AT", "DE")]
    ...     for file in files:
    ...         _ = sae.publish.exchange(direct, file, country=file.stem, policy="eurostat_lfs")
    ...     sae.publish.read_exchange(files).direct[["domain", "n", "estimate"]].values.tolist()
    [['AT / 1', 40, 0.5], ['AT / 2', 40, 1.0], ['DE / 1', 40, 0.5], ['DE / 2', 40, 1.0]]
    """
    if isinstance(paths, (str, Path)):
        raise SaeSpecError(f"paths={str(paths)!r} is one file.", hint="Give a list of files.")
    files = [_read(Path(path), persons) for path in paths]
    if not files:
        raise SaeInputError("No exchange file is given.")
    _check_together(files, accept)
    first = files[0]
    by = [COUNTRY, *first.definition.by]
    frame = pd.concat([one.direct.assign(**{COUNTRY: one.country}) for one in files], ignore_index=True)
    frame = _completed(frame, by)
    facts = {name: value for name, value in first.definition.release.items() if name not in accept}
    units = {name: facts.unit for one in files for name, facts in one.definition.indicators.items()}
    direct = DirectEstimates(
        frame,
        tuple(by),
        covariance=_pooled_covariance(files, frame),
        units=units,
        log=tuple(f"{one.country}: {len(one.direct):,} direct estimates of {one.name}" for one in files),
        provenance={
            "exchange": {
                one.country: {"file": one.name, "sha256": one.sha256, "release": one.definition.release}
                for one in files
            },
            "sha256": sha256("".join(one.sha256 for one in files).encode()).hexdigest(),
            "by": by,
            "design": "exchange files of "
            + ", ".join(f"{one.country} ({len(one.direct):,})" for one in files),
            **({"release": facts} if facts else {}),
            **({"accept": sorted(accept)} if accept else {}),
        },
    )
    return Pooled(direct, _pooled_covariates(files, covariates))


def _read(path: Path, persons: int | None) -> _File:
    if not path.is_file():
        raise SaeInputError(f"There is no file {path}.", hint="Check the path.")
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            contents = {name: archive.read(name) for name in names}
        definition = _Definition.model_validate_json(contents[DEFINITION])
        files, rule = definition.files, PrimaryRules(persons=definition.rule.persons)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "all of it"
        raise SaeInputError(
            f"{path.name}: {DEFINITION} is not of the format {FORMAT!r}: {place}: {first['msg']}.",
            hint="Ask the sender for a file that sae exchange wrote.",
        ) from None
    except SaeError as error:
        raise SaeInputError(f"{path.name}: {error.what}", hint=error.hint) from None
    except (OSError, EOFError, zipfile.BadZipFile, ValueError, KeyError, NotImplementedError) as error:
        raise SaeInputError(
            f"{path.name} is no exchange file, or a damaged one: {error}.", hint="sae exchange writes them."
        ) from error
    strange = sorted(set(names) ^ {DEFINITION, *files}) + [
        name for name in set(names) if names.count(name) > 1
    ]
    if strange or DIRECT not in files:
        raise SaeInputError(
            f"{path.name} lacks members, or has some that it does not name: {name_some(strange)}."
        )
    changed = [name for name, digest in files.items() if sha256(contents[name]).hexdigest() != digest]
    if changed:
        raise SaeInputError(
            f"{path.name}: {name_some(changed)} was changed after the file was written.",
            hint="Ask the sender for the file again.",
        )
    whole = sha256(path.read_bytes()).hexdigest()
    tables = _tables(path, {name: contents[name] for name in files})
    direct = _direct(path, definition, tables[DIRECT])
    _check_rule(path, direct, definition.by, rule, persons)
    covariates = tables.get(COVARIATES)
    if covariates is not None:
        covariates = _numbers(path, covariates, definition.by)
    matrix = None
    if COVARIANCE in tables:
        columns = map(str, tables[COVARIANCE])
        matrix = np.column_stack([to_numbers(tables[COVARIANCE], name) for name in columns])
        if matrix.shape != (len(direct), len(direct)):
            raise SaeInputError(f"{path.name}: {COVARIANCE} is not of the {len(direct)} rows of {DIRECT}.")
    return _File(path.name, whole, definition, direct, covariates, matrix)


def _tables(path: Path, contents: Mapping[str, bytes]) -> dict[str, pd.DataFrame]:
    known = (DIRECT, COVARIATES, COVARIANCE)
    strange = [name for name in contents if name not in known]
    if strange:
        raise SaeInputError(f"{path.name} has members of no known kind: {name_some(strange)}.")
    with tempfile.TemporaryDirectory() as folder:
        tables = {}
        for name, content in contents.items():
            (Path(folder) / name).write_bytes(content)
            try:
                tables[name] = read_table(Path(folder) / name)
            except SaeError as error:
                raise SaeInputError(f"{path.name}: {error.what}", hint=error.hint) from None
    return tables


def _direct(path: Path, definition: _Definition, frame: pd.DataFrame) -> pd.DataFrame:
    by = definition.by
    require(frame, ["indicator", "definition", "geo", "time", *by, *FIGURES, *TEXTS], f"{path.name} has")
    for name in FIGURES:
        values = to_numbers(frame, name)
        if np.isinf(values).any() or (name != "estimate" and (values < 0).any()):
            raise SaeInputError(f"{path.name}: {name} is infinite or negative in some rows.", column=name)
    stated = {
        name: (sorted(facts.definition), facts.domains) for name, facts in definition.indicators.items()
    }
    held = {
        str(name): (sorted(set(labels(rows["definition"].fillna("")))), len(rows))
        for name, rows in frame.groupby("indicator")
    }
    if stated != held:
        raise SaeInputError(
            f"{path.name}: {DIRECT} holds other indicators, definitions or numbers of domains than "
            f"{DEFINITION} says."
        )
    shares = frame["indicator"].map(
        {name: facts.unit == "share" for name, facts in definition.indicators.items()}
    )
    outside = shares & ~frame["estimate"].fillna(0.0).between(0.0, 1.0)
    if outside.any():
        raise SaeInputError(
            f"{path.name}: {int(outside.sum())} shares lie outside 0 to 1.", column="estimate"
        )
    twice = frame[["indicator", "time", *(name for name in by if name != "time")]].duplicated()
    if twice.any():
        raise SaeInputError(f"{path.name}: {int(twice.sum())} domains occur twice.")
    return frame.assign(domain=joined_labels(frame, by))


def _check_rule(
    path: Path, frame: pd.DataFrame, by: Sequence[str], rule: PrimaryRules, persons: int | None
) -> None:
    """Refuse domains below the rule: of the file, and of whoever reads it."""
    least = max(rule.persons or 2, persons or 2)
    status = crossing_rows(frame, by, PrimaryRules(persons=least))
    few = frame.loc[(status == "primary") | (status == "empty"), "domain"]
    if len(few):
        raise SaeInputError(
            f"{path.name} holds {len(few)} domains of fewer than {least} persons: {name_some(few)}.",
            hint="They must not leave an office: delete the file, and tell its sender.",
            areas=few,
            column="n",
        )
    told = frame.loc[status == "secondary", "domain"]
    if len(told):
        raise SaeInputError(
            f"{path.name} holds totals and parts that tell domains of fewer than {least} persons, which it "
            f"leaves out: beside {name_some(told)}.",
            hint="Such a file must not leave an office: delete it, and tell its sender.",
            areas=told,
            column="n",
        )


def _numbers(path: Path, frame: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    keys = [name for name in by if name in frame]
    if not keys or frame[keys].duplicated().any():
        raise SaeInputError(f"{path.name}: {COVARIATES} does not name each area once.")
    return frame[keys].assign(
        **{name: to_numbers(frame, name) for name in map(str, frame) if name not in keys}
    )


def _check_together(files: Sequence[_File], accept: Collection[str]) -> None:
    stray = [name for name in accept if name not in (*_FACTS, "definition")]
    if stray:
        raise SaeSpecError(
            f"accept names {name_some(stray)}.", hint=f"It takes {', '.join(('definition', *_FACTS))}."
        )
    countries = [one.country for one in files]
    twice = sorted({name for name in countries if countries.count(name) > 1})
    if twice:
        raise SaeInputError(f"Several files are of the country {name_some(twice)}.", hint="Give one of each.")
    _alike("columns that make the domains", {one.country: tuple(one.definition.by) for one in files})
    for fact in _FACTS:
        if fact not in accept:
            _alike(fact, {one.country: one.definition.release.get(fact, "") for one in files})
    of: dict[str, dict[str, _Indicator]] = {}
    for one in files:
        for name, facts in one.definition.indicators.items():
            of.setdefault(name, {})[one.country] = facts
    for name, known in of.items():
        _alike(f"units of {name}", {country: facts.unit for country, facts in known.items()})
        if "definition" not in accept:
            texts = {country: tuple(facts.definition) for country, facts in known.items()}
            _alike(f"definitions of {name}", texts)


def _alike(what: str, by_country: Mapping[str, Any]) -> None:
    if len(set(by_country.values())) > 1:
        shown = [f"{country}: {_shown(value)}" for country, value in by_country.items()]
        raise SaeInputError(
            f"The countries have several {what}: {name_some(shown, 12)}.",
            hint="Only the same can be pooled: bring them to one, or leave a country out.",
        )


def _shown(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value) or "none"


def _completed(frame: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Add what follows from the figures: names of the domains, standard errors."""
    parts = [name for name in by if not (labels(frame[name].fillna("")) == frame["time"].fillna("")).all()]
    se = np.sqrt(frame["variance"].to_numpy(dtype=float))
    added = {
        "domain": joined_labels(frame, parts),
        "se": se,
        "cv": cv_of(se, frame["estimate"].to_numpy(float)),
    }
    return frame.assign(**added, ci_low=np.nan, ci_high=np.nan, interval="", deff=np.nan)


def _pooled_covariance(files: Sequence[_File], frame: pd.DataFrame) -> pd.DataFrame | None:
    """Return the covariances of all countries, which are independent; none where one country has none."""
    matrices = [one.covariance for one in files]
    if any(matrix is None for matrix in matrices):
        return None
    names = pd.MultiIndex.from_frame(frame[["indicator", "domain", "time"]])
    return pd.DataFrame(scipy.linalg.block_diag(*matrices), index=names, columns=names)


def _pooled_covariates(files: Sequence[_File], wanted: Sequence[str] | None) -> pd.DataFrame | None:
    tables = {one.country: one.covariates for one in files}
    by = [COUNTRY, *files[0].definition.by]
    held = {
        country: [] if table is None else [name for name in table if name not in by]
        for country, table in tables.items()
    }
    names = list(wanted) if wanted is not None else list(dict.fromkeys(x for of in held.values() for x in of))
    lacking = [f"{name} ({country})" for country, of in held.items() for name in names if name not in of]
    if lacking:
        raise SaeInputError(
            f"Some covariates are lacking: {name_some(lacking, 12)}.",
            hint="Name those that every country has: covariates=[...].",
        )
    if not names:
        return None
    keys = {
        country: [name for name in by if table is not None and name in table]
        for country, table in tables.items()
    }
    _alike("columns that name the areas of the covariates", {one: tuple(of) for one, of in keys.items()})
    parts = [
        table[[*keys[country], *names]].assign(**{COUNTRY: country})
        for country, table in tables.items()
        if table is not None
    ]
    return pd.concat(parts, ignore_index=True)[[COUNTRY, *next(iter(keys.values())), *names]]
