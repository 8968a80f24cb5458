"""One short file per stage: read typed inputs, call the rooms, write whole outputs, log."""
