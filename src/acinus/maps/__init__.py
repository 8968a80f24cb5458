"""From a slide to its probability map: windows, blending, the file of a map."""
