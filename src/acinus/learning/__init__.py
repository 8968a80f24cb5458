"""Patch models: data, losses, the training loop and the model as it leaves the project."""
