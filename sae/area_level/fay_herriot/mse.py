"""Mean squared errors on the reported scale, by the way the specification asks for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sae.area_level.arrays import AreaProblem
from sae.errors import SaeInputError, SaeSpecError
from sae.numerics.fay_herriot.bootstrap import bootstrap_mse
from sae.numerics.fay_herriot.fit import FayHerriotFits
from sae.numerics.fay_herriot.jackknife import jackknife_mse
from sae.numerics.fay_herriot.mse import Predictions
from sae.numerics.fay_herriot.mse_log import log_mse
from sae.numerics.inference.transforms import Transform, normal_mean

if TYPE_CHECKING:
    from sae.area_level.fay_herriot.model import FayHerriot

__all__ = ["BACKS", "MSES", "Reported", "check_mse", "chosen_mse", "mse_words", "reported_mse"]

MSES = ("auto", "analytical", "bootstrap", "bootstrap-corrected", "jackknife", "weighted-jackknife")
BACKS = ("unbiased", "naive", "crude")
_WORDS = {
    "reml": "analytical, Prasad–Rao/Datta–Lahiri",
    "ml": "analytical, Datta–Lahiri",
    "fh": "analytical, Datta–Rao–Smith",
    "pr": "analytical, Prasad–Rao",
    "ll": "analytical, Li–Lahiri",
    "yl": "analytical, Yoshimori–Lahiri",
}


def chosen_mse(spec: FayHerriot) -> str:
    """Say what "auto" stands for: analytical where that is of second order on the reported scale."""
    if spec.mse != "auto":
        return spec.mse
    return (
        "analytical"
        if spec.transform is None or (spec.transform == "log" and spec.back != "naive")
        else "bootstrap"
    )


def check_mse(spec: FayHerriot) -> None:
    """Refuse ways back and mean squared errors that have no meaning together."""
    way = chosen_mse(spec)
    if spec.back != "unbiased" and spec.transform is None:
        raise SaeSpecError(f"back={spec.back!r} has no meaning without a transformation.")
    if spec.back == "crude" and spec.transform != "log":
        raise SaeSpecError(
            f'back="crude" is defined for transform="log" only, not for {spec.transform!r}.',
            hint='Use back="unbiased" or "naive".',
        )
    if way == "analytical" and (spec.transform not in (None, "log") or spec.back == "naive"):
        raise SaeSpecError(
            f'mse="analytical" has no meaning with transform="{spec.transform}", back="{spec.back}".',
            hint='It is not of second order after the back-transform; use mse="bootstrap".',
        )
    if spec.back == "crude" and way != "analytical":
        raise SaeSpecError(
            f'back="crude" corrects by the analytical MSE: mse={way!r} has no meaning with it.',
            hint='Use back="unbiased" with the bootstrap or the jackknife.',
        )


def mse_words(method: str) -> str:
    """Name the analytical MSE of a method."""
    return _WORDS[method.partition("-")[0] if method[:2] in ("ll", "yl") else method]


@dataclass(frozen=True)
class Reported:
    """Mean squared errors, squared units of the reported scale, and how each was found, in words."""

    mse: np.ndarray
    words: np.ndarray


def reported_mse(
    spec: FayHerriot,
    problem: AreaProblem,
    fits: FayHerriotFits,
    parts: Sequence[Predictions],
    seed: int | None,
) -> Reported:
    """Measure the error of the reported estimates of all areas."""
    way, transform = chosen_mse(spec), spec._transform
    mse, corrected = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("mse", "corrected")
    )
    estimate, left = (np.concatenate([getattr(part, name) for part in parts]) for name in ("estimate", "g1"))
    slope = transform.slope(estimate, left)
    if way == "analytical":
        words = mse_words(spec.method)
        if spec.back == "crude":
            mse, words = mse * transform.mean(estimate, mse) ** 2, f"{words}, delta method"
        elif spec.transform == "log":
            found = [
                log_mse(
                    part, float(fits.variance[0, k]), problem.D[areas], problem.X[:, areas], fits.root[0, k],
                    problem.sampled[areas], spec.method,
                )
                for k, (part, areas) in enumerate(zip(parts, problem.blocks, strict=True))
            ]  # fmt: skip
            mse, corrected = (np.concatenate(values) for values in zip(*found, strict=True))
            words = f"analytical, Slud–Maiti, {spec.method.upper()}"
    elif way.startswith("bootstrap"):
        assert seed is not None
        mse, corrected = bootstrap_mse(
            fits, problem.D, problem.X, problem.offsets, problem.sampled, problem.labels, method=spec.method,
            transform=transform, replicates=spec.replicates, seed=seed,
            slope=slope if way == "bootstrap-corrected" else None,
        )  # fmt: skip
        words = f"parametric bootstrap, {spec.replicates} replicates"
        if way == "bootstrap":
            return Reported(mse, np.full(len(mse), words))
        words = f"{words}, bias-corrected"
    else:
        mse, corrected = _jackknife(spec, problem, fits, weighted=way == "weighted-jackknife")
        words = way.replace("-", " ")
        if spec.transform is not None:
            mse, words = _back_transformed(transform, estimate, left, mse), f"{words}, quadrature"
    return Reported(mse, np.where(corrected, words, f"{words}, bias term left out"))


def _back_transformed(
    transform: Transform, estimate: np.ndarray, left: np.ndarray, mse: np.ndarray
) -> np.ndarray:
    """Carry an error to the reported scale: the squared slope where small, but not 0 where that is 0."""
    reported = transform.mean(estimate, left)
    return normal_mean(lambda t: (transform.inverse(t) - reported) ** 2, estimate, mse)


def _jackknife(
    spec: FayHerriot, problem: AreaProblem, fits: FayHerriotFits, *, weighted: bool
) -> tuple[np.ndarray, np.ndarray]:
    found = []
    for k, areas in enumerate(problem.blocks):
        sampled = problem.sampled[areas]
        try:
            found.append(
                jackknife_mse(
                    float(fits.variance[0, k]), fits.coefficients[0, k], problem.y[areas], problem.D[areas],
                    problem.X[:, areas], sampled, method=spec.method, weighted=weighted,
                )
            )  # fmt: skip
        except ValueError as error:
            name = problem.names[problem.inside[k][error.args[1]]]
            column = problem.design.columns[error.args[2]] if error.args[2] >= 0 else None
            why = (
                "there are too few areas left"
                if column is None
                else f"nothing is left to estimate {column} from"
            )
            raise SaeInputError(
                f"The jackknife leaves every area out once; without {name}{problem.rows.where(k)} {why}.",
                hint='Use mse="bootstrap", or a formula that does not rest on one area.',
                areas=[name],
                column=column,
            ) from None
    mse, corrected = (np.concatenate(values) for values in zip(*found, strict=True))
    return mse, corrected
