"""The Fay–Herriot model: its estimates, errors, posterior and structured forms."""
