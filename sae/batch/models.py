"""Where model files lie: the ready-made ones that come with the package, and the user's own."""

from __future__ import annotations

import re
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from sae.batch.spec import ModelFile, is_production, read_spec
from sae.errors import SaeInputError, name_some

if TYPE_CHECKING:
    from sae.batch.planning_spec import PlanningFile

__all__ = [
    "find_plan",
    "find_production",
    "find_spec",
    "folder_of",
    "locate",
    "models_folder",
    "shipped_folders",
    "shipped_models",
    "shipped_plans",
    "shipped_productions",
]

_PLAN = "plan_"  # how the names of shipped planning files begin
_PRODUCTION = re.compile(rb"^\[production\]", re.MULTILINE)  # what every production file holds


def models_folder() -> Path:
    """Return the folder of the shipped model files: inside a wheel, else beside the package of a checkout."""
    package = Path(__file__).parents[1]
    inside, beside = package / "models", package.parent / "models"
    return inside if inside.is_dir() else beside


def shipped_models() -> dict[str, Path]:
    """Return the ready-made model files by name, in alphabetical order."""
    files = {path.stem: path for path in sorted(models_folder().glob("*.toml"))}
    others = {*shipped_plans(), *shipped_productions()}
    return {name: path for name, path in files.items() if name not in others}


def shipped_productions() -> dict[str, Path]:
    """Return the ready-made production files by name: the core set, each of its indicators, the countries."""
    files = sorted(models_folder().rglob("*.toml"))
    return {path.stem: path for path in files if _PRODUCTION.search(path.read_bytes())}


def shipped_folders() -> dict[str, Path]:
    """Return the shipped folders of production files by name: each is run by one command."""
    return {path.name: path for path in sorted(models_folder().iterdir()) if path.is_dir()}


def shipped_plans() -> dict[str, Path]:
    """Return the ready-made planning files by name, in alphabetical order."""
    return {path.stem: path for path in sorted(models_folder().glob(f"{_PLAN}*.toml"))}


def locate(name: str | Path, *, plans: bool = False) -> list[Path]:
    """Return the files that `name` stands for: a file, all those of a folder, or what is shipped as it.

    With `plans` the shipped planning files count too.

    Raises
    ------
    SaeInputError
        If it is none of them; the text names the nearest shipped model.
    """
    path = Path(name)
    shipped = {**shipped_models(), **shipped_productions(), **(shipped_plans() if plans else {})}
    if path.is_file():
        return [path]
    if str(name) in shipped:
        return [shipped[str(name)]]
    folder = folder_of(name)
    if folder is not None:
        found = sorted(folder.glob("*.toml"))
        if not found:
            raise SaeInputError(f"The folder {folder} holds no model file (*.toml).")
        return found
    if str(name) in shipped_plans():
        raise SaeInputError(f"{name} is a planning file, not a model file.", hint="sae plan makes its plan.")
    beside = {each.stem.lower(): each for each in path.parent.glob("*.toml")}.get(path.stem.lower())
    near = get_close_matches(path.stem, shipped, n=1)
    hint = (
        f"Did you mean the shipped model {near[0]}?" if near else f"Shipped models: {name_some(shipped, 20)}."
    )
    raise SaeInputError(
        f"There is no model file {path}, and no shipped model of that name.",
        hint=f"Did you mean the file {beside}?" if beside else hint,
    )


def find_spec(name: str | Path) -> ModelFile:
    """Read the one model file that `name`, a path or the name of a shipped model, stands for."""
    found = locate(name)
    if folder_of(name) is not None:
        raise SaeInputError(
            f"{name} is a folder, not a model file.", hint=f"It holds {name_some(p.name for p in found)}."
        )
    return read_spec(found[0])


def folder_of(name: str | Path) -> Path | None:
    """Return the folder of specifications, of the user's own or shipped, that `name` stands for."""
    path = Path(name)
    if path.is_file() or str(name) in {**shipped_models(), **shipped_productions()}:
        return None
    return path if path.is_dir() else shipped_folders().get(str(name))


def find_production(name: str | Path) -> Path | None:
    """Return the file that `name` stands for, if it is a production file."""
    if folder_of(name) is not None:
        return None
    path = locate(name)[0]
    return path if is_production(path) else None


def find_plan(name: str | Path) -> PlanningFile:
    """Read the planning file that `name`, a path or the name of a shipped one, stands for.

    Raises
    ------
    SaeInputError
        If it is neither; the text names the nearest shipped one.
    """
    from sae.batch.planning_spec import read_planning

    path, shipped = Path(name), shipped_plans()
    if not path.is_file() and str(name) in shipped:
        return read_planning(shipped[str(name)])
    if not path.exists() and str(name) in shipped_models():
        raise SaeInputError(f"{name} is a model file, not a planning file.", hint="sae run estimates it.")
    if not path.exists():
        near = get_close_matches(path.stem, shipped, n=1)
        raise SaeInputError(
            f"There is no planning file {path}, and no shipped one of that name.",
            hint=f"Did you mean {near[0]}?" if near else f"Shipped: {name_some(shipped, 20)}.",
        )
    return read_planning(path)
