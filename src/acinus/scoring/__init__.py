"""Pure functions from arrays to figures; what is undefined is None, never 0 or 1."""
