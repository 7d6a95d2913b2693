"""The rows of an area-level model as arrays on the model's scale, fit by fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from sae.area_level.rows import AreaRows, checked, each_fit
from sae.errors import SaeInputError, name_some
from sae.numerics.fay_herriot.fit import FayHerriotFits, fewest_areas, fit_batch
from sae.numerics.inference.transforms import Transform
from sae.results import FittedData, Message, covariate_messages, run_id
from sae.specs import Design, Specification
from sae.specs.design import check_rank
from sae.tables import label_text
from sae.tables.texts import Texts

__all__ = ["AreaArrays", "design_of", "joined", "model_scale", "refuse_unit"]

_ORDERS = 60  # of sampling variances whose squares are numbers in all that a likelihood needs
_ROUNDING = 1e-12  # a standard error below this share of its estimate is rounding noise, not precision


@dataclass(frozen=True, eq=False)
class AreaArrays:
    """Concatenated fits: the areas of fit k stand at offsets[k] .. offsets[k + 1].

    Attributes
    ----------
    rows : AreaRows
        The rows in the order of the table.
    order : ndarray of int, shape (M,)
        Row of the table of each position.
    y, D : ndarray of float, shape (M,)
        Direct estimates and sampling variances on the model's scale; read only where `sampled`.
    X : ndarray of float, shape (M, p)
    sampled : ndarray of bool, shape (M,)
    offsets : ndarray of int64, shape (F + 1,)
    design : Design
    scale : str
        Name of the transformation.
    """

    rows: AreaRows
    order: np.ndarray
    y: np.ndarray
    D: np.ndarray
    X: np.ndarray
    sampled: np.ndarray
    offsets: np.ndarray
    design: Design
    scale: str

    @classmethod
    def build(cls, rows: AreaRows, transform: Transform, covariates: str) -> AreaArrays:
        """Check the rows, transform them and build the design.

        Raises
        ------
        SaeInputError
            If a direct estimate has no usable variance or no covariates, or a fit has no more areas than
            coefficients or columns that explain each other.
        """
        y, D = checked(rows, lambda some: model_scale(some, transform))
        design, X = checked(rows, lambda some: design_of(some, covariates))
        sampled = rows.sampled
        if len(rows.fits) == 1:
            order, offsets = np.arange(len(y)), np.array([0, len(y)])
        else:
            order = np.argsort(rows.fit, kind="stable")
            offsets = np.concatenate([[0], np.cumsum(np.bincount(rows.fit, minlength=len(rows.fits)))])
            y, D, X, sampled = y[order], D[order], X[order], sampled[order]
        arrays = cls(rows, order, y, D, X, sampled, offsets, design, transform.name)

        def full_rank(k: int) -> None:
            if not len(arrays.inside[k]):
                raise SaeInputError(f"No area has a direct estimate{rows.where(k)}.", column="direct")
            check_rank(arrays.X[arrays.sampled_areas[k]], design.columns, rows.where(k))

        each_fit(len(arrays.inside), full_rank)
        return arrays

    def columns(self, areas: slice | np.ndarray) -> np.ndarray:
        """Return the design of some positions transposed, shape (p, n), one column after the other."""
        return np.ascontiguousarray(self.XT[:, areas])

    @property
    def sampled_areas(self) -> Sequence[slice | np.ndarray]:
        """Positions with a sample, fit by fit: a slice where that is every area."""
        return self.blocks if self.all_sampled else self.inside

    @cached_property
    def inside(self) -> list[np.ndarray]:
        """Positions with a sample, one array per fit."""
        bounds = zip(self.offsets[:-1], self.offsets[1:], strict=True)
        return [start + np.flatnonzero(self.sampled[start:stop]) for start, stop in bounds]

    @cached_property
    def all_sampled(self) -> bool:
        """Whether every area has a sample."""
        return bool(self.sampled.all())

    @cached_property
    def XT(self) -> np.ndarray:
        """The design transposed, shape (p, M)."""
        return np.ascontiguousarray(self.X.T)

    @cached_property
    def blocks(self) -> list[slice]:
        """Positions of each fit."""
        return [slice(*bounds) for bounds in zip(self.offsets[:-1], self.offsets[1:], strict=True)]

    @cached_property
    def names(self) -> Texts:
        """Names of the areas in the order of the positions."""
        return self.placed(self.rows.names)

    @cached_property
    def labels(self) -> Texts:
        """Names of the areas' random streams in the order of the positions."""
        return self.placed(self.rows.labels)

    def placed(self, values: Any) -> Any:
        """Return values of the rows of the table in the order of the positions."""
        return values if len(self.offsets) == 2 else values[self.order]

    def unplaced(self, values: Any) -> Any:
        """Return values of the positions in the order of the table."""
        return values if len(self.offsets) == 2 else values[self.in_order]

    @property
    def coefficient_labels(self) -> tuple[str, ...]:
        """Names of the coefficients' random streams, fit by fit."""
        fits = ["\x1f".join(map(label_text, values)) for values in self.rows.fits.to_numpy()]
        return tuple(f"{fit}\x1f{column}" for fit in fits for column in self.design.columns)

    def fit(self, method: str) -> FayHerriotFits:
        """Fit all problems in one kernel call.

        Raises
        ------
        SaeInputError
            If a fit has fewer areas than the method needs.
        """
        few = fewest_areas(method, self.X.shape[1])

        def enough(k: int) -> None:
            if len(self.inside[k]) < few:
                raise SaeInputError(
                    f'method="{method}" needs {few} areas with a direct estimate for {self.X.shape[1]} '
                    f"coefficients; there are {len(self.inside[k])}{self.rows.where(k)}.",
                    hint='Use method="reml", or fewer covariates.',
                )

        each_fit(len(self.inside), enough)
        if self.all_sampled:
            return fit_batch(self.y, self.D, self.XT, self.offsets, method)
        offsets = np.concatenate([[0], np.cumsum(self.sampled)])[self.offsets]
        on = self.sampled
        return fit_batch(self.y[on], self.D[on], np.ascontiguousarray(self.XT[:, on]), offsets, method)

    @cached_property
    def in_order(self) -> np.ndarray:
        """Position of each row of the table."""
        return np.argsort(self.order, kind="stable")

    @cached_property
    def data(self) -> FittedData:
        """What is fitted, in the order of the table."""
        rows = self.rows
        return FittedData.of_areas(
            self.unplaced(self.y),
            self.unplaced(self.D),
            self.unplaced(self.X),
            self.design.columns,
            rows.sampled,
            rows.names,
            fit=rows.fit,
            scale=self.scale,
        )

    def messages(self) -> list[Message]:
        """Return what is to be said of the covariates."""
        rows = self.rows
        return covariate_messages(
            self.unplaced(self.X),
            self.design.columns,
            rows.sampled,
            rows.names,
            rows.fit if len(rows.fits) > 1 else None,
        )

    def run_id(self, spec: Specification, seed: int | None, *more: np.ndarray) -> str:
        """Return the digest of a run on these rows; `more` numbers are fitted beside them."""
        texts: tuple[str | Texts, ...] = (*self.design.columns, self.rows.labels)
        return run_id(spec, seed, texts, (self.order, self.y, self.D, self.X, *more))


def joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Return the values of all fits, one after the other."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def design_of(rows: AreaRows, covariates: str) -> tuple[Design, np.ndarray]:
    """Learn the design on the rows with a sample, and build it for all."""
    return Design.learn(covariates, rows.covariates, rows.names, rows.sampled)


def model_scale(rows: AreaRows, transform: Transform) -> tuple[np.ndarray, np.ndarray]:
    """Return direct estimates and sampling variances on the model's scale; refuse unusable ones by name."""
    y, sampled = rows.direct, rows.sampled
    low, high = transform.range
    with np.errstate(invalid="ignore"):
        outside = sampled & ((y < low) | (y > high))
    if outside.any():
        raise SaeInputError(
            f"{int(outside.sum())} of {int(sampled.sum())} direct estimates lie outside [{low:g}, {high:g}], "
            f'where transform="{transform.name}" is defined: {_values(rows.names, y, outside)}.',
            hint="Shares lie between 0 and 1; divide percentages by 100." if high == 1.0 else "",
            areas=rows.names[outside],
        )
    if transform.name == "arcsin" and np.isfinite(rows.n_eff[sampled]).any():
        bad = sampled & ~((rows.n_eff > 0) & np.isfinite(rows.n_eff))
        if bad.any():
            raise SaeInputError(
                f"{int(bad.sum())} of {len(y)} areas have a direct estimate but no positive effective sample "
                f"size: {_values(rows.names, rows.n_eff, bad)}.",
                hint='Smooth it with sae.direct(..., smoothing="deff"), or leave n_eff out to use vardir.',
                areas=rows.names[bad],
                column="n_eff",
            )
        return transform.forward(np.where(sampled, y, 0.5)), 0.25 / np.where(sampled, rows.n_eff, 1.0)
    with np.errstate(invalid="ignore"):  # 1e-33 is a 0 that rounding has touched
        bad = sampled & ~((rows.vardir > (_ROUNDING * y) ** 2) & np.isfinite(rows.vardir))
    if bad.any():
        raise SaeInputError(
            f"{int(bad.sum())} of {len(y)} areas have a sampling variance that is not positive: "
            f"{_values(rows.names, rows.vardir, bad)}. Fay–Herriot needs vardir > 0.",
            hint='Smooth the variances with sae.direct(..., smoothing="gvf"), or drop the direct estimate so '
            "that these areas are predicted without a sample.",
            areas=rows.names[bad],
            column="vardir",
        )
    y, vardir = np.where(sampled, y, 0.5), np.where(sampled, rows.vardir, 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        D, z = transform.variance(y, vardir), transform.forward(y)
    flat = ~(np.isfinite(D) & np.isfinite(z))
    if flat.any():
        ends = " or ".join(f"{end:g}" for end in transform.range if np.isfinite(end))
        left_out = "leave these direct estimates out: the areas are then predicted without a sample."
        hints = {
            "arcsin": "Give the effective sample sizes in the column n_eff.",
            "log": f"Model them without transformation, or {left_out}",
            "logit": f'Use transform="arcsin" with effective sample sizes in the column n_eff, or {left_out}',
        }
        raise SaeInputError(
            f"Direct estimates of exactly {ends} have no variance by the delta method on the "
            f"{transform.name} scale: {name_some(rows.names[flat])}.",
            hint=hints[transform.name],
            areas=rows.names[flat],
        )
    return z, D


def refuse_unit(arrays: AreaArrays) -> None:
    """Refuse variances whose squares, which a likelihood of structured effects needs, are no numbers."""
    with np.errstate(divide="ignore"):
        far = arrays.sampled & (np.abs(np.log10(arrays.D)) > _ORDERS)
    if far.any():
        names = arrays.names[far]
        raise SaeInputError(
            f"{int(far.sum())} sampling variances are below 1e-{_ORDERS} or above 1e{_ORDERS}, where "
            f"likelihoods of structured effects cannot be computed: {name_some(names)}.",
            hint="Give the direct estimates in another unit, and the variances in its square.",
            areas=names,
            column="vardir",
        )


def _values(names: Texts, values: np.ndarray, chosen: np.ndarray) -> str:
    words = [
        f"{name} ({value:g})" if np.isfinite(value) else f"{name} (missing)"
        for name, value in zip(names[chosen], values[chosen], strict=True)
    ]
    return name_some(words)
