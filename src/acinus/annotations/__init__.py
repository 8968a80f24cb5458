"""What people drew on slides with other tools, read alike: polygons in level-0 px with class, source and colour."""
