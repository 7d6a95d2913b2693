"""Structure of area effects as component objects: over a map (SAR, BYM2) and over periods (AR1, RW1)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from scipy import sparse

from sae.auxiliary.neighbours import Neighbours, neighbours, read_neighbours
from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.specs import split_formula
from sae.specs.priors import prior_of

__all__ = [
    "AR1",
    "BOOTSTRAPS",
    "BYM2",
    "CAR",
    "RW1",
    "RW2",
    "SAR",
    "Leroux",
    "check_structure",
    "free_parameters",
    "read_components",
    "structure_words",
]

_METHODS = ("reml", "ml")
BOOTSTRAPS = ("bootstrap", "bootstrap-corrected", "nonparametric", "nonparametric-corrected")


@dataclass(frozen=True, eq=False, repr=False)
class _OverMap:
    """What effects over a map share: the map, and how it stands in a model file."""

    map: Neighbours | pd.DataFrame | str | Path
    kind: ClassVar[str]
    bayes_only: ClassVar[bool] = True

    @property
    def structure(self) -> str:
        """Name of the precision matrix in `sae.numerics.spacetime.precision`."""
        return self.kind

    def adjacency(self, areas: list[str]) -> sparse.csr_matrix:
        """Return the weights of the map for the areas in their order, shape (D, D).

        Raises
        ------
        SaeInputError
            If labels of the map and the areas do not match, a weight is negative, missing or on the diagonal,
            or there is no pair of neighbours.
        """
        matrix = _square(self.map, areas) if _is_square(self.map) else _adjacency(self.map, areas)
        if not matrix.nnz:
            raise SaeInputError("The map has no pair of neighbours.", hint="Leave spatial= out.")
        if self.bayes_only and abs(matrix - matrix.T).max() > 0:
            rows = np.asarray(areas)[np.unique((matrix - matrix.T).nonzero()[0])]
            raise SaeInputError(
                f"Weights of the map differ in the two directions: {name_some(rows)}.",
                hint=f"{type(self).__name__} needs a symmetric map; SAR takes any weights.",
                areas=rows,
            )
        return matrix

    def weights(self, areas: list[str]) -> sparse.csr_matrix:
        """Return W, the weights with rows that sum to 1, for the areas in their order, shape (D, D)."""
        matrix = self.adjacency(areas)
        sums = np.asarray(matrix.sum(axis=1)).ravel()
        return sparse.csr_matrix(sparse.diags(1.0 / np.where(sums > 0, sums, 1.0)) @ matrix)

    @cached_property
    def text(self) -> str:
        """The component as it stands in a model file; a map in memory by the digest of its content."""
        if isinstance(self.map, str | Path):
            return f"{self.kind}: {Path(self.map).as_posix()}"
        digest = hashlib.sha256()
        if isinstance(self.map, Neighbours):
            digest.update("\0".join(self.map.areas).encode() + self.map.pairs.tobytes())
        else:
            digest.update(self.map.to_csv(lineterminator="\n").encode())
        return f"{self.kind}: table {digest.hexdigest()[:12]}"

    @classmethod
    def of_text(cls, text: str) -> Self:
        """Read "KIND: FILE" of a model file."""
        kind, _, path = (part.strip() for part in text.partition(":"))
        if kind.lower() != cls.kind or not path:
            raise SaeSpecError(
                f"spatial = {text!r} cannot be read.", hint=f'Write "{cls.kind}: FILE", an edge list.'
            )
        if path.startswith("table "):
            raise SaeSpecError(
                f"spatial = {text!r} names a map that was a table in memory and is not in the file.",
                hint=f'Save the edge list and write "{cls.kind}: FILE", or give '
                f"spatial=sae.{cls.__name__}(...) in Python.",
            )
        return cls(path)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.text.partition(': ')[2]!r})"


@dataclass(frozen=True, eq=False, repr=False)
class SAR(_OverMap):
    """Simultaneous autoregressive area effects: u = ρ W u + ε, W row-standardised.

    Parameters
    ----------
    map : Neighbours, DataFrame, str or Path
        Which areas are neighbours, by the labels of the domains: `sae.auxiliary.Neighbours`, an edge list
        (two columns), a labelled square table of weights (not negative, 0 on the diagonal), or the file of an
        edge list.

    Notes
    -----
    Rows of W sum to 1; an area without a neighbour (an island) has a row of zeros, so that its effect is
    independent, and it is named in the result's notes. Domains that an edge list lacks are taken as islands;
    `Neighbours` and square tables name all areas, so that a domain they lack is refused. With method="bayes"
    ρ is uniform on (-1, 1).

    References
    ----------
    Petrucci and Salvati (2006), J. Agric. Biol. Environ. Stat. 11, 169-182.

    Examples
    --------
    >>> edges = pd.DataFrame({"a": ["N", "S"], "b": ["S", "W"]})
    >>> SAR(edges).weights(["W", "S", "N", "I"]).toarray()[1].tolist()
    [0.5, 0.0, 0.5, 0.0]
    """

    kind: ClassVar[str] = "sar"
    bayes_only: ClassVar[bool] = False


@dataclass(frozen=True, eq=False, repr=False)
class BYM2(_OverMap):
    """Area effects σ (√(1 - ρ) v + √ρ s): v independent, s intrinsic autoregressive over the map.

    s is scaled so that its typical variance is 1 and sums to zero, both in each connected part of the map: σ
    is the standard deviation of the effect and ρ, uniform on (0, 1), the share of its variance that
    neighbours share. An area without a neighbour has an independent effect with variance σ². Needs
    method="bayes".

    Parameters
    ----------
    map : Neighbours, DataFrame, str or Path
        As for `SAR`; symmetric.

    References
    ----------
    Riebler, Sørbye, Simpson and Rue (2016), Stat. Methods Med. Res. 25, 1145-1165; Freni-Sterrantino,
    Ventrucci and Rue (2018), Spat. Spatiotemporal Epidemiol. 26, 25-34.
    """

    kind: ClassVar[str] = "bym2"


@dataclass(frozen=True, eq=False, repr=False)
class Leroux(_OverMap):
    """Area effects with precision ((1 - ρ) I + ρ (diag(n) - A)) / σ², n the numbers of neighbours.

    ρ is uniform on (0, 1): 0 gives independent effects. An area without a neighbour has an independent effect
    with variance σ². Needs method="bayes".

    Parameters
    ----------
    map : Neighbours, DataFrame, str or Path
        As for `SAR`; symmetric.

    References
    ----------
    Leroux, Lei and Breslow (2000), in Statistical Models in Epidemiology, the Environment, and Clinical
    Trials, 179-191.
    """

    kind: ClassVar[str] = "leroux"


@dataclass(frozen=True, eq=False, repr=False)
class CAR(_OverMap):
    """Conditional autoregressive area effects: precision (diag(n) - ρ A) / σ², n the numbers of neighbours.

    ρ is uniform on (0, 1), or fixed at 1: the intrinsic autoregression, then scaled so that its typical
    variance is σ² and with effects that sum to zero, both in each connected part of the map. An area without
    a neighbour has an independent effect with variance σ². Needs method="bayes".

    Parameters
    ----------
    map : Neighbours, DataFrame, str or Path
        As for `SAR`; symmetric.
    rho : {None, 1.0}

    References
    ----------
    Besag, York and Mollié (1991), Ann. Inst. Stat. Math. 43, 1-20; Sørbye and Rue (2014), Spatial Statistics
    8.
    """

    rho: float | None = None
    kind: ClassVar[str] = "car"

    def __post_init__(self) -> None:
        if self.rho is not None and self.rho != 1:
            raise SaeSpecError(f"CAR(rho={self.rho}): rho is estimated (None) or 1.")

    @property
    def structure(self) -> str:
        """Name of the precision matrix in `sae.numerics.spacetime.precision`."""
        return "car" if self.rho is None else "icar"

    @cached_property
    def text(self) -> str:
        """The component as it stands in a model file; a map in memory by the digest of its content."""
        return super().text + (", rho 1" if self.rho is not None else "")

    @classmethod
    def of_text(cls, text: str) -> CAR:
        """Read "car: FILE", with ", rho 1" where wanted."""
        fixed = text.strip().endswith(", rho 1")
        found = super().of_text(text.strip().removesuffix(", rho 1"))
        return cls(found.map, rho=1.0) if fixed else found


@dataclass(frozen=True)
class AR1:
    """Area-by-time effects v_t = ρ v_{t-1} + ε within each area, beside the area effect.

    Parameters
    ----------
    column : str
        The periods: whole numbers (a gap is a gap in time), or text that sorts by time, taken as equally
        spaced.
    rho : {None, 0.0}
        Estimated, or fixed at 0: independent effects over time (model S of Marhuenda, Molina and Morales).
    covariance : str, optional
        Column of a plain frame: sampling covariance of the direct estimate with that of the same area one
        period before (overlap of a panel); further lags count as 0. `DirectEstimates.covariance` is used by
        itself.

    References
    ----------
    Rao and Yu (1994), Canadian J. Stat. 22, 511-528; Marhuenda, Molina and Morales (2013), CSDA 58, 308-325.

    Examples
    --------
    >>> AR1("year", rho=0.0).text
    'ar1: year, rho 0'
    """

    column: str
    rho: float | None = None
    covariance: str | None = None

    def __post_init__(self) -> None:
        if self.rho is not None and self.rho != 0:
            raise SaeSpecError(f"AR1(rho={self.rho}): rho is estimated (None) or 0.")

    @property
    def text(self) -> str:
        """The component as it stands in a model file."""
        fixed = ", rho 0" if self.rho is not None else ""
        return f"ar1: {self.column}{fixed}" + (f", covariance {self.covariance}" if self.covariance else "")

    @classmethod
    def of_text(cls, text: str) -> AR1:
        """Read "ar1: COLUMN", with ", rho 0" and ", covariance COLUMN" where wanted."""
        kind, _, rest = (part.strip() for part in text.partition(":"))
        column, *options = (part.strip() for part in rest.split(","))
        known: dict[str, Any] = {}
        for option in options:
            name, _, value = option.partition(" ")
            known[name] = float(value) if name == "rho" else value
        if kind.lower() != "ar1" or not column or set(known) - {"rho", "covariance"}:
            raise SaeSpecError(f"temporal = {text!r} cannot be read.", hint='Write "ar1: COLUMN".')
        return cls(column, **known)


@dataclass(frozen=True)
class _Walk:
    """What random walks over the periods share."""

    column: str
    covariance: str | None = None
    order: ClassVar[int]

    @property
    def text(self) -> str:
        """The component as it stands in a model file."""
        return f"rw{self.order}: {self.column}" + (
            f", covariance {self.covariance}" if self.covariance else ""
        )

    @classmethod
    def of_text(cls, text: str) -> Self:
        """Read "rw1: COLUMN", with ", covariance COLUMN" where wanted."""
        kind, _, rest = (part.strip() for part in text.partition(":"))
        column, *options = (part.strip() for part in rest.split(","))
        known = dict(option.split(" ", 1) for option in options if " " in option)
        if (
            kind.lower() != f"rw{cls.order}"
            or not column
            or len(known) < len(options)
            or set(known) - {"covariance"}
        ):
            raise SaeSpecError(f"temporal = {text!r} cannot be read.", hint=f'Write "rw{cls.order}: COLUMN".')
        return cls(column, **known)


class RW1(_Walk):
    """Random walk over the periods within each area, beside the area effect: Δv_t ~ N(0, σ²).

    The level of each area's walk is taken out (the area effect and the covariates have it), and the walk is
    scaled so that its typical standard deviation is σ. Needs method="bayes".

    Parameters
    ----------
    column, covariance : str
        As for `AR1`.

    References
    ----------
    Sørbye and Rue (2014), Spatial Statistics 8, 39-51 (scaling).

    Examples
    --------
    >>> RW1("year").text
    'rw1: year'
    """

    order: ClassVar[int] = 1


class RW2(_Walk):
    """Random walk of second order over the periods within each area: Δ²v_t ~ N(0, σ²).

    The straight line of each area's walk is taken out: its level is in the area effect, a common trend
    belongs into the formula. Scaled as `RW1`; needs three periods and method="bayes".

    Parameters
    ----------
    column, covariance : str
        As for `AR1`.
    """

    order: ClassVar[int] = 2


_SPATIAL: dict[str, Any] = {"sar": SAR, "bym2": BYM2, "leroux": Leroux, "car": CAR}
_TEMPORAL: dict[str, Any] = {"ar1": AR1, "rw1": RW1, "rw2": RW2}


def free_parameters(spatial: SAR | None, temporal: AR1 | None) -> tuple[str, ...]:
    """Parameters that a combination of components estimates, in the order of the kernel."""
    names = ["sigma2_u", *(["rho_u"] if spatial else [])]
    if temporal:
        names += ["sigma2_v", *(["rho_v"] if temporal.rho is None else [])]
    return tuple(names)


def structure_words(spec: Any) -> str:
    """Say what a specification with components will do."""
    outcome, covariates = split_formula(spec.formula)
    effects = [f"{name.text!r}" for name in (spec.spatial, spec.temporal) if name is not None]
    method = spec.method.upper()
    if spec.method == "bayes":
        method = f"exact posterior, {prior_of(spec.prior).text} prior of standard deviations"
    return f"models {outcome} by {covariates} and area effects {' and '.join(effects)}; {method}"


def read_components(spec: Any) -> None:
    """Read the components of a specification that are given as text, and refuse what it cannot take."""
    for name, kinds in (("spatial", _SPATIAL), ("temporal", _TEMPORAL)):
        value = getattr(spec, name)
        if isinstance(value, str):
            kind = value.partition(":")[0].strip().lower()
            value = kinds.get(kind, next(iter(kinds.values()))).of_text(value)
            object.__setattr__(spec, name, value)
        if value is None:
            continue
        if not isinstance(value, tuple(kinds.values())):
            names = ", ".join(f"{name}=sae.{known.__name__}(...)" for known in kinds.values())
            raise SaeSpecError(f"{name} = {value!r} is no component.", hint=f"Give one of {names}.")
        if not isinstance(value, SAR | AR1) and getattr(spec, "method", None) != "bayes":
            raise SaeSpecError(
                f"{name}={value!r} is estimated by Bayes only.",
                hint='Use sae.FayHerriot(..., method="bayes"), or sae.SAR and sae.AR1, which have a '
                "likelihood estimate too.",
            )


def check_structure(spec: Any) -> None:
    """Read components given as text, and refuse options that have no meaning with them."""
    read_components(spec)
    if spec.spatial is None and spec.temporal is None:
        if spec.mse in BOOTSTRAPS[2:]:
            raise SaeSpecError(f'mse="{spec.mse}" has no meaning without spatial=sae.SAR(...).')
        return
    structure = " and ".join(name for name in ("spatial", "temporal") if getattr(spec, name) is not None)
    analytical = ("auto", *BOOTSTRAPS[:2]) if spec.temporal else ("auto", "analytical", *BOOTSTRAPS)
    refused = {
        f'method="{spec.method}"': spec.method not in (*_METHODS, "bayes"),
        f'transform="{spec.transform}"': spec.transform is not None,
        f"per={spec.per}": bool(spec.per),
        f'mse="{spec.mse}"': spec.method != "bayes" and spec.mse not in analytical,
    }
    for option, bad in refused.items():
        if bad:
            raise SaeSpecError(
                f"{option} has no meaning with {structure} effects.",
                hint='They are estimated by method="reml", "ml" or "bayes" on the scale of the data; with '
                "effects over time the MSE of a likelihood estimate comes from the parametric bootstrap.",
            )


def _is_square(given: object) -> bool:
    return (
        isinstance(given, pd.DataFrame)
        and given.shape[0] == given.shape[1]
        and set(map(str, given.index)) == set(map(str, given.columns))
    )


def _square(table: Any, areas: list[str]) -> sparse.csr_matrix:
    named = table.set_axis(table.index.map(str)).set_axis(table.columns.map(str), axis=1)
    _match(areas, list(named.index))
    values = named.loc[areas, areas].to_numpy(dtype=float)
    bad = ~(np.isfinite(values) & (values >= 0)).all(axis=1) | (np.diag(values) != 0)
    if bad.any():
        names = np.asarray(areas)[bad]
        raise SaeInputError(
            f"Weights of the map are missing, negative or on the diagonal in the rows {name_some(names)}.",
            areas=names,
        )
    return sparse.csr_matrix(values)


def _adjacency(given: Any, areas: list[str]) -> sparse.csr_matrix:
    if isinstance(given, str | Path):
        graph = read_neighbours(given, areas)
    elif isinstance(given, pd.DataFrame):
        graph = neighbours(given, areas)
    elif isinstance(given, Neighbours):
        graph = given
        _match(areas, list(graph.areas))
    else:
        raise SaeSpecError(
            f"A {type(given).__name__} is no map.", hint="Give Neighbours, an edge list or a file."
        )
    place = {area: k for k, area in enumerate(areas)}
    to = np.array([place[area] for area in graph.areas], dtype=np.int64)
    i, j = to[graph.pairs].T if len(graph.pairs) else (np.empty(0, int), np.empty(0, int))
    ones, size = np.ones(2 * len(i)), len(areas)
    return sparse.csr_matrix((ones, (np.concatenate([i, j]), np.concatenate([j, i]))), shape=(size, size))


def _match(areas: list[str], known: list[str]) -> None:
    on_map, in_data = set(known), set(areas)
    absent = [area for area in areas if area not in on_map]
    unknown = [label for label in known if label not in in_data]
    if absent or unknown:
        raise SaeInputError(
            f"Map and data do not match: {_some('domains not on the map', absent)}, "
            f"{_some('areas of the map not in the data', unknown)}.",
            hint="Write codes alike; areas without a direct estimate are rows of areas=, with covariates.",
            areas=absent or unknown,
        )


def _some(what: str, labels: list[str]) -> str:
    return f"{len(labels)} {what}" + (f" ({name_some(labels)})" if labels else "")
