"""What a public call costs beyond its kernels: reading, checking, designs, tables, messages.

A fit of each family is recorded once: what every function of `sae.numerics` and `sae.samplers` gave where
another room called it. The timed call is the same fit with these answers in the place of the kernels.
"""

import sys
from dataclasses import dataclass
from functools import cached_property, wraps
from types import FunctionType, GeneratorType

from harness import Case

AREAS = 100


@dataclass(frozen=True)
class Parts:
    """What a kernel gave part by part."""

    parts: list


class Replay:
    """The answers of the kernels of one call, in their order."""

    def __init__(self, call):
        self.call, self.answers, self.place, self.inside = call, [], 0, False
        self.recording = True

    def wrapped(self, function):
        """Return the function, answering from the record once that is made."""

        @wraps(function)
        def answer(*arguments, **options):
            if self.inside or self is not Replay.running:
                return function(*arguments, **options)
            if not self.recording:
                self.place += 1
                given = self.answers[self.place - 1]
                return iter(given.parts) if isinstance(given, Parts) else given
            self.inside = True
            try:
                given = function(*arguments, **options)
                if isinstance(given, GeneratorType):
                    given = Parts(list(given))
            finally:
                self.inside = False
            self.answers.append(given)
            return iter(given.parts) if isinstance(given, Parts) else given

        return answer

    def __call__(self):
        """Call with the kernels wrapped."""
        Replay.running, self.place = self, 0
        try:
            return self.call()
        finally:
            Replay.running = None

    running = None


def is_kernel(thing):
    return getattr(thing, "__module__", "").startswith(("sae.numerics.", "sae.samplers."))


def replayed(call):
    """Return the call with its kernels recorded."""
    call()  # imports what it needs
    replay = Replay(call)
    modules = [
        module for name, module in sys.modules.items() if name.startswith(("sae.area_level.", "sae.results."))
    ]
    classes = set()
    for module in modules:
        for name, thing in list(vars(module).items()):
            if isinstance(thing, type) and is_kernel(thing):
                classes.update(one for one in thing.__mro__ if is_kernel(one))
            elif callable(thing) and is_kernel(thing) and not isinstance(thing, type):
                setattr(module, name, replay.wrapped(thing))
    for place, module in list(
        sys.modules.items()
    ):  # what is imported where it is used, and classes behind it
        if not place.startswith(("sae.numerics.", "sae.samplers.")):
            continue
        for name, thing in list(vars(module).items()):
            if getattr(thing, "__module__", "") != place:
                continue
            if isinstance(thing, FunctionType):
                setattr(module, name, replay.wrapped(thing))
            elif isinstance(thing, type) and place.startswith("sae.samplers."):
                classes.add(thing)
    for kind in classes:
        for name, member in list(vars(kind).items()):
            if name.startswith("__"):
                continue
            if isinstance(member, FunctionType):
                setattr(kind, name, replay.wrapped(member))
            elif isinstance(member, classmethod):
                setattr(kind, name, classmethod(replay.wrapped(member.__func__)))
            elif isinstance(member, property):
                setattr(kind, name, property(replay.wrapped(member.fget)))
            elif isinstance(member, cached_property):
                setattr(kind, name, property(replay.wrapped(member.func)))
    replay()
    replay.recording = False
    return replay


