"""Households of the country: of a register and of a survey alike."""

import numpy as np

from sae.datasets import country, households


def test_a_household_is_the_sum_of_its_persons():
    land = country(2)
    people, register = land.population, households(land.population)
    assert register["household"].is_unique and register["size"].sum() == len(people)
    one = people[people["household"] == register["household"].iloc[40]]
    row = register.iloc[40]
    assert row["income"] == one["income"].iloc[0] and row["size"] == len(one)
    foreign = one["citizenship_group"].astype(str).ne("native").any()
    assert row["foreign"] == ("yes" if foreign else "no") and row["region"] == str(one["region"].iloc[0])
    # what a household usually has tells much of what it has
    logs = np.log(register[["standard_income", "income"]])
    assert logs.corr().iloc[0, 1] > 0.7


def test_a_survey_s_households_are_those_of_the_register_with_persons_as_weights():
    land = country(2)
    survey = land.silc(1)
    sample, register = households(survey.frame), households(land.population).set_index("household")
    same = ["size", "foreign", "standard_income", "income"]
    both = register.loc[sample["household"], same].reset_index(drop=True)
    assert both.equals(sample[same].reset_index(drop=True))
    np.testing.assert_allclose(sample["weight"].sum(), survey.weights.sum(), rtol=1e-12)
