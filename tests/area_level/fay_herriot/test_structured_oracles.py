"""Spatial and spatio-temporal Fay–Herriot models as users call them, against sae, emdi and saeRobust."""

import numpy as np
import pandas as pd
import pytest

from sae.area_level import AR1, SAR, FayHerriot

TIGHT = 1e-7  # the references iterate to 1e-12 on their own parameters
FITTED = 2e-6  # saeRobust stops at 1e-6
EMDI = 1e-5  # emdi's "tight" run stops Fisher scoring at a change of 1e-9 in units of money
REPLICATES = 200
MONTE_CARLO = np.sqrt(2 / 100 + 2 / REPLICATES)  # relative sd of the ratio of two bootstrap MSEs
SHARED = 0.15  # the model variance has a relative sd of 0.4: 3 sd of the difference of means over 100 and 200


def square(path, labels):
    table = pd.read_csv(path)
    return pd.DataFrame(table.to_numpy(), index=labels, columns=labels)


@pytest.fixture(scope="module")
def grapes(shared_data):
    frame = pd.read_csv(shared_data / "sae_grapes.csv").rename(columns={"area": "x"})
    frame["domain"] = [f"G{k}" for k in range(len(frame))]
    return frame, square(shared_data / "sae_grapesprox.csv", list(frame["domain"]))


def grape_model(W, **options):
    return FayHerriot("grapehect ~ x + workdays - 1", vardir="var", spatial=SAR(W), **options)


@pytest.mark.parametrize("method", ["reml", "ml"])
def test_grapes_against_sae(grapes, reference, method):
    frame, W = grapes
    shuffled = frame.sample(frac=1.0, random_state=1)  # areas are matched by name, not by position
    truth = reference(f"sae_grapes_sfh_{method}")["outputs"]["tight_precision"]
    fit = grape_model(W, method=method).fit(shuffled)
    table = fit.to_frame().set_index("domain").loc[frame["domain"]]
    np.testing.assert_allclose(table["estimate"], truth["eblup"], rtol=TIGHT)
    np.testing.assert_allclose(fit.variance_components["sigma2_u"], truth["refvar"], rtol=TIGHT)
    np.testing.assert_allclose(fit.variance_components["rho_u"], truth["spatialcorr"], rtol=TIGHT)
    goodness = fit.diagnostics.iloc[0]
    for ours, theirs in (("loglik", "loglike"), ("aic", "AIC"), ("bic", "BIC")):
        np.testing.assert_allclose(goodness[ours], truth["goodness"][theirs], rtol=TIGHT)
    if method == "reml":  # the bias of ML: see tests/numerics/spacetime/test_fit.py
        np.testing.assert_allclose(table["mse"], truth["mse"], rtol=TIGHT)


def test_grapes_against_saerobust_without_robustness(grapes, reference):
    frame, W = grapes
    truth = reference("saeRobust_grapes_sar1_nonrobust")["outputs"]
    fit = grape_model(W, method="ml").fit(frame)
    assert fit.variance_components["rho_u"] == pytest.approx(truth["variance"]["correlation"], rel=FITTED)
    assert fit.variance_components["sigma2_u"] == pytest.approx(truth["variance"]["variance"], rel=FITTED)
    np.testing.assert_allclose(fit.estimates["estimate"], truth["reblup"], rtol=FITTED)


@pytest.mark.parametrize(
    ("mse", "case", "key"),
    [
        ("bootstrap", "sae_grapes_sfh_pbmse_mc", "mse"),
        ("nonparametric", "sae_grapes_sfh_npbmse_mc", "mse"),
        ("bootstrap-corrected", "sae_grapes_sfh_pbmse_mc", "msebc"),
        ("nonparametric-corrected", "sae_grapes_sfh_npbmse_mc", "msebc"),
    ],
)
@pytest.mark.slow
def test_grapes_bootstraps_against_sae(grapes, reference, mse, case, key):
    frame, W = grapes
    fit = grape_model(W, mse=mse, replicates=REPLICATES).fit(frame, seed=1)
    ratio = fit.estimates["mse"].to_numpy() / np.array(reference(case)["outputs"][key])
    agrees(ratio, corrected=key == "msebc")


def agrees(ratio, corrected=False):
    """Compare two bootstraps: the log ratios are normal around 0, nearly independent from area to area."""
    if (
        corrected
    ):  # g1 + g2 is exact; what is random is shared by all areas: the mean of the refitted parameters
        assert np.abs(np.log(ratio)).max() < SHARED
        return
    z = np.log(ratio) / MONTE_CARLO
    assert abs(z.mean()) < 0.3  # 33 to 274 areas: at most 0.17 if independent
    assert z.std() < 1.4  # the squared errors of the non-parametric bootstrap have longer tails
    assert np.abs(z).max() < 5.0


@pytest.fixture(scope="module")
def incomes(shared_data, reference):
    sample = pd.read_csv(shared_data / "emdi_eusilcA_smpAgg.csv")
    population = pd.read_csv(shared_data / "emdi_eusilcA_popAgg.csv")
    frame = sample.merge(population, on="Domain")
    # emdi lays the rows of the map on its own order of the domains, which is not that of either table
    order = reference("emdi_fh_spatial_reml_analytical")["outputs"]["domain"]
    return frame, square(shared_data / "emdi_eusilcA_prox.csv", order)


