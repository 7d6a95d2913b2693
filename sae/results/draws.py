"""Joint draws of all domains."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import pandas as pd
import scipy

from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.numerics.inference.joint_error import JointError
from sae.numerics.inference.transforms import TRANSFORMS, Transform
from sae.numerics.random.streams import normals, seed_of, stream_keys
from sae.results.intervals import Interval, IntervalKind, JointPosterior
from sae.samplers import Posterior
from sae.tables import labels

__all__ = [
    "DrawSource",
    "Draws",
    "IntervalDraws",
    "NormalDraws",
    "PosteriorDraws",
    "SumEnds",
    "normal_ends",
    "same_source",
]


class SumEnds(NamedTuple):
    """Ends of the intervals of weighted sums of rows and what they rest on, each of shape (S,)."""

    low: np.ndarray
    high: np.ndarray
    interval: np.ndarray
    joint: np.ndarray


class DrawSource(Protocol):
    """What joint draws of all domains come from."""

    @property
    def source(self) -> str:
        """What is drawn from, in words."""

    @property
    def joint(self) -> str:
        """What the joint error of the domains is, in words."""

    @property
    def bounds(self) -> tuple[float, float]:
        """Natural range of the figures."""

    @property
    def posterior(self) -> Posterior | None:
        """The posterior, where it is one that is drawn from."""

    def draw(self, n: int, seed: int | np.random.Generator) -> np.ndarray:
        """Return n draws on the reported scale, shape (n, n_rows)."""

    def ends(
        self,
        weights: scipy.sparse.csr_array,
        predictions: np.ndarray,
        mse: np.ndarray,
        level: float,
        freedom: float = np.inf,
    ) -> SumEnds:
        """Return the intervals of weighted sums of the true values.

        Parameters
        ----------
        weights : sparse array, shape (S, n_rows)
        predictions : ndarray of float, shape (n_rows,)
        mse : ndarray of float, shape (S,)
            Of the sums of the predictions.
        level : float
        freedom : float
            Degrees of freedom, where the ends are those of Student's t.
        """


def normal_ends(
    name: str, estimate: np.ndarray, mse: np.ndarray, level: float, freedom: float = np.inf
) -> SumEnds:
    """Return the ends of Student's t, or the normal, on mean squared errors that are called `name`."""
    upper = 0.5 + 0.5 * level
    half = float(
        scipy.special.stdtrit(freedom, upper) if np.isfinite(freedom) else scipy.special.ndtri(upper)
    ) * np.sqrt(mse)
    kind = "t" if np.isfinite(freedom) else "normal"
    texts = (np.full(len(mse), text, dtype=object) for text in (f"{kind} on the {name}", name))
    return SumEnds(estimate - half, estimate + half, *texts)


@dataclass(frozen=True, eq=False)
class Draws:
    """Joint draws of the true values of all domains.

    Attributes
    ----------
    values : ndarray of float, shape (n_draws, n_rows)
        Columns in the order of the rows of the estimate table; reported scale.
    rows : DataFrame
        The columns of the estimate table that tell the rows apart.
    source : str
        What is drawn from.
    """

    values: np.ndarray
    rows: pd.DataFrame
    source: str

    def to_frame(self) -> pd.DataFrame:
        """Return one row per draw and one column per domain, labelled by the columns of `rows`."""
        keys = self.rows.apply(labels, keep_missing=True).fillna("")
        columns = pd.Index(keys.iloc[:, 0]) if len(keys.columns) == 1 else pd.MultiIndex.from_frame(keys)
        return pd.DataFrame(self.values, columns=columns)

    def _repr_html_(self) -> str:
        from html import escape

        shown = slice(0, 20)
        values = self.values[:, shown]
        low, high = np.quantile(values, [0.025, 0.975], axis=0)
        columns = {"mean": values.mean(axis=0), "sd": values.std(axis=0), "2.5 %": low, "97.5 %": high}
        table = self.rows.iloc[shown].assign(**columns)
        more = f"<p>… {len(self.rows) - 20} more domains</p>" if len(self.rows) > 20 else ""
        return f"<p>{escape(repr(self))}</p>{table.to_html(index=False, float_format='{:.4g}'.format)}{more}"

    def __repr__(self) -> str:
        return f"{len(self.values)} joint draws of {len(self.rows)} domains from {self.source}"


