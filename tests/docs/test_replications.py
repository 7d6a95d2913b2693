"""The replications: what a page shows is what the oracles hold, and what the package gives today."""

import warnings

import numpy as np
import pandas as pd
import pytest

import sae
from tests.docs import pages

PRINTED = {"mean": 0.0051, "error": 0.0051, "share": 0.000051}  # half a unit of the last printed digit
EMDI = 2e-6  # emdi's search stops within 1.2e-4 of a unit of the variance


STORED = pages.ROOT / "docs" / "replications" / "austrian_districts.csv"


@pytest.fixture
def stored():
    return pd.read_csv(STORED).set_index("district")


@pytest.mark.parametrize("page", ["milk", "corn_soybean", "new_york"])
def test_the_page_runs_and_its_figures_agree(page, monkeypatch):
    monkeypatch.setenv("SAE_CHECKOUT", str(pages.ROOT))
    names = pages.run(f"replications/{page}.md")
    if page == "milk":
        assert names["difference"].max() < 1e-8
    elif page == "corn_soybean":
        assert names["table"]["difference"].abs().max() < 6e-5
    else:
        assert (names["table"]["model: error"] < names["table"]["direct: error"])["sampled"]


def test_the_stored_figures_of_emdi_are_those_of_the_oracle(stored, reference):
    fh = reference("emdi_fh_reml_analytical")["outputs"]
    direct = reference("emdi_direct_district_fixedthreshold")["outputs"]["point"]
    mean = pd.Series(fh["FH"], index=fh["domain"])[stored.index]
    error = np.sqrt(pd.Series(fh["mse"]["FH"], index=fh["domain"]))[stored.index]
    share = pd.Series(direct["Head_Count"], index=direct["Domain"]).reindex(stored.index)
    np.testing.assert_allclose(stored["emdi: mean"], mean, atol=PRINTED["mean"])
    np.testing.assert_allclose(stored["emdi: error"], error, atol=PRINTED["error"])
    np.testing.assert_allclose(stored["emdi: share below"], share, atol=PRINTED["share"])
    assert len(stored) == 16


def test_the_stored_figures_of_ours_are_those_of_today(stored, shared_data, monkeypatch):
    monkeypatch.setenv("SAE_SHARED", str((shared_data / "emdi_eusilcA_smp.csv").parents[1]))
    monkeypatch.setenv("SAE_CHECKOUT", str(pages.ROOT))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        names = pages.run("replications/austrian_districts.md")
    fit = names["fit"].to_frame().set_index("domain").loc[stored.index]
    shares = sae.direct(names["survey"], names["poor"], by="district").frame.set_index("domain")["estimate"]
    np.testing.assert_allclose(stored["here: mean"], fit["estimate"], atol=PRINTED["mean"])
    np.testing.assert_allclose(stored["here: error"], fit["se"], atol=PRINTED["error"])
    np.testing.assert_allclose(
        stored["here: share below"], shares.reindex(stored.index), atol=PRINTED["share"]
    )
    np.testing.assert_allclose(fit["estimate"], stored["emdi: mean"], rtol=EMDI, atol=PRINTED["mean"])
    national = names["national"]
    assert national["here"] == pytest.approx(national["target"], rel=1e-12)
    assert national["emdi"] < 0.985 * national["target"]  # its shares stand in another order
