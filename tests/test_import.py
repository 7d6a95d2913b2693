"""What is imported is light, every public name leads somewhere, and type checkers know the same names."""

import ast
import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

import sae

HEAVY = {"pandas", "numba", "scipy", "matplotlib", "statsmodels", "pymc", "arviz", "numpy", "pyarrow"}


def test_import_loads_nothing_heavy():
    code = "import sys; a = set(sys.modules); import sae; print(*sorted(set(sys.modules) - a), sep='\\n')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "sae" in loaded
    assert not loaded & HEAVY


FAY_HERRIOT = """
import sys, warnings
import pandas as pd
import sae
k = range(60)
frame = pd.DataFrame({"domain": [f"A{i}" for i in k], "y": [i % 7 + 0.1 * i for i in k], "vardir": 1.0})
fit = sae.FayHerriot("y ~ x").fit(frame.assign(x=[float(i) for i in k]))
assert "coef" in fit.summary()
print(*sys.modules, sep="\\n")
"""
# what a fit with its summary may load of a room that it uses, beside the room itself
ONLY = {
    "sae.area_level": {"arrays", "effects", "fay_herriot", "priors", "reading", "rows"},
    "sae.area_level.effects": {"options"},
    "sae.area_level.fay_herriot": {"eblup", "model", "mse", "tables"},
    "sae.numerics": {"compile", "fay_herriot", "inference", "linalg", "random"},
    "sae.samplers": {"posterior"},
}


def test_a_fay_herriot_fit_loads_no_other_model_and_no_library_it_does_without():
    for _ in range(2):  # numba's compiler loads more: in the second process the kernels are on disk
        done = subprocess.run([sys.executable, "-c", FAY_HERRIOT], capture_output=True, text=True, check=True)
        loaded = set(done.stdout.split())
        if "numba.np.linalg" not in loaded:
            break
    libraries = {"pymc", "arviz", "matplotlib", "statsmodels", "pydantic", "narwhals"} & loaded
    packages = {name for name in loaded if name.startswith("scipy.") and name.split(".")[1][0] != "_"}
    assert not libraries and packages <= {"scipy.version"}
    for room, modules in ONLY.items():
        depth = room.count(".") + 1
        inside = {name.split(".")[depth] for name in loaded if name.startswith(f"{room}.")}
        assert inside <= modules, room
    assert not {"sae.unit_level", "sae.survey", "sae.planning", "sae.plots", "sae.batch"} & loaded


def test_command_line_help_loads_no_statistics():
    """`sae --help` answers at once: the command line calls the rooms only when a command runs."""
    code = "import sys, sae.cli; print(*sys.modules, sep='\\n')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert not loaded & {"numba", "scipy", "matplotlib", "statsmodels", "pymc", "arviz"}


@pytest.mark.parametrize("name", sae.__all__)
def test_public_name_resolves(name):
    assert getattr(sae, name) is not None
    assert name in dir(sae)


def test_public_name_is_the_one_of_its_room():
    for name, room in sae._PUBLIC.items():
        assert getattr(sae, name) is getattr(importlib.import_module(room), name)


def test_unknown_name_is_an_attribute_error_that_lists_the_names():
    with pytest.raises(AttributeError, match=r"no attribute 'FayHeriot'; did you mean FayHerriot"):
        _ = sae.FayHeriot
    assert not hasattr(sae, "nonsense")


def test_type_checkers_see_the_same_names():
    """The names under TYPE_CHECKING are those that load lazily: a third list that could drift."""
    tree = ast.parse(Path(sae.__file__).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    assert getattr(block.test, "id", "") == "TYPE_CHECKING"
    typed = {
        alias.asname: f"{node.module}.{alias.name}" if node.module == "sae" else node.module
        for node in block.body
        for alias in node.names
    }
    assert typed == sae._PUBLIC | sae._ROOMS | {"priors": "sae.specs"}  # priors is a module of its room


LAZY = [
    f"sae.{path.parent.name}"
    for path in sorted(Path(sae.__file__).parent.glob("*/__init__.py"))
    if "from sae.lazy import" in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("package", LAZY)
def test_lazy_package_has_the_names_that_type_checkers_see(package):
    room = importlib.import_module(package)
    tree = ast.parse(Path(room.__file__).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    typed = {alias.asname: node.module for node in block.body for alias in node.names}
    assert sorted(typed) == room.__all__ == dir(room)
    for name, module in typed.items():
        assert getattr(room, name) is getattr(importlib.import_module(module), name)
        assert not (Path(room.__file__).parent / f"{name}.py").exists()  # it would replace what it holds
        assert not (Path(room.__file__).parent / name).exists()
    with pytest.raises(AttributeError, match=rf"'{package}' has no attribute 'nothing'; it has {min(typed)}"):
        _ = room.nothing


@pytest.mark.slow  # a whole run of mypy
def test_a_misspelt_room_does_not_type_check(tmp_path):
    code = "import sae\nsae.planing\nsae.planning.oversample\nsae.FayHeriot\n"
    (tmp_path / "user.py").write_text(code, encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--follow-imports=silent", "--no-incremental", "user.py"]
    root = str(Path(sae.__file__).parents[1])
    done = subprocess.run(
        [*command, "--cache-dir", str(tmp_path / "cache")],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": root},
        capture_output=True,
        text=True,
    )
    assert 'user.py:2: error: Module has no attribute "planing"' in done.stdout
    assert 'user.py:4: error: Module has no attribute "FayHeriot"' in done.stdout
    assert "user.py:3" not in done.stdout
