"""What may cross a border: direct estimates of domains that pass the primary rule, in one plain file."""

from __future__ import annotations

import json
import re
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sae._version import __version__
from sae.calls import answered
from sae.disclosure import PrimaryRules, rules_of
from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.publish.exchange_rule import crossing_rows
from sae.quality import Policy, load_policy
from sae.tables import Covariates, DirectEstimates, file_path, labels, to_numbers, write_table
from sae.tables.covariates import frame_of
from sae.tables.files import whole_file

__all__ = [
    "COUNTRY_CODE",
    "COVARIANCE",
    "COVARIATES",
    "DEFINITION",
    "DIRECT",
    "FIGURES",
    "FORMAT",
    "TEXTS",
    "Exchanged",
    "exchange",
]

FORMAT = "sae exchange 1"
DEFINITION, DIRECT, COVARIATES, COVARIANCE = (
    "definition.json",
    "direct.csv",
    "covariates.csv",
    "covariance.csv",
)
FIGURES = ("n", "n_eff", "df", "estimate", "variance", "vardir")
TEXTS = ("variance_method", "smoothing", "status")
COUNTRY_CODE = "^[A-Z][A-Z0-9_-]{1,15}$"
_MIDNIGHT = (1980, 1, 1, 0, 0, 0)  # no clock in any output


@dataclass(frozen=True)
class Exchanged:
    """What was written.

    Attributes
    ----------
    path : Path
    country : str
    rows : int
        Direct estimates in the file.
    primary, secondary : int
        Domains left out by the primary rule, and because they would tell one of these.
    rule : str
    """

    path: Path
    country: str
    rows: int
    primary: int
    secondary: int
    rule: str

    def __str__(self) -> str:
        return (
            f"{self.path.name}: {self.rows:,} direct estimates of {self.country}; left out: "
            f"{self.primary:,} of {self.rule}, {self.secondary:,} that would tell one of these"
        )


@answered
def exchange(
    direct: DirectEstimates,
    path: str | Path,
    *,
    country: str,
    policy: str | Path | Mapping[str, Any] | Policy,
    persons: int | None = None,
    areas: pd.DataFrame | Covariates | None = None,
    about: Mapping[str, str] | None = None,
) -> Exchanged:
    """Write the direct estimates that may leave the office, for a fit over several countries.

    The file is a ZIP of plain texts that anybody can look into before it is sent: ``definition.json`` (who,
    what, by which definitions and rule), ``direct.csv`` (numbers of records, estimates and their variances)
    and, where there are any, ``covariates.csv`` and ``covariance.csv``. It holds no records, no sums of them,
    no row of a domain that the rule leaves out, and nothing that tells it from a domain without a record.

    Parameters
    ----------
    direct : DirectEstimates
    path : str or Path
        Ends in ``.zip``.
    country : str
        Code of the sender, such as "AT".
    policy : str, Path, mapping or Policy
        Its rule of confidentiality on n is the primary rule.
    persons : int, optional
        The least number of persons instead; needed where the policy has no such rule.
    areas : DataFrame or Covariates, optional
        Covariates by area; all columns that do not make domains are to be numbers.
    about : mapping of str to str, optional
        Further texts for ``definition.json``, such as the design.

    Raises
    ------
    SaeInputError, SaeSpecError
        If no rule is known, the records of a domain are not counted, or nothing may leave.

    Examples
    --------
    >>> import tempfile
    >>> rng = np.random.default_rng(1)
    >>> regions = ["1"] * 60 + ["2"] * 27 + ["3"] * 3
    >>> frame = pd.DataFrame({"w": 1.0, "works": rng.integers(0, 2, 90), "region": regions})
    >>> direct = sae.direct(sae.Survey.from_frame(frame, weights="w"), "works", by="region")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     print(sae.publish.exchange(direct, Path(folder) / "at.zip", country="AT", policy="eurostat_lfs"))
    at.zip: 2 direct estimates of AT; left out: 1 of fewer than 4 persons, 0 that would tell one of these
    """
    path = file_path(path)
    if path.suffix.lower() != ".zip":
        raise SaeInputError(f"{path.name} is no name of an exchange file.", hint="End it in .zip.")
    if not re.fullmatch(COUNTRY_CODE, country):
        raise SaeSpecError(f"{country!r} is no code of a country.", hint='Two capital letters, such as "AT".')
    loaded = load_policy(policy)
    rules = _rules(loaded, persons)
    status = crossing_rows(direct.frame, direct.by, rules)
    kept = np.flatnonzero(status == "published")
    if not len(kept):
        raise SaeInputError(f"None of the {len(direct)} domains has {rules.persons} persons or more.")
    frame = direct.frame.iloc[kept].reset_index(drop=True)
    tables = {DIRECT: frame[_columns(direct)]}
    if direct.covariance is not None:
        tables[COVARIANCE] = _covariance(direct.covariance.iloc[kept, kept])
    origins: Mapping[str, Any] = {}
    if areas is not None:
        tables[COVARIATES] = _covariates(areas, direct.by)
        origins = areas.origins if isinstance(areas, Covariates) else {}
    contents = _bytes(tables)
    left = {name: int((status == name).sum()) for name in ("primary", "secondary")}
    definition = {
        "format": FORMAT,
        "sae": __version__,
        "country": country,
        "indicators": _indicators(direct, frame),
        "release": dict(direct.provenance.get("release", {})),
        "by": list(direct.by),
        "rule": {"persons": rules.persons, "policy": loaded.name},
        "left_out": left,
        "covariates": {name: origin.text() for name, origin in sorted(origins.items())},
        "about": dict(about or {}),
        "files": {name: sha256(content).hexdigest() for name, content in contents.items()},
    }
    text = json.dumps(definition, indent=2, ensure_ascii=False, sort_keys=True, allow_nan=False)
    _write(path, {DEFINITION: f"{text}\n".encode(), **contents})
    return Exchanged(
        path, country, len(frame), left["primary"], left["secondary"], f"fewer than {rules.persons} persons"
    )