def frame():
    """Areas with figures of every kind, five of them without a sample."""
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(3)
    x, n = rng.normal(size=AREAS), rng.integers(12, 90, AREAS)
    vardir = rng.uniform(0.2, 0.6, AREAS)
    y = 5.0 + x + 0.7 * rng.normal(size=AREAS) + np.sqrt(vardir) * rng.normal(size=AREAS)
    count = rng.binomial(n, 1 / (1 + np.exp(1.0 - 0.4 * x - 0.3 * rng.normal(size=AREAS)))).astype(float)
    rate = (count + 1) / (n + 2)
    data = pd.DataFrame(
        {
            "domain": [f"A{k:02d}" for k in range(AREAS)],
            "city": [f"C{k // 4:02d}" for k in range(AREAS)],
            "group": np.where(np.arange(AREAS) % 3 == 0, "north", "south"),
            "year": np.tile(np.arange(2020, 2024), AREAS // 4),
            "x": x,
            "x_var": rng.uniform(0.01, 0.02, AREAS),
            "y": y,
            "vardir": vardir,
            "w": 2.0 - x + 0.5 * y + 0.5 * rng.normal(size=AREAS),
            "w_var": 0.8 * vardir,
            "y_w": 0.3 * vardir,
            "n": n,
            "n_eff": n / 1.4,
            "count": count,
            "rate": rate,
            "rate_var": 1.4 * rate * (1 - rate) / n,
            "df": 9,
            "s2": vardir * rng.chisquare(9, AREAS) / 9,
        }
    )
    data.loc[95:, ["y", "w", "count", "rate"]] = np.nan
    pairs = [(k, k + 1) for k in range(AREAS - 1) if k % 10 != 9] + [(k, k + 10) for k in range(AREAS - 10)]
    edges = pd.DataFrame([(f"A{a:02d}", f"A{b:02d}") for a, b in pairs], columns=["a", "b"])
    return data, edges


def fits():
    """Return the call of each family on a frame and a map."""
    import sae

    def fay_herriot(formula="y ~ x", **options):
        return lambda data, edges: sae.FayHerriot(formula, **options).fit(data, seed=1)

    def mapped(component, **options):
        def call(data, edges):
            return sae.FayHerriot("y ~ x", spatial=getattr(sae, component)(edges), **options).fit(data)

        return call

    def over_time(component, **options):
        spec = sae.FayHerriot("y ~ x", domain="city", temporal=getattr(sae, component)("year"), **options)
        return lambda data, edges: spec.fit(data, seed=1)

    def model(name, *arguments, **options):
        return lambda data, edges: getattr(sae, name)(*arguments, **options).fit(data, seed=1)

    pair = {"y": "vardir", "w": "w_var", ("y", "w"): "y_w"}
    return {
        "fay_herriot": fay_herriot(),
        "fay_herriot_few": lambda data, edges: sae.FayHerriot("y ~ x").fit(data.iloc[60:], seed=1),
        "fay_herriot_groups": fay_herriot("y ~ x + group"),
        "fay_herriot_arcsin": fay_herriot("rate ~ x", transform="arcsin", replicates=20),
        "fay_herriot_bayes": fay_herriot(method="bayes"),
        "fay_herriot_sar": mapped("SAR"),
        "fay_herriot_bym2": mapped("BYM2", method="bayes"),
        "fay_herriot_ar1": over_time("AR1", replicates=2),
        "fay_herriot_rw1": over_time("RW1", method="bayes"),
        "two_fold": model("TwoFoldFayHerriot", "y ~ x", area="city"),
        "robust": model("RobustFayHerriot", "y ~ x", replicates=20),
        "measured": model("MeasurementErrorFayHerriot", "y ~ x", errors={"x": "x_var"}),
        "measured_bayes": model("MeasurementErrorFayHerriot", "y ~ x", errors={"x": "x_var"}, method="bayes"),
        "multivariate": model("MultivariateFayHerriot", ["y ~ x", "w ~ x"], vardir=pair),
        "multivariate_bayes": model(
            "MultivariateFayHerriot", ["y ~ x", "w ~ x"], vardir=pair, method="bayes", structure="diagonal"
        ),
        "binomial": model("BinomialMixed", "count ~ x"),
        "poisson": model("PoissonMixed", "count ~ x", exposure="n"),
        "beta": model("BetaFayHerriot", "rate ~ x"),
        "you_chapman": model("YouChapman", "y ~ x", vardir="s2", df="df"),
        "student": model("StudentFayHerriot", "y ~ x", df=4),
        "horseshoe": model("HorseshoeFayHerriot", "y ~ x"),
    }


def setup(name):
    import warnings

    import statsmodels.formula.api as smf

    warnings.simplefilter("ignore")
    data, edges = frame()
    call = fits()[name]
    complete = data.iloc[:95]
    return (
        replayed(lambda: call(data, edges)),
        lambda: str(smf.wls("y ~ x", complete, weights=1.0 / complete["vardir"]).fit().summary()),
    )


def same_tables(state, ours, theirs):
    """Compare two replays: one that is out of step gives other tables, or none."""
    again = state[0]()
    assert again.estimates.frame.equals(ours.estimates.frame) and len(again.summary()) > 200


FAMILIES = (
    "fay_herriot fay_herriot_few fay_herriot_groups fay_herriot_arcsin fay_herriot_bayes fay_herriot_sar "
    "fay_herriot_bym2 fay_herriot_ar1 fay_herriot_rw1 two_fold robust measured measured_bayes multivariate "
    "multivariate_bayes binomial poisson beta you_chapman student horseshoe"
)

CASES = [
    Case(
        name=f"overhead_{name}",
        setup=lambda name=name: setup(name),
        run=lambda state: state[0](),
        peer=lambda state: state[1](),
        peer_name="statsmodels WLS with formula and summary on the same frame, some 7 ms",
        check=same_tables,
        unit="fit",
        repeat=25,
        target="at most 5 ms, 0.7 of the peer",
    )
    for name in FAMILIES.split()
]
