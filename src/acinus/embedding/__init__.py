"""From slides to the features of their patches: which patches, one file per slide, kept under a content key."""