@dataclass(frozen=True, eq=False)
class NormalDraws:
    """Source of draws N(EBLUP, joint MSE matrix), taken back from the model's scale.

    Attributes
    ----------
    centre : ndarray of float, shape (n_rows,)
        Predictions on the model's scale.
    error : JointError
        Their joint error, on that scale.
    transform : Transform
    labels : sequence of str
        Names of the areas' random streams.
    shared_labels : tuple of str
        Names of the coefficients' streams.
    predictor : str
        What the draws are centred on, in words.
    """

    centre: np.ndarray
    error: JointError
    transform: Transform
    labels: Sequence[str]
    shared_labels: tuple[str, ...]
    predictor: str = "EBLUP"

    @property
    def posterior(self) -> None:
        """There is none."""
        return None

    @property
    def source(self) -> str:
        """What is drawn from, in words."""
        back = (
            ""
            if self.transform.name == "identity"
            else f", back-transformed from the {self.transform.name} scale"
        )
        return f"N({self.predictor}, joint MSE matrix){back}"

    @property
    def joint(self) -> str:
        """What the joint error of the domains is, in words."""
        return "joint MSE"

    @property
    def bounds(self) -> tuple[float, float]:
        """Natural range of the figures."""
        return self.transform.range

    def draw(self, n: int, seed: int | np.random.Generator) -> np.ndarray:
        """Return n draws, shape (n, n_rows).

        Every area and coefficient has its own stream, so that another area changes none of their normals.
        """
        if n < 1:
            raise SaeSpecError(f"n = {n}: at least one draw is needed.")
        number = seed_of(seed)
        z = normals(stream_keys(number, "area error", self.labels), 0, n)
        c = normals(stream_keys(number, "coefficient error", self.shared_labels), 0, n)
        return self.transform.inverse(self.centre + self.error.draw(z, c))

    def ends(
        self,
        weights: scipy.sparse.csr_array,
        predictions: np.ndarray,
        mse: np.ndarray,
        level: float,
        freedom: float = np.inf,
    ) -> SumEnds:
        """Return Student's t on the joint MSE."""
        return normal_ends(self.joint, weights @ predictions, mse, level, freedom)


class _Part(NamedTuple):
    """The rows of one fit and the posterior that makes their intervals, on the model's scale."""

    rows: np.ndarray
    posterior: Callable[[], JointPosterior]
    text: str


@dataclass(frozen=True, eq=False)
class IntervalDraws:
    """Source of draws of fits whose intervals come from a posterior, as everything else then does.

    Attributes
    ----------
    normal : NormalDraws
        Of the rows whose fit has enough areas: their intervals are t on the MSE.
    rest : JointError
        Joint error of these rows on the reported scale; 0 elsewhere.
    parts : tuple of (rows, posterior, text)
        Rows of the other fits, their posteriors on the model's scale, and how the table names the interval.
    none : ndarray of bool, shape (n_rows,)
        Rows without an interval: nothing is known about the variance of their fit.
    factor, shift : ndarray of float, shape (n_rows,)
        What is reported is shift + factor · h^-1(θ): in finite populations some persons are known.
    """

    normal: NormalDraws
    rest: JointError
    parts: tuple[_Part, ...]
    none: np.ndarray
    factor: np.ndarray
    shift: np.ndarray

    @property
    def posterior(self) -> None:
        """There is none of the model itself: the estimates are not its means."""
        return None

    @property
    def source(self) -> str:
        """What is drawn from, in words."""
        texts = "; ".join(dict.fromkeys(part.text for part in self.parts))
        drawn = np.zeros(len(self.none), dtype=bool)
        for part in self.parts:
            drawn[part.rows] = True
        if drawn.all():
            return f"the posterior of the intervals ({texts})"
        return (
            f"the posterior of the intervals ({texts}) in {int(drawn.sum())} rows, else {self.normal.source}"
        )

    @property
    def joint(self) -> str:
        """What the joint error of the domains is, in words."""
        return "joint posterior"

    @property
    def bounds(self) -> tuple[float, float]:
        """Natural range of the figures."""
        return self.normal.bounds

    def draw(self, n: int, seed: int | np.random.Generator) -> np.ndarray:
        """Return n draws, shape (n, n_rows).

        Raises
        ------
        SaeInputError
            If a fit has so few areas that nothing is known about its variance; its rows are named.
        """
        if self.none.any():
            names = [self.normal.labels[int(row)].replace("\x1f", " / ") for row in np.flatnonzero(self.none)]
            raise SaeInputError(
                f"No joint draws: {len(names)} rows have no interval, as their fit has too few areas to tell "
                f"its variance ({name_some(names)}).",
                hint='Use fewer covariates, or method="bayes" with a proper prior.',
                areas=names,
            )
        number = seed_of(seed)
        values = self.normal.draw(n, number)
        for part in self.parts:
            names = [self.normal.labels[row] for row in part.rows]
            theta = self.normal.transform.inverse(part.posterior().values(n, number, names))
            values[:, part.rows] = self.shift[part.rows] + self.factor[part.rows] * theta
        return values

    def ends(
        self,
        weights: scipy.sparse.csr_array,
        predictions: np.ndarray,
        mse: np.ndarray,
        level: float,
        freedom: float = np.inf,
    ) -> SumEnds:
        """Return quantiles of the posterior, as the table does for single rows.

        Of a sum over several fits the distances of the ends from the middle are added in squares: exact for
        normal ones.

        References
        ----------
        Zou and Donner (2008), Stat. Med. 27, 1693–1702.
        """
        tail, middle = 0.5 * (1.0 - level), weights @ predictions
        _, up, interval, joint = normal_ends(
            self.normal.joint, 0.0 * middle, self.rest.mse_of(weights), level, freedom
        )
        down, up = up**2, up**2
        texts: list[dict[str, None]] = [{} for _ in middle]
        for part in self.parts:
            mine = weights[:, part.rows].tocsr()
            touched = np.flatnonzero(np.diff(mine.indptr))
            if not len(touched):
                continue
            sums = self.reported(part).sums(mine[touched])
            low, centre, high = (sums.quantile(p) for p in (tail, 0.5, 1.0 - tail))
            middle[touched] += centre - mine[touched] @ predictions[part.rows]
            down[touched] += (centre - low) ** 2
            up[touched] += (high - centre) ** 2
            for place in touched.tolist():
                texts[place][part.text] = None
        for row, found in enumerate(texts):
            if found:
                interval[row], joint[row] = "; ".join(found), self.joint
        low, high = middle - np.sqrt(down), middle + np.sqrt(up)
        unknown = (weights[:, self.none] != 0).sum(axis=1) > 0
        low[unknown] = high[unknown] = np.nan
        interval[unknown] = IntervalKind.NONE.value
        return SumEnds(low, high, interval, joint)

    def below(self, weights: scipy.sparse.csr_array, bounds: np.ndarray) -> np.ndarray:
        """Return the probability that weighted sums of the true values lie below bounds, shape (S,).

        Missing where a sum takes rows of several posteriors, or of none.
        """
        made = np.full(len(bounds), np.nan)
        own = [weights[:, part.rows].tocsr() for part in self.parts]
        counts = np.diff(weights.indptr)
        for part, mine in zip(self.parts, own, strict=True):
            whole = np.flatnonzero((np.diff(mine.indptr) == counts) & (counts > 0))
            if len(whole):
                made[whole] = self.reported(part).sums(mine[whole]).cdf(bounds[whole])
        return made

    def reported(self, part: _Part) -> JointPosterior:
        """Return the posterior of a part on the reported scale."""
        from sae.numerics.inference.joint_mixture import JointMixture

        posterior = part.posterior()
        if isinstance(posterior, JointMixture):
            posterior = posterior.reported(TRANSFORMS[self.normal.transform.name])
            return posterior.moved(self.factor[part.rows], self.shift[part.rows])
        return posterior


