"""From a cohort's layout on disk to the manifest: one module per family."""
