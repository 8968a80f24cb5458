"""Pictures as PNG bytes: charts, class masks, heat maps, slides and patches."""
