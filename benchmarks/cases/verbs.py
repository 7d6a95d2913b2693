"""The verbs of a published table, and direct estimates: what a call costs beside pandas on the same rows.

A short call is made twenty times, so that "cpu s" / 20 is the seconds of one, a long one twice; of the short
ones the kernels take microseconds.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

from harness import Case

CALLS = 20
TARGET = "within 5 ms a call on an idle core"


@dataclass(frozen=True)
class Verb:
    """A call, and the peer's."""

    call: Any
    peer: Any
    times: int = CALLS


def run(verb):
    for _ in range(verb.times):
        result = verb.call()
    return result


def peer(verb):
    for _ in range(verb.times):
        result = verb.peer()
    return result


def areas(number):
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(20261128)
    x = rng.normal(size=number)
    return pd.DataFrame(
        {
            "domain": [f"A{d:05d}" for d in range(number)],
            "region": [f"R{d % 10}" for d in range(number)],
            "y": 0.5 + 0.05 * x + 0.04 * rng.normal(size=number),
            "x": x,
            "vardir": 0.03**2,
            "people": rng.integers(1000, 9000, number).astype(float),
        }
    )


def fitted(number):
    """Return a fit, its table, and known figures of its ten regions."""
    import numpy as np

    import sae

    data = areas(number)
    fit = sae.FayHerriot("y ~ x", domain="domain").fit(data)
    weighted = (data["y"] * data["people"]).groupby(data["region"]).sum()
    return (
        fit,
        data,
        (weighted / data.groupby("region")["people"].sum()).to_dict(),
        np.arange(number) / number,
    )


def columns_set(frame, values, count):
    """Copy a table and put columns into it one by one, texts every second time."""
    frame = frame.copy()
    for k in range(count):
        frame[f"new {k}"] = values if k % 2 else "text"
    return frame


def benchmark(number):
    fit, _, targets, values = fitted(number)
    return Verb(
        lambda: fit.benchmark(targets, within="region", weights="people"),
        partial(columns_set, fit.to_frame(), values, 14),
    )


def flag(number):
    fit, _, _, values = fitted(number)
    return Verb(lambda: fit.flag("statcan"), partial(columns_set, fit.to_frame(), values, 5))


def assign(number):
    fit, _, _, values = fitted(number)
    table = fit.estimates
    return Verb(lambda: table.assign(ci_low=values), partial(columns_set, fit.to_frame(), values, 1))


def to_frame(number):
    fit, _, _, _ = fitted(number)
    return Verb(fit.to_frame, fit.estimates.frame.copy)


def aggregate(number):
    fit, data, _, _ = fitted(number)
    table = fit.to_frame().assign(region=data["region"], people=data["people"])
    table["total"] = table["estimate"] * table["people"]

    def by_pandas():
        sums = table.groupby("region").agg(total=("total", "sum"), people=("people", "sum"), n=("n", "sum"))
        return sums["total"] / sums["people"]

    return Verb(lambda: fit.aggregate("region", weights="people"), by_pandas)


def same_means(verb, ours, theirs):
    import numpy as np

    np.testing.assert_allclose(ours.frame["estimate"], theirs, rtol=1e-9)


def draws(number):
    """Ten joint draws, beside ten from a multivariate normal of independent areas by numpy."""
    import numpy as np

    fit, _, _, _ = fitted(number)
    estimate, se = (fit.estimates.frame[name].to_numpy() for name in ("estimate", "se"))
    return Verb(
        lambda: fit.draws(10, seed=1).to_frame(),
        lambda: estimate + se * np.random.default_rng(1).normal(size=(10, number)),
    )


def change(number):
    import numpy as np
    import pandas as pd

    import sae

    data = areas(number)
    noise = np.random.default_rng(1).normal(size=(2, number))
    panel = pd.concat(
        [data.assign(year=2024 + k, y=data["y"] + 0.02 * noise[k]) for k in range(2)], ignore_index=True
    )
    spec = sae.FayHerriot("y ~ x", domain="domain", temporal=sae.AR1("year"), replicates=2)
    fit = spec.fit(panel, seed=1)
    table = fit.to_frame()

    def by_pandas():
        first, last = (table[table["time"] == year] for year in ("2024", "2025"))
        return last.merge(first, on="domain", validate="one_to_one")

    return Verb(lambda: sae.compare.changes(fit, 2024, 2025), by_pandas)


def contrast(number):
    import sae

    data = areas(number)
    data = data.assign(z=data["y"].to_numpy()[::-1], v_z=data["vardir"], v_yz=0.0)
    spec = sae.MultivariateFayHerriot(
        ["y ~ x", "z ~ x"], domain="domain", vardir={"y": "vardir", "z": "v_z", ("y", "z"): "v_yz"}
    )
    fit = spec.fit(data)
    table = fit.to_frame()

    def by_pandas():
        wide = table.pivot(index="domain", columns="indicator", values="estimate")
        return wide["y"] - wide["z"]

    return Verb(lambda: fit.contrast({"y": 1.0, "z": -1.0}), by_pandas)


