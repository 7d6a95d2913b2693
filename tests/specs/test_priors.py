import numpy as np
import pytest
from scipy import stats

from sae.errors import SaeSpecError
from sae.numerics.compile import compiled
from sae.numerics.inference.priors import log_prior, log_prior_sd
from sae.specs.priors import PC, FlatSd, FlatVariance, HalfCauchy, HalfNormal, prior_of


@compiled
def one(code, scale, sd):
    return log_prior_sd(code, scale, sd)


DENSITIES = {
    HalfNormal(0.7): stats.halfnorm(scale=0.7).logpdf,
    HalfCauchy(0.7): stats.halfcauchy(scale=0.7).logpdf,
    PC(2.0, 0.05): stats.expon(scale=-2.0 / np.log(0.05)).logpdf,
    FlatSd(): np.zeros_like,
    FlatVariance(): np.log,
}


@pytest.mark.parametrize("prior", DENSITIES, ids=str)
def test_density_of_the_standard_deviation(prior):
    sd = np.array([0.01, 0.4, 3.0])
    ours, exact = log_prior(prior.code, sd), DENSITIES[prior](sd)
    np.testing.assert_allclose(ours - ours[0], exact - exact[0], rtol=1e-13)
    np.testing.assert_allclose([one(*prior.code, s) for s in sd], ours, rtol=1e-14)


def test_pc_prior_says_what_it_promises():
    assert stats.expon(scale=PC(2.0, 0.05).code[1]).sf(2.0) == pytest.approx(0.05)


@pytest.mark.parametrize("prior", DENSITIES, ids=str)
def test_text_reads_back(prior):
    assert prior_of(prior.text) == prior and prior_of(prior) is prior


def test_default_takes_the_unit_of_the_data():
    assert prior_of(None).scaled(0.05) == HalfNormal(0.05)
    assert HalfNormal(2.0).scaled(0.05) == HalfNormal(2.0)


@pytest.mark.parametrize(
    "text", ["half-normal(-1)", "half-normal(a)", "flat", "pc", "pc(1, 2)", "flat-sd(3)"]
)
def test_bad_priors_are_refused(text):
    with pytest.raises(SaeSpecError):
        prior_of(text)
