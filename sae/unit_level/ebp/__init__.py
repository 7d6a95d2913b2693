"""The empirical best predictor of indicators of a distribution."""
