"""Metrics: what each is, a registry of all, the per-slide table, and the comparison of two runs."""
