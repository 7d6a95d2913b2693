"""The root of the covariances of domain totals."""

import numpy as np
import pandas as pd

import sae
from sae.design_based.design import read_design
from sae.design_based.domains import Domains

ROUNDING = 1e-12  # sums of units in another order


def test_the_root_gives_the_covariances_of_all_stages():
    rng = np.random.default_rng(1)
    n = 240
    frame = pd.DataFrame({"w": rng.uniform(1.0, 9.0, size=n), "stratum": np.repeat(["a", "b", "c"], 80)})
    frame["psu"] = frame["stratum"] + np.tile(np.repeat(np.arange(8), 10), 3).astype(str)
    frame["flat"] = np.arange(n)
    survey = sae.Survey.from_frame(
        frame.assign(N=40, M=30), weights="w", strata=["stratum", "psu"], psu=["psu", "flat"], fpc=["N", "M"]
    )
    codes = rng.integers(0, 4, size=n).astype(np.int32)
    design = read_design(survey, Domains(("domain",), codes, pd.DataFrame(index=range(4)), ()))
    scores = design.scores(rng.normal(size=n), np.ones(n, dtype=bool), np.empty((n, 0)), np.empty((4, 0)))
    root, variance = design.root(scores), design.variance(scores)
    np.testing.assert_allclose((root @ root.T).diagonal(), variance, rtol=ROUNDING)
    covariance = design.covariance([scores], variance)
    np.testing.assert_allclose((root @ root.T).todense(), covariance, rtol=1e-9, atol=1e-9 * variance.max())
