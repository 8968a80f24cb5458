"""From a slide's map and pixels to its grade: attention over suspicious patches, and a rule beside it."""
