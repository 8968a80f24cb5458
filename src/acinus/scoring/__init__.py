"""Pure functions from arrays to metrics; what is undefined is None, never 0 or 1."""
