"""The first fit on a fresh machine: what its kernels cost to compile, against one small kernel of its own.

Every call runs in a child of a process that has imported all and compiled nothing, with an empty cache. The
slowest kernels go to stderr. The reference is fixed: never edit it.
"""

import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from harness import Case

FAMILIES = {
    "compile_direct": "direct estimates",
    "compile_fay_herriot": "Fay–Herriot",
    "compile_structures": "spatial and temporal",
    "compile_multivariate": "multivariate",
    "compile_robust": "robust",
    "compile_binomial": "binomial",
    "compile_beta_binomial": "beta-binomial",
    "compile_you_chapman": "You–Chapman",
    "compile_student": "Student",
    "compile_nested_error": "nested error",
    "compile_logit": "logit of units",
}


def recorder():
    """Return a listener: compiling seconds of every kernel without those that it calls, and how often."""
    from numba.core import event

    class Recorder(event.Listener):
        def __init__(self):
            self.open, self.rows = [], {}

        def on_start(self, happening):
            self.open.append([time.process_time(), 0.0])

        def on_end(self, happening):
            began, inner = self.open.pop()
            whole = time.process_time() - began
            kernel = happening.data["dispatcher"].py_func
            name = f"{kernel.__module__}.{kernel.__name__}"
            often, seconds = self.rows.get(name, (0, 0.0))
            self.rows[name] = often + 1, seconds + whole - inner
            if self.open:
                self.open[-1][1] += whole

    listener = Recorder()
    event.register("numba:compile", listener)
    return listener


def reml(method="reml"):
    """Fit 100 areas, with the MSE, intervals and the summary."""
    import numpy as np
    import pandas as pd

    from sae.area_level import FayHerriot

    rng = np.random.default_rng(1)
    x, vardir = rng.normal(size=100), rng.uniform(0.1, 1.0, 100)
    y = x + 0.5 * rng.normal(size=100) + np.sqrt(vardir) * rng.normal(size=100)
    frame = pd.DataFrame({"domain": np.arange(100), "y": y, "x": x, "vardir": vardir})
    FayHerriot("y ~ x", method=method).fit(frame).summary()


def bayes():
    reml("bayes")


def everything():
    from sae.batch.warmup import warm_up

    warm_up()


def family(name):
    def fit():
        from sae.batch.warmup import FAMILIES as fits

        fits[name]()

    return fit


def reference():
    """Compile a Cholesky factor and two triangular solves."""
    import numpy as np
    from numba import njit

    @njit(error_model="numpy")
    def solve(H, g):
        p = len(g)
        for i in range(p):
            for j in range(i + 1):
                value = H[i, j]
                for m in range(j):
                    value -= H[i, m] * H[j, m]
                if i == j:
                    H[i, i] = np.sqrt(value)
                else:
                    H[i, j] = value / H[j, j]
        for i in range(p):
            for m in range(i):
                g[i] -= H[i, m] * g[m]
            g[i] /= H[i, i]
        for i in range(p - 1, -1, -1):
            for m in range(i + 1, p):
                g[i] -= H[m, i] * g[m]
            g[i] /= H[i, i]

    solve(np.eye(3), np.ones(3))


def setup():
    """Import everything with a cache folder of its own, which every child empties."""
    folder = tempfile.mkdtemp()
    os.environ["NUMBA_CACHE_DIR"] = folder
    import warnings

    import sae.batch.warmup

    warnings.simplefilter("ignore")
    for name in sae.area_level.__all__:  # a package may load its models on first use
        getattr(sae.area_level, name)
    return {"folder": Path(folder), "shown": False}


def in_child(state, work, show=False):
    shutil.rmtree(state["folder"], ignore_errors=True)
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            kernels = recorder()
            work()
            if show:
                report(kernels.rows)
            status = 0
        finally:
            sys.stderr.flush()
            os._exit(status)
    if os.waitpid(child, 0)[1]:
        raise RuntimeError("the child failed")
    shutil.rmtree(state["folder"], ignore_errors=True)


def report(rows):
    total = sum(seconds for _, seconds in rows.values())
    print(f"compiled {len(rows)} kernels in {total:.2f} s, of which", file=sys.stderr)
    for name, (often, seconds) in sorted(rows.items(), key=lambda row: -row[1][1])[:8]:
        print(f"{seconds:8.2f} s {often} × {name}", file=sys.stderr)


def first(work):
    def run(state):
        in_child(state, work, show=not state["shown"])
        state["shown"] = True

    return run


def case(name, work, target):
    return Case(
        name=name,
        setup=setup,
        run=first(work),
        peer=lambda state: in_child(state, reference),
        peer_name="the reference kernel",
        unit="first fit",
        repeat=3,
        target=target,
    )


CASES = [
    case("compile_fh_reml", reml, "3 s on an idle core"),
    case("compile_fh_bayes", bayes, "5 s on an idle core"),
    *(case(name, family(fits), "5 s on an idle core") for name, fits in FAMILIES.items()),
    case("compile_warmup", everything, "40 s on an idle core"),
]
