"""How fast and how lean acinus is beside plain scripts and the limits of the machine: `python -m benchmarks`."""
