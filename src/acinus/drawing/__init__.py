"""Pictures of single slides and patches, drawn from slides, labels, maps, regions and attention."""
