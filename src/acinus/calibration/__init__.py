"""How far a map can be believed, and the operating point that the validation slides show to be better."""
