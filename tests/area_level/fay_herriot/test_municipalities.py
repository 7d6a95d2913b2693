"""Chilean and Mexican municipalities: zero variances in disguise, and thousands of areas without a sample."""

import numpy as np
import pandas as pd
import pytest

from sae.area_level import FayHerriot
from sae.errors import SaeInputError

COUNTRIES = {"chile": ("cl_casen2017_comuna", 324, 345, 14), "mexico": ("mx_2020_municipio", 1090, 2469, 433)}
FORMULA = "ocupado ~ area1 + sexo2 + edad3 + edad5 + anoest3 + anoest4 + tasa_desocupacion"
pytestmark = pytest.mark.filterwarnings("ignore::sae.errors.ExtrapolationWarning")


@pytest.fixture(params=COUNTRIES)
def country(request, shared_data):
    stem, *figures = COUNTRIES[request.param]
    folder, text = shared_data / "real", {"dam2": str}
    direct = pd.read_csv(folder / f"{stem}_direct.csv", dtype=text)
    areas = pd.read_csv(folder / f"{stem}_predictors.csv", dtype=text)
    n = direct[["n_ocupado", "n_desocupado", "n_inactivo"]].sum(axis=1)
    return direct.assign(n=n), areas, *figures


def spec(**options):
    return FayHerriot(FORMULA, domain="dam2", vardir="ocupado_var", **options)


def test_variances_that_only_rounding_keeps_from_zero_are_refused_by_name(country):
    direct, areas, _, _, zero = country
    # one primary unit each: 2e-32 is no precision; at its word the area would outweigh all others
    noise = direct["ocupado_var"] < 1e-12
    assert noise.sum() == zero
    assert (direct["ocupado_var"] > 0)[noise].any()
    with pytest.raises(SaeInputError, match=rf"{zero} of \d+ areas .* not positive") as error:
        spec().fit(direct, areas=areas)
    assert set(error.value.areas) == set(direct["dam2"][noise])


def test_as_areas_without_a_sample(country):
    direct, areas, sampled, total, zero = country
    kept = direct.assign(ocupado=direct["ocupado"].where(direct["ocupado_var"] > 1e-12))
    fit = spec().fit(kept, areas=areas)
    table = fit.to_frame()
    assert len(table) == total
    assert table["in_sample"].sum() == sampled - zero
    inside, out = table[table["in_sample"]], table[~table["in_sample"]]
    assert (inside["se"] < inside["direct_se"]).mean() > 0.7
    assert out["se"].median() > inside["se"].median()
    assert table["estimate"].between(0.1, 0.95).all()
    # predictions of left-out municipalities are as wrong as they say: every seventh left out
    rows = kept.index[kept["ocupado"].notna()][::7]
    again = spec().fit(kept.drop(index=rows), areas=areas).to_frame().set_index("domain")
    truth = kept.loc[rows].set_index("dam2")
    gap = truth["ocupado"] - again.loc[truth.index, "estimate"]
    z = gap / np.sqrt(again.loc[truth.index, "mse"] + truth["ocupado_var"])
    assert abs(z.mean()) < 0.4
    assert 0.6 < z.std() < 1.5


def test_smoothed_by_a_pooled_design_effect(country):
    direct, areas, sampled, total, _ = country
    usable = direct["ocupado_deff"] > 0.1
    pooled = direct["ocupado_deff"][usable].median()
    smoothed = direct.assign(n_eff=direct["n"] / pooled)
    fit = spec(transform="arcsin", replicates=20).fit(smoothed, areas=areas, seed=1)
    table = fit.to_frame()
    assert table["in_sample"].sum() == sampled
    assert len(table) == total
    assert ((table["ci_low"] >= 0) & (table["ci_high"] <= 1)).all()
    assert (table["mse"] > 0).all()


def test_chile_agrees_with_the_published_model(shared_data):
    # a multinomial model of the same figures with other covariates: a comparison, not a truth
    folder, text = shared_data / "real", {"dam2": str}
    direct = pd.read_csv(folder / "cl_casen2017_comuna_direct.csv", dtype=text)
    areas = pd.read_csv(folder / "cl_casen2017_comuna_predictors.csv", dtype=text)
    published = pd.read_csv(folder / "cl_casen2017_comuna_cepal_model.csv", dtype=text).set_index("dam2")
    kept = direct.assign(ocupado=direct["ocupado"].where(direct["ocupado_var"] > 1e-12))
    table = spec().fit(kept, areas=areas).to_frame().set_index("domain")
    theirs = published["ocupado_mod"].loc[table.index]
    inside = table["in_sample"]
    assert np.corrcoef(table["estimate"][inside], theirs[inside])[0, 1] > 0.9
    assert abs((table["estimate"] - theirs)[inside].mean()) < 0.01
