"""What every docstring example has without an import, as its reader has it: ``np``, ``pd`` and ``sae``."""

import numpy as np
import pandas as pd
import pytest

import sae


@pytest.fixture(scope="session", autouse=True)
def _example_names(doctest_namespace):
    doctest_namespace.update(np=np, pd=pd, sae=sae)
