"""The search of training settings: a study that processes share, its trials and locks."""
