"""How many interviews are lacking where no figure may be shown, so roughly that it tells nothing else."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sae.errors import SaeError
from sae.planning.with_model.fitted import FittedModel
from sae.quality import Policy, Rule, load_policy, policy_names
from sae.quality.appearance import confidential_rows
from sae.results import Result
from sae.tables import EstimateTable, to_numbers

__all__ = ["interviews_lacking"]

_STEPS = np.array([step * 10**power for power in range(1, 6) for step in (1, 2, 5)])
_GROWTH = 1.05  # of the sample sizes that are tried
_MOST = 400  # of them: beyond that no sample of an office would do


def interviews_lacking(data: Result | EstimateTable, shown: np.ndarray) -> np.ndarray:
    """Return the interviews that each hidden row lacks, rounded up to 10, 20, 50, 100, 200, ...

    A fit that the planner can read says it of its model, each area alone and the others as they are; else it
    is what the direct estimate would take. Missing where it is not known, and always where the records are
    confidential: there it would tell their number.

    Parameters
    ----------
    data : Result or EstimateTable
    shown : ndarray of bool, shape (M,)

    Returns
    -------
    ndarray of float, shape (M,)
    """
    table = data.estimates if isinstance(data, Result) else data
    frame = table.frame
    out = np.full(len(frame), np.nan)
    n = to_numbers(frame, "n")
    protecting = frame["flag"].str.startswith(":c").to_numpy(dtype=bool)  # their own records, or other cells
    wanted = ~shown & ~confidential_rows(frame) & ~protecting & (n > 1)
    names = set(frame["policy"][wanted])
    if not wanted.any() or len(names) != 1 or not names <= set(policy_names()):
        return out
    policy = load_policy(names.pop())
    needed = _by_model(data, policy, n) if isinstance(data, Result) else None
    if needed is None:
        needed = _by_direct(frame, policy, n)
    extra = np.ceil(needed - n)
    good = wanted & (extra > 0) & (extra <= _STEPS[-1])
    out[good] = _STEPS[np.searchsorted(_STEPS, extra[good])]
    return out


def _errors_allowed(frame: pd.DataFrame, estimate: np.ndarray, rules: list[Rule]) -> np.ndarray:
    """Return the largest standard error that the rules on the CV allow."""
    out = np.full(len(frame), np.inf)
    share = frame["unit"].eq("share").to_numpy(dtype=bool)
    for rule in rules:
        if rule.measure == "cv" and rule.suppress_above is not None:
            size = np.where(share & rule.smaller_side, np.minimum(estimate, 1 - estimate), np.abs(estimate))
            out = np.minimum(out, rule.suppress_above * size)
    return out


def _by_direct(frame: pd.DataFrame, policy: Policy, n: np.ndarray) -> np.ndarray:
    # the error of a model is not above that of its direct estimate: its rules hold then too
    rules = list(policy.rules)
    least = max((rule.suppress_below or 0.0 for rule in rules if rule.measure == "n"), default=0.0)
    direct, se = to_numbers(frame, "direct"), to_numbers(frame, "direct_se")
    allowed = _errors_allowed(frame, direct, rules)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.maximum(n * (se / allowed) ** 2, least)


def _by_model(fit: Result, policy: Policy, n: np.ndarray) -> np.ndarray | None:
    try:
        model = FittedModel.of(fit)
    except SaeError:  # a model that the planner does not know
        return None
    rules = [rule for rule in policy.rules if rule.applies_to != "direct"]
    allowed = _errors_allowed(fit.estimates.frame, model.estimate, rules) / model.slope
    planned = model.planned(np.arange(len(n)), model.unit, np.full(len(n), np.inf))
    _, leverage, spread = planned.shared(planned.psi(np.where(n > 0, n, 0.0)))
    needed, size = np.full(len(n), np.nan), np.maximum(n, 1.0)
    for _ in range(_MOST):
        error = planned.weights @ planned.mse_given(planned.psi(size), leverage, spread)
        met = (error <= allowed**2) & np.isnan(needed)
        needed[met] = size[met]
        size = size * _GROWTH
    return needed
