"""Multivariate Fay–Herriot: a bivariate model of 218 areas with nine covariates, and its bootstrap."""

from harness import Case

AREAS, COVARIATES = 218, 9


def rates():
    """Draw rates of two groups per area; their effects determine each other, so that intervals integrate."""
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(12)
    x = rng.normal(size=(AREAS, COVARIATES))
    u = 0.03 * rng.normal(size=AREAS)
    frame = pd.DataFrame({f"x{j}": x[:, j] for j in range(COVARIATES)})
    frame.insert(0, "domain", [f"A{k}" for k in range(AREAS)])
    for name, size, share in (("foreign", 60.0, 0.8), ("native", 400.0, 1.0)):
        variance = 0.2 / rng.uniform(0.5 * size, 2.0 * size, AREAS)
        frame[name] = 0.7 + 0.02 * x.sum(axis=1) + share * u + rng.normal(size=AREAS) * np.sqrt(variance)
        frame[f"v_{name}"] = variance
    return frame


def fit(frame, **options):
    import warnings

    import sae

    right = " + ".join(f"x{j}" for j in range(COVARIATES))
    vardir = {"foreign": "v_foreign", "native": "v_native", ("foreign", "native"): 0}
    formulas = [f"{name} ~ {right}" for name in ("foreign", "native")]
    spec = sae.MultivariateFayHerriot(formulas, domain="domain", vardir=vardir, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the effects determine each other
        return spec.fit(frame, seed=1 if options else None)


def wls(frame):
    """Fit each group by weighted least squares with a formula and a summary: what a user would do without."""
    import statsmodels.formula.api as smf

    right = " + ".join(f"x{j}" for j in range(COVARIATES))
    names = ("foreign", "native")
    fits = [
        smf.wls(f"{name} ~ {right}", frame, weights=1.0 / (0.001 + frame[f"v_{name}"])).fit()
        for name in names
    ]
    return [str(own.summary()) for own in fits]


def from_the_posterior(frame, ours, theirs):
    table = ours.estimates
    assert table["interval"].str.startswith("posterior").all(), table["interval"].iloc[0]
    assert (table["ci_low"] < table["ci_high"]).all()


def known_to_two_percent(frame, ours, theirs):
    text = ours.estimates["mse_method"].iloc[0]
    assert float(text.rpartition("se to ")[2].rstrip("%")) <= 1.0, text


CASES = [
    Case(
        name="multivariate_ny_nj",
        setup=rates,
        run=fit,
        peer=wls,
        peer_name="statsmodels: both groups by WLS with formula and summary",
        check=from_the_posterior,
        unit="fit",
        target="0.1 s of CPU",
    ),
    Case(
        name="multivariate_bootstrap",
        setup=rates,
        run=lambda frame: fit(frame, mse="bootstrap"),
        peer=wls,
        peer_name="statsmodels: both groups by WLS with formula and summary",
        check=known_to_two_percent,
        unit="fit",
        repeat=3,
        target="a bootstrap MSE known to 2 %",
    ),
]
