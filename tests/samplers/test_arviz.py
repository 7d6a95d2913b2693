import arviz as az
import numpy as np
import pytest

from sae.samplers import Sample
from sae.samplers.arviz import to_arviz


@pytest.fixture
def data(rng):
    values = rng.normal(size=(400, 3))
    sample = Sample(
        values,
        {"sigma_u": np.abs(values[:, 0]), "beta": values[:, :2]},
        log_likelihood=-(values[:, :2] ** 2),
        replicated=values[:, :2] + 1.0,
    )
    rows = np.array(["AT11", "AT12", "AT13"])
    attributes = {"source": "exact posterior", "prior": "half-normal(1)"}
    built = to_arviz(
        sample,
        rows,
        np.array([0.2, 0.4]),
        np.array([True, True, False]),
        np.array(["Intercept", "x"]),
        attributes,
    )
    return built, sample


def test_groups_labels_and_values(data):
    built, sample = data
    posterior = built["posterior"]
    assert posterior["theta"].dims == ("chain", "draw", "domain")
    assert posterior["theta"].shape == (4, 100, 3) and posterior["sigma_u"].shape == (4, 100)
    vienna = posterior["theta"].sel(domain="AT13").values.ravel()
    np.testing.assert_array_equal(vienna, sample.values[:, 2])
    assert list(posterior["beta"].coords["coefficient"].values) == ["Intercept", "x"]
    assert built["log_likelihood"]["y"].shape == (4, 100, 2)
    assert list(built["posterior_predictive"]["y"].coords["sampled_domain"].values) == ["AT11", "AT12"]
    assert built["observed_data"]["y"].sel(sampled_domain="AT12").item() == 0.4
    assert posterior.attrs["prior"] == "half-normal(1)"


def test_arviz_can_work_with_it(data):
    built, sample = data
    table = az.summary(built, var_names=["theta"])
    assert len(table) == 3
    mean = float(np.asarray(table["mean"], dtype=float)[0])
    assert abs(mean - sample.values[:, 0].mean()) < 0.01  # the summary rounds
    loo = az.loo(built)
    assert np.isfinite(float(loo.elpd if hasattr(loo, "elpd") else loo.elpd_loo))
