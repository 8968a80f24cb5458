"""The pixels and labels of one slide: open, levels, geometry, tissue, polygons, masks, tile bytes."""
