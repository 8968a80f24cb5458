"""From the windows of a slide to its probability map, and from the map to amounts."""
