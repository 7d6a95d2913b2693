"""Design-based variances: units, residuals, replicates, calibration, quantiles."""
