"""Priors of the standard deviation of area effects: where they may be, their scale, and whether they do."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sae.errors import SaeInputError, SaeSpecError
from sae.numerics.inference.priors import data_unit
from sae.specs.priors import Prior, prior_of

__all__ = ["check_bayes", "check_proper", "resolved_prior"]


def check_bayes(
    method: str, prior: Prior | str | None, refused: Mapping[str, bool], *, reason: str = "", hint: str = ""
) -> None:
    """Refuse a prior without Bayes, and with Bayes what only other methods have.

    Parameters
    ----------
    method : str
    prior : Prior, str or None
        As a specification has it.
    refused : mapping of str to bool
        Options as they are written, ``mse="bootstrap"``, and whether Bayes refuses them.
    reason : str
        Follows the name of the method.
    hint : str
        What Bayes takes; by default to leave the option out.

    Raises
    ------
    SaeSpecError
    """
    if method != "bayes":
        if prior is not None:
            raise SaeSpecError(
                f'prior={prior!r} has no meaning with method="{method}".', hint='Use method="bayes".'
            )
        return
    prior_of(prior)
    for option, bad in refused.items():
        if bad:
            raise SaeSpecError(
                f'{option} has no meaning with method="bayes"{reason}.',
                hint=hint or f"Leave {option.partition('=')[0]}= out.",
            )


def resolved_prior(prior: Prior | str | None, outcome: np.ndarray) -> Prior:
    """Return the prior with its scale: where it has none, the standard deviation of what is modelled.

    Parameters
    ----------
    prior : Prior, str or None
        As a specification has it.
    outcome : ndarray of float
        Direct estimates on the model's scale, of the fit's areas with a sample.

    Examples
    --------
    >>> resolved_prior(None, np.array([1.0, 2.0, 4.0])).text
    'half-normal(1.53)'
    """
    return prior_of(prior).scaled(data_unit(outcome))


def check_proper(prior: Prior, sampled: int, coefficients: int, where: str = "") -> None:
    """Refuse an improper posterior by name: too few areas for a flat prior.

    Raises
    ------
    SaeInputError
    """
    if sampled >= coefficients + prior.spare:
        return
    raise SaeInputError(
        f"The posterior is improper{where}: the {prior.text} prior needs {coefficients + prior.spare} areas "
        f"with a direct estimate for {coefficients} coefficients; there are {sampled}.",
        hint='Use a proper prior, such as prior="half-normal", or fewer covariates.',
    )
