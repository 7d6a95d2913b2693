"""Writing a run: everything arrives together or nothing does, and the record says where it came from."""

from __future__ import annotations

import json
import os
import platform
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from hashlib import file_digest, sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sae._version import __version__
from sae.errors import SaeInputError

__all__ = ["hash_file", "run_id", "staged", "versions", "write_json", "write_manifest"]

MANIFEST = "manifest.json"
_RECORDED = ("numpy", "scipy", "pandas", "numba", "pyarrow")  # what the numbers and the bytes depend on


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes in hexadecimal."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


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


@contextmanager
def staged(out: Path) -> Iterator[Path]:
    """Give a folder to build in; what lies there moves into `out` at the end, or disappears on any error.

    The folder stands on the same disk as `out`, so that moving is renaming. Files of `out` with other
    names stay. An interruption while files move puts the old ones back.

    Raises
    ------
    SaeInputError
        At once, before any work, if `out` cannot be written.
    """
    out = Path(os.path.abspath(out))
    home = out if out.is_dir() else out.parent
    stage = home / f".sae-partial-{os.getpid()}"
    made = [folder for folder in (home, *home.parents) if not folder.exists()]
    try:
        if out.exists() and not out.is_dir():
            raise NotADirectoryError(0, "it is a file")
        shutil.rmtree(stage, ignore_errors=True)
        stage.mkdir(parents=True)
    except OSError as error:
        raise SaeInputError(
            f"The output folder {out} cannot be written: {error.strerror or error}.",
            hint="Name another folder with --out.",
        ) from None
    try:
        yield stage
        _move(stage, out)
        made = []
    finally:
        shutil.rmtree(stage, ignore_errors=True)
        with suppress(OSError):  # someone else put a file there meanwhile
            for folder in made:
                folder.rmdir()


def _move(stage: Path, out: Path) -> None:
    if not out.exists():
        os.replace(stage, out)
        return
    old = stage / ".old"
    names = sorted(path.name for path in stage.iterdir())
    old.mkdir()
    try:
        for name in names:
            if (out / name).exists():
                os.replace(out / name, old / name)
            os.replace(stage / name, out / name)
    except BaseException as error:
        for name in names:
            if (old / name).exists():
                os.replace(old / name, out / name)
            elif not (stage / name).exists():
                (out / name).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise SaeInputError(
                f"The results in {out} cannot be replaced: {error.strerror or error}.",
                hint="The old ones are untouched. Close the programs that have them open.",
            ) from None
        raise


def write_json(path: Path, value: Any) -> None:
    """Write JSON that is the same bytes on every system: sorted keys, UTF-8, plain line ends."""
    text = json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
    path.write_bytes(f"{text}\n".encode())


def write_manifest(stage: Path, out: Path, identifier: str, entry: Mapping[str, Any]) -> Path:
    """Write the record of one model into `stage`, with those of the other models in `out`."""
    models = {
        identifier: {
            **entry,
            "outputs": {path.name: hash_file(path) for path in sorted(stage.glob(f"{identifier}.*"))},
        }
    }
    for name, earlier in _earlier_models(out / MANIFEST).items():
        models.setdefault(name, earlier)
    write_json(stage / MANIFEST, {"manifest": 1, "models": models})
    return stage / MANIFEST


def _earlier_models(path: Path) -> dict[str, Any]:
    try:
        models = json.loads(path.read_text(encoding="utf-8"))["models"]
        return {name: entry for name, entry in models.items() if _all_there(path.parent, entry["outputs"])}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}  # none yet, or not one of ours: it is replaced


def _all_there(folder: Path, outputs: Mapping[str, str]) -> bool:
    return all((folder / name).is_file() for name in outputs)