def direct(records, domains, by=("region",)):
    import numpy as np
    import pandas as pd

    import sae

    rng = np.random.default_rng(20261128)
    names = np.array([f"R{d:04d}" for d in range(domains)])
    frame = pd.DataFrame(
        {
            "w": rng.uniform(50, 150, records),
            "region": names[rng.integers(domains, size=records)],
            "sex": np.array(["m", "f"])[rng.integers(2, size=records)],
            "age": np.array(["15-24", "25-54", "55-64", "65+"])[rng.integers(4, size=records)],
            "works": rng.integers(2, size=records),
            "stratum": rng.integers(20, size=records),
            "psu": rng.integers(500, size=records),
        }
    )
    survey = sae.Survey.from_frame(frame, weights="w", strata="stratum", psu="psu", nest=True)
    frame["wy"] = frame["w"] * frame["works"]

    def by_pandas():
        sums = frame.groupby(list(by)).agg(wy=("wy", "sum"), w=("w", "sum"), n=("w", "size"))
        return sums["wy"] / sums["w"]

    return Verb(lambda: sae.direct(survey, "works", by=list(by)), by_pandas, CALLS if records < 10**5 else 2)


def nested_error(number):
    """Fit thirty units an area, beside the kernels alone: sums, likelihood and predictions."""
    import numpy as np

    import sae
    from sae.numerics.nested_error.fit import fit_nested_error
    from sae.numerics.nested_error.mse import predict
    from sae.numerics.nested_error.profile import area_sums
    from sae.unit_level.nested_error.arrays import UnitArrays

    known = areas(number)
    rng = np.random.default_rng(1)
    units = known.iloc[rng.integers(number, size=30 * number)][["domain", "y"]].reset_index(drop=True)
    units["x"] = rng.normal(size=len(units))
    units["y"] += 0.1 * units["x"] + 0.2 * rng.normal(size=len(units))
    model = sae.NestedError("y ~ x", domain="domain")
    arrays = UnitArrays.build(
        units, known, outcome="y", covariates="x", domain="domain", population=model.population
    )

    def kernels():
        sums = area_sums(arrays.y, arrays.X, arrays.area, number)
        return predict(fit_nested_error(sums), sums, arrays.means, "reml")

    return Verb(lambda: model.fit(units, areas=known), kernels)


def strata(number):
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(1)
    return pd.DataFrame(
        {
            "stratum": [f"S{d:04d}" for d in range(number)],
            "region": [f"R{d % 10}" for d in range(number)],
            "population": rng.integers(5_000, 90_000, number),
            "share_works": rng.uniform(0.3, 0.7, number),
            "cost": rng.uniform(1, 3, number),
        }
    )


def allocate(number):
    import sae

    frame = strata(number)
    target = sae.planning.Target("works", sae.planning.CV(0.05), by="region")
    plan = sae.planning.allocate(frame, target)
    return Verb(
        lambda: sae.planning.allocate(frame, target),
        partial(columns_set, plan.to_frame(), plan.frame["cost"].to_numpy(), 14),
    )


def oversample(number):
    """Plan with the model, 90 % sure, beside evaluations of all errors at all nodes, as bisection does."""
    import numpy as np
    import pandas as pd

    import sae

    data = areas(number)
    fit = sae.FayHerriot("y ~ x", domain="domain", method="bayes").fit(data.assign(n=50))
    frame = pd.DataFrame(
        {"domain": data["domain"], "population": 50_000.0, "cost": 1.0 + data["people"] / 9_000}
    )
    model = sae.planning.oversample(fit, frame, targets=0.06).equally_likely
    psi = np.full(number, 0.001)
    return Verb(
        lambda: sae.planning.oversample(fit, frame, targets=0.06),
        lambda: [model.mse(psi) for _ in range(46)],
        1,
    )


def verb(name, setup, peer_name, *, check=None, times=CALLS, target=TARGET, unit="call"):
    return Case(
        name=name,
        setup=setup,
        run=run,
        peer=peer,
        peer_name=peer_name,
        check=check,
        unit=unit,
        units=times,
        peer_units=times,
        target=target,
    )


GROUPED = "sums of the same records by pandas' groupby"
SIZES = (100, 1_000, 10_000)

CASES = [
    verb("direct_10000x100", partial(direct, 10_000, 100), GROUPED, check=same_means),
    verb("direct_10000x800", partial(direct, 10_000, 100, ("region", "sex", "age")), GROUPED, target=""),
    verb(
        "direct_1000000x100",
        partial(direct, 10**6, 100),
        GROUPED,
        check=same_means,
        times=2,
        target="no slower than before",
    ),
    verb(
        "direct_1000000x800",
        partial(direct, 10**6, 100, ("region", "sex", "age")),
        GROUPED,
        times=2,
        target="no slower than before",
    ),
    *(
        verb(
            f"{name}_{size}",
            partial(setup, size),
            peer_name,
            check=check,
            target=TARGET if size == 100 else "",
        )
        for name, setup, peer_name, check in (
            ("benchmark", benchmark, "a copy of the table, 14 columns set", None),
            ("flag", flag, "a copy of the table, 5 columns set", None),
            ("aggregate", aggregate, "weighted means by pandas' groupby", same_means),
            ("assign", assign, "a copy of the table, a column set", None),
            ("to_frame", to_frame, "DataFrame.copy", None),
            ("draws_of_table", draws, "as many independent normals by numpy", None),
        )
        for size in SIZES
    ),
    verb(
        "nested_error_call_100", partial(nested_error, 100), "its kernels alone", target="5 ms more than them"
    ),
    verb("allocate_call_100", partial(allocate, 100), "a copy of the table, 14 columns set", target=""),
    verb(
        "oversample_call_100",
        partial(oversample, 100),
        "46 evaluations of the errors of all areas at all nodes",
        times=1,
        target="",
        unit="plan",
    ),
    *(
        verb(f"{name}_{size}", partial(setup, size), peer_name, target=TARGET if size == 100 else "")
        for name, setup, peer_name in (
            ("change", change, "two periods merged by pandas"),
            ("contrast", contrast, "a pivot and a difference by pandas"),
        )
        for size in (100, 500)
    ),
]
