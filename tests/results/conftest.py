"""A fit of thirty areas, by area."""

import numpy as np
import pandas as pd
import pytest

from sae.area_level import FayHerriot


@pytest.fixture
def frame(rng):
    n = 30
    x, D = rng.normal(size=n), rng.uniform(0.3, 1.0, n)
    y = 10.0 + x + rng.normal(size=n) * np.sqrt(0.5 + D)
    y[4] = np.nan
    return pd.DataFrame(
        {
            "area": [f"A{k:02d}" for k in range(n)],
            "y": y,
            "x": x,
            "vardir": D,
            "n": 40,
            "pop": rng.integers(100, 900, n),
            "nation": ["N1", "N2", "N3"] * 10,
        }
    )


@pytest.fixture
def fit(frame):
    return FayHerriot("y ~ x", domain="area").fit(frame)
