"""From slides to patches: grid, index, sample, and the store they are kept in."""
