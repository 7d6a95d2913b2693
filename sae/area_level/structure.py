"""Structure of area effects as component objects: SAR over a map, AR(1) over periods."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from sae.auxiliary.neighbours import Neighbours, neighbours, read_neighbours
from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.specs import split_formula

__all__ = ["AR1", "BOOTSTRAPS", "SAR", "check_structure", "free_parameters", "structure_words"]

_METHODS = ("reml", "ml")
BOOTSTRAPS = ("bootstrap", "bootstrap-corrected", "nonparametric", "nonparametric-corrected")


@dataclass(frozen=True, eq=False)
class SAR:
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
    `Neighbours` and square tables name all areas, so that a domain they lack is refused.

    References
    ----------
    Petrucci and Salvati (2006), J. Agric. Biol. Environ. Stat. 11, 169-182.

    Examples
    --------
    >>> edges = pd.DataFrame({"a": ["N", "S"], "b": ["S", "W"]})
    >>> SAR(edges).weights(["W", "S", "N", "I"]).toarray()[1].tolist()
    [0.5, 0.0, 0.5, 0.0]
    """

    map: Neighbours | pd.DataFrame | str | Path

    def weights(self, areas: list[str]) -> sparse.csr_matrix:
        """Return W for the areas in their order, shape (D, D).

        Raises
        ------
        SaeInputError
            If labels of the map and the areas do not match, or a weight is negative, missing or on the
            diagonal.
        """
        matrix = _square(self.map, areas) if _is_square(self.map) else _adjacency(self.map, areas)
        if not matrix.nnz:
            raise SaeInputError("The map has no pair of neighbours.", hint="Leave spatial= out.")
        sums = np.asarray(matrix.sum(axis=1)).ravel()
        return sparse.csr_matrix(sparse.diags(1.0 / np.where(sums > 0, sums, 1.0)) @ matrix)

    @cached_property
    def text(self) -> str:
        """The component as it stands in a model file; a map in memory by the digest of its content."""
        if isinstance(self.map, str | Path):
            return f"sar: {Path(self.map).as_posix()}"
        digest = hashlib.sha256()
        if isinstance(self.map, Neighbours):
            digest.update("\0".join(self.map.areas).encode() + self.map.pairs.tobytes())
        else:
            digest.update(self.map.to_csv(lineterminator="\n").encode())
        return f"sar: table {digest.hexdigest()[:12]}"

    @classmethod
    def of_text(cls, text: str) -> SAR:
        """Read "sar: FILE" of a model file."""
        kind, _, path = (part.strip() for part in text.partition(":"))
        if kind.lower() != "sar" or not path:
            raise SaeSpecError(f"spatial = {text!r} cannot be read.", hint='Write "sar: FILE", an edge list.')
        if path.startswith("table "):
            raise SaeSpecError(
                f"spatial = {text!r} names a map that was a table in memory and is not in the file.",
                hint='Save the edge list and write "sar: FILE", or give spatial=sae.SAR(...) in Python.',
            )
        return cls(path)

    def __repr__(self) -> str:
        return f"SAR({self.text.partition(': ')[2]!r})"


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
    return f"models {outcome} by {covariates} and area effects {' and '.join(effects)}; {spec.method.upper()}"


def check_structure(spec: Any) -> None:
    """Read components given as text, and refuse options that have no meaning with them."""
    for name, kind in (("spatial", SAR), ("temporal", AR1)):
        value = getattr(spec, name)
        if isinstance(value, str):
            object.__setattr__(spec, name, kind.of_text(value))
        elif value is not None and not isinstance(value, kind):
            raise SaeSpecError(
                f"{name} = {value!r} is no component.", hint=f"Give {name}=sae.{kind.__name__}(...)."
            )
    if spec.spatial is None and spec.temporal is None:
        if spec.mse in BOOTSTRAPS[2:]:
            raise SaeSpecError(f'mse="{spec.mse}" has no meaning without spatial=sae.SAR(...).')
        return
    structure = " and ".join(name for name in ("spatial", "temporal") if getattr(spec, name) is not None)
    refused = {
        f'method="{spec.method}"': spec.method not in _METHODS,
        f'transform="{spec.transform}"': spec.transform is not None,
        f"per={spec.per}": bool(spec.per),
        f'mse="{spec.mse}"': spec.mse
        not in (("auto", *BOOTSTRAPS[:2]) if spec.temporal else ("auto", "analytical", *BOOTSTRAPS)),
    }
    for option, bad in refused.items():
        if bad:
            raise SaeSpecError(
                f"{option} has no meaning with {structure} effects.",
                hint='They are estimated by method="reml" or "ml" on the scale of the data; with effects '
                "over time the MSE comes from the parametric bootstrap.",
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
            f"SAR({type(given).__name__}): this is no map.", hint="Give Neighbours, an edge list or a file."
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
