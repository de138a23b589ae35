"""Tasks, their sources and splits."""
