"""`import sae` is light, and every public name leads somewhere."""

import importlib
import subprocess
import sys

import pytest

import sae

HEAVY = {"pandas", "numba", "scipy", "matplotlib", "statsmodels", "pymc", "arviz", "numpy", "pyarrow"}


def test_import_loads_nothing_heavy():
    code = "import sys; a = set(sys.modules); import sae; print(*sorted(set(sys.modules) - a), sep='\\n')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "sae" in loaded
    assert not loaded & HEAVY


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
    with pytest.raises(AttributeError, match=r"no attribute 'FayHeriot'; it offers .*FayHerriot"):
        _ = sae.FayHeriot
    assert not hasattr(sae, "nonsense")
