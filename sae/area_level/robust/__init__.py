"""The robust Fay–Herriot model."""
