"""From a map to what is found: the operating point, clean-up, regions and their files, amounts."""
