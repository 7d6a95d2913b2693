"""The record of a run: where its results came from, what they are, and whose they are."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable, Mapping
from hashlib import file_digest, sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sae._version import __version__
from sae.errors import SaeInputError, name_some
from sae.tables import CSV_GUARD

__all__ = [
    "MANIFEST",
    "hash_file",
    "input_names",
    "merge_manifest",
    "read_record",
    "refuse_folder",
    "refuse_taken",
    "run_id",
    "versions",
    "write_json",
    "write_manifest",
]

MANIFEST = "manifest.json"
_NAMED = 12  # files of a run in a line
_TABLE = (".csv", ".parquet", ".xlsx")
PUBLIC = tuple(f".published{ending}" for ending in (*_TABLE, ".sdmx.csv", ".tsv", ".md"))
_RUN = (*_TABLE, *PUBLIC, ".png", ".direct.csv", ".contrasts.csv")
_PLAN = (".html", ".domains.csv", ".domains.parquet")
_RECORDED = ("numpy", "scipy", "pandas", "numba", "pyarrow")  # what the numbers and the bytes depend on


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes in hexadecimal."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def read_record(folder: Path, model: str | None, endings: tuple[str, ...]) -> tuple[str, Mapping[str, Any]]:
    """Return the name of the run in a folder of results whose files have `endings`, and its record.

    Raises
    ------
    SaeInputError
        If the folder holds no results, it is not said which of several is meant, or a file has changed.
    """
    if not folder.is_dir():
        what = "is a file, not the folder of a run" if folder.exists() else "does not exist"
        raise SaeInputError(f"{folder} {what}.", hint="Name the folder that sae run wrote.")
    try:
        models = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["models"]
        records = {str(name): of for name, of in models.items() if f"{name}{endings[0]}" in of["outputs"]}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SaeInputError(
            f"{folder} holds no results of sae run: {MANIFEST} cannot be read.", hint="Name their folder."
        ) from error
    if model is None and len(records) == 1:
        model = next(iter(records))
    if model is None or model not in records:
        lack = f"has no results of {model}" if model else f"has results of {len(records)} files"
        raise SaeInputError(f"{folder} {lack}.", hint=f"Write --model NAME: {name_some(records, 12)}.")
    for name in (f"{model}{ending}" for ending in endings):
        if not (folder / name).is_file() or hash_file(folder / name) != records[model]["outputs"].get(name):
            raise SaeInputError(f"{folder / name} is not the file of the run.", hint="Run it again.")
    return model, records[model]


def input_names(inputs: Mapping[str, Any], areas: str = "covariates of the areas {file}") -> str:
    """Return the files of the run, those of the records first, those of the areas as `areas` names them.

    Examples
    --------
    >>> from sae.batch.outputs import input_names
    >>> input_names({"areas": {"file": "x.csv"}, "survey lfs": {"files": ["2023.csv", "2024.csv"]}})
    '2023.csv, 2024.csv, covariates of the areas x.csv'
    """
    files = {
        str(file): name
        for name, of in inputs.items()
        if isinstance(of, Mapping)
        for file in ([of["file"]] if "file" in of else of.get("files", ()))
    }
    records = [file for file, name in files.items() if name != "areas"]
    others = [areas.format(file=file) for file, name in files.items() if name == "areas"]
    return ", ".join([*([name_some(records, _NAMED)] if records else []), *others])


def versions() -> dict[str, str]:
    """Return the versions of sae, Python and the libraries that the numbers depend on."""
    return {
        "sae": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in _RECORDED},
    }


def run_id(origin: Mapping[str, Any]) -> str:
    """Return twelve hexadecimal digits that change with any input, version or letter of the model file."""
    return sha256(json.dumps(origin, sort_keys=True).encode()).hexdigest()[:12]


def write_json(path: Path, value: Any) -> None:
    """Write JSON that is the same bytes on every system: sorted keys, UTF-8, plain line ends."""
    text = json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
    path.write_bytes(f"{text}\n".encode(errors="backslashreplace"))  # bytes of a name that are no text


def write_manifest(stage: Path, identifier: str, entry: Mapping[str, Any]) -> Path:
    """Write the record of one model beside its outputs in `stage`; `public` names those for everybody."""
    files = sorted(path for path in stage.iterdir() if path.name.startswith(f"{identifier}."))
    outputs = {path.name: hash_file(path) for path in files}
    public = [name for name in outputs if name.removeprefix(identifier) in PUBLIC]
    record = {**entry, "csv": CSV_GUARD, "outputs": outputs, "public": public}
    write_json(stage / MANIFEST, {"manifest": 1, "models": {identifier: record}})
    return stage / MANIFEST


def merge_manifest(stage: Path, out: Path) -> None:
    """Add to the record in `stage` those of the other models of `out`.

    Raises
    ------
    SaeInputError
        If a file of `stage` would replace one of theirs.
    """
    if not (stage / MANIFEST).is_file():
        return
    models = _models(stage / MANIFEST)
    for identifier in models:
        _refuse_others(out, identifier, {path.name for path in stage.iterdir()} - {MANIFEST})
    earlier = {name: entry for name, entry in _models(out / MANIFEST).items() if _all_there(out, entry)}
    write_json(stage / MANIFEST, {"manifest": 1, "models": {**earlier, **models}})


def refuse_taken(out: Path, identifier: str, inputs: Iterable[Path] = ()) -> None:
    """Refuse a folder in which the results of a model would replace what is not theirs to replace.

    Raises
    ------
    SaeInputError
        If results of another model, an input or a folder bear the name of one of its files.
    """
    names = {f"{identifier}{ending}" for ending in (*_RUN, *_PLAN)} if identifier else set()
    _refuse_others(out, identifier, names)
    for name in sorted({*names, MANIFEST}):
        place = out / name
        refuse_folder(place)
        if any(place.exists() and file.exists() and place.samefile(file) for file in inputs):
            raise SaeInputError(
                f"The input {place} would be replaced by a result of the same name.",
                hint="Name another output folder.",
            )


def refuse_folder(place: Path) -> None:
    """Refuse to put a file where a folder stands."""
    if place.is_dir():
        raise SaeInputError(
            f"{place} is a folder, where a result of that name is to be written.",
            hint="Rename it, or name another output folder.",
        )


def _refuse_others(out: Path, identifier: str, names: set[str]) -> None:
    """Refuse names that another model's results have, in any case: some systems do not tell them apart."""
    plain = {name.casefold() for name in names}
    for other, entry in _models(out / MANIFEST).items():
        theirs = sorted(name for name in entry["outputs"] if name.casefold() in plain)
        if other != identifier and theirs:
            raise SaeInputError(
                f"The results of {identifier} would replace those of another model, {other}, in {out}: "
                f"{name_some(theirs)}.",
                hint="Rename one of the model files, or name another output folder.",
            )


def _models(path: Path) -> dict[str, Any]:
    """Return the records of a manifest by model; none where there is no manifest of ours."""
    try:
        models = json.loads(path.read_text(encoding="utf-8"))["models"]
        return {name: entry for name, entry in models.items() if isinstance(entry["outputs"], dict)}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _all_there(folder: Path, entry: Mapping[str, Any]) -> bool:
    return all((folder / name).is_file() for name in entry["outputs"])
