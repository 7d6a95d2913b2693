"""The Fay–Herriot model whose covariates are themselves estimates."""
