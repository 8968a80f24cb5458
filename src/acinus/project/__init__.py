"""The repository around a stage: which code runs, the dvc process above it, what it read, the machine, its start-up."""
