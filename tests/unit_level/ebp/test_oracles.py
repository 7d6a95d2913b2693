"""EBP against emdi, sae and limits without simulation error, on the data that they used."""

import numpy as np
import pandas as pd
import pytest

import sae
from sae.numerics.ebp.indicators import Indicators
from sae.numerics.ebp.population import Level, Parameters
from sae.numerics.ebp.prediction import predict
from sae.numerics.ebp.simulation import simulate
from sae.numerics.ebp.transforms import Scale
from sae.numerics.nested_error.fit import fit_nested_error
from sae.numerics.random.streams import stream_keys
from sae.unit_level.ebp.people import PeopleColumns
from sae.unit_level.ebp.sample import EbpArrays

EXACT = 1e-7  # the limits without simulation, at the fits and λ that R stopped at
LOGLIK = 1e-7  # of a restricted log-likelihood: nlme stops early
SIGMAS = 5.0  # of some hundred figures of 50 simulated populations
BOOTSTRAP = 5.0  # standard errors of a mean over domains of logarithms of errors

LINE = 11_064.82
COVARIATES = (
    "gender + eqsize + cash + self_empl + unempl_ben + age_ben + surv_ben + sick_ben + dis_ben + rent + "
    "fam_allow + house_allow + cap_inv + tax_adj"
)
EMDI = {
    "mean": "Mean",
    "head_count": "Head_Count",
    "gap": "Poverty_Gap",
    "quantile_10": "Quantile_10",
    "median": "Median",
    "quantile_90": "Quantile_90",
    "gini": "Gini",
    "emdi_share": "Quintile_Share",
}
SPAIN = ["age2", "age3", "age4", "age5", "nat1", "educ1", "educ3", "labor1", "labor2"]
CASES = {"none": "no", "log": "log", "box-cox": "boxcox", "log-shift": "logshift", "dual-power": "dual"}


@pytest.fixture(scope="module")
def austria(shared_data):
    units = pd.read_csv(shared_data / "emdi_eusilcA_smp.csv")
    return units, pd.read_csv(shared_data / "emdi_eusilcA_pop.csv.gz")


@pytest.fixture(scope="module")
def arrays(austria):
    options = {"outcome": "eqIncome", "covariates": COVARIATES, "weights": None}
    return EbpArrays.build(*austria, columns=PeopleColumns("district"), **options)


def emdi_share(values, weights):
    """Quintile share as emdi has it: means, not sums, of those above and not above quantiles of type 7."""
    low, high = np.quantile(values, [0.2, 0.8])
    return values[values > high].mean() / values[values <= low].mean()


def at_emdis_parameter(arrays, reference, name):
    emdi = reference(f"emdi_ebp_{CASES[name]}_mc")["outputs"]
    scale = Scale(name, float(emdi["lambda"]) if name in ("box-cox", "dual-power", "log-shift") else 0.0)
    sums = arrays.units.sums(scale.forward(arrays.y)[None])
    return Parameters.of_fit(scale, fit_nested_error(sums), sums), emdi


@pytest.mark.parametrize("name", ["none", "log", "box-cox", "log-shift"])
def test_limits_without_simulation(arrays, reference, name):
    at, _ = at_emdis_parameter(arrays, reference, name)
    exact = reference("own_exact_ebp_eusilcA")["outputs"][CASES[name]]
    names = ("mean", "head_count", "gap")
    level = Level.of_areas(len(arrays.names))
    got, _ = predict(arrays.people.population, at, Indicators(names, LINE), level, None, 0)
    order = pd.Index(exact["Domain"]).get_indexer(arrays.names)
    for k, column in enumerate(names):
        np.testing.assert_allclose(got[:, 0, k], np.array(exact[EMDI[column]])[order], rtol=EXACT)
    np.testing.assert_allclose(at.effect, np.array(exact["u_hat"])[order], atol=EXACT * at.effect.std())


@pytest.mark.parametrize("name", ["none", "log"])
def test_the_call_gives_these_limits(austria, reference, name):
    options = {"domain": "district", "threshold": LINE, "transform": name, "mse": "none"}
    with pytest.warns(sae.errors.ExtrapolationWarning, match="rent"):
        fit = sae.EBP(f"eqIncome ~ {COVARIATES}", **options).fit(austria[0], areas=austria[1])
    exact = reference("own_exact_ebp_eusilcA")["outputs"][CASES[name]]
    for column in ("mean", "head_count", "gap"):
        table = fit.estimates.frame.query("indicator == @column").set_index("domain")["estimate"]
        np.testing.assert_allclose(table[exact["Domain"]], exact[EMDI[column]], rtol=EXACT)