def same_source(
    ends: Sequence[Interval],
    rows: Sequence[np.ndarray],
    predictions: np.ndarray,
    joint: JointError,
    normal: NormalDraws,
    known: tuple[np.ndarray, np.ndarray] | None = None,
) -> tuple[JointError, DrawSource]:
    """Return joint error and draws from what the intervals of every fit rest on.

    Parameters
    ----------
    ends : sequence of Interval
        One per fit.
    rows : sequence of ndarray of int
        Rows of the table of each fit, in the order of its posterior.
    predictions : ndarray of float, shape (n_rows,)
        On the reported scale.
    joint : JointError
        On the reported scale, of fits whose intervals are t on the MSE or rest on the errors of a bootstrap.
    normal : NormalDraws
        Draws of these.
    known : (factor, shift), each of shape (n_rows,), optional
        What is reported is shift + factor · h^-1(θ).
    """
    size = len(predictions)
    none = np.zeros(size, dtype=bool)
    parts = []
    for interval, mine in zip(ends, rows, strict=True):
        none[mine] = interval.kind is IntervalKind.NONE
        if interval.posterior is not None:
            parts.append(_Part(mine, interval.posterior, interval.text))
    if not parts and not none.any():
        return joint, normal
    factor, shift = known or (np.ones(size), np.zeros(size))
    everywhere = (
        np.unique(np.concatenate([part.rows for part in parts])) if parts else np.array([], dtype=int)
    )
    rest = joint.replaced([(everywhere, _nothing(len(everywhere)))])
    source = IntervalDraws(normal, rest, tuple(parts), none, factor, shift)

    def whole() -> JointError:
        found = [(part.rows, source.reported(part).error(predictions[part.rows])) for part in parts]
        return joint.replaced(found)

    return JointError.later(whole), source


def _nothing(size: int) -> JointError:
    empty = scipy.sparse.csr_array((size, 0))
    return JointError(np.zeros(size), empty, empty, empty)


@dataclass(frozen=True, eq=False)
class PosteriorDraws:
    """Source of joint draws from a posterior.

    Attributes
    ----------
    posterior : Posterior
        Of the rows of the table, on the reported scale.
    bounds : (float, float)
        Natural range of the figures; (0, 1) for shares.
    """

    posterior: Posterior
    bounds: tuple[float, float] = (-np.inf, np.inf)

    @property
    def source(self) -> str:
        """What is drawn from, in words."""
        return self.posterior.source

    @property
    def joint(self) -> str:
        """What the joint error of the domains is, in words."""
        return "posterior covariance"

    def draw(self, n: int, seed: int | np.random.Generator) -> np.ndarray:
        """Return n joint draws, shape (n, n_rows)."""
        if n < 1:
            raise SaeSpecError(f"n = {n}: at least one draw is needed.")
        return self.posterior.values(n, seed_of(seed))

    def ends(
        self,
        weights: scipy.sparse.csr_array,
        predictions: np.ndarray,
        mse: np.ndarray,
        level: float,
        freedom: float = np.inf,
    ) -> SumEnds:
        """Return the normal on the posterior covariance."""
        return normal_ends(self.joint, weights @ predictions, mse, level)
