"""Mixtures of normals: moments, distribution and quantiles against closed forms and numerical integration."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from sae.numerics.inference.mixture import Mixture, normal_expectation

EXACT = 1e-11  # Newton's last step is below 1e-12 of the scale

WEIGHTS = np.array([0.2, 0.5, 0.3])
MEANS = np.array([[-1.0, 4.0], [0.5, 4.0], [9.0, 4.0]])
SDS = np.array([[0.3, 2.0], [1.5, 2.0], [0.1, 2.0]])


def density_moment(power, area):
    def integrand(x):
        return x**power * (WEIGHTS @ norm.pdf(x, MEANS[:, area], SDS[:, area]))

    return quad(integrand, -20, 20, points=[-1, 0.5, 9], limit=200)[0]


def test_moments_are_those_of_the_density():
    mean, sd = Mixture(WEIGHTS, MEANS, SDS).moments()
    for area in range(2):
        first, second = density_moment(1, area), density_moment(2, area)
        assert mean[area] == pytest.approx(first, rel=1e-8)
        assert sd[area] == pytest.approx(np.sqrt(second - first**2), rel=1e-8)


@pytest.mark.parametrize("probability", [1e-6, 0.025, 0.2, 0.69, 0.7, 0.71, 0.999])  # 0.7: a flat stretch
def test_quantiles_invert_the_distribution_function(probability):
    mixture = Mixture(WEIGHTS, MEANS, SDS)
    assert mixture.cdf(mixture.quantile(probability)) == pytest.approx(probability, rel=1e-9)
    assert mixture.quantile(probability)[1] == pytest.approx(norm.ppf(probability, 4.0, 2.0), rel=EXACT)


def test_a_component_without_spread_is_a_step():
    step = Mixture(np.ones(1), np.array([[2.0]]), np.zeros((1, 1)))
    assert step.cdf(1.9)[0] == 0.0
    assert step.cdf(2.0)[0] == 1.0
    assert step.quantile(0.3)[0] == 2.0


def test_expected_values_are_exact_for_polynomials():
    mixture = Mixture(WEIGHTS, MEANS, SDS)
    mean, sd = mixture.moments()
    assert mixture.sums(mixture.values(lambda x: x)) == pytest.approx(mean, rel=EXACT)
    assert mixture.sums(mixture.values(lambda x: x * x)) == pytest.approx(sd**2 + mean**2, rel=EXACT)
    assert normal_expectation(lambda x: x**4, np.zeros(1), np.full(1, 2.0))[0] == pytest.approx(48.0)