@pytest.mark.parametrize("name", list(CASES))
def test_emdi_simulated_the_same(arrays, reference, name):
    at, emdi = at_emdis_parameter(arrays, reference, name)
    people, level = arrays.people.population, Level.of_areas(len(arrays.names))
    wanted = Indicators(tuple(EMDI), LINE, {"emdi_share": emdi_share})
    keys = stream_keys(1, "welfare", list(arrays.names))
    got, error = simulate(people, at, wanted, level, keys, 100)
    theirs = emdi["point"]
    order = pd.Index(theirs["Domain"]).get_indexer(arrays.names)
    large = people.sizes > 100  # their quantiles are of type 7, which small domains tell apart
    for k, (column, title) in enumerate(EMDI.items()):
        noise = error[:, 0, k] * np.sqrt(1.0 + 100 / 50)
        z = ((np.array(theirs[title])[order] - got[:, 0, k]) / noise)[large]
        assert np.abs(z).max() < SIGMAS, column
        assert 0.7 < z.std() < 1.4, column
        assert abs(z.mean()) < SIGMAS / np.sqrt(len(z)) + 0.25, column  # areas share the noise of no draw


@pytest.mark.parametrize("kind", ["parametric", "wild"])
def test_emdis_bootstrap(austria, reference, kind):
    names = ("mean", "head_count", "gap", "median")
    options = {"domain": "district", "threshold": LINE, "indicators": names, "replicates": 30, "draws": 50}
    spec = sae.EBP(f"eqIncome ~ {COVARIATES}", mse="wild" if kind == "wild" else "bootstrap", **options)
    with pytest.warns(sae.errors.ExtrapolationWarning):
        fit = spec.fit(austria[0], areas=austria[1], seed=1)
    emdi = reference(f"emdi_ebp_boxcox_mse_{kind}_mc")["outputs"]["mse"]
    for column in names:
        table = fit.estimates.frame.query("indicator == @column").set_index("domain")["mse"]
        gap = np.log(np.array(emdi[EMDI[column]]) / table[emdi["Domain"]].to_numpy())
        bias = 1.0 / 30 - 1.0 / 20  # of the logarithms of means of so many squares
        spread = np.sqrt(2.0 / 20 + 2.0 / 30)
        assert gap.std() < 2.0 * spread, column
        assert abs(gap.mean() - bias) < BOOTSTRAP * gap.std() / np.sqrt(len(gap)) + 0.05, column


@pytest.fixture(scope="module")
def spain(shared_data):
    """Incomes of all provinces, and the populations of the two smallest that sae predicts."""
    units = pd.read_csv(shared_data / "sae_incomedata.csv")
    rest = pd.read_csv(shared_data / "sae_Xoutsamp.csv.gz").rename(columns={"domain": "prov"})
    rest = rest[rest["prov"].isin(rest["prov"].value_counts().index[-2:])]
    units["id"] = [f"s{k}" for k in range(len(units))]
    rest["id"] = [f"r{k}" for k in range(len(rest))]
    asked = units[units["prov"].isin(rest["prov"].unique())]
    return units, pd.concat([rest, asked])[["prov", "id", *SPAIN]]


def poverty(spain, indicator, **options):
    spec = sae.EBP(
        f"income ~ {' + '.join(SPAIN)}",
        domain="prov",
        indicators=[indicator],
        transform="log",
        shift=3600.0,
        threshold=6477.484,
        linked="id",
        **options,
    )
    return spec.fit(spain[0], areas=spain[1], seed=1)


@pytest.mark.parametrize(("case", "indicator"), [("povinc", "head_count"), ("povgap", "gap")])
def test_sae_with_linked_units(spain, reference, case, indicator):
    outputs = reference(f"sae_incomedata_eb_{case}_mc")["outputs"]
    fit = poverty(spain, indicator, mse="none")
    assert fit.variance_components["sigma2_u"] == pytest.approx(outputs["fit"]["refvar"], rel=1e-4)
    assert fit.variance_components["sigma2_e"] == pytest.approx(outputs["fit"]["errorvar"], rel=1e-5)
    assert "50 areas of the sample" in fit.messages[0].text
    ours = fit.estimates.frame.set_index("domain")["estimate"]
    theirs = pd.Series(outputs["eb"]["eb"], index=list(map(str, outputs["eb"]["domain"])))[ours.index]
    noise = {"head_count": 0.025, "gap": 0.009}[
        indicator
    ]  # sd of a simulated population, mostly of its effect
    assert np.abs((theirs - ours) / (noise / np.sqrt(50))).max() < 3.5


def test_saes_bootstrap(spain, reference):
    mse = reference("sae_incomedata_pbmseeb_povinc_mc")["outputs"]["mse"]
    ours = poverty(spain, "head_count", replicates=30).estimates.frame.set_index("domain")["mse"]
    theirs = pd.Series(mse["mse"], index=list(map(str, mse["domain"])))[ours.index]
    spread = np.sqrt(2.0 / 20 + 2.0 / 30)
    assert np.abs(np.log(theirs / ours)).max() < 3.5 * spread
