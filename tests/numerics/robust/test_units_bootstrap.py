"""The bootstrap of robust predictors from units against plain simulation of truth and sample."""

import numpy as np
import pytest

from sae.numerics.nested_error.mse import AreaMeans
from sae.numerics.robust.units import fit_units
from sae.numerics.robust.units_bootstrap import bootstrap_units

SIGMAS = 4.5  # Monte-Carlo errors that a mean over seeded replicates may be off
AREAS = 25


def drawn(rng):
    area = np.repeat(np.arange(AREAS), np.resize([2, 4, 6, 9, 1], AREAS))
    X = np.column_stack([np.ones(len(area)), rng.normal(50, 2, len(area))])
    y = X.sum(axis=1) + 0.8 * rng.normal(size=AREAS)[area] + rng.normal(size=len(area))
    N = np.append(np.full(AREAS, 60.0), np.inf)
    return y, X, area, AreaMeans(np.column_stack([np.ones(AREAS + 1), rng.normal(50, 2, AREAS + 1)]), N)


def test_bootstrap_against_simulated_units(rng):
    """Errors by the split into what is known and what is simulated, against plain simulation of both."""
    y, X, area, means = drawn(rng)
    fit = fit_units(y, X, area, means)
    for corrected in (False, True):
        tally = bootstrap_units(
            fit, X, area, means, range(AREAS + 1), corrected=corrected, replicates=250, seed=1
        )
        u, e, errors = np.sqrt(fit.sigma2_u), np.sqrt(fit.sigma2_e), []
        n = np.append(np.bincount(area), 0)
        f = n / means.units
        for _ in range(250):
            effects = u * rng.normal(size=AREAS + 1)
            error = e * rng.normal(size=len(y))
            again = fit_units(
                X @ fit.coefficients + effects[area] + error, X, area, means, corrected=corrected
            )
            outside = e * np.sqrt((1 - f) / means.units) * rng.normal(size=AREAS + 1)
            inside = np.append(np.bincount(area, error), 0.0) / means.units
            truth = means.x_mean @ fit.coefficients + effects + inside + outside
            errors.append((again.estimate - truth) ** 2)
        simulated, noise = np.mean(errors, axis=0), np.std(errors, axis=0) / np.sqrt(250)
        assert (np.abs(tally.mean - simulated) < SIGMAS * np.hypot(noise, 0.1 * simulated)).all()
        assert tally.mean.sum() / simulated.sum() == pytest.approx(1.0, abs=0.06)
