# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # From a survey to a table that can be published
#
# A labour force survey tells a country how many of its foreign-born residents work. Asked the same about one of its
# 120 regions, it has a handful of interviews to answer with. This page walks the whole way from the records of such a
# survey to a table with a figure for every region, its uncertainty, and a verdict whether it is good enough to print.
#
# The country is synthetic. Its great advantage: the truth is known, so at the end we can look up how well we did.
# Nothing here needs a network.

# %%
import sae

land = sae.datasets.country(seed=1)
land

# %% [markdown]
# ## 1. The survey
#
# `land.lfs` draws a labour force survey: in each region some sampling units, in each of these some households, and all
# their members are asked. With your own file you write
# `sae.read_survey("persons.parquet", weights="w", strata="stratum", psu="psu", layout="eu_lfs")`.

# %%
survey = land.lfs(seed=1)
survey

# %% [markdown]
# ## 2. What the survey alone says
#
# `sae.direct` estimates the employment rate of ages 20 to 64, for natives and for the foreign-born of each region, with
# the error that the sampling design implies. A group of which nobody was asked stays in the table, as a row with n = 0.
#
# `smoothing="deff"` adds a second set of variances for the model below. An error estimated from seven interviews is
# itself little more than noise; the smoothed one pools what all regions say about the design.

# %%
direct = sae.direct(survey, "employment_rate", by=["region", "birth"], smoothing="deff")
direct

# %% [markdown]
# What was decided on the way is written down:

# %%
for line in direct.log:
    print("-", line)

# %% [markdown]
# The coefficient of variation (the error divided by the estimate) shows the trouble. Natives are many enough in most
# regions; of the foreign-born, half the regions have fewer than ten records.

# %%
sampled = direct.frame[direct.frame["n"] > 0]
sampled.groupby("birth", observed=True)[["n", "cv"]].median().round(3)

# %% [markdown]
# ## 3. A model that borrows strength
#
# Registers and the census know things about every region that go together with employment:

# %%
land.areas[["region", "register_employment", "register_unemployment", "share_tertiary_foreign"]].head(3)

# %% [markdown]
# The Fay–Herriot model learns from all regions how they go together. Then it weighs, region by region, what the survey
# says against what the model expects: the more interviews, the more the survey counts. It also predicts the regions
# where the survey did not go.
#
# - `transform="arcsin"` is a scale for shares: estimates and intervals stay between 0 and 1. The error on the scale of
#   the share is then found by simulation, which is why `fit` wants a seed. The same seed gives the same table.
# - `per=["birth"]` fits natives and foreign-born each on their own. Regions differ far more in the employment of the
#   foreign-born than in that of natives. One common model would take them for as alike as natives are, and promise
#   errors that are too small.

# %%
model = sae.FayHerriot(
    "employment_rate ~ register_employment + register_unemployment + share_tertiary_foreign",
    transform="arcsin",
    per=["birth"],
)
fit = model.fit(direct, areas=land.areas, seed=1)
print(fit.summary())

# %% [markdown]
# The column `gamma_median` is the weight that the survey keeps in the median region.

# %%
fit.coefficients.round(3)

# %% [markdown]
# ## 4. Agreement with the national figure
#
# An office that prints 71 % for the nation cannot print regions that add up to 73 %. `benchmark` moves the regions
# so that, weighted with their population from the register, they meet the national figure of each group.

# %%
national = sae.direct(survey, "employment_rate", by=["birth"])
targets = dict(zip(national["birth"], national["estimate"], strict=True))
register = land.truth_of(["region", "birth"])
people = dict(zip(register["region"] + " / " + register["birth"], register["n_20_64"], strict=True))
final = fit.benchmark(targets, within="birth", weights=people)
final.estimates.frame.groupby("birth", observed=True)["benchmark_factor"].first()

# %% [markdown]
# ## 5. What may be published
#
# A policy is a file with the limits of an office; `eurostat_lfs`, `eurostat_silc` and `statcan` come with the
# package, your own is a few lines of TOML. Rows that fail are not dropped. They stay, flagged, with the reason.

# %%
final = final.flag("statcan")
final.estimates.frame.groupby(["birth", "reliability"], observed=True).size()

# %% [markdown]
# ## 6. The table and the chart
#
# The table has the same columns for every indicator and model. It goes out as CSV, Parquet or XLSX, by the ending of the
# name, and running this page again writes the same bytes.

# %%
shown = ["region", "birth", "n", "direct", "direct_cv", "estimate", "cv", "ci_low", "ci_high", "reliability"]
final.estimates[shown].head(6).round(3)

# %%
final.estimates.write("employment_by_birth.xlsx")
final.estimates.write("employment_by_birth.csv")

# %%
final.plot.compare()

# %% [markdown]
# ## 7. How well did it do?
#
# Only a synthetic country can answer that. The typical error of the model, against the truth, is less than half of the
# survey's own; and the 95 % intervals hold the truth about as often as they say.

# %%
judged = final.to_frame().merge(land.truth, on=["region", "birth"])
truth = judged["employment_rate"]
judged = judged.assign(
    squared_direct=(judged["direct"] - truth) ** 2,
    squared_model=(judged["estimate"] - truth) ** 2,
    inside=(judged["ci_low"] <= truth) & (truth <= judged["ci_high"]),
)
errors = judged.groupby("birth", observed=True)[["squared_direct", "squared_model"]].mean() ** 0.5
errors.columns = ["error of the survey alone", "error of the model"]
errors.assign(intervals_that_hold_the_truth=judged.groupby("birth", observed=True)["inside"].mean()).round(3)
