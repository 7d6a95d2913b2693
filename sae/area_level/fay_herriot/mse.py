"""Mean squared errors on the reported scale, by the way the specification asks for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sae.area_level.arrays import AreaArrays, joined
from sae.area_level.rows import each_fit
from sae.errors import SaeInputError, SaeSpecError
from sae.numerics.fay_herriot.fit import FayHerriotFits
from sae.numerics.fay_herriot.mse import Predictions
from sae.numerics.inference.transforms import Transform, normal_mean
from sae.results import Message

__all__ = ["Reported", "check_mse", "chosen_mse", "mse_name", "reported_mse"]


_WORDS = {
    "reml": "analytical, Prasad–Rao/Datta–Lahiri",
    "ml": "analytical, Datta–Lahiri",
    "fh": "analytical, Datta–Rao–Smith",
    "pr": "analytical, Prasad–Rao",
    "ll": "analytical, Li–Lahiri",
    "yl": "analytical, Yoshimori–Lahiri",
}


def chosen_mse(mse: str, transform: str | None, back: str) -> str:
    """Say what "auto" stands for: analytical where that is of second order on the reported scale."""
    if mse != "auto":
        return mse
    second_order = transform is None or (transform == "log" and back != "naive")
    return "analytical" if second_order else "bootstrap"


def check_mse(mse: str, transform: str | None, back: str) -> None:
    """Refuse ways back and mean squared errors that have no meaning together."""
    way = chosen_mse(mse, transform, back)
    if back != "unbiased" and transform is None:
        raise SaeSpecError(f"back={back!r} has no meaning without a transformation.")
    if back == "crude" and transform != "log":
        raise SaeSpecError(
            f'back="crude" is defined for transform="log" only, not for {transform!r}.',
            hint='Use back="unbiased" or "naive".',
        )
    if way == "analytical" and (transform not in (None, "log") or back == "naive"):
        raise SaeSpecError(
            f'mse="analytical" has no meaning with transform="{transform}", back="{back}".',
            hint='It is not of second order after the back-transform; use mse="bootstrap".',
        )
    if back == "crude" and way != "analytical":
        raise SaeSpecError(
            f'back="crude" corrects by the analytical MSE: mse={way!r} has no meaning with it.',
            hint='Use back="unbiased" with the bootstrap or the jackknife.',
        )


def mse_name(method: str) -> str:
    """Name the analytical MSE of a method."""
    return _WORDS[method.partition("-")[0] if method[:2] in ("ll", "yl") else method]


@dataclass(frozen=True)
class Reported:
    """Mean squared errors, squared units of the reported scale, the name of each, and what is to be said."""

    mse: np.ndarray
    name: str | np.ndarray
    messages: tuple[Message, ...] = ()


def reported_mse(
    arrays: AreaArrays,
    fits: FayHerriotFits,
    parts: Sequence[Predictions],
    transform: Transform,
    *,
    way: str,
    method: str,
    back: str,
    replicates: int | None,
    seed: int | None,
) -> Reported:
    """Measure the error of the reported estimates of all areas.

    Parameters
    ----------
    arrays : AreaArrays
    fits : FayHerriotFits
    parts : sequence of Predictions
        One per fit.
    transform : Transform
    way : str
        As `chosen_mse` gives it.
    method, back, replicates, seed
        As of `fit_eblup`.
    """
    mse, corrected = (joined([getattr(part, name) for part in parts]) for name in ("mse", "corrected"))
    estimate, left = (joined([getattr(part, name) for part in parts]) for name in ("estimate", "g1"))
    slope = transform.slope(estimate, left)
    messages: tuple[Message, ...] = ()
    if way == "analytical":
        name = mse_name(method)
        if back == "crude":
            mse, name = mse * transform.mean(estimate, mse) ** 2, f"{name}, delta method"
        elif transform.name == "log":
            from sae.numerics.fay_herriot.mse_log import log_mse

            each = [
                log_mse(
                    part,
                    float(fits.variance[0, k]),
                    arrays.D[areas],
                    np.ascontiguousarray(arrays.X[areas].T),
                    fits.root[0, k],
                    arrays.sampled[areas],
                    method,
                )
                for k, (part, areas) in enumerate(zip(parts, arrays.blocks, strict=True))
            ]
            mse, corrected = (np.concatenate(values) for values in zip(*each, strict=True))
            name = f"analytical, Slud–Maiti, {method.upper()}"
    elif way.startswith("bootstrap"):
        from sae.numerics.fay_herriot.bootstrap import bootstrap_mse

        assert seed is not None
        boot = bootstrap_mse(
            fits,
            arrays.D,
            np.ascontiguousarray(arrays.X.T),
            arrays.offsets,
            arrays.sampled,
            arrays.labels,
            method=method,
            transform=transform,
            replicates=replicates,
            seed=seed,
            slope=slope if way == "bootstrap-corrected" else None,
        )
        mse, corrected, share = boot.mse, boot.corrected, 0.5 * boot.share  # of a root
        texts = [
            f"parametric bootstrap, {count} replicates, se to {share[areas].max():.1%}"
            for count, areas in zip(boot.replicates.tolist(), arrays.blocks, strict=True)
        ]
        names = np.repeat(np.array(texts, dtype=object), np.diff(arrays.offsets))
        messages = (_monte_carlo(share, boot.replicates),)
        if way == "bootstrap":
            return Reported(mse, names, messages)
        names = names + ", bias-corrected"
        return Reported(mse, np.where(corrected, names, names + ", bias term left out"), messages)
    else:
        mse, corrected = _jackknife(arrays, fits, method, weighted=way == "weighted-jackknife")
        name = way.replace("-", " ")
        if transform.name != "identity":
            mse, name = _back_transformed(transform, estimate, left, mse), f"{name}, quadrature"
    if corrected.all():
        return Reported(mse, name, messages)
    return Reported(mse, np.where(corrected, name, f"{name}, bias term left out"), messages)


def _monte_carlo(share: np.ndarray, replicates: np.ndarray) -> Message:
    """Say how far standard errors of the bootstrap move with the seed, as shares of them."""
    few, many = int(replicates.min()), int(replicates.max())
    count = f"{many}" if few == many else f"{few} to {many}"
    return Message(
        f"The standard errors come from {count} bootstrap replicates: their Monte Carlo error is "
        f"{np.median(share):.1%} of them in the median and at most {share.max():.1%}."
    )


def _back_transformed(
    transform: Transform, estimate: np.ndarray, left: np.ndarray, mse: np.ndarray
) -> np.ndarray:
    """Carry an error to the reported scale: the squared slope where small, but not 0 where that is 0."""
    reported = transform.mean(estimate, left)
    return normal_mean(lambda t: (transform.inverse(t) - reported) ** 2, estimate, mse)


def _jackknife(
    arrays: AreaArrays, fits: FayHerriotFits, method: str, *, weighted: bool
) -> tuple[np.ndarray, np.ndarray]:
    from sae.numerics.fay_herriot.jackknife import jackknife_mse

    each: list[tuple[np.ndarray, np.ndarray]] = []

    def one(k: int) -> None:
        areas = arrays.blocks[k]
        try:
            each.append(
                jackknife_mse(
                    float(fits.variance[0, k]),
                    fits.coefficients[0, k],
                    arrays.y[areas],
                    arrays.D[areas],
                    np.ascontiguousarray(arrays.X[areas].T),
                    arrays.sampled[areas],
                    method=method,
                    weighted=weighted,
                )
            )
        except ValueError as error:
            name = arrays.names[arrays.inside[k][error.args[1]]]
            column = arrays.design.columns[error.args[2]] if error.args[2] >= 0 else None
            why = (
                "there are too few areas left"
                if column is None
                else f"nothing is left to estimate {column} from"
            )
            raise SaeInputError(
                f"The jackknife leaves every area out once; without {name}{arrays.rows.where(k)} {why}.",
                hint='Use mse="bootstrap", or a formula that does not rest on one area.',
                areas=[name],
                column=column,
            ) from None

    each_fit(len(arrays.blocks), one)
    mse, corrected = (np.concatenate(values) for values in zip(*each, strict=True))
    return mse, corrected
