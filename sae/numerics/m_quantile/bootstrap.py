"""Nonparametric bootstrap of the figures of areas under an M-quantile model.

A replicate is a population and a sample of it: every unit has the M-quantile of its area at its covariates,
plus a residual drawn from those of all units, centred. The units of the sample keep their covariates; an area
without a sample takes the regression and the mean residual of one that has one, drawn anew. The sample is
fitted from the start, and its predictions are set against the figures of its population.

The published form draws L samples of each of B populations; here every replicate has its own of both, so
that their mean squared difference is variance and squared bias together.

References
----------
Tzavidis, Marchetti and Chambers (2010), Aust. N. Z. J. Stat. 52, 167-186, section 4.2; Marchetti, Tzavidis
and Pratesi (2012), Comput. Stat. Data Anal. 56, 2889-2902, section 3 (empirical, unconditional residuals).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sae.numerics.compile import compiled, inlined
from sae.numerics.m_quantile.areas import AreaFits, fit_areas
from sae.numerics.m_quantile.distribution import (
    MEAN,
    QUANTILE,
    Rest,
    Target,
    coded,
    figures,
    poverty,
    sampled,
)
from sae.numerics.m_quantile.regression import ordered
from sae.numerics.random.normals import new_stream, uniform
from sae.numerics.random.streams import by_content, generator, stream_keys
from sae.progress import counting

__all__ = ["bootstrap_errors"]


def bootstrap_errors(
    fits: AreaFits,
    rest: Rest,
    targets: Sequence[Target],
    *,
    adjusted: bool,
    replicates: int,
    seed: int,
    names: Sequence[object],
) -> np.ndarray:
    """Return errors of the predictions, shape (B, D, T); rows of a replicate whose fit failed are missing.

    Parameters
    ----------
    fits : AreaFits
        The fit to the data.
    rest : Rest
    targets : sequence of Target
    adjusted : bool
    replicates : int
    seed : int
    names : sequence of str, length D
        Of the areas: the names of the streams of the units outside the sample.
    """
    pool = fits.y - fits.fitted
    level = pool.mean()
    pool -= level
    D, n = len(fits.n), len(fits.y)
    areas = np.argsort(np.array([str(name) for name in names]), kind="stable")
    x = fits.X.round(8)  # coordinates that are rounded otherwise where the rows come otherwise
    order = by_content(np.argsort(areas)[fits.area], fits.y, x)
    pool = pool[order]
    seen, new = areas[fits.n[areas] > 0], areas[fits.n[areas] == 0]
    keys = stream_keys(seed, "residual outside the sample", names)
    persons = np.where(np.isfinite(rest.weight), np.rint(rest.weight), -1.0).astype(np.int64)
    errors = np.empty((replicates, D, len(targets)))
    own = fits.residual_mean
    beta, shift = fits.areas.beta.copy(), np.zeros(D)
    step = counting("Bootstrap", replicates, "replicates")
    for b in range(replicates):
        step(1)
        stream = generator(seed, "residuals of the sample", b)
        y = fits.fitted.copy()
        y[order] += pool[stream.integers(n, size=n)]
        twin = stream.choice(seen, len(new))
        beta[new], shift[new] = fits.areas.beta[twin], own[twin] - level
        again = fit_areas(y, fits.X, fits.area, D, fits.grid.k)
        if (again.steps < 0).any():
            errors[b] = np.nan
            continue
        known, first, last = sampled(y, fits.area, fits.n, linked=rest.linked)
        truth = _truths(
            rest.predicted(beta) + shift[rest.area],
            persons,
            rest.starts,
            known,
            first,
            last,
            pool,
            keys,
            b,
            *coded(targets),
        )
        errors[b] = figures(again, rest, targets, adjusted=adjusted) - truth
    return errors


@inlined
def _drawn(predicted, persons, pool, state, values):
    """Fill in the outcomes of the persons of every cell."""
    place = 0
    for c in range(len(predicted)):
        for _ in range(persons[c]):
            values[place] = predicted[c] + pool[int(uniform(state) * len(pool))]
            place += 1


@compiled
def _truths(predicted, persons, starts, known, first, last, pool, keys, replicate, code, value, power):
    D, T = len(starts) - 1, len(code)
    out = np.empty((D, T))
    for d in range(D):
        x, many = predicted[starts[d] : starts[d + 1]], persons[starts[d] : starts[d + 1]]
        own = known[first[d] : last[d]]
        endless = len(many) == 1 and many[0] < 0
        size = len(pool) if endless else many.sum() + len(own)
        values = np.empty(size)
        if endless:  # the whole distribution, without a draw
            values[:] = x[0] + pool
        else:
            _drawn(x, many, pool, new_stream(keys[d], replicate), values)
            values[size - len(own) :] = own
        for t in range(T):
            if code[t] == QUANTILE:
                place = int(np.ceil(value[t] * size * (1.0 - 1e-12))) - 1
                out[d, t] = ordered(values, min(max(place, 0), size - 1))
                continue
            total = 0.0
            for i in range(size):
                total += values[i] if code[t] == MEAN else poverty(values[i], value[t], power[t])
            out[d, t] = total / size
    return out
