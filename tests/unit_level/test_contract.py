"""What every unit-level fit gives, family by family: what has no meaning is refused by name."""

import pickle
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

import sae
from sae.errors import SaeError, SaeSpecError
from sae.unit_level import area_influence, unit_residuals

pytestmark = pytest.mark.filterwarnings("ignore::sae.errors.SaeWarning")

AREAS = [f"A{d:02d}" for d in range(12)]
EBP = {"domain": "area", "threshold": 7000.0, "indicators": ["mean", "head_count"]}
SHORT = {"replicates": 5, "draws": 5}


def _people():
    rng = np.random.default_rng(11)
    people = pd.DataFrame({"area": np.repeat(AREAS, 40), "age": rng.integers(20, 65, 480)})
    people["part"] = people["area"] + "." + (np.arange(480) // 20 % 2).astype(str)
    people["country"] = np.where(people["area"] < "A06", "N", "S")
    effect = np.repeat(rng.normal(0, 0.3, 12), 40)
    people["income"] = np.exp(9.0 + 0.01 * people["age"] + effect + 0.4 * rng.normal(size=480))
    people["work"] = (rng.uniform(size=480) < 0.3 + 0.005 * people["age"]).astype(int)
    return people.assign(k=1.0 + people.index % 2, w=1.0 + people.index % 3, N=40)


PEOPLE = _people()
SAMPLE = PEOPLE[PEOPLE["area"] != AREAS[-1]].groupby("part").head(5).reset_index(drop=True)
MEANS = PEOPLE.groupby(["area", "country"], as_index=False)[["age", "N"]].mean()
PARTS = PEOPLE.groupby(["part", "area", "country"], as_index=False)[["age"]].mean().assign(N=20)
CELLS = PEOPLE.groupby(["area", "country", "age"], as_index=False).size().rename(columns={"size": "N"})


@dataclass(frozen=True)
class Family:
    """A model, its population, and what it is expected to have."""

    model: object
    areas: pd.DataFrame
    units: bool = True  # residuals of units and effects
    influence: bool = True
    posterior: bool = False
    predicts: bool = False
    plans: bool = False
    icc: bool = True
    profile: bool = False


def _nested(**options):
    return sae.NestedError("income ~ age", domain="area", **options)


FAMILIES = {
    "ebp": Family(sae.EBP("income ~ age", **EBP, **SHORT), PEOPLE, profile=True),
    "ebp ml": Family(
        sae.EBP("income ~ age", **EBP, **SHORT, transform="log", method="ml", levels="country"), PEOPLE
    ),
    "ebp weights": Family(
        sae.EBP("income ~ age", **EBP, **SHORT, transform="log", weights="w"), PEOPLE, influence=False
    ),
    "ebp clusters": Family(
        sae.EBP("income ~ age", **EBP, **SHORT, transform="log", clusters="part"), PEOPLE, influence=False
    ),
    "ebp bayes": Family(
        sae.EBP("income ~ age", **EBP, transform="log", method="bayes", draws=100), PEOPLE, posterior=True
    ),
    "ebp ell": Family(sae.EBP("income ~ age", **EBP, transform="log", method="ell", draws=20), PEOPLE),
    "nested": Family(_nested(population="N"), MEANS, predicts=True, plans=True),
    "nested bootstrap": Family(_nested(mse="bootstrap", replicates=9), MEANS, predicts=True, plans=True),
    "nested bayes": Family(_nested(method="bayes"), MEANS, posterior=True, predicts=True, plans=True),
    "nested weights": Family(_nested(weights="w"), MEANS, influence=False, plans=True),
    "nested error_scale": Family(_nested(error_scale="k"), MEANS, plans=True),
    "two fold": Family(
        sae.TwoFoldNestedError("income ~ age", domain="part", area="area"), PARTS, influence=False
    ),
    "robust": Family(
        sae.RobustNestedError("income ~ age", domain="area", replicates=5), MEANS, influence=False
    ),
    "m_quantile": Family(
        sae.MQuantile("income ~ age", domain="area"), PEOPLE, units=False, influence=False, icc=False
    ),
    "logit": Family(
        sae.LogitMixed("work ~ age", domain="area", population="N"),
        CELLS,
        units=False,
        influence=False,
        posterior=True,
    ),
}


@pytest.fixture(scope="module")
def fits():
    return {name: one.model.fit(SAMPLE, areas=one.areas, seed=1) for name, one in FAMILIES.items()}


@pytest.fixture(params=FAMILIES)
def family(request):
    return FAMILIES[request.param]


@pytest.fixture
def fit(request, fits):
    return fits[request.node.callspec.params["family"]]


def expects(able, call, hint):
    """Return what a call gives, or check that it is refused with a hint."""
    if able:
        return call()
    with pytest.raises(SaeError) as refused:
        call()
    assert hint in refused.value.hint
    return None


def test_summary_has_both_variances_icc_and_r2(family, fit):
    text, row = fit.summary(), fit.diagnostics.iloc[0]
    if family.icc:
        assert 0 <= row["r2_marginal"] < row["r2_conditional"] < 1 and 0 < row["icc"] < 1
        assert "marginal R²" in text and "conditional R²" in text and "ICC" in text
    names = ("sigma_u", "sigma_e") if family.posterior else ("model variance", "sigma2_e")
    if family.units:
        assert all(name in text for name in names)
    assert ("lambda" in text) == family.profile


def test_residuals_of_both_levels(family, fit):
    table = expects(family.units, lambda: unit_residuals(fit), "fit.residuals")
    sampled = fit.estimates.frame.loc[fit.residuals.index, "domain"]
    assert list(fit.residuals["domain"]) == list(sampled)
    assert len(sae.plots.qq(fit.residuals, units=table).axes) == (2 if family.units else 1)
    assert len(fit.plot.residuals().axes) == (2 if fit.residuals["leverage"].notna().any() else 1)
    if family.units:
        assert len(table) == len(SAMPLE) and table["standardised"].std() == pytest.approx(1, rel=0.4)


def test_effects_make_the_fitted_values_of_units(family, fit):
    effects = expects(family.units, lambda: fit.random_effects, "fit.residuals")
    if not family.units:
        return
    table = unit_residuals(fit)
    assert effects["domain"].is_unique
    regression = fit.data.X @ fit.coefficients["coef"].to_numpy(dtype=float)
    added = (table["fitted"] - regression).groupby(table["domain"]).first()
    np.testing.assert_allclose(added, effects.set_index("domain")["effect"].loc[added.index], atol=1e-6)


def test_influence_of_areas(family, fit):
    table = expects(family.influence, lambda: area_influence(fit), "")
    if family.influence:
        assert table["domain"].is_unique and (table["cook"] >= 0).all()
        panels = 2 if "largest_move" in table else 1
        assert len(sae.plots.influence(table).axes) == panels


def test_profile_of_the_transformation(family, fit):
    chart = expects(family.profile, lambda: fit.plot.profile(), "box-cox")
    assert chart is None or len(chart.axes) == 1


def test_draws_and_what_rests_on_them(family, fit):
    assert fit.draws(50, seed=1).values.shape == (50, len(fit.estimates))
    several = fit.estimates.frame["indicator"].nunique() > 1 and "ebp" in fit.spec.kind
    weights = "population" if "population" in fit.areas else "N"
    by = "country" if "country" in fit.areas else "domain"
    if getattr(fit.spec, "overlapping", ()):
        with pytest.raises(SaeSpecError, match="same persons again"):
            fit.aggregate(by=by, weights=weights)
        return
    together = fit.aggregate(by=by, weights=weights)
    assert (together.frame["se"] > 0).all()
    means = fit.estimates.frame.groupby("indicator", sort=False)["estimate"].mean()
    target = means.to_dict() if several else float(means.iloc[0])
    meets = fit.benchmark(target, weights=weights, **({"within": "indicator"} if several else {}))
    size = meets.areas[weights].to_numpy(dtype=float)
    frame = meets.estimates.frame
    for indicator, mean in means.items():
        rows = (frame["indicator"] == indicator).to_numpy()
        assert np.average(frame["estimate"][rows], weights=size[rows]) == pytest.approx(mean, rel=1e-9)


def test_what_only_a_posterior_has(family, fit):
    hint = "draws(1000, seed=1)" if not hasattr(fit.spec, "prior") else 'method="bayes"'
    loo = expects(family.posterior, fit.loo, hint)
    check = expects(family.posterior, lambda: fit.predictive_check(200, seed=1), hint)
    arviz = expects(family.posterior, lambda: fit.to_arviz(40, seed=1), hint)
    if family.posterior:
        assert loo["domain"].is_unique and loo["elpd"].notna().all() and len(loo) == 11
        assert 0 < check.loc["overall", "p_value"] <= 1
        assert "posterior" in dir(arviz)


def test_new_areas_and_plans(family, fit):
    new = pd.DataFrame({"area": ["Z"], "age": [40.0], "N": [50]})
    table = expects(family.predicts, lambda: fit.predict(new), "fit(data, areas=population)")
    assert table is None or list(table.frame["domain"]) == ["Z"]
    frame = pd.DataFrame({"domain": AREAS, "population": 2_000})
    plan = expects(family.plans, lambda: sae.planning.oversample(fit, frame, targets=0.1), "sae.NestedError")
    assert plan is None or plan.domains["met"].all()


def test_it_can_be_written_kept_and_read_again(family, fit, tmp_path):
    assert type(family.model).from_toml(family.model.to_toml()) == family.model
    assert pickle.loads(pickle.dumps(fit)).summary() == fit.summary()
    assert fit.write(tmp_path / "fit.xlsx").stat().st_size > 1000
    assert len(fit.tidy()) == len(fit.coefficients) and len(fit.glance()) == 1


@pytest.mark.parametrize(
    "model",
    [
        sae.RobustNestedError("income ~ age", domain="area", replicates=5),
        sae.MQuantile("income ~ age", domain="area", mse="bootstrap", replicates=5),
    ],
)
def test_the_order_of_rows_and_areas_changes_no_bootstrap(model):
    population = MEANS if model.kind == "robust_nested_error" else PEOPLE
    rows, places = SAMPLE.sample(frac=1, random_state=2), population.sample(frac=1, random_state=3)
    tables = [
        model.fit(units, areas=areas, seed=1).to_frame().set_index("domain").sort_index()
        for units, areas in ((SAMPLE, population), (rows, places))
    ]
    for name in ("estimate", "se"):
        np.testing.assert_allclose(tables[0][name], tables[1][name], rtol=1e-9)
