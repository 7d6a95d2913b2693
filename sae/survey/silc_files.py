"""The four files of EU-SILC: found by their names, read, and joined to one row per person."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from sae.errors import SaeInputError, SaeSpecError, counted, name_some
from sae.survey.checks import numbers, rows_text
from sae.survey.files import read_frame
from sae.tables import file_path, joined_labels, labels

__all__ = ["PARTS", "SilcFiles", "find_parts", "join_parts", "members_only", "read_parts", "silc_kind"]

PARTS = {
    "D": "household register",
    "H": "household data",
    "R": "personal register",
    "P": "personal data",
}
_NAME = re.compile(
    r"UDB_([cl])([A-Z]{2})(\d{2})([DHRP])\.(csv|csv\.gz|parquet|sav|sas7bdat|dta)", re.IGNORECASE
)
_KINDS = {"c": "cross-sectional", "l": "longitudinal"}
_KEYS = {
    "D": ("DB010", "DB020", "DB030"),
    "H": ("HB010", "HB020", "HB030"),
    "R": ("RB010", "RB020", "RB030"),
    "P": ("PB010", "PB020", "PB030"),
}
_HOUSEHOLD = ("RX030", "RB040")  # of the personal register: cross-sectional and longitudinal files


@dataclass(frozen=True, eq=False)
class SilcFiles:
    """The frames of the four files, column names in capitals, and where they come from."""

    frames: Mapping[str, pd.DataFrame]
    country: str
    years: tuple[int, ...]
    source: Mapping[str, str]
    notes: tuple[str, ...]

    @property
    def name(self) -> str:
        """Country and year, or years."""
        years = f"{self.years[0]}-{self.years[-1]}" if len(self.years) > 1 else str(self.years[0])
        return f"{self.country} {years}"


def silc_kind(path: Path) -> str:
    """Return the kind of EU-SILC files that a path is, or a folder holds: "c", "l", or "" for none.

    A folder with both is one of cross-sectional files.
    """
    files = list(path.iterdir()) if path.is_dir() else [path]
    return next((kind for kind in _KINDS if any(_matched(file, kind) for file in files)), "")


def _matched(path: Path, kind: str) -> re.Match[str] | None:
    match = _NAME.fullmatch(path.name)
    return match if match and match[1].lower() == kind else None


def find_parts(
    files: str | Path | Mapping[str, str | Path], kind: str, country: str | None, year: int | None
) -> dict[str, Path]:
    """Find the four files: given one by one, in a folder, or beside one of them.

    Raises
    ------
    SaeInputError
        If one of the four is not there, or several sets are and `country` and `year` do not tell which.
    """
    if isinstance(files, Mapping):
        parts = {str(part).upper(): file_path(path) for part, path in files.items()}
        other = next((path.name for path in parts.values() if _matched(path, "cl".replace(kind, ""))), None)
        if other:
            raise SaeInputError(
                f"{other}: it is {_KINDS['cl'.replace(kind, '')]}, but {_KINDS[kind]} files are read.",
                hint="read_silc reads cross-sectional files, read_silc_longitudinal longitudinal ones.",
            )
        if set(parts) != set(PARTS):
            raise SaeSpecError(
                f"The files of EU-SILC are D, H, R and P, but {name_some(map(str, files))} are given.",
                hint='Give {"D": path, "H": path, "R": path, "P": path}, or the folder.',
            )
        return parts
    path = file_path(files)
    if not path.exists():
        raise SaeInputError(
            f"There is no file or folder {path}.", hint="Check the path; it is taken from the current folder."
        )
    folder = path if path.is_dir() else path.parent
    sets: dict[tuple[str, int], dict[str, list[Path]]] = {}
    for file in sorted(folder.iterdir()):
        match = _matched(file, kind)
        if match:
            key = _country(match[2]), 2000 + int(match[3])
            sets.setdefault(key, {}).setdefault(match[4].upper(), []).append(file)
    own = None if path.is_dir() else _matched(path, kind)
    if own:
        country, year = country or own[2], year or 2000 + int(own[3])
    wanted = {
        key: files_of
        for key, files_of in sets.items()
        if (country is None or key[0] == _country(country)) and (year is None or key[1] == year)
    }
    pattern = f"UDB_{kind}CCYY with D, H, R or P and .csv"
    if not wanted:
        there = name_some(f"{name} {when}" for name, when in sets) if sets else "no such file"
        raise SaeInputError(
            f"{folder.name or folder} holds no {_KINDS[kind]} EU-SILC files of {country or 'any country'} "
            f"{year or 'and any year'}: {there}.",
            hint=f"They are named {pattern}; files of other names are given one by one.",
        )
    if len(wanted) > 1:
        raise SaeInputError(
            f"{folder.name or folder} holds {len(wanted)} sets of EU-SILC files: "
            f"{name_some(f'{name} {when}' for name, when in wanted)}.",
            hint="Name country= and year=, or one of the files instead of the folder.",
        )
    (name, when), files_of = next(iter(wanted.items()))
    absent = [part for part in PARTS if part not in files_of]
    if absent:
        raise SaeInputError(
            f"Of the four files of {name} {when} {'is' if len(absent) == 1 else 'are'} missing: "
            f"{name_some(f'{part} ({PARTS[part]})' for part in absent)}.",
            hint=f"They are named {pattern}.",
        )
    twice = [file.name for part in PARTS if len(files_of[part]) > 1 for file in files_of[part]]
    if twice:
        raise SaeInputError(f"A file of {name} {when} is there twice: {name_some(twice)}.", hint="Keep one.")
    return {part: files_of[part][0] for part in PARTS}


def _country(code: object) -> str:
    text = str(code).upper()
    return "EL" if text == "GR" else text


def read_parts(
    parts: Mapping[str, Path],
    *,
    kind: str,
    country: str | None = None,
    year: int | None = None,
    encoding: str = "utf-8",
    separator: str | None = None,
    decimal: str = ".",
    missing: Iterable[object] = (),
) -> SilcFiles:
    """Read the four files, and check that they are of one country and of the same year or years.

    Of files with several countries, or several years of cross-sections, the records of `country` and `year`
    are kept.

    Raises
    ------
    SaeInputError
        If a file cannot be read, lacks its keys, or is of another country or year than the others.
    """
    one_year = kind == "c"
    frames, notes, digest = {}, [], hashlib.sha256()
    scope = {}
    for part, path in parts.items():
        frame, remarks = read_frame(
            path, encoding=encoding, separator=separator, decimal=decimal, missing=[*missing, "."]
        )
        frame = frame.set_axis([str(name).upper() for name in frame], axis=1)
        notes += [f"read {len(frame):,} records and {frame.shape[1]} columns from {path.name}", *remarks]
        _check_keys(frame, part, path.name)
        when, where = _KEYS[part][:2]
        frame = _of(frame, where, country, path.name)
        frame = _of(frame, when, year if one_year else None, path.name)
        countries = sorted({_country(code) for code in labels(frame[where]).unique()})
        years = sorted({_year(code, path.name) for code in frame[when].unique()})
        _check_name(path.name, countries, years)
        scope[part] = countries, years
        frames[part] = frame
        with path.open("rb") as stream:
            for block in iter(lambda: stream.read(2**20), b""):
                digest.update(block)
    countries = sorted({code for codes, _ in scope.values() for code in codes})
    years = sorted({when for _, periods in scope.values() for when in periods})
    if len(countries) > 1 or (one_year and len(years) > 1) or scope["D"][1] != scope["R"][1]:
        shown = "; ".join(
            f"{part} holds {name_some(codes)} of {name_some(map(str, when))}"
            for part, (codes, when) in scope.items()
        )
        raise SaeInputError(
            f"The EU-SILC files are not of one country and the same "
            f"{'year' if one_year else 'years'}: {shown}.",
            hint="Give the four files of one country and release, or name country= and year=.",
        )
    source = {"file": ", ".join(path.name for path in parts.values()), "sha256": digest.hexdigest()}
    return SilcFiles(frames, countries[0], tuple(years), source, tuple(notes))


def _of(frame: pd.DataFrame, column: str, wanted: str | int | None, file: str) -> pd.DataFrame:
    """Keep the records of a country or year."""
    if wanted is None:
        return frame
    values = labels(frame[column]).map(_country)
    kept = (values == _country(wanted)).to_numpy()
    if not kept.any():
        raise SaeInputError(
            f"{file} holds no record of {wanted} ({column}): it holds {name_some(sorted(values.unique()))}."
        )
    return frame if kept.all() else frame[kept].reset_index(drop=True)


def _check_name(name: str, countries: list[str], years: list[int]) -> None:
    named = _NAME.fullmatch(name)
    if named and (countries != [_country(named[2])] or 2000 + int(named[3]) != years[-1]):
        raise SaeInputError(
            f"{name} holds {name_some(countries)} of {name_some(years)}, not what its name says.",
            hint="Check that it was not renamed.",
        )


def _year(code: object, file: str) -> int:
    try:
        return int(float(str(code)))
    except ValueError:
        raise SaeInputError(f"{file} holds a year that is no number: {code!r}.") from None


def _check_keys(frame: pd.DataFrame, part: str, file: str) -> None:
    twice = frame.columns[frame.columns.duplicated()]
    if len(twice):
        raise SaeInputError(f"{file} has columns that differ only in case: {name_some(twice)}.")
    absent = [key for key in _KEYS[part] if key not in frame]
    if part == "R" and not any(key in frame for key in _HOUSEHOLD):
        absent.append(_HOUSEHOLD[0])
    if absent:
        raise SaeInputError(
            f"{file} is no {part} file of EU-SILC ({PARTS[part]}): it lacks {name_some(absent)}. It has "
            f"{name_some(frame.columns, limit=8)}.",
            hint="Check that the file is whole, and that the four are not mixed up.",
            column=absent[0],
        )
    for key in [*_KEYS[part], *(key for key in _HOUSEHOLD if part == "R" and key in frame)]:
        gaps = np.flatnonzero(frame[key].isna().to_numpy())
        if gaps.size:
            raise SaeInputError(
                f"{key} is missing in {counted(gaps.size, 'record', 'records')} of {file} "
                f"(rows {rows_text(gaps)}).",
                hint="Every record needs its keys: check that the file is whole.",
                column=key,
            )


def members_only(files: SilcFiles) -> SilcFiles:
    """Leave out of longitudinal files former members, and households that gave no interview in a year.

    RB110 above 4 are persons who moved out, died, or were members for a while only; a household that gave no
    interview stands in D alone.
    """
    frames, notes = dict(files.frames), list(files.notes)
    register = frames["R"]
    if "RB110" in register:
        gone = numbers(register["RB110"], "RB110") > 4
        frames["R"] = register[~gone].reset_index(drop=True)
        if gone.any():
            notes.append(
                f"{int(gone.sum()):,} of {len(gone):,} records of R are of former members (RB110 > 4)"
            )
    home = next(key for key in _HOUSEHOLD if key in register)
    interviewed = set(_key(frames["H"], "HB010", "HB030"))
    for part, year, column in (("D", "DB010", "DB030"), ("R", "RB010", home)):
        kept = _key(frames[part], year, column).isin(interviewed).to_numpy()
        if not kept.all():
            what = counted(int(np.sum(~kept)), "record", "records")
            notes.append(f"{what} of {part} left out: no interview with the household that year")
            frames[part] = frames[part][kept].reset_index(drop=True)
    personal = frames["P"]
    kept = _key(personal, "PB010", "PB030").isin(_key(frames["R"], "RB010", "RB030")).to_numpy()
    if not kept.all():
        what = counted(int(np.sum(~kept)), "record", "records")
        notes.append(f"{what} of P left out: no member of an interviewed household that year")
        frames["P"] = personal[kept].reset_index(drop=True)
    return replace(files, frames=frames, notes=tuple(notes))


def join_parts(files: SilcFiles) -> pd.DataFrame:
    """Join the four files by household, person and year to one row per person of the register and year.

    Raises
    ------
    SaeInputError
        If a household or a person is there twice, households have no members or members no household,
        persons of P are not in R, or live in another household there: each with its count.
    """
    frames = files.frames
    register = frames["R"]
    home = next(key for key in _HOUSEHOLD if key in register)
    keys = {
        "D": _key(frames["D"], "DB010", "DB030"),
        "H": _key(frames["H"], "HB010", "HB030"),
        "R": _key(register, "RB010", "RB030"),
        "P": _key(frames["P"], "PB010", "PB030"),
    }
    homes = _key(register, "RB010", home)
    for part, key in keys.items():
        repeated = key[key.duplicated()].unique()
        if len(repeated):
            raise SaeInputError(
                f"{counted(len(repeated), 'key is', 'keys are')} more than once in the {part} file of "
                f"{files.name} ({_KEYS[part][2]}: {name_some(_shown(repeated))}).",
                hint=f"Every {'household' if part in 'DH' else 'person'} is there once a year.",
                column=_KEYS[part][2],
            )
    _check_fit(files, keys, homes)
    _check_columns(files)
    rows = {"D": homes, "H": homes, "P": keys["R"]}
    joined = [register.reset_index(drop=True)]
    for part, wanted in rows.items():
        places = pd.Index(keys[part]).get_indexer(pd.Index(wanted))
        absent = len(frames[part])  # a label that is in no index: the row is missing
        part_rows = frames[part].reset_index(drop=True).reindex(np.where(places < 0, absent, places))
        joined.append(part_rows.reset_index(drop=True))
    return pd.concat(joined, axis=1)


def _check_columns(files: SilcFiles) -> None:
    frames = files.frames
    clash = {
        name for part in PARTS for other in PARTS if part < other
        for name in set(frames[part].columns) & set(frames[other].columns)
    }  # fmt: skip
    if clash:
        raise SaeInputError(
            f"The same columns are in two of the four files of {files.name}: {name_some(sorted(clash))}.",
            hint="Check that the four are not mixed up.",
        )


def _key(frame: pd.DataFrame, year: str, column: str) -> pd.Series:
    return joined_labels(frame, [year, column], separator=" ").astype(object)  # walked below


def _shown(keys: Iterable[str]) -> list[str]:
    return [key.split(" ", 1)[1] for key in keys]


def _check_fit(files: SilcFiles, keys: Mapping[str, pd.Series], homes: pd.Series) -> None:
    sets = {part: set(key) for part, key in keys.items()}
    lived_in = set(homes)
    unmatched = [
        ("household of D is not in H", "households of D are not in H", sets["D"] - sets["H"]),
        ("household of H is not in D", "households of H are not in D", sets["H"] - sets["D"]),
        ("household of D has no members in R", "households of D have no members in R", sets["D"] - lived_in),
        (
            "household of R is not in D: its members have none",
            "households of R are not in D: their members have none",
            lived_in - sets["D"],
        ),
        ("person of P is not in R", "persons of P are not in R", sets["P"] - sets["R"]),
    ]
    faults = [
        f"{counted(len(missing), one, many)} ({name_some(_shown(sorted(missing)))})"
        for one, many, missing in unmatched
        if missing
    ]
    personal = files.frames["P"]
    if "PX030" in personal:
        there = dict(zip(keys["R"], homes, strict=True))
        moved = [
            person
            for person, household in zip(keys["P"], _key(personal, "PB010", "PX030"), strict=True)
            if there.get(person, household) != household
        ]
        if moved:
            faults.append(
                f"{counted(len(moved), 'person lives', 'persons live')} in another household in P than in R "
                f"({name_some(_shown(moved))})"
            )
    if faults:
        raise SaeInputError(
            f"The EU-SILC files of {files.name} do not fit together: {'; '.join(faults)}.",
            hint="Give the four files of one delivery, whole, without households that gave no interview and "
            "persons who left.",
        )
