"""The floors of the house: a module imports from below its own floor, never from above or sideways."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "sae"
FLOOR = {
    "errors": 0, "numerics": 1, "tables": 2, "specs": 2, "samplers": 2,
    "quality": 3, "plots": 3, "survey": 3, "auxiliary": 3,
    "results": 4, "indicators": 4, "datasets": 4, "design_based": 5,
    "area_level": 6, "unit_level": 6, "compare": 7, "planning": 7,
    "evaluation": 8, "publish": 8, "batch": 9, "cli": 10,
}  # fmt: skip
HEAVY_BELOW = {"numerics": {"pandas", "matplotlib", "statsmodels", "pymc", "arviz", "pyarrow"}}


def room_of(path):
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return None if parts == ("__init__",) else parts[0]


def imports_of(path):
    """Every imported module with its line, lazy imports inside functions included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} uses a relative import"
            if node.module == "sae":
                yield from ((f"sae.{alias.name}", node.lineno) for alias in node.names)
            else:
                yield node.module or "", node.lineno


FILES = sorted(path for path in PACKAGE.rglob("*.py") if room_of(path) is not None)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_only_from_lower_floors(path):
    room = room_of(path)
    assert room in FLOOR, f"{room} has no floor in the house: see docs and the table in this test"
    for name, line in imports_of(path):
        top, _, rest = name.partition(".")
        if top != "sae" or not rest:
            assert top not in HEAVY_BELOW.get(room, ()), f"{path}:{line} {room} may not import {name}"
            continue
        target = rest.split(".")[0]
        if target in (room, "__version__"):
            continue
        assert FLOOR[target] < FLOOR[room], f"{path}:{line} {room} imports {target}, which is not below it"


def test_every_room_has_a_module():
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert all(list((PACKAGE / room).glob("*.py")) for room in rooms)
