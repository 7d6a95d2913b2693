"""NestedError against sae, lme4, hbsae and emdi, and against a population with a known truth."""

import numpy as np
import pandas as pd
import pytest

import sae

LME4 = 1e-7  # lme4's optimiser stops where the deviance no longer moves: variances to about 2e-7
LME4_VARIANCE = 3e-7
NLME = 1e-6  # nlme, inside sae and emdi, stops earlier; estimates depend little on the variances
RANEF_NLME = 2e-4  # its effects lean on the variances where it stopped
HBSAE = 5e-6  # what hbsae's quadrature promises
MONTE_CARLO = 0.45  # 200 replicates: relative error 0.1, four and a half of them

CASES = [(y, drop) for y in ("CornHec", "SoyBeansHec") for drop in ("", "_drop33")]


@pytest.fixture(scope="module")
def counties(oracle_data):
    units = pd.read_csv(oracle_data / "cornsoybean.csv")
    areas = pd.read_csv(oracle_data / "cornsoybeanmeans.csv").rename(
        columns={
            "CountyIndex": "County",
            "MeanCornPixPerSeg": "CornPix",
            "MeanSoyBeansPixPerSeg": "SoyBeansPix",
        }
    )
    return units, areas


def fitted(counties, y, drop, **options):
    units, areas = counties
    if drop:
        units = units.drop(index=32)
    spec = sae.NestedError(f"{y} ~ CornPix + SoyBeansPix", domain="County", **options)
    return spec.fit(units, areas=areas, seed=1)


@pytest.mark.parametrize("method", ["reml", "ml"])
@pytest.mark.parametrize(("y", "drop"), CASES)
def test_lme4(counties, reference, y, drop, method):
    outputs = reference(f"lme4_nlme_cornsoybean_{y}_{method}{drop}")["outputs"]
    lme4, nlme = outputs["lme4"], outputs["nlme"]
    fit = fitted(counties, y, drop, method=method)
    np.testing.assert_allclose(fit.coefficients["coef"], list(lme4["fixed"].values()), rtol=LME4)
    np.testing.assert_allclose(fit.coefficients["se"], list(lme4["fixed_se"].values()), rtol=LME4)
    assert fit.variance_components["sigma2_u"] == pytest.approx(lme4["sigma_u2"], rel=LME4_VARIANCE)
    assert fit.variance_components["sigma2_e"] == pytest.approx(lme4["sigma_e2"], rel=LME4)
    np.testing.assert_allclose(fit.random_effects["effect"], lme4["ranef"], rtol=1e-6)
    np.testing.assert_allclose(fit.random_effects["effect"], nlme["ranef"], rtol=RANEF_NLME)
    diagnostics = fit.diagnostics.iloc[0]
    assert diagnostics["loglik"] >= nlme["logLik"] - 1e-9
    assert diagnostics["loglik"] == pytest.approx(lme4["logLik"], rel=1e-11)
    assert diagnostics["aic"] == pytest.approx(lme4["AIC"], rel=1e-11)
    assert diagnostics["bic"] == pytest.approx(lme4["BIC"], rel=1e-11)


@pytest.mark.parametrize("method", ["reml", "ml"])
@pytest.mark.parametrize(("y", "drop"), CASES)
def test_sae_finite_population(counties, reference, y, drop, method):
    outputs = reference(f"sae_cornsoybean_bhf_{y}_{method}{drop}")["outputs"]
    options = {"method": method, "population": "PopnSegments"}
    fit = fitted(counties, y, drop, mse="bootstrap", replicates=2000, **options)
    table = fit.estimates.frame
    np.testing.assert_allclose(table["estimate"], outputs["eblup"]["eblup"], rtol=NLME)
    assert table["n"].tolist() == outputs["eblup"]["sampsize"]
    ratio = table["mse"] / outputs["pbmse_mc"]["mse"]
    assert np.abs(np.log(ratio)).max() < MONTE_CARLO
    assert abs(np.log(ratio).mean()) < 0.1


def test_published_corn(counties):
    """Battese, Harter and Fuller's own data without its outlier, as the handbooks print it."""
    fit = fitted(counties, "CornHec", "_drop33", population="PopnSegments")
    published = [
        122.1954,
        126.2280,
        106.6638,
        108.4222,
        144.3072,
        112.1586,
        112.7801,
        122.0020,
        115.3438,
        124.4144,
        106.8883,
        143.0312,
    ]
    np.testing.assert_allclose(fit.estimates["estimate"], published, atol=6e-5)


