"""Adjusted p-values against scipy's, and a hand case. 1e-12: the same products in another order."""

import numpy as np
import pytest
from scipy import stats

from sae.numerics.inference.multiplicity import adjusted


@pytest.mark.parametrize(("dependent", "method"), [(False, "bh"), (True, "by")])
def test_against_scipy(dependent, method):
    p = np.random.default_rng(1).uniform(size=200) ** 2
    p[:5] = p[5]  # ties
    expected = stats.false_discovery_control(p, method=method)
    np.testing.assert_allclose(adjusted(p, dependent=dependent), expected, rtol=1e-12)


def test_by_hand():
    np.testing.assert_allclose(adjusted(np.array([0.01, 0.9, 0.02])), [0.03, 0.9, 0.03])
    np.testing.assert_allclose(adjusted(np.array([0.01, 0.9]), dependent=True), [0.03, 1.0])
