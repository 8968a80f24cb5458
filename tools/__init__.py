"""Programs that write what is in git from what the code says."""
