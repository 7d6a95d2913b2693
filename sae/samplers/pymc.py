"""The one adapter to PyMC: a model is compiled once per structure, fed any data, and comes back as arrays.

nutpie samples where it is installed, else PyMC itself. PyMC 5 returns `InferenceData`, PyMC 6 a `DataTree`:
only the arrays of the posterior and the count of divergences are taken from either.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np

from sae.errors import SaeConvergenceError
from sae.numerics.inference.priors import HALF_CAUCHY, HALF_NORMAL
from sae.numerics.inference.psis import ess, r_hat
from sae.numerics.random.streams import stream_keys

__all__ = ["CHAINS", "R_HAT_ERROR", "R_HAT_WARNING", "Chains", "per_chain", "sample_chains", "standard_prior"]

CHAINS = 4
R_HAT_WARNING, R_HAT_ERROR = 1.01, 1.05
_DIVERGENT = 0.05  # share of divergent draws from which the draws are refused
_KEPT = 16  # compiled models

Build = Callable[[Mapping[str, Any]], None]
_compiled: OrderedDict[Hashable, Any] = OrderedDict()


@dataclass(frozen=True, eq=False)
class Chains:
    """Draws of several chains, with what shows whether they can be trusted.

    Attributes
    ----------
    draws : mapping of str to ndarray, shape (chains, draws, ...)
    r_hat, ess : float
        The largest R-hat and the smallest effective sample size of all numbers that vary.
    divergences : int
    worst : str
        Name of what has the largest R-hat.
    """

    draws: Mapping[str, np.ndarray]
    r_hat: float
    ess: float
    divergences: int
    worst: str

    @classmethod
    def of(cls, draws: Mapping[str, np.ndarray], divergences: int = 0) -> Chains:
        """Judge draws, each of shape (chains, draws, ...)."""
        rows = [
            (r_hat(flat[:, :, k]), ess(flat[:, :, k]), name if flat.shape[2] == 1 else f"{name}[{k}]")
            for name, values in draws.items()
            for flat in [values.reshape(*values.shape[:2], -1)]
            for k in range(flat.shape[2])
            if np.ptp(flat[:, :, k]) > 0.0
        ]
        worst = max(rows, key=lambda row: np.inf if np.isnan(row[0]) else row[0])
        return cls(draws, worst[0], min(row[1] for row in rows), divergences, worst[2])

    @property
    def diagnostics(self) -> dict[str, float]:
        """R-hat, effective sample size and divergences by name."""
        return {"r_hat": self.r_hat, "ess": self.ess, "divergences": float(self.divergences)}

    def joined(self) -> dict[str, np.ndarray]:
        """Return the draws with all chains one after the other, shape (chains × draws, ...)."""
        return {name: values.reshape(-1, *values.shape[2:]) for name, values in self.draws.items()}

    @property
    def lengths(self) -> str:
        """Number and length of the chains in words: "4 chains of 1000"."""
        count, size = next(iter(self.draws.values())).shape[:2]
        return f"{count} chains of {size}"

    @property
    def doubt(self) -> str:
        """The sentence that says that the chains hardly agree; empty where they do."""
        if self.r_hat > R_HAT_WARNING or self.divergences:
            return f"The chains hardly agree: {self._judgement}"
        return ""

    def checked(self) -> Chains:
        """Return itself, but for chains that do not agree.

        Raises
        ------
        SaeConvergenceError
            If R-hat exceeds 1.05, or one draw in twenty diverged.
        """
        count, size = next(iter(self.draws.values())).shape[:2]
        if not self.r_hat <= R_HAT_ERROR or self.divergences > _DIVERGENT * count * size:
            raise SaeConvergenceError(
                f"The chains did not converge: {self._judgement}",
                hint="Ask for more draws, use a narrower prior, or a simpler model.",
            )
        return self

    @property
    def _judgement(self) -> str:
        return (
            f"R-hat {self.r_hat:.3f} ({self.worst}), effective sample size {self.ess:.0f}, "
            f"{self.divergences} divergences."
        )


def per_chain(draws: int) -> int:
    """Return the length of each of `CHAINS` chains that together have at least so many draws."""
    return -(-draws // CHAINS)


def standard_prior(code: int) -> Any:
    """Return the class of PyMC's distributions that a prior of a standard deviation is, with scale 1.

    Parameters
    ----------
    code : int
        Kind of the prior, a proper one: see `sae.numerics.inference.priors`.
    """
    import pymc as pm

    return {HALF_NORMAL: pm.HalfNormal, HALF_CAUCHY: pm.HalfCauchy}.get(code, pm.Exponential)


def sample_chains(
    build: Build,
    key: Hashable,
    data: Mapping[str, np.ndarray],
    *,
    seed: int,
    draws: int = 1000,
    tune: int = 1000,
    chains: int = CHAINS,
    acceptance: float = 0.9,
) -> Chains:
    """Draw from a PyMC model by NUTS.

    Parameters
    ----------
    build : callable
        Called once per structure inside the model, with the data as PyMC knows them, by name; it states
        priors and likelihood.
    key : hashable
        Names the structure that `build` states: with the same key and shapes of the data nothing is compiled
        again.
    data : mapping of str to ndarray
        Floats and integers.
    seed : int
        The same seed gives the same draws; the streams are named by it and the key.
    draws, tune, chains : int
        Per chain after and before tuning ends; number of chains.
    acceptance : float
        Target of the step size.

    Returns
    -------
    Chains
        Not judged yet: see `Chains.checked`.

    Raises
    ------
    KeyboardInterrupt
        If it was stopped: draws that are cut short are not returned.
    """
    arrays = {name: np.ascontiguousarray(values) for name, values in data.items()}
    place = (key, tuple((name, values.shape, str(values.dtype)) for name, values in sorted(arrays.items())))
    number = int(stream_keys(seed, "NUTS", [key])[0] % np.uint64(2**31))
    sampler = _by_nutpie if find_spec("nutpie") is not None else _by_pymc
    model = _compiled.pop((sampler, place), None)
    options = {"draws": draws, "tune": tune, "chains": chains, "target_accept": acceptance}
    model, posterior, diverging = sampler(model, build, arrays, number, options)
    _compiled[sampler, place] = model  # the last one used stands last
    while len(_compiled) > _KEPT:
        _compiled.popitem(last=False)
    names = [
        str(name) for name in posterior.data_vars if not str(name).endswith("__")
    ]  # nor the unconstrained
    found = {name: np.asarray(posterior[name]) for name in names}
    if any(values.shape[:2] != (chains, draws) for values in found.values()):
        raise KeyboardInterrupt("the chains were stopped before their end")
    return Chains.of(found, int(np.asarray(diverging).sum()))


class _Asked(dict[str, Any]):
    """Data that remember which of them the model asked for."""

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        super().__init__(arrays)
        self.asked: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        self.asked.add(name)
        return super().__getitem__(name)


def _model(build: Build, arrays: Mapping[str, np.ndarray]) -> Any:
    import pymc as pm

    with pm.Model() as model:
        data = arrays if isinstance(arrays, _Asked) else _Asked(arrays)
        data.update({name: pm.Data(name, values) for name, values in arrays.items()})
        build(data)
    return model


def _by_nutpie(
    compiled: Any, build: Build, arrays: Mapping[str, np.ndarray], seed: int, options: dict[str, Any]
) -> tuple[Any, Any, Any]:
    import nutpie

    if compiled is None:
        data = _Asked(arrays)
        compiled = nutpie.compile_pymc_model(_model(build, data)), data.asked
    model, asked = compiled
    # a name that nutpie does not know is an error: data that are left out would be those of the first call
    used = {name: arrays[name] for name in asked}
    running = nutpie.sample(
        model.with_data(**used),
        seed=seed,
        blocking=False,
        save_warmup=False,
        progress_bar=sys.stderr.isatty(),
        **options,
    )
    try:
        trace = running.wait()
    except BaseException:  # also Ctrl-C, after which nutpie would return what it has
        running.cancel()
        raise
    return compiled, _dataset(trace.posterior), trace.sample_stats["diverging"]


def _by_pymc(
    model: Any, build: Build, arrays: Mapping[str, np.ndarray], seed: int, options: dict[str, Any]
) -> tuple[Any, Any, Any]:
    import pymc as pm

    if model is None:
        model = _model(build, arrays)
    with model:
        pm.set_data(dict(arrays))
        trace = pm.sample(
            **options,
            nuts_sampler="pymc",
            random_seed=seed,
            cores=1,
            progressbar=sys.stderr.isatty(),
            compute_convergence_checks=False,
        )
    return model, _dataset(trace.posterior), trace.sample_stats["diverging"]


def _dataset(group: Any) -> Any:
    """Return an xarray Dataset of a group of either world."""
    return group.to_dataset() if hasattr(group, "to_dataset") else group
