"""What a new project begins with: its files, and the published recipes, every key explained."""
