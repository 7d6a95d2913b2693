"""Shared fixtures: where the shared material lies, and a seeded generator."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

SHARED = Path(os.environ.get("SAE_SHARED", Path(__file__).parents[2] / "shared"))


@pytest.fixture(scope="session")
def shared_data():
    """Folder of the shared data sets; the test is skipped where it is absent."""
    folder = SHARED / "data"
    if not folder.is_dir():
        pytest.skip(f"needs the shared data sets (SAE_SHARED, looked in {SHARED})")
    return folder


@pytest.fixture(scope="session")
def reference():
    """Load one reference result of another package by its case name."""
    folder = SHARED / "reference"
    if not folder.is_dir():
        pytest.skip(f"needs the reference results (SAE_SHARED, looked in {SHARED})")

    def load(case):
        return json.loads((folder / f"{case}.json").read_text(encoding="utf-8"))

    return load


@pytest.fixture
def rng():
    return np.random.default_rng(20261122)