def _rules(policy: Policy, persons: int | None) -> PrimaryRules:
    if persons is None:
        return rules_of(policy)
    try:
        least = rules_of(policy).persons or 0
    except SaeSpecError:
        least = 0
    if persons < least:
        raise SaeSpecError(
            f"The policy {policy.name} keeps figures of fewer than {least} persons secret, not {persons}.",
            hint="A larger number is possible, a smaller one another policy's.",
        )
    return PrimaryRules(persons=persons)


def _columns(direct: DirectEstimates) -> list[str]:
    return list(dict.fromkeys(["indicator", "definition", "geo", "time", *direct.by, *FIGURES, *TEXTS]))


def _indicators(direct: DirectEstimates, frame: pd.DataFrame) -> dict[str, dict[str, Any]]:
    facts = {}
    for name, rows in frame.groupby("indicator", sort=True):
        facts[str(name)] = {
            "definition": sorted(set(labels(rows["definition"].fillna("")))),
            "unit": direct.units.get(str(name), ""),
            "periods": sorted(set(labels(rows["time"].fillna("")))),
            "domains": len(rows),
        }
    return facts


def _covariates(areas: pd.DataFrame | Covariates, by: tuple[str, ...]) -> pd.DataFrame:
    frame = frame_of(areas).reset_index(drop=True)
    keys = [name for name in by if name in frame]
    if not keys:
        raise SaeInputError(
            f"The areas have none of the columns {name_some(by)} that make the domains.",
            hint="Name the column of their labels as the direct estimates do.",
        )
    twice = frame[keys].duplicated()
    if twice.any():
        names = labels(frame.loc[twice, keys[0]])
        raise SaeInputError(f"{int(twice.sum())} areas occur twice: {name_some(names)}.", areas=names)
    numbers = {name: to_numbers(frame, name) for name in map(str, frame) if name not in keys}
    return frame[keys].assign(**numbers)


def _covariance(matrix: pd.DataFrame) -> pd.DataFrame:
    """Return a matrix with plain columns, in the order of the rows of ``direct.csv``."""
    return pd.DataFrame(matrix.to_numpy(dtype=float), columns=[f"row_{k + 1}" for k in range(len(matrix))])


def _bytes(tables: Mapping[str, pd.DataFrame]) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        return {name: write_table(table, Path(folder) / name).read_bytes() for name, table in tables.items()}


def _write(path: Path, contents: Mapping[str, bytes]) -> None:
    """Write the members as they are, not compressed: the text can be read in the bytes of the file."""
    with whole_file(path) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:
        for name, content in contents.items():
            member = zipfile.ZipInfo(name, _MIDNIGHT)
            member.create_system, member.external_attr = 3, 0o644 << 16
            archive.writestr(member, content)
