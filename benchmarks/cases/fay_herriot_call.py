"""The public Fay–Herriot call on a frame, against a weighted regression of the same frame with summary."""

from harness import Case


def frame(areas):
    """Areas with text labels, one covariate and sampling variances, as a user holds them."""
    import numpy as np
    import pandas as pd
    import statsmodels.formula.api as smf

    rng = np.random.default_rng(0)
    x, vardir = rng.normal(size=areas), rng.uniform(0.1, 1.0, areas)
    y = 1 + x + 0.5 * rng.normal(size=areas) + np.sqrt(vardir) * rng.normal(size=areas)
    labels = [f"a{k}" for k in range(areas)]
    return pd.DataFrame({"domain": labels, "y": y, "x": x, "vardir": vardir}), smf


def fit(state):
    import sae

    return sae.FayHerriot("y ~ x").fit(state[0])


def fit_and_summary(state):
    return str(fit(state).summary())


def regression(state):
    data, formulas = state
    model = formulas.wls("y ~ x", data, weights=1.0 / data["vardir"]).fit()
    return model, str(model.summary())


def same_line(state, ours, theirs):
    """Both weigh by nearly the sampling variance, so the lines differ by little."""
    assert abs(ours.coefficients["coef"].iloc[1] - theirs[0].params.iloc[1]) < 0.2


CASES = [
    *(
        Case(
            name=f"fh_call_{areas}",
            setup=lambda areas=areas: frame(areas),
            run=fit,
            peer=regression,
            peer_name="statsmodels WLS with formula and summary on the same frame",
            check=same_line,
            unit="fit",
            repeat=21 if areas < 100_000 else 7,
            target=target,
        )
        for areas, target in ((100, "at most 0.5"), (1000, "at most 1"), (100_000, "at most 5"))
    ),
    Case(
        name="fh_call_summary_100",
        setup=lambda: frame(100),
        run=fit_and_summary,
        peer=regression,
        peer_name="statsmodels WLS with formula and summary on the same frame",
        unit="fit",
        repeat=21,
    ),
]
