"""The pixels of one slide: open, levels, geometry, tile bytes, rasters, arrays."""
