"""Reading survey files into surveys."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from sae.calls import answered
from sae.errors import SaeInputError, SaeSpecError
from sae.literals import LonelyPolicy
from sae.survey.files import read_frame
from sae.survey.layouts import resolve_layout
from sae.survey.silc import read_silc
from sae.survey.silc_files import silc_kind
from sae.survey.silc_longitudinal import read_silc_longitudinal
from sae.survey.survey import Survey

__all__ = ["read_survey"]


@answered
def read_survey(
    path: str | Path,
    *,
    weights: str | None = None,
    strata: str | Sequence[str] | None = None,
    psu: str | Sequence[str] | None = None,
    household: str | None = None,
    person: str | None = None,
    fpc: str | Sequence[str] | None = None,
    replicates: Mapping[str, Any] | None = None,
    time: str | None = None,
    layout: str | Mapping[str, Any] | None = None,
    lonely_psu: LonelyPolicy = "fail",
    nest: bool = False,
    population: float | Mapping[str, float] | None = None,
    encoding: str = "utf-8",
    separator: str | None = None,
    decimal: Literal[".", ","] = ".",
) -> Survey:
    r"""Read a survey file and check its design.

    Parameters
    ----------
    path : str or Path
        ``.csv``, ``.csv.gz``, ``.tsv``, ``.txt``, ``.parquet``; with the extra ``sae[survey]`` also
        ``.sas7bdat``, ``.xpt``, ``.sav``, ``.dta``. In a text file a column is numbers if every cell is one,
        or one of the usual words for a missing value (``NA``, ``.``, ...), and none is spelt as codes are
        (``007``, ``1E1``). In a column of text only an empty cell is missing, for ``NA`` may be Naples; the
        layout's ``missing = [...]`` names further words, which are missing in every column.
        A folder with the D, H, R and P files of EU-SILC, or one of them by its name (``UDB_cAT22D.csv``),
        is read by `sae.survey.read_silc`, longitudinal files (``UDB_lAT22D.csv``) by
        `sae.survey.read_silc_longitudinal`.
    weights, strata, psu, household, person, fpc, replicates, time, layout, lonely_psu, nest, population
        As in `Survey.from_frame`.
    encoding : str
        Encoding of a text file; a byte-order mark is accepted.
    separator : str, optional
        Between the values of a text file; without it comma, semicolon, tab or bar, as its first lines show.
    decimal : {".", ","}
        Decimal sign of a text file.

    Returns
    -------
    Survey
        With the file's name and sha256 in `source`.

    Raises
    ------
    SaeInputError
        If the file is absent, empty, in another encoding, malformed, or fails a check of the design.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "persons.csv"
    >>> _ = file.write_text("w,puma\n10,00101\n12,00102\n", encoding="utf-8")
    >>> sae.read_survey(file, weights="w").frame["puma"].tolist()
    ['00101', '00102']
    """
    if not isinstance(path, str | Path):
        raise SaeInputError(
            f"read_survey reads a file, and was given a {type(path).__name__}.",
            hint='Records in memory are sae.Survey.from_frame(frame, weights="weight").',
        )
    file = Path(path)
    kind = silc_kind(file)
    if kind:
        roles = {"household": household, "person": person, "fpc": fpc, "replicates": replicates, "time": time}
        given = [role for role, column in roles.items() if column is not None]
        if given:
            raise SaeSpecError(
                f"The files of EU-SILC have their own {', '.join(given)}.",
                hint="Leave them out; replicate weights are made by Survey.with_replicates.",
            )
        return (read_silc if kind == "c" else read_silc_longitudinal)(
            file,
            weights=weights,
            strata=strata,
            psu=psu,
            layout=layout,
            lonely_psu=lonely_psu,
            nest=nest,
            encoding=encoding,
            separator=separator,
            decimal=decimal,
        )
    missing: Iterable[str] = () if layout is None else resolve_layout(layout).missing
    frame, notes = read_frame(file, encoding=encoding, separator=separator, decimal=decimal, missing=missing)
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    survey = Survey.from_frame(
        frame,
        weights=weights,
        strata=strata,
        psu=psu,
        household=household,
        person=person,
        fpc=fpc,
        replicates=replicates,
        time=time,
        layout=layout,
        lonely_psu=lonely_psu,
        nest=nest,
        population=population,
    )
    size = f"read {len(frame):,} records and {frame.shape[1]} columns from {file.name}"
    return replace(survey, notes=(size, *notes, *survey.notes), source={"file": file.name, "sha256": digest})
