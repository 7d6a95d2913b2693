"""The floors of the house: imports go down, inside the rooms as between them, and nowhere in a circle.

The tables of floors stand here and in CONTRIBUTING. What the checks would find is shown on small trees below.
"""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "sae"

FLOORS = {
    "sae": {
        "_version": 0,
        "errors": 0,
        "lazy": 0,
        "literals": 0,
        "progress": 0,
        "calls": 1,
        "numerics": 1,
        "tables": 1,
        "specs": 2,
        "samplers": 2,
        "quality": 3,
        "disclosure": 3,
        "plots": 3,
        "survey": 3,
        "auxiliary": 3,
        "results": 4,
        "indicators": 4,
        "datasets": 4,
        "design_based": 5,
        "area_level": 6,
        "unit_level": 6,
        "compare": 7,
        "planning": 7,
        "evaluation": 8,
        "publish": 8,
        "batch": 9,
        "cli": 10,
    },
    "sae.numerics": {
        "compile": 0,
        "random": 1,
        "linalg": 1,
        "segregation": 1,
        "ranking": 1,
        "inference": 2,
        "design": 2,
        "fay_herriot": 3,
        "nested_error": 3,
        "spacetime": 3,
        "glmm": 3,
        "m_quantile": 3,
        "allocation": 4,
        "ebp": 4,
        "multivariate": 4,
        "robust": 4,
    },
    "sae.area_level": {
        "rows": 0,
        "priors": 0,
        "arrays": 1,
        "reading": 1,
        "effects": 2,
        "finite_population": 2,
        "fay_herriot": 3,
        "two_fold": 3,
        "glmm": 3,
        "scale_mixtures": 3,
        "measurement_error": 3,
        "multivariate": 3,
        "robust": 4,
    },
    "sae.unit_level": {
        "priors": 0,
        "rows": 0,
        "tables": 1,
        "unit_context": 1,
        "diagnostics": 1,
        "alike": 1,
        "nested_error": 2,
        "glmm": 2,
        "robust": 3,
        "two_fold": 3,
        "ebp": 3,
        "m_quantile": 3,
    },
    "sae.planning": {"precision": 0, "direct": 1, "with_model": 2, "reporting": 3},
}
HEAVY = {"sae.numerics": {"pandas", "matplotlib", "statsmodels", "pymc", "arviz", "pyarrow"}}


def modules_of(package):
    """Every module of a package by its dotted name; a sub-package bears the name of its folder."""
    names = {}
    for path in sorted(package.rglob("*.py")):
        parts = (package.name, *path.relative_to(package).with_suffix("").parts)
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


def imports_of(path, modules):
    """Modules of the package that a file imports, with their lines: lazily or for type checkers too."""
    root = next(iter(modules)).partition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} uses a relative import"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield (full if full in modules else node.module or root), node.lineno


def floor_of(name, floors):
    """The deepest package with a table that holds a module, and the module's part in it."""
    parts = name.split(".")
    for depth in range(len(parts) - 1, 0, -1):
        package = ".".join(parts[:depth])
        if package in floors:
            yield package, parts[depth]


def breaches(package, floors, heavy=None):
    """Every import that goes up, sideways, to everything at once, or to a library too heavy for its room."""
    modules = modules_of(package)
    root, found = package.name, []
    for name, path in modules.items():
        rooms = dict(floor_of(name, floors))
        for room, part in rooms.items():
            if part not in floors[room]:
                found.append(f"{name}: {room} has no floor for {part}")
        for target, line in imports_of(path, modules):
            where = f"{name}:{line}"
            if target.partition(".")[0] != root:
                for prefix, libraries in (heavy or {}).items():
                    if name.startswith(prefix + ".") and target.partition(".")[0] in libraries:
                        found.append(f"{where} may not import {target}")
                continue
            if target == root:
                if name != root:
                    found.append(f"{where} imports all of {root}")
                continue
            theirs = dict(floor_of(target, floors))
            for room, part in rooms.items():
                other = theirs.get(room)
                if other is None or other == part:
                    continue
                if floors[room].get(other, 99) >= floors[room].get(part, -1):
                    found.append(f"{where} imports {target}: {other} is not below {part} in {room}")
                break
    return found


def circles(package):
    """Groups of files that import each other, directly or around; `__init__` counts as a file of its own."""
    modules = modules_of(package)
    graph = {
        name: {target for target, _ in imports_of(path, modules) if target in modules and target != name}
        for name, path in modules.items()
        if name != package.name
    }
    return [group for group in strongly_connected(graph) if len(group) > 1]


def strongly_connected(graph):
    """Tarjan's algorithm."""
    index, low, stack, groups = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in graph.get(node, ()):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            place = stack.index(node)
            groups.append(sorted(stack[place:]))
            del stack[place:]

    for node in graph:
        if node not in index:
            visit(node)
    return groups


def test_imports_go_down():
    assert breaches(PACKAGE, FLOORS, HEAVY) == []


def test_no_circle():
    assert circles(PACKAGE) == []


def test_every_room_has_a_module():
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert all(list((PACKAGE / room).glob("*.py")) for room in rooms)


def test_contributing_has_the_same_floors():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for package, table in FLOORS.items():
        for part, floor in table.items():
            if package == "sae" and not (PACKAGE / part).exists() and not (PACKAGE / f"{part}.py").exists():
                continue  # a room of the plan into which nothing has moved yet
            line = next((row for row in text.splitlines() if row.startswith(f"| {package} | {floor} |")), "")
            assert f"`{part}`" in line, f"CONTRIBUTING has no floor {floor} of {package} with {part}"


# what the checks find: small trees, each with one fault


@pytest.fixture
def house(tmp_path):
    def build(**files):
        package = tmp_path / "house"
        for name, text in {"__init__": "", **files}.items():
            path = package.joinpath(*name.split("__", 1)) if name != "__init__" else package / name
            path.parent.mkdir(parents=True, exist_ok=True)
            (path.parent / "__init__.py").touch()
            path.with_suffix(".py").write_text(text, encoding="utf-8")
        return package

    return build


TABLE = {"house": {"low": 0, "left": 1, "right": 1, "top": 2}, "house.right": {"inner": 0, "outer": 1}}


@pytest.mark.parametrize(
    ("files", "fault"),
    [
        ({"low": "import house.top"}, "imports house.top: top is not below low"),
        ({"low": "def f():\n    from house.top import g"}, "house.low:2 imports house.top"),
        (
            {"low": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from house.top import T"},
            "house.low:3 imports house.top",
        ),
        ({"left": "from house import right"}, "right is not below left"),
        ({"left": "import house"}, "imports all of house"),
        ({"right__inner": "from house.right.outer import f"}, "outer is not below inner in house.right"),
        ({"left": "import pandas"}, "may not import pandas"),
        ({"unknown": ""}, "has no floor for unknown"),
    ],
)
def test_a_breach_is_seen(house, files, fault):
    package = house(**{"top": "", "right__outer": "", "right__inner": "", **files})
    assert any(fault in breach for breach in breaches(package, TABLE, heavy={"house": {"pandas"}}))


def test_a_house_in_order_passes(house):
    files = {"top": "from house.left import f\nimport house.right.outer", "left": "from house.low import g"}
    package = house(low="", right__inner="", right__outer="from house.right.inner import h", **files)
    assert breaches(package, TABLE) == []
    assert circles(package) == []


def test_a_circle_is_seen(house):
    package = house(left="import house.right", right="import house.top", top="from house.left import f")
    assert circles(package) == [["house.left", "house.right", "house.top"]]
