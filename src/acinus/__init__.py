"""Acinus: from a folder of whole-slide images to results that can be defended."""
