"""What a run starts from: records of a survey, direct estimates made elsewhere, or exchange files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sae.batch.hints import reading
from sae.batch.paths import beside
from sae.batch.spec import ModelFile
from sae.design_based.published import read_direct
from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.publish import Pooled, read_exchange
from sae.publish.exchange_reading import COUNTRY
from sae.tables import DirectEstimates

__all__ = ["direct_path", "is_exchange", "read_pooled", "read_published", "source_of"]


def source_of(spec: ModelFile, survey: str | Path | None, direct: str | Path | None) -> Path:
    """Return the one file that a run starts from.

    Raises
    ------
    SaeInputError
        If it is not given, or it is of the other kind.
    """
    path = direct_path(spec, survey, direct) if spec.direct is not None else survey
    if spec.direct is None and direct is not None:
        raise SaeInputError(
            f"{spec.id}.toml starts from records, but --direct gives direct estimates.",
            hint="Describe their columns in [direct], or give records with --survey.",
        )
    if path is None:
        raise SaeInputError(
            f"{spec.id}.toml starts from {'records' if spec.direct is None else 'direct estimates'}, and no "
            "file of them is given.",
            hint="Give it with --survey." if spec.direct is None else "Give it with --direct.",
        )
    return Path(path)


def direct_path(spec: ModelFile, survey: str | Path | None, direct: str | Path | None) -> Path | None:
    """Return where the table of ``[direct]`` lies: as given, else as the model file names it."""
    assert spec.direct is not None
    if survey is not None:
        raise SaeInputError(
            f"{spec.id}.toml starts from direct estimates, but --survey gives records.",
            hint="Give the table with --direct.",
        )
    if direct is not None or spec.direct.file is None:
        return None if direct is None else Path(direct)
    return beside(spec.direct.file, spec.folder, f"{spec.id}.toml: [direct] file")


def is_exchange(path: Path) -> bool:
    """Whether a path is an exchange file (.zip), or a folder of them."""
    return path.is_dir() or path.suffix.lower() == ".zip"


def read_pooled(spec: ModelFile, path: Path, covariates: Sequence[str] = ()) -> Pooled:
    """Read an exchange file, or all of a folder, each of one country.

    Raises
    ------
    SaeInputError
        If there is none, they do not go together, lack a covariate, or have other rows than ``[estimate]``.
    """
    files = sorted(path.glob("*.zip")) if path.is_dir() else [path]
    if not files:
        raise SaeInputError(
            f"The folder {path} holds no exchange files.", hint="sae exchange writes them, ending in .zip."
        )
    section = spec.direct
    assert section is not None
    stray = [name for name in section.model_fields_set if name != "file"]
    if stray:
        raise SaeSpecError(
            f"{spec.id}.toml: [direct] has {name_some(stray)}, but exchange files say it themselves.",
            hint="Leave it out.",
        )
    pooled = read_exchange(files, covariates=[name for name in covariates if name != COUNTRY])
    if set(spec.estimate.domains) != set(pooled.direct.by):
        raise SaeSpecError(
            f"{spec.id}.toml: [estimate] groups by {name_some(spec.estimate.domains)}, but the exchange "
            f"files have rows by {name_some(pooled.direct.by)}.",
            hint=f"Write by = {list(pooled.direct.by)}.".replace("'", '"'),
        )
    return pooled


def read_published(spec: ModelFile, path: Path) -> DirectEstimates:
    """Read the table of direct estimates as ``[direct]`` and ``[estimate]`` describe it."""
    section, estimate = spec.direct, spec.estimate
    assert section is not None
    if is_exchange(path):
        return read_pooled(spec, path).direct
    if not estimate.domains:
        raise SaeSpecError(
            f"{spec.id}.toml: [estimate] lacks by.", hint="Name the columns that make the domains."
        )
    with reading("[direct]"):
        return read_direct(
            path,
            estimate.indicator_id,
            estimate.by,
            time=estimate.time,
            smoothing=estimate.smoothing,
            level=0.95 if spec.model is None else spec.model.level,
            **section.model_dump(exclude={"file"}),
        )
