"""The report: what its pages say, and the pages."""
