"""FIXTURES: small EU-SILC files made from the documented structure of the user database.

No real file of D, H, R and P is at hand. Names, keys, flags and codes are those of the setup files that GESIS
publishes for the user database (release 2023-2, waves 2020 and 2022); the people are invented.
"""

import numpy as np
import pandas as pd

# 2022: four households of 11 persons; 42 gave no personal interview, 13 and 14, 33 and 34 are under 16
HOMES = {11: 1, 12: 1, 13: 1, 14: 1, 21: 2, 31: 3, 32: 3, 33: 3, 34: 3, 41: 4, 42: 4}


def files_2022(country="AT"):
    persons, homes = list(HOMES), [1, 2, 3, 4]
    adults = [11, 12, 21, 31, 32, 41]
    d = {
        "DB010": [2022] * 4,
        "DB020": [country] * 4,
        "DB030": homes,
        "DB040": ["AT1", "AT1", "AT2", "AT2"],
        "DB050": [1, 1, 2, 2],
        "DB050_F": [1, 1, 1, 1],
        "DB060": [10, 20, 30, 40],
        "DB062": [None] * 4,
        "DB062_F": [-2] * 4,
        "DB100": [1, 2, 3, 3],
    }
    h = {
        "HB010": [2022] * 4,
        "HB020": [country] * 4,
        "HB030": homes,
        "HY020": [30000, 12000, 9000, -500],
        "HX050": [2.1, 1.0, 2.3, 1.5],
        "HX090": [30000 / 2.1, 12000, 9000 / 2.3, -500 / 1.5],
        "HX080": [0, 0, 1, 1],
        "HX120": [0, 1, 1, 0],
        "HH021": [2, 1, 3, 5],
        "HH030": [3, 1, 3, 6],
        "HH070": [900, 500, 100, 50],
        "HY070G": [1200, None, None, 0],
        "HY070G_F": [11, -5, -4, 11],
        "HY070N": [None, None, 1500, None],
        "HS011": [1, 3, 3, 3],
        "HS011_F": [1, 1, 1, 1],
        "HS021": [3, 3, 3, 3],
        "HS031": [None, 3, 3, 3],
        "HS031_F": [-2, 1, 1, 1],
        "HS040": [2, None, 2, 1],
        "HS050": [2, 1, 2, 1],
        "HS060": [2, 1, None, 1],
        "HH050": [1, 1, 2, 1],
        "HS110": [1, 1, 2, 3],
        "HD080": [2, 1, 1, 3],
    }
    r = {
        "RB010": [2022] * 11,
        "RB020": [country] * 11,
        "RB030": persons,
        "RX030": list(HOMES.values()),
        "RB050": [100, 100, 100, 100, 200, 150, 150, 150, 150, 120, 120],
        "RB050_F": [1] * 11,
        "RB090": [1, 2, 2, 1, 2, 1, 1, 2, 1, 2, 2],
        "RB240": [12, 11, None, None, None, None, None, None, None, None, None],
        "RB280": ["LOC", "OTH", "LOC", "LOC", "LOC", "EU", "LOC", "LOC", "LOC", "LOC", "OTH"],
        "RB285": [None, 5, None, None, None, 0, None, None, None, 10, None],
        "RB285_F": [-2, 1, -2, -2, -2, 1, -2, -2, -2, 1, -1],
        "RB290": ["LOC", "OTH", "LOC", "LOC", "LOC", "EU", "EU", "EU", "EU", "LOC", "OTH"],
        "RX010": [41, 38, 9, 5, 70, 45, 16, 14, 13, 30, 62],
        "RX020": [40, 38, 9, 5, 70, 45, 16, 14, 13, 30, 62],
        "RX050": [0, 0, 0, 0, 2, 1, 1, 1, 1, 0, 0],
        "RX060": [1, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0],
    }
    p = {
        "PB010": [2022] * 6,
        "PB020": [country] * 6,
        "PB030": adults,
        "PX030": [HOMES[person] for person in adults],
        "PB040": [110, 105, 210, 160, 155, 240],
        "PB040_F": [1] * 6,
        "PL032": [1, 2, 3, 1, 5, 7],
        "PL040A": [3, None, None, 1, None, None],
        "PL141": [11, None, None, None, None, None],
        "PL145": [1, None, None, 2, None, None],
        "PL051A": [52, None, None, 21, None, None],
        "PE041": [600, 100, 344, 200, 200, 540],
        "PX050": [2, 5, 6, 4, 7, 3],
        "PH010": [1, 2, 5, 3, 1, 4],
        "PH040": [1, 1, 2, None, None, 1],
        "PH040_F": [1, 1, 1, -2, -1, 1],
        "PH050": [1, 5, None, None, None, 4],
        "PD020": [2, 2, 1, 2, 1, 1],
        "PD030": [2, 1, 1, 2, 1, 1],
        "PD050": [1, 1, 1, 1, 1, 3],
        "PD060": [1, 1, 1, 3, 1, 1],
        "PD070": [1, 1, 1, 1, 1, 1],
        "PD080": [1, 1, 1, 1, 1, 1],
    }
    return {part: pd.DataFrame(columns) for part, columns in {"D": d, "H": h, "R": r, "P": p}.items()}