@pytest.mark.parametrize(("y", "drop"), CASES)
def test_hbsae(counties, reference, y, drop):
    """hbsae's prior is flat on the ratio of the variances: "flat-ratio"."""
    outputs = reference(f"hbsae_cornsoybean_unit_{y}{drop}")["outputs"]
    for key, population in (("HB_fpc", "PopnSegments"), ("HB_nofpc", None)):
        fit = fitted(counties, y, drop, method="bayes", prior="flat-ratio", population=population)
        np.testing.assert_allclose(fit.estimates["estimate"], outputs[key]["est"], rtol=HBSAE)
        np.testing.assert_allclose(fit.estimates["se"], outputs[key]["se"], rtol=HBSAE)
    assert set(fit.estimates["prior"]) == {"flat-ratio"}
    # hbsae's effects are those at the posterior means of the variances; these are means over their posterior
    x_mean = np.column_stack([np.ones(12), counties[1][["CornPix", "SoyBeansPix"]]])
    effects = fit.estimates["estimate"] - x_mean @ fit.coefficients["coef"]
    np.testing.assert_allclose(fit.random_effects["effect"], effects, rtol=1e-9)


def test_emdi_census_of_units(shared_data, reference):
    """The best predictor without a transformation is the EBLUP: 94 districts, 24 of them without a sample."""
    sample = pd.read_csv(shared_data / "emdi_eusilcA_smp.csv")
    census = pd.read_csv(shared_data / "emdi_eusilcA_pop.csv.gz")
    emdi = reference("emdi_ebp_no_mc")["outputs"]
    exact = reference("own_exact_ebp_eusilcA")["outputs"]["no"]
    formula = (
        "eqIncome ~ gender + eqsize + cash + self_empl + unempl_ben + age_ben + surv_ben + sick_ben + dis_ben"
        " + rent + fam_allow + house_allow + cap_inv + tax_adj"
    )
    # emdi's dummy is one of women; the order of levels in the file must not matter
    fit = sae.NestedError(formula, domain="district").fit(sample, areas=census)
    assert fit.variance_components["sigma2_u"] == pytest.approx(emdi["sigma_u"] ** 2, rel=1e-4)
    assert fit.variance_components["sigma2_e"] == pytest.approx(emdi["sigma_e"] ** 2, rel=1e-5)
    table = fit.estimates.frame.set_index("domain").loc[exact["Domain"]]
    assert int((~table["in_sample"]).sum()) == 24
    # emdi predicts sampled units too: take the sample's part of the mean out of ours
    N = census.groupby("district").size().loc[exact["Domain"]].to_numpy()
    f = table["n"].to_numpy(dtype=float) / N
    residual = fit.residuals.set_index("domain")["residual"].reindex(exact["Domain"]).fillna(0.0).to_numpy()
    gamma = table["gamma"].fillna(0.0).to_numpy()
    infinite = table["estimate"].to_numpy() - f * (1 - gamma) * residual
    np.testing.assert_allclose(infinite, exact["Mean"], rtol=1e-5)  # nlme's variances
    # the means of the census, and the truth that they foretell
    truth = census.groupby("district")["eqIncome"].mean().loc[exact["Domain"]].to_numpy()
    sampled = table["in_sample"].to_numpy(dtype=bool)
    error = np.sqrt(np.mean((table["estimate"] - truth)[sampled] ** 2))
    direct = np.sqrt(np.mean((table["direct"] - truth)[sampled] ** 2))
    assert error < 0.7 * direct
    inside = (table["ci_low"] <= truth) & (truth <= table["ci_high"])
    assert inside[sampled].mean() > 0.85  # incomes are skew: not the nominal 95 %


def test_textbook_income_by_shares_of_levels(shared_data):
    """Real run: income of persons by labour status, population shares of the levels from the register."""
    units = pd.read_csv(shared_data / "real" / "saebook_lcs_sample.csv")
    areas = pd.read_csv(shared_data / "real" / "saebook_lcs_aux.csv").rename(
        columns={"Mwork": "lab[1]", "Mnowork": "lab[2]", "Minact": "lab[3]"}
    )
    areas = areas.assign(country="all")
    units = units[units["dom"].isin(areas["dom"])].assign(lab=lambda frame: frame["lab"].astype(str))
    fit = sae.NestedError("income ~ lab", domain="dom", population="TOT").fit(units, areas=areas)
    table = fit.estimates.frame
    assert table["in_sample"].all() and len(table) == 26
    assert fit.variance_components["sigma2_u"] > 0
    # the domains differ in what their people do: the estimate moves the sample's shares to the register's
    synthetic = fit.residuals["fitted"] + fit.residuals["residual"] - table["direct"]
    np.testing.assert_allclose(synthetic, 0.0, atol=1e-9)
    assert table["gamma"].between(0.2, 0.99).all()
    assert np.median(table["se"] / table["estimate"]) < 0.1
    bayes = sae.NestedError("income ~ lab", domain="dom", population="TOT", method="bayes")
    result = bayes.fit(units, areas=areas)
    gap = (result.estimates["estimate"] - table["estimate"]) / table["se"]
    assert gap.abs().max() < 0.5
    assert result.estimates["prior"].str.match(r"half-normal\(\d+\)").all()
    total = result.aggregate(by="country", weights="TOT").frame["estimate"].iloc[0]
    draws = result.draws(4000, seed=1).values @ (areas["TOT"] / areas["TOT"].sum())
    assert draws.mean() == pytest.approx(total, rel=2e-3)
