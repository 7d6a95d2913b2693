"""Quantiles and tails against scipy: both stop at rounding, over sums of up to 500 terms and steep levels."""

import numpy as np
import pytest
from scipy import special

from sae.numerics.inference.tails import normal_quantile, student_quantile, two_sided

ROUNDING = 5e-13


@pytest.mark.parametrize("level", [0.5, 0.8, 0.9, 0.95, 0.99, 0.999])
def test_student_quantile(level):
    p = 0.5 + 0.5 * level
    for freedom in [*range(1, 40), 99, 100, 999, 1000, 1001, 1002, 5000, 10**5, 10**8]:
        assert student_quantile(p, freedom) == pytest.approx(special.stdtrit(freedom, p), rel=ROUNDING)
    assert np.isnan(student_quantile(p, 0))


def test_normal(rng):
    p = np.append(rng.random(1000), [1e-300, 1e-9, 0.5, 1.0 - 1e-9])
    assert np.allclose(normal_quantile(p), special.ndtri(p), rtol=ROUNDING, atol=ROUNDING)
    z = np.append(4.0 * rng.normal(size=1000), [0.0, -37.0, np.inf, np.nan])
    assert np.allclose(two_sided(z), 2.0 * special.ndtr(-np.abs(z)), rtol=ROUNDING, atol=0.0, equal_nan=True)