def files_of_a_country(regions=8, households=30):
    """Make files of 2022 large enough for a model: the regions are strata, five households a unit."""
    rng = np.random.default_rng(2022)
    homes = np.arange(1, regions * households + 1)
    region = (homes - 1) // households
    foreign = rng.random(len(homes)) < 0.4
    size = rng.integers(1, 5, len(homes))
    income = np.exp(rng.normal(10.0 - 0.35 * foreign + 0.02 * region, 0.5)).round()
    names = [f"AT{number + 11}" for number in region]
    unit = (homes - 1) // 5
    d = pd.DataFrame({"DB010": 2022, "DB020": "AT", "DB030": homes, "DB040": names})
    d = d.assign(DB050=region + 1, DB060=unit + 1, DB100=1 + region % 3)
    h = pd.DataFrame({"HB010": 2022, "HB020": "AT", "HB030": homes, "HX090": income})
    home = np.repeat(homes, size)
    order = np.concatenate([np.arange(number) for number in size])
    age = np.where(order < 2, rng.integers(18, 80, len(home)), rng.integers(0, 16, len(home)))
    group = np.where(np.repeat(foreign, size), np.where(home % 2, "EU", "OTH"), "LOC")
    r = pd.DataFrame({"RB010": 2022, "RB020": "AT", "RB030": 10 * home + order, "RX030": home})
    r = r.assign(RB050=rng.uniform(200, 900, len(homes)).round(2)[home - 1], RB090=1 + order % 2)
    r = r.assign(RX010=age, RX020=age, RB280=group, RB290=group)
    asked = r[r["RX010"] >= 16]
    p = pd.DataFrame({"PB010": 2022, "PB020": "AT", "PB030": asked["RB030"], "PX030": asked["RX030"]})
    p = p.assign(PB040=1.1 * asked["RB050"], PL032=1, PH010=rng.integers(1, 6, len(asked)))
    return {"D": d, "H": h, "R": r, "P": p}


def files_2020(country="AT"):
    """The same people in the release up to 2020: birth and citizenship in P alone, other codes of status."""
    frames = files_2022(country)
    for part, letter in (("D", "D"), ("H", "H"), ("R", "R"), ("P", "P")):
        frames[part][f"{letter}B010"] = 2020
    register, personal = frames["R"], frames["P"]
    asked = register.set_index("RB030").loc[personal["PB030"]]
    personal["PB210"], personal["PB220A"] = asked["RB280"].to_numpy(), asked["RB290"].to_numpy()
    personal["PL031"] = [1, 5, 7, 4, 6, 9]
    personal["PL040"] = personal.pop("PL040A")
    personal["PL140"] = [2, None, None, None, None, None]
    personal["PL051"] = personal.pop("PL051A")
    personal["PE040"] = [500, 100, 344, 200, 200, 500]
    frames["P"] = personal.drop(columns=["PL032", "PL141", "PL145", "PE041"])
    frames["R"] = register.drop(columns=["RB280", "RB285", "RB285_F", "RB290"])
    home = frames["H"]
    home["HS070"], home["HS080"], home["HS100"] = [1, 1, 1, 1], [1, 1, 2, 1], [1, 3, 1, 1]
    return frames


