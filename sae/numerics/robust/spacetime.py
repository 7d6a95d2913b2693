"""Robust spatial, temporal and spatio-temporal Fay-Herriot models, by the algebra of `spacetime`.

With V the covariance of the direct estimates, U = diag(V), r = U^-1/2 (y - X beta), q = U^1/2 psi(r):

    X'V^-1 q = 0,      q'V^-1 (dV/dtheta_l) V^-1 q - K tr(V^-1 dV/dtheta_l) = 0

The first is solved for beta at given theta, the second by Newton's method from several starts. The slopes of
q'V^-1q and of log det V are those that the likelihood of `spacetime` needs, so that no D x D matrix appears.

References
----------
Sinha and Rao (2009), Canadian Journal of Statistics 37, 381-399; Schmid and Muennich (2014),
Statistical Papers 55, 653-670; Warnholz (2016), thesis, FU Berlin, chapter 3.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from sae.errors import SaeSpecError
from sae.numerics.inference.newton import natural
from sae.numerics.robust.effects import clip_weight, effects
from sae.numerics.robust.fit import HUBER_K, huber_variance
from sae.numerics.spacetime.fit import fit_spacetime, submodels
from sae.numerics.spacetime.likelihood import PARAMETERS, SpaceTimeProblem, gram_slopes, pieces, solve_rows

__all__ = [
    "RobustSpaceTimeFit",
    "fit_robust_spacetime",
    "robust_at",
    "robust_equations",
]

_S1, _R1, _S2, _R2 = range(4)
_STEPS = 100
_SMALL = 1e-10  # equations relative to the number of estimates: below, a solution
_NONE = 1e-4  # a variance of this many times the smallest sampling variance is on its way to 0
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(12)


@dataclass(frozen=True, eq=False)
class RobustSpaceTimeFit:
    """Solution of the robust equations of one model; D areas, T periods, p coefficients.

    Attributes
    ----------
    parameters : ndarray, shape (4,)
        In the order of `spacetime.PARAMETERS`; a variance on the boundary is exactly 0, and its correlation.
    beta : ndarray, shape (p,)
    beta_cov : ndarray, shape (p, p)
        (X'V^-1X)^-1.
    area_effect : ndarray, shape (D,)
    time_effect : ndarray, shape (D, T)
    reblup, reblupbc : ndarray, shape (D, T)
        Robust predictor of all areas and periods, and its form within c standard errors of the estimate.
    status : {"interior", "boundary", "not converged"}
    iterations : int
        Newton steps of all starts together.
    residual : float
        Largest equation in the free parameters (log variance, atanh rho) over the number of direct estimates.
    effect_residual : float
        Largest equation in the effects, relative to its largest term.
    solutions : ndarray, shape (m, 4)
        All the solutions met, the chosen one first; none where no start converged.
    k, c : float
        Tuning constants of psi and of the bias correction.
    """

    parameters: np.ndarray
    beta: np.ndarray
    beta_cov: np.ndarray
    area_effect: np.ndarray
    time_effect: np.ndarray
    reblup: np.ndarray
    reblupbc: np.ndarray
    status: str
    iterations: int
    residual: float
    effect_residual: float
    solutions: np.ndarray
    k: float
    c: float


def _coefficients(X, y, H, sd, k):
    """Solve H'(sd psi((y - X beta) / sd)) = 0, H = V^-1 X, by Newton's method or else reweighting."""
    beta = np.linalg.solve(H.T @ X, H.T @ y)
    scale = np.sqrt(np.diag(H.T @ X))

    def equation(b):
        r = (y - X @ b) / sd
        return H.T @ (sd * np.clip(r, -k, k)), r

    value, r = equation(beta)
    newton, size = True, np.linalg.norm(value / scale)
    for _ in range(500):
        weight = (np.abs(r) <= k).astype(float) if newton else clip_weight(r, k)
        slope = (H.T * weight) @ X
        try:
            step = np.linalg.solve(slope / np.outer(scale, scale), value / scale) / scale
        except np.linalg.LinAlgError:
            if not newton:
                break
            newton = False
            continue
        ahead, r_ahead = equation(beta + step)
        size_ahead = np.linalg.norm(ahead / scale)
        longest = np.abs(X @ step / sd).max()
        if newton and longest > 1e-7 and not size_ahead < size:
            newton = False
            continue
        beta, value, r, size = beta + step, ahead, r_ahead, size_ahead
        if longest < 1e-13:
            break
        newton = True
    return beta


def robust_equations(
    problem: SpaceTimeProblem, theta: np.ndarray, k: float = HUBER_K
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Left sides of the equations in the parameters, the coefficients profiled out.

    Parameters
    ----------
    problem : SpaceTimeProblem
    theta : ndarray, shape (m, 4)
        Parameter values side by side.

    Returns
    -------
    score : ndarray, shape (m, 4)
        q'V^-1 (dV) V^-1 q - K tr(V^-1 dV); twice the slope of the profile likelihood where k is large.
    beta : ndarray, shape (m, p)
    beta_cov : ndarray, shape (m, p, p)
    """
    parts = pieces(problem, theta)
    p, seen = problem.X.shape[2], problem.seen
    spread = parts.factors[1].inverse().diagonal()[:, :, None] * theta[:, _S1, None, None]
    time = theta[:, _S2] / (1.0 - theta[:, _R2] ** 2)
    own = np.einsum("dtt->dt", problem.psi)
    sd = np.sqrt(spread + time[:, None, None] + own)
    solved = parts.solved
    X, y = problem.Z[seen][:, :p], problem.Z[seen][:, p]
    q = np.zeros((len(theta), *seen.shape))
    beta = np.empty((len(theta), p))
    for lane in range(len(theta)):
        scale = sd[lane][seen]
        beta[lane] = _coefficients(X, y, solved[lane][seen][:, :p], scale, k)
        q[lane][seen] = scale * np.clip((y - X @ beta[lane]) / scale, -k, k)
    edge = np.einsum("dt,kdtq->kdq", seen.astype(float), parts.inverse @ q[..., None])
    U = parts.factors[0].solve(edge)
    area, solved, _ = solve_rows(problem, theta, q[..., None], parts.inverse, parts.pull, edge, U)
    traces, grams = gram_slopes(problem, theta, replace(parts, U=U, area=area, solved=solved))
    return -grams[..., 0, 0] - huber_variance(k) * traces, beta, np.linalg.inv(parts.gram[:, :p, :p])


def _newton(problem, start, free, k, known=()):
    """Newton's method on log variances and atanh correlations, up to a solution not `known` yet.

    Returns the point, the largest equation there over the number of estimates, and the number of steps.
    """
    columns, n = list(free), problem.seen.sum()
    variances = np.isin(columns, (_S1, _S2))
    chosen = start[columns]
    point = np.where(
        variances, np.log(np.where(variances, chosen, 1.0)), np.arctanh(np.where(variances, 0.0, chosen))
    )
    q, h = len(columns), 1e-6
    limit = np.where(variances, np.inf, np.arctanh(0.999))
    smallest = np.einsum("dtt->dt", problem.psi)[problem.seen].min()
    floor = np.where(variances, np.log(_NONE * smallest), -np.inf)

    def at(points):
        theta, slopes = natural(points, free)
        return (robust_equations(problem, theta, k)[0] * slopes)[:, columns] / n

    shifts = np.concatenate([np.zeros((1, q)), h * np.eye(q), -h * np.eye(q)])
    values, steps = at(point + shifts), 0
    for steps in range(1, _STEPS + 1):  # noqa: B007
        jacobian = (values[1 : q + 1] - values[q + 1 :]).T / (2 * h)
        step = -np.linalg.lstsq(jacobian, values[0], rcond=1e-12)[0]
        step *= min(1.0, 3.0 / max(np.abs(step).max(), 1e-300))
        now = np.linalg.norm(values[0])
        tried = np.clip(point + step, -limit, limit)
        ahead = at(tried + shifts)
        if not np.linalg.norm(ahead[0]) < now * (1 - 1e-4):
            shorter = np.clip(point + 0.5 ** np.arange(1, 9)[:, None] * step, -limit, limit)
            better = np.flatnonzero(np.linalg.norm(at(shorter), axis=1) < now * (1 - 1e-4))
            if len(better) == 0:
                break
            tried = shorter[better[0]]
            ahead = at(tried + shifts)
        if (tried < floor).any():  # a variance on its way to 0
            break
        point, values = tried, ahead
        theta = natural(point[None], free)[0][0]
        if np.abs(values[0]).max() < 1e-14 or any(
            np.allclose(theta, other, rtol=1e-4, atol=0) for other in known
        ):
            break
    return natural(point[None], free)[0][0], float(np.abs(values[0]).max()), steps


def _gain(problem, start, end, k):
    """Equations integrated from one parameter value to another, linear in sqrt(variance) and in rho."""
    t = 0.5 * (1.0 + _NODES)[:, None]
    root = np.where(np.isin(np.arange(4), (_S1, _S2)), 0.5, 1.0)
    first, last = np.sign(start) * np.abs(start) ** root, np.sign(end) * np.abs(end) ** root
    path = first + t * (last - first)
    theta = np.where(root == 0.5, path**2, path)
    slopes = np.where(root == 0.5, 2 * path, 1.0) * (last - first)
    score = robust_equations(problem, theta, k)[0]
    return float(0.5 * (0.5 * _WEIGHTS) @ (score * slopes).sum(axis=1))


def _starts(problem, free):
    """Give the maximum likelihood estimates of the same model, and points spread over its correlations."""
    on = np.einsum("dtt->dt", problem.psi)[problem.seen]
    names = tuple(PARAMETERS[index] for index in free)
    best = fit_spacetime(problem, names, method="ml").parameters.copy()
    unit = float(np.median(on))
    for index in (_S1, _S2):
        if index in free:
            best[index] = max(best[index], 0.05 * unit)
    best[[_R1, _R2]] = np.clip(best[[_R1, _R2]], -0.95, 0.95)
    starts = [best]
    rhos = [index for index in free if index in (_R1, _R2)]
    for rho in (-0.5, 0.3, 0.7, 0.95) if rhos else ():
        point = best.copy()
        point[rhos] = rho
        for variance, correlation in ((_S1, _R1), (_S2, _R2)):
            if correlation in rhos:
                point[variance] *= (1.0 - rho) ** 2 / (1.0 - best[correlation]) ** 2
        starts.append(point)
    return starts


def _spread(problem, free):
    """Give points over the whole range of the variances and of one value of the correlations."""
    unit = float(np.median(np.einsum("dtt->dt", problem.psi)[problem.seen]))
    sizes = (0.03 * unit, 0.3 * unit, unit)
    first, second = (sizes if index in free else (0.0,) for index in (_S1, _S2))
    rhos = (-0.6, 0.3, 0.8, 0.97) if {_R1, _R2} & set(free) else (0.0,)
    points = [np.array([one, rho, two, rho]) for one, two, rho in product(first, second, rhos)]
    return [point * np.isin(range(4), free) for point in points]


def _solutions(problem, free, k, starts):
    """Return the solutions met from all starts of every sub-model, the best first; those that are valid.

    A solution with a variance at 0 is valid where the equation pushes that variance below 0. Last, the steps.
    """
    found, iterations = [(0.0, np.zeros(4))], 0
    for chosen in submodels(tuple(PARAMETERS.index(name) for name in free)):
        known: list[np.ndarray] = []
        for point in starts(problem, chosen) if chosen else []:
            theta, size, steps = _newton(problem, point, chosen, k, known)
            iterations += steps
            if size < _SMALL and not any(np.allclose(theta, other, rtol=1e-6, atol=0) for other in known):
                known.append(theta)
                found.append((_gain(problem, np.zeros(4), theta, k), theta))
    found.sort(key=lambda pair: -pair[0])
    thetas = np.array([theta for _, theta in found])
    variances = [index for index in (_S1, _S2) if PARAMETERS[index] in free]
    outward = robust_equations(problem, thetas, k)[0][:, variances] <= 0
    return thetas, thetas[(outward | (thetas[:, variances] > 0)).all(axis=1)], iterations


def fit_robust_spacetime(
    problem: SpaceTimeProblem,
    free: tuple[str, ...] = PARAMETERS,
    *,
    k: float = HUBER_K,
    c: float = 1.0,
    start: np.ndarray | None = None,
) -> RobustSpaceTimeFit:
    """Solve the robust equations of one spatial, temporal or spatio-temporal model.

    Newton's method starts from the maximum likelihood estimates and from points spread over the correlations,
    in the model and in every one with a free variance at 0. Of the solutions met, the one with the largest
    integral of the equations from the model without effects is kept: for large k that is the likelihood
    ratio. A variance below 1e-4 of the smallest sampling variance counts as 0.

    Parameters
    ----------
    problem : SpaceTimeProblem
        From `spacetime_problem`, with uncorrelated sampling errors.
    free : tuple of str
        Names from `PARAMETERS`: ("sigma2_u", "rho_u") spatial, ("sigma2_u", "sigma2_v", "rho_v") temporal,
        all four spatio-temporal.
    k, c : float
        Tuning constants of psi and of the bias correction.
    start : ndarray, shape (4,), optional
        Start here alone, with variances above 0; for a bootstrap, where the solution is near.

    Raises
    ------
    SaeSpecError
        If sampling errors of different periods are correlated.

    Examples
    --------
    >>> from sae.numerics.spacetime.fit import spacetime_problem
    >>> y = np.array([1.0, 2.2, 2.9, 4.1, 9.0, 6.1])[:, None]
    >>> X = np.stack([np.ones(6), np.arange(6.0)], axis=1)[:, None, :]
    >>> fit_robust_spacetime(spacetime_problem(y, X, np.full((6, 1), 0.1)), ("sigma2_u",)).status
    'boundary'
    """
    off = problem.psi - np.einsum("dtt->dt", problem.psi)[..., None] * np.eye(problem.psi.shape[1])
    if off.any():
        raise SaeSpecError(
            "The robust equations need sampling errors that are uncorrelated between periods.",
            hint="Give the variances alone, or use the model without robustness.",
        )
    thetas, valid, iterations = _solutions(
        problem, free, k, _starts if start is None else lambda _, chosen: [start * np.isin(range(4), chosen)]
    )
    if start is None and not len(valid):  # none of the roots met is one with the variances at 0 left there
        thetas, valid, more = _solutions(problem, free, k, _spread)
        iterations += more
    best = robust_at(problem, (valid if len(valid) else thetas)[0], free, k=k, c=c)
    return replace(best, iterations=iterations, solutions=valid)


def robust_at(
    problem: SpaceTimeProblem,
    theta: np.ndarray,
    free: tuple[str, ...] = PARAMETERS,
    *,
    k: float = HUBER_K,
    c: float = 1.0,
) -> RobustSpaceTimeFit:
    """Coefficients, effects and predictors at given parameters, with the residuals of all equations there."""
    score, beta, cov = robust_equations(problem, theta[None], k)
    slopes = np.array([theta[_S1], 1.0 - theta[_R1] ** 2, theta[_S2], 1.0 - theta[_R2] ** 2])
    live = [index for index, name in enumerate(PARAMETERS) if name in free and theta[index - index % 2] > 0]
    residual = float(np.abs(score[0] * slopes)[live].max(initial=0.0)) / problem.seen.sum()
    variances = [index for index in (_S1, _S2) if PARAMETERS[index] in free]
    at_zero = [index for index in variances if theta[index] == 0]
    outward = all(score[0, index] <= 0 for index in at_zero)
    area, time, effect_residual = effects(problem, theta, beta[0], k)
    plain = problem.X @ beta[0] + area[:, None] + time
    y = problem.Z[..., -1]
    reach = c * np.sqrt(np.einsum("dtt->dt", problem.psi))
    corrected = np.where(problem.seen, np.clip(plain, y - reach, y + reach), plain)
    solved = residual < _SMALL and outward and effect_residual < 1e-9
    status = "not converged" if not solved else "boundary" if at_zero else "interior"
    return RobustSpaceTimeFit(
        theta,
        beta[0],
        cov[0],
        area,
        time,
        plain,
        corrected,
        status,
        0,
        residual,
        effect_residual,
        theta[None],
        k,
        c,
    )
