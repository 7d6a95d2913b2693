"""The one bridge to ArviZ, in both of its worlds: InferenceData before 1.0, DataTree from 1.0 on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sae.samplers.posterior import Sample

__all__ = ["CHAINS", "to_arviz"]

CHAINS = 4  # independent draws are dealt into as many chains, so that R-hat and ESS can be read as usual


def to_arviz(
    sample: Sample,
    rows: np.ndarray,
    observed: np.ndarray,
    sampled: np.ndarray,
    coefficients: np.ndarray,
    attributes: Mapping[str, Any],
) -> Any:
    """Return draws as ArviZ knows them: an `InferenceData`, or a `DataTree` from ArviZ 1.0 on.

    Parameters
    ----------
    sample : Sample
        S draws; S is a multiple of `CHAINS`.
    rows : ndarray of str, shape (M,)
        Labels of the rows of the estimate table, each once.
    observed : ndarray, shape (n,)
        Direct estimates of the sampled rows, on the scale of `sample.replicated`.
    sampled : ndarray of bool, shape (M,)
    coefficients : ndarray of str, shape (p,)
    attributes : mapping
        What the draws come from: stored beside the posterior.

    Returns
    -------
    InferenceData or DataTree
        Groups posterior (`theta` by `domain`, `beta` by `coefficient`, hyperparameters), log_likelihood,
        posterior_predictive and observed_data (`y` by `sampled_domain`).
    """
    import arviz as az

    coords = {"domain": rows, "sampled_domain": rows[sampled], "coefficient": coefficients}
    posterior = {"theta": sample.values, **sample.parameters}
    dims = {"theta": ["domain"], "y": ["sampled_domain"]}
    for name, values in sample.parameters.items():
        if values.ndim == 2 and values.shape[1] == len(coefficients):
            dims[name] = ["coefficient"]
    groups = {"posterior": {name: _chains(values) for name, values in posterior.items()}}
    if sample.log_likelihood is not None:
        groups["log_likelihood"] = {"y": _chains(sample.log_likelihood)}
    if sample.replicated is not None:
        groups["posterior_predictive"] = {"y": _chains(sample.replicated)}
    groups["observed_data"] = {"y": np.asarray(observed, dtype=float)}
    if int(az.__version__.split(".")[0]) >= 1:
        data = az.from_dict(groups, coords=coords, dims=dims)
    else:  # before 1.0 the nested form is taken without an error and read wrongly
        data = az.from_dict(coords=coords, dims=dims, **groups)  # type: ignore[arg-type]
    for name in groups:
        data[name].attrs.pop("created_at", None)  # the same draws give the same object
    data["posterior"].attrs.update(attributes)
    return data


def _chains(values: np.ndarray) -> np.ndarray:
    """Deal draws into chains: shape (S, ...) to (CHAINS, S / CHAINS, ...)."""
    return values.reshape(CHAINS, len(values) // CHAINS, *values.shape[1:])
