"""Residuals of units and areas left out, of every fit of the family."""

import numpy as np
import pandas as pd
import pytest

import sae
from sae.errors import SaeSpecError
from sae.unit_level import area_influence, unit_residuals

EXACT = 1e-9  # two ways to the same numbers: rounding only
AREAS = [f"A{k:02}" for k in range(24)]


@pytest.fixture
def units(rng):
    area = np.repeat(AREAS[:-1], np.resize([2, 4, 7], 23))
    frame = pd.DataFrame(
        {"area": area, "x": rng.normal(1e3, 2, len(area)), "k": rng.uniform(0.5, 2, len(area))}
    )
    effect = dict(zip(AREAS, rng.normal(size=24), strict=True))
    return frame.assign(y=frame["x"] + frame["area"].map(effect) + frame["k"] * rng.normal(size=len(area)))


@pytest.fixture
def means():
    city = np.repeat([f"C{k}" for k in range(8)], 3)
    return pd.DataFrame({"area": AREAS, "x": 1e3, "city": city})


FITS = {
    "reml": sae.NestedError("y ~ x", domain="area"),
    "bayes": sae.NestedError("y ~ x", domain="area", method="bayes"),
    "weights": sae.NestedError("y ~ x", domain="area", weights="k"),
    "scale": sae.NestedError("y ~ x", domain="area", error_scale="k"),
    "two-fold": sae.TwoFoldNestedError("y ~ x", domain="area", area="city"),
    "robust": sae.RobustNestedError("y ~ x", domain="area", replicates=2),
}


@pytest.mark.parametrize("name", FITS)
def test_units_have_residuals_beyond_their_areas(units, means, name):
    fit = FITS[name].fit(units, areas=means, seed=1)
    table = unit_residuals(fit)
    effects = fit.random_effects.set_index("domain")["effect"]
    fitted = fit.coefficients["coef"].to_numpy() @ [np.ones(len(units)), units["x"]]
    np.testing.assert_allclose(table["fitted"], fitted + units["area"].map(effects), rtol=EXACT)
    np.testing.assert_allclose(table["fitted"] + table["residual"], units["y"], rtol=EXACT)
    assert table["domain"].tolist() == units["area"].tolist()
    assert table["standardised"].std() == pytest.approx(1.0, abs=0.25)
    if name == "scale":
        sigma = np.sqrt(fit.variance_components["sigma2_e"])
        np.testing.assert_allclose(table["standardised"], table["residual"] / units["k"] / sigma)
    row = fit.diagnostics.iloc[0]
    assert 0 < row["r2_marginal"] < row["r2_conditional"] < 1 and 0 < row["icc"] < 1
    assert "ICC" in fit.summary() and "conditional R²" in fit.summary()


@pytest.mark.parametrize("name", ["reml", "bayes", "scale"])
def test_areas_left_out_are_left_out(units, means, name):
    far = units.assign(y=units["y"] + 30.0 * (units["area"] == "A05"))
    fit = FITS[name].fit(far, areas=means)
    table = area_influence(fit)
    assert table["domain"].tolist() == AREAS[:-1] and table["cook"].idxmax() == 5
    assert abs(table["deleted_standardised"][5]) > 3
    if name == "bayes":
        return  # posterior means of coefficients are those of no variance in particular
    u2, e2 = fit.variance_components["sigma2_u"], fit.variance_components["sigma2_e"]
    kept = far[far["area"] != "A05"]
    X, own = np.column_stack([np.ones(len(kept)), kept["x"]]), kept["area"].to_numpy()
    k = kept["k"].to_numpy() if name == "scale" else np.ones(len(kept))
    W = np.linalg.inv(u2 * (own[:, None] == own) + e2 * np.diag(k**2))
    beta = np.linalg.solve(X.T @ W @ X, X.T @ W @ kept["y"])
    moved = fit.coefficients["coef"].to_numpy() - table.loc[5, ["Intercept", "x"]].to_numpy(dtype=float)
    np.testing.assert_allclose(moved, beta, rtol=1e-6)
    # estimates without the area: BLUPs of the others, and the regression for itself
    weights = pd.Series(1.0 / k**2, index=kept.index)
    total = weights.groupby(kept["area"]).sum()
    y_mean, x_mean = ((kept[name] * weights).groupby(kept["area"]).sum() / total for name in ("y", "x"))
    gamma = u2 / (u2 + e2 / total)
    without = beta @ [1.0, 1e3] + gamma * (y_mean - beta[0] - beta[1] * x_mean)
    table_now = fit.estimates.frame.set_index("domain")
    change = ((table_now["estimate"] - without) / table_now["se"]).abs().drop(["A05", "A23"])
    unsampled = abs((table_now["estimate"] - beta @ [1.0, 1e3]) / table_now["se"])["A23"]
    assert table.loc[5, "largest_move"] == pytest.approx(max(change.max(), unsampled), rel=1e-5)
    assert table.loc[5, "of"] == ("A23" if unsampled > change.max() else change.idxmax())
    assert table.loc[5, "synthetic"] == pytest.approx(beta @ [1.0, 1e3], rel=1e-9)


def test_what_has_no_such_diagnostics_is_refused(units, means):
    for name in ("weights", "two-fold", "robust"):
        with pytest.raises(SaeSpecError, match="one area effect"):
            area_influence(FITS[name].fit(units, areas=means, seed=1))
    direct = pd.DataFrame({"domain": list("ABCDEF"), "y": range(6), "vardir": 1.0})
    with pytest.raises(SaeSpecError, match="FayHerriot has no effects added to a regression of units"):
        unit_residuals(sae.FayHerriot("y ~ 1").fit(direct))


def test_the_units_of_an_ebp_are_those_of_the_nested_error_model_of_its_scale():
    rng = np.random.default_rng(8)
    people = pd.DataFrame({"area": np.repeat(list("ABCDEFGH"), 60), "x": rng.normal(size=480)})
    effect = np.repeat(rng.normal(0, 0.5, 8), 60)
    people["y"] = np.exp(1 + 0.5 * people["x"] + effect + 0.4 * rng.normal(size=480))
    units = people.groupby("area").head(9)
    spec = sae.EBP("y ~ x", domain="area", indicators="mean", transform="log", mse="none")
    census = people[people["area"] != "C"]  # whose units are fitted and not predicted
    ours = unit_residuals(spec.fit(units, areas=census))
    linear = sae.NestedError("z ~ x", domain="area").fit(units.assign(z=np.log(units["y"])), areas=people)
    theirs = unit_residuals(linear).query("domain != 'C'").reset_index(drop=True)
    pd.testing.assert_frame_equal(ours, theirs, rtol=1e-6)  # where the two optimisers stop
