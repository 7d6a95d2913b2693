"""Plans from a fitted model: oversampling, frontier, confirmation."""