# person: household, and poor or not in 2019-2022 (None: not in the panel that year)
HISTORIES = {
    1: (1, (1, 0, 1, 1)),
    2: (1, (1, 0, 1, 1)),
    3: (2, (1, 1, 1, 0)),
    4: (3, (0, 0, 1, 1)),
    5: (4, (None, 1, 1, 1)),  # entered in 2020
    6: (5, (1, 1, None, None)),  # left after 2020
    8: (6, (1, None, 1, 1)),  # no interview in 2020
}
YEARS = (2019, 2020, 2021, 2022)


def files_longitudinal():
    """Make four years of eight persons; 7 moved out after 2019 and stands in R as a former member."""
    homes, register, personal = {}, [], []
    weights = {1: 10, 2: 10, 3: 20, 4: 30, 8: 5}
    for person, (home, history) in HISTORIES.items():
        for year, poor in zip(YEARS, history, strict=True):
            if poor is not None:
                homes[year, home] = poor
                weight = weights.get(person) if year == 2022 else None
                register.append((year, "AT", person, home, 1, 1 + person % 2, 30 + person, weight))
                personal.append((year, "AT", person, 1))
    register.append((2019, "AT", 7, 2, 1, 2, 37, None))
    register.append((2020, "AT", 7, 2, 5, 2, 38, None))
    at = [(year, "AT", home) for year, home in sorted(homes)]
    poor = [homes[year, home] for year, _, home in at]
    households = [*at, (2020, "AT", 6)]
    d = pd.DataFrame(households, columns=["DB010", "DB020", "DB030"])
    d["DB040"], d["DB050"], d["DB060"] = "AT1", 1, d["DB030"]
    h = pd.DataFrame(at, columns=["HB010", "HB020", "HB030"]).assign(HX080=poor)
    h["HX090"] = 15000 - 10000 * h["HX080"]
    r = pd.DataFrame(
        register, columns=["RB010", "RB020", "RB030", "RB040", "RB110", "RB090", "RX020", "RB064"]
    )
    p = pd.DataFrame(personal, columns=["PB010", "PB020", "PB030", "PL032"])
    return {"D": d, "H": h, "R": r, "P": p}


def files_longitudinal_of_regions(regions=6, copies=5):
    """Make the same eight people live in every region several times."""
    parts = {part: [] for part in "DHRP"}
    for copy in range(regions * copies):
        for part, frame in files_longitudinal().items():
            keys = [name for name in ("DB030", "DB060", "HB030", "RB030", "RB040", "PB030") if name in frame]
            other = frame.assign(**{key: frame[key] + 100 * copy for key in keys})
            if part == "D":
                other = other.assign(DB040=f"AT{11 + copy % regions}", DB050=copy % regions)
            parts[part].append(other)
    return {part: pd.concat(frames, ignore_index=True) for part, frames in parts.items()}


def write_silc(folder, frames, kind="c"):
    """Write the files under the names of the user database; "." is missing there in numbers."""
    folder.mkdir(exist_ok=True)
    register = frames["D"].rename(columns=str.upper)
    country, year = register["DB020"].iloc[0], register["DB010"].max() % 100
    for part, frame in frames.items():
        frame.to_csv(folder / f"UDB_{kind}{country}{year:02d}{part}.csv", index=False)
    return folder