def income_model(W, **options):
    return FayHerriot(
        "Mean ~ cash + self_empl", domain="Domain", vardir="Var_Mean", spatial=SAR(W), **options
    )


@pytest.mark.parametrize("method", ["reml", "ml"])
def test_incomes_against_emdi(incomes, reference, method):
    frame, W = incomes
    truth = reference(f"emdi_fh_spatial_{method}_analytical_tight")["outputs"]
    fit = income_model(W, method=method).fit(frame)
    table = fit.to_frame().set_index("domain").loc[truth["domain"]]
    np.testing.assert_allclose(fit.variance_components["sigma2_u"], truth["variance"]["variance"], rtol=EMDI)
    np.testing.assert_allclose(fit.variance_components["rho_u"], truth["variance"]["correlation"], rtol=EMDI)
    np.testing.assert_allclose(fit.coefficients["coef"], truth["coefficients"]["coefficients"], rtol=EMDI)
    np.testing.assert_allclose(fit.coefficients["se"], truth["coefficients"]["std.error"], rtol=EMDI)
    np.testing.assert_allclose(table["estimate"], truth["FH"], rtol=EMDI)
    np.testing.assert_allclose(fit.diagnostics["aic"], truth["model_select"]["AIC"], rtol=EMDI)
    np.testing.assert_allclose(fit.diagnostics["bic"], truth["model_select"]["BIC"], rtol=EMDI)
    tolerance = (
        EMDI if method == "reml" else 0.01
    )  # ML: the bias term of sae, tests/numerics/spacetime/test_fit.py
    np.testing.assert_allclose(table["mse"], truth["mse"]["FH"], rtol=tolerance)


@pytest.mark.parametrize("method", ["reml", "ml"])
def test_incomes_against_emdi_as_it_stops_by_default(incomes, reference, method):
    """Fisher scoring ends at a change of 1e-4 in ρ: the estimates hardly feel it, the variance more."""
    frame, W = incomes
    truth = reference(f"emdi_fh_spatial_{method}_analytical")["outputs"]
    fit = income_model(W, method=method).fit(frame)
    table = fit.to_frame().set_index("domain").loc[truth["domain"]]
    assert fit.variance_components["rho_u"] == pytest.approx(truth["variance"]["correlation"][0], abs=1e-4)
    assert fit.variance_components["sigma2_u"] == pytest.approx(truth["variance"]["variance"][0], rel=1e-4)
    np.testing.assert_allclose(table["estimate"], truth["FH"], rtol=EMDI)
    np.testing.assert_allclose(table["mse"], truth["mse"]["FH"], rtol=1e-4 if method == "reml" else 0.01)


@pytest.mark.parametrize(
    ("mse", "case"),
    [
        ("bootstrap", "spatialparboot"),
        ("bootstrap-corrected", "spatialparbootbc"),
        ("nonparametric", "spatialnonparboot"),
        ("nonparametric-corrected", "spatialnonparbootbc"),
    ],
)
def test_incomes_bootstraps_against_emdi(incomes, reference, mse, case):
    frame, W = incomes
    truth = reference(f"emdi_fh_spatial_reml_{case}_mc")["outputs"]
    fit = income_model(W, mse=mse, replicates=REPLICATES).fit(frame, seed=1)
    table = fit.to_frame().set_index("domain").loc[truth["domain"]]
    ratio = table["mse"].to_numpy() / np.array(truth["mse"]["FH"])
    agrees(ratio, corrected=mse.endswith("-corrected"))


@pytest.fixture(scope="module")
def periods(shared_data):
    frame = pd.read_csv(shared_data / "sae_spacetime.csv")
    frame["domain"] = "A" + frame["Area"].astype(str)
    labels = list(dict.fromkeys(frame["domain"]))
    return frame, square(shared_data / "sae_spacetimeprox.csv", labels)


@pytest.mark.parametrize(("case", "rho"), [("st", None), ("s", 0.0)])
def test_periods_against_sae(periods, reference, case, rho):
    frame, W = periods
    outputs = reference(f"sae_spacetime_stfh_{case}")["outputs"]
    truth = outputs["tight_precision"]
    model = FayHerriot(
        "Y ~ X1 + X2", vardir="Var", spatial=SAR(W), temporal=AR1("Time", rho=rho), replicates=REPLICATES
    )
    fit = model.fit(frame, seed=1)
    components = fit.variance_components[[n for n in fit.variance_components.index if not n.endswith("_se")]]
    np.testing.assert_allclose(components, truth["varcomp"]["estimate"], rtol=TIGHT)
    np.testing.assert_allclose(fit.estimates["estimate"], truth["eblup"], rtol=TIGHT)
    np.testing.assert_allclose(fit.coefficients["se"], truth["coefficients"]["std.error"], rtol=TIGHT)
    np.testing.assert_allclose(fit.diagnostics["loglik"], truth["goodness"]["loglike"], rtol=TIGHT)
    agrees(fit.estimates["mse"].to_numpy() / np.array(outputs["pbmse_mc"]["mse"]))
