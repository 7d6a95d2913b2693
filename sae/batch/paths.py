"""The files that a model file names: where they are, and what they hold, for the record."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sae.errors import SaeInputError

__all__ = ["beside", "placed_policy", "policy_files"]


def beside(name: str | Path, folder: Path, where: str) -> Path:
    """Return the full path of a file that a model file in `folder` names, in `where` of it.

    Raises
    ------
    SaeInputError
        If there is no such file; the text says where it was looked for.
    """
    path = Path(os.path.abspath(folder / name))
    if path.is_file():
        return path
    here = Path(os.path.abspath(name))
    elsewhere = f" There is one in the current folder: {here}." if here.is_file() else ""
    raise SaeInputError(
        f"{where} names the file {name}, which does not exist: {path}.",
        hint=f"The path is taken from the folder of the file that names it.{elsewhere}",
    )


def placed_policy(policy: Any, folder: Path, where: str) -> Any:
    """Return a policy with the full path of its file, or of the file that it is based on."""
    if isinstance(policy, Mapping) and _is_file(policy.get("base")):
        return {**policy, "base": str(beside(policy["base"], folder, f"{where} base"))}
    return str(beside(policy, folder, where)) if _is_file(policy) else policy


def policy_files(policy: Any) -> list[Path]:
    """Return the files that a placed policy stands in: its own, that of its base, and so on."""
    files: list[Path] = []
    policy = policy.get("base") if isinstance(policy, Mapping) else policy
    while _is_file(policy) and Path(policy) not in files:
        path = Path(policy)
        files.append(path)
        try:
            base = tomllib.loads(path.read_bytes().decode()).get("base")
        except (OSError, ValueError, RecursionError):
            break  # who reads the policy says what is wrong with it
        policy = Path(os.path.abspath(path.parent / str(base))) if _is_file(base) else None
    return files


def _is_file(policy: object) -> bool:
    return isinstance(policy, str | Path) and str(policy).endswith(".toml")
