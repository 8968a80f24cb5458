"""Charts and pages that say what was measured, over what, and how sure it is."""
