"""The one adapter to PyMC: exact where the posterior is known, compiled once, reproducible, honest."""

import sys

import numpy as np
import pytest

from sae.errors import SaeConvergenceError
from sae.samplers import pymc as adapter
from sae.samplers.pymc import Chains, sample_chains

DRAWS = 500
MONTE_CARLO = 0.15  # four standard errors of about 1,000 effective draws, in posterior standard deviations


def build(data):
    import pymc as pm

    mean = pm.Normal("mean", 0.0, 10.0)
    pm.Normal("seen", mean, 1.0, observed=data["y"])


def conjugate(y):
    precision = len(y) + 0.01
    return y.sum() / precision, precision**-0.5


@pytest.mark.slow
def test_new_data_are_sampled_without_compiling_again(rng):
    built, y = [], rng.normal(size=20)

    def counted(data):
        built.append(1)
        build(data)

    first = sample_chains(counted, "known", {"y": y}, seed=1, draws=DRAWS, tune=300)
    for data in (y, y + 5.0):
        found = sample_chains(counted, "known", {"y": data}, seed=1, draws=DRAWS, tune=300).checked()
        assert len(built) == 1
        mean, sd = conjugate(data)
        assert found.draws["mean"].shape == (4, DRAWS)
        assert abs(found.draws["mean"].mean() - mean) < MONTE_CARLO * sd
        assert abs(found.draws["mean"].std() / sd - 1) < MONTE_CARLO
    assert set(found.draws) == {"mean"} and found.divergences == 0 and found.r_hat < 1.05 and found.ess > 200
    again = sample_chains(counted, "known", {"y": y}, seed=1, draws=DRAWS, tune=300)
    assert np.array_equal(first.draws["mean"], again.draws["mean"])


@pytest.mark.slow
def test_without_nutpie_pymc_samples(rng, monkeypatch):
    monkeypatch.setattr(adapter, "find_spec", lambda name: None)
    y = rng.normal(size=20)
    for data in (y, y + 5.0):
        found = sample_chains(build, "known", {"y": data}, seed=1, draws=DRAWS, tune=300).checked()
        mean, sd = conjugate(data)
        assert abs(found.draws["mean"].mean() - mean) < MONTE_CARLO * sd


def test_importing_the_adapter_does_not_import_pymc():
    import subprocess

    code = "import sys, sae.samplers.pymc; assert not {'pymc', 'nutpie', 'arviz'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_chains_that_do_not_agree_are_refused(rng):
    draws = rng.normal(size=(4, 400))
    good = Chains.of({"a": draws}).checked()
    assert good.worst == "a" and not good.doubt and good.lengths == "4 chains of 400"
    with pytest.raises(SaeConvergenceError, match=r"R-hat .* \(b\[1\]\)"):
        apart = np.stack([draws, draws + np.arange(4)[:, None]], axis=2)
        Chains.of({"a": draws, "b": apart}).checked()
    with pytest.raises(SaeConvergenceError, match="200 divergences"):
        Chains.of({"a": draws}, 200).checked()
    assert "3 divergences" in Chains.of({"a": draws}, 3).checked().doubt
    constant = np.ones((4, 400))
    assert Chains.of({"a": draws, "fixed": constant}).r_hat < 1.05


def test_a_stop_leaves_nothing_behind(rng, monkeypatch):
    """Ctrl-C while chains run: the interrupt goes on, and the next call samples as ever."""
    nutpie = pytest.importorskip("nutpie")
    y = rng.normal(size=20)
    before = sample_chains(build, "known", {"y": y}, seed=2, draws=DRAWS, tune=300)
    sample = nutpie.sample

    class Stopped:
        def __init__(self, running):
            self.running = running

        def wait(self):
            raise KeyboardInterrupt

        def cancel(self):
            self.running.cancel()

    monkeypatch.setattr(nutpie, "sample", lambda *args, **options: Stopped(sample(*args, **options)))
    with pytest.raises(KeyboardInterrupt):
        sample_chains(build, "known", {"y": y}, seed=2, draws=DRAWS, tune=300)
    monkeypatch.setattr(nutpie, "sample", sample)
    after = sample_chains(build, "known", {"y": y}, seed=2, draws=DRAWS, tune=300)
    assert np.array_equal(before.draws["mean"], after.draws["mean"])
