"""Room of the data's own tests: what manifest, index and sample must satisfy before a model sees them."""
